import type { Failure, Result } from './result.ts';
import { fail, ok } from './result.ts';

/**
 * Words of Slurm's `scontrol` for one node. Source: scontrol(1), and what slurm-wlm 22.05.8 was seen to print;
 * the text form is used because the JSON form changes with every release.
 */

/** A node as `scontrol -o show node` prints it. */
export interface SlurmNode {
  readonly name: string;
  /** First word of the state, such as IDLE, MIXED, ALLOCATED, DOWN. */
  readonly base: string;
  /** The words after it, such as DRAIN, COMPLETING, NOT_RESPONDING, POWERED_DOWN. */
  readonly flags: readonly string[];
  /** Why it was drained or set down, without who and when; `null` where there is none. */
  readonly reason: string | null;
}

/** What may be a node's name in an argument: one node, no list. */
export const SLURM_NODE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export const showNodeArguments = (node: string): readonly string[] => ['-o', 'show', 'node', node];

/** Drain needs a reason: without one slurmctld refuses. It replaces any reason that stood there. */
export const drainArguments = (node: string, reason: string): readonly string[] => [
  'update',
  `nodename=${node}`,
  'state=drain',
  `reason=${reason}`,
];

export const resumeArguments = (node: string): readonly string[] => [
  'update',
  `nodename=${node}`,
  'state=resume',
];

/**
 * Switches a node off or on by Slurm's own programs. Refused ("Invalid node state") where slurm.conf has no SuspendTime.
 * As 22.05.8 was seen to do: going down takes the drain away and leaves its reason, so the queue could wake the node;
 * `power_up` while it goes down is answered well and lost; it takes the reason of a drained node away.
 */
export const powerArguments = (node: string, to: 'power_down' | 'power_up'): readonly string[] => [
  'update',
  `nodename=${node}`,
  `state=${to}`,
];

/** Symbols that older releases put behind a state, by the flag that newer ones spell out. */
const SUFFIXES: Readonly<Record<string, string>> = {
  '*': 'NOT_RESPONDING',
  '~': 'POWERED_DOWN',
  '%': 'POWERING_DOWN',
  '!': 'POWER_DOWN',
  '#': 'POWERING_UP',
  $: 'MAINTENANCE',
  '@': 'REBOOT',
  '-': 'PLANNED',
  '^': 'REBOOT',
};

/** Reads the one line of `scontrol -o show node NAME`. Fails `malformed` when name or state is missing. */
export function parseSlurmNode(text: string): Result<SlurmNode> {
  const line = text.split('\n').find((candidate) => candidate.startsWith('NodeName='));
  const name = line === undefined ? undefined : /^NodeName=(\S+)/.exec(line)?.[1];
  // The reason is free text and comes last: nothing behind it is a field.
  const reasonAt = line?.indexOf(' Reason=') ?? -1;
  const fields = reasonAt < 0 ? (line ?? '') : line!.slice(0, reasonAt);
  const state = /\sState=(\S+)/.exec(fields)?.[1];
  if (line === undefined || name === undefined || state === undefined)
    return fail('malformed', `scontrol shows no node: ${text.trim().slice(0, 200) || 'nothing'}`);
  const flags: string[] = [];
  const words = state.split('+').map((word) => {
    let bare = word;
    for (let flag = SUFFIXES[bare.at(-1) ?? '']; flag !== undefined; flag = SUFFIXES[bare.at(-1) ?? '']) {
      flags.push(flag);
      bare = bare.slice(0, -1);
    }
    return bare.toUpperCase();
  });
  const [base = '', ...more] = words;
  if (!/^[A-Z_]+$/.test(base)) return fail('malformed', `scontrol shows a state "${state}"`);
  const reason = reasonAt < 0 ? null : line.slice(reasonAt + ' Reason='.length).trim();
  return ok({
    name,
    base,
    flags: [...more, ...flags],
    reason: reason === null ? null : reason.replace(/\s*\[[^\]]*@[^\]]*\]\s*$/, ''),
  });
}

/** States in which nothing can be said to run, and nothing to be over. */
const DOWN_BASES: ReadonlySet<string> = new Set(['DOWN', 'ERROR', 'FUTURE', 'UNKNOWN']);
const DOWN_FLAGS: ReadonlySet<string> = new Set([
  'NOT_RESPONDING',
  'POWERED_DOWN',
  'POWERING_DOWN',
  'POWER_DOWN',
  'POWERING_UP',
  'POWER_UP',
  'POWER_DOWN_ASAP',
  'POWER_DOWN_FORCE',
  'INVALID_REG',
]);

/** Whether the node is switched on. What was asked for counts as under way. */
export function slurmPower({ flags }: SlurmNode): 'on' | 'going-off' | 'off' | 'coming-on' {
  const has = (...any: string[]) => any.some((flag) => flags.includes(flag));
  if (has('POWERING_UP', 'POWER_UP')) return 'coming-on';
  if (has('POWERING_DOWN', 'POWER_DOWN', 'POWER_DOWN_ASAP', 'POWER_DOWN_FORCE')) return 'going-off';
  return has('POWERED_DOWN') ? 'off' : 'on';
}

/** New work may not start, whether the node is on or off. */
export function isSlurmClosed(node: SlurmNode): boolean {
  return DOWN_BASES.has(node.base) || node.flags.includes('DRAIN') || node.flags.includes('FAIL');
}

/** Whether work may start (`in-service`), still runs (`draining`), is over (`drained`), or nobody knows (`down`). */
export function slurmService(node: SlurmNode): 'in-service' | 'draining' | 'drained' | 'down' {
  if (DOWN_BASES.has(node.base) || node.flags.some((flag) => DOWN_FLAGS.has(flag))) return 'down';
  if (!node.flags.includes('DRAIN') && !node.flags.includes('FAIL')) return 'in-service';
  return node.base === 'IDLE' && !node.flags.includes('COMPLETING') ? 'drained' : 'draining';
}

/** What a failed `scontrol` means. Its exit code is 1 whatever was wrong; ssh's own is 255. */
export function slurmFailure(said: string, exitCode: number | null): Failure {
  const text = said.trim().slice(0, 300);
  const because = (kind: Failure['kind'], message: string, hint?: string): Failure =>
    hint === undefined ? { kind, message } : { kind, message, hint };
  if (/Invalid node name|Node \S+ not found/i.test(text))
    return because(
      'wrong-device',
      `Slurm knows no such node: ${text}`,
      'Compare `drain.node` with `sinfo -N`.',
    );
  if (/Invalid node state/i.test(text))
    return because('refused', `Slurm says the node cannot change so now: ${text}`);
  if (/Access\/permission denied|Invalid user id|not permitted/i.test(text))
    return because(
      'unauthorised',
      `Slurm refuses this user: ${text}`,
      'Draining needs an operator: `sacctmgr modify user NAME set adminlevel=Operator`, or SlurmUser.',
    );
  if (exitCode === 255 || /Unable to contact|Connection refused|Host key verification|timed out/i.test(text))
    return because('unreachable', `scontrol: ${text || `exit code ${exitCode}`}`);
  return because('refused', `scontrol: ${text || `exit code ${exitCode}`}`);
}
