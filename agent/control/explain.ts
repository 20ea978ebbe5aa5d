import { formatWatts } from '../../config/quantity.ts';
import type { DeviceId, EpochMs, LimitId } from '../../protocols/units.ts';
import type { SiteModel } from '../site/model.ts';
import { pathUp } from '../site/model.ts';
import type { DeviceState, Snapshot } from '../site/snapshot.ts';
import type { SiteView } from '../site/view.ts';
import type { CommandMemory } from './controller.ts';
import type { DecisionRecord } from './decision.ts';
import { commonShare, curtailedShare } from './fairness.ts';
import type { LimitMemory } from './limit-memory.ts';
import { RESTORE_HOLD_MS } from './rules.ts';
import type { StepResult } from './step.ts';

export interface ExplainInput {
  readonly target: string;
  readonly model: SiteModel;
  readonly snapshot: Snapshot;
  readonly view: SiteView;
  readonly result: StepResult | null;
  readonly commands: readonly CommandMemory[];
  readonly decisions: readonly DecisionRecord[];
  readonly holds: readonly { readonly target: string; readonly who: string; readonly why: string }[];
}

/** An explanation: sentences for people, and the facts that they rest on. */
export interface Explanation {
  readonly target: string;
  readonly kind: 'device' | 'limit' | 'unknown';
  readonly sentences: readonly string[];
}

/** Why a device or a limit is as it is, in words that a technician understands. Pure. */
export function explain(input: ExplainInput): Explanation {
  const device = input.snapshot.devices.find((candidate) => candidate.id === input.target);
  if (device !== undefined)
    return { target: input.target, kind: 'device', sentences: explainDevice(input, device) };
  if (input.model.limits.some((limit) => limit.id === input.target)) {
    return { target: input.target, kind: 'limit', sentences: explainLimit(input, input.target) };
  }
  return {
    target: input.target,
    kind: 'unknown',
    sentences: [`There is no device or limit "${input.target}".`],
  };
}

function explainDevice(input: ExplainInput, device: DeviceState): string[] {
  const sentences = [whatItDoes(device)];
  const last = input.commands.at(-1);
  if (last === undefined) sentences.push('The agent has given it no command since it started.');
  else {
    const verb =
      last.direction === 'down'
        ? last.pointId === 'sleep'
          ? 'was put to sleep'
          : `was lowered to ${formatWatts(last.watts)}`
        : `was allowed up to ${formatWatts(last.watts)}`;
    sentences.push(`At ${clock(last.ts)} it ${verb}. ${binding(input, last)}`);
    sentences.push(sentText(last));
    sentences.push(
      last.evidence === null
        ? 'No reading has shown the effect yet.'
        : `Evidence at ${clock(last.evidence.ts)}: ${last.evidence.text}.`,
    );
  }
  const entry = input.result?.state.entries[device.id];
  if (entry?.quarantine != null)
    sentences.push(`It is set aside and counts at its nameplate: ${entry.quarantine.why}.`);
  const facts = input.result?.facts.get(device.id);
  if (facts !== undefined && facts.points.length < 2)
    sentences.push('It cannot be commanded: its firmware offers nothing to set, or it was not recognised.');
  sentences.push(...fairShare(input, device.id));
  const path = pathUp(input.model, device.limit);
  for (const hold of input.holds) {
    if (hold.target === device.id || path.includes(hold.target))
      sentences.push(
        `${hold.who} holds ${hold.target}${hold.why === '' ? '' : ` (${hold.why})`}: nobody commands it until it is released.`,
      );
  }
  const authority = input.model.limits.find((limit) => limit.id === device.limit)?.authority;
  if (authority === 'observe' || authority === 'advise')
    sentences.push(
      `The agent only has authority to ${authority} at ${device.limit}: it commands nothing there.`,
    );
  for (const id of path) sentences.push(limitSentence(input, id));
  return sentences;
}

/** How long nothing rises yet because something was shed for it. */
function restoreHold({ result }: ExplainInput, memory: LimitMemory | undefined): string[] {
  if (result === null || memory === undefined || memory.drop !== null) return [];
  const sinceMs = result.decision.at - memory.lastShedAt;
  if (sinceMs >= RESTORE_HOLD_MS) return [];
  const seconds = Math.ceil((RESTORE_HOLD_MS - sinceMs) / 1000);
  return [
    `Power was shed for it ${Math.floor(sinceMs / 1000)} s ago: nothing below it rises for ${seconds} s more.`,
  ];
}

/** What its tenant gave up beside the others, where tenants share what is curtailed. */
function fairShare(input: ExplainInput, id: DeviceId): string[] {
  const tenant = input.model.devices.find((device) => device.id === id)?.tenant ?? null;
  const memories = input.result?.state.tenants;
  const memory = tenant === null ? undefined : memories?.[tenant];
  if (memories === undefined || memory === undefined) return [];
  const [own, all] = [curtailedShare(memory), commonShare(memories)].map((share) => (share * 100).toFixed(2));
  return [
    `Limits kept ${own} % of their energy from ${tenant}'s machines in the last days, ${all} % from all who share fairly: among equals the one goes first whose tenant gave up less.`,
  ];
}

function whatItDoes(device: DeviceState): string {
  const { reading } = device;
  if (device.inventory === 'expected')
    return `${device.id} has never answered: it is configured, and reserves no power.`;
  if (device.inventory === 'absent' || reading === null)
    return `${device.id} does not answer (${device.failure?.message ?? 'no reply'}); it counts at its nameplate until its meter shows the watts gone.`;
  const age = device.ageMs === null ? '' : `, seen ${(device.ageMs / 1000).toFixed(0)} s ago`;
  const watts =
    reading.powerWatts === null ? 'does not say what it draws' : `draws ${formatWatts(reading.powerWatts)}`;
  if (reading.kind === 'gpu-node') return `${device.id}: ${reading.gpus.length} GPUs, ${watts}${age}.`;
  const source = reading.powerSource === 'estimated' ? ' (estimated)' : '';
  return `${device.id} (${reading.model ?? 'unknown model'}, ${reading.firmware}) is ${reading.state} and ${watts}${source}${age}.`;
}

function binding(input: ExplainInput, command: CommandMemory): string {
  if (command.direction === 'up') return 'The worst case of every limit above it left room.';
  if (command.bindingLimit === null) return 'It earned less than its energy costs.';
  const view = input.view.limits.find((limit) => limit.id === command.bindingLimit);
  const source =
    view === undefined || view.source === 'rating'
      ? ''
      : `, ${LIMIT_SOURCES[view.source] ?? `set by ${view.source}`}`;
  const price =
    command.dollarsPerKwh === null || command.dollarsPerKwh === 0
      ? ''
      : ` One more kWh there was worth ${command.dollarsPerKwh.toFixed(3)} $, and other devices earn more with it.`;
  return `The limit ${command.bindingLimit} bound${view === undefined ? '' : ` (now ${formatWatts(view.limitWatts)}${source})`}.${price}`;
}

function sentText(command: CommandMemory): string {
  if (command.sent === null) return 'The command has not left yet, or its answer is not there.';
  if (command.sent.failure !== null)
    return `Sending it failed at ${clock(command.sent.ts)}: ${command.sent.failure}`;
  return `The device ${command.sent.acknowledged === true ? 'acknowledged it' : 'did not say whether it took it'} at ${clock(command.sent.ts)}; that alone proves nothing.`;
}

function explainLimit(input: ExplainInput, id: LimitId): string[] {
  const sentences = [limitSentence(input, id)];
  const view = input.view.limits.find((limit) => limit.id === id);
  if (view?.worstWatts != null)
    sentences.push(
      `By what is proved, at most ${formatWatts(view.worstWatts)} can flow: that decides whether anything may rise.`,
    );
  const decision = input.decisions.findLast((record) => record.binding.some((bound) => bound.limit === id));
  const price = decision?.binding.find((bound) => bound.limit === id)?.dollarsPerKwh;
  if (decision !== undefined && price !== undefined)
    sentences.push(`At ${clock(decision.ts)} it bound: one more kWh was worth ${price.toFixed(3)} $.`);
  const memory = input.result?.state.limits[id];
  if (memory?.drop != null)
    sentences.push('It fell and is not yet seen to be met: everything below it only goes down.');
  sentences.push(...restoreHold(input, memory));
  const short = input.result?.decision.shortfalls.find(({ target }) => target === id);
  if (short !== undefined)
    sentences.push(
      `What hangs below it comes to ${formatWatts(short.watts)} too much with all that may be asked of it.`,
    );
  if (memory?.firm?.yields === true)
    sentences.push('Firm power gives way to it: everything else below it is down.');
  if (memory?.follow !== undefined)
    sentences.push(
      `A set point holds it at ${formatWatts(memory.follow.targetWatts)}; miners that take a new power limit within seconds make up for the rest.`,
    );
  if (memory !== undefined && memory.biasWatts > 0)
    sentences.push(
      `Its meter shows ${formatWatts(memory.biasWatts)} more than everything known below it; that much is kept free.`,
    );
  const last = input.decisions.at(-1);
  if (last?.heldBack != null)
    sentences.push(
      `${last.heldBack.count} devices (${formatWatts(last.heldBack.watts)}) wait to rise because of ${last.heldBack.why}.`,
    );
  const falls = input.result?.decision.heldFalls;
  if (falls !== undefined)
    sentences.push(
      `${falls.count} devices (${formatWatts(falls.watts)}) earn less than their energy costs and wait to go down: for money alone power falls by its ramp.`,
    );
  return sentences;
}

const LIMIT_SOURCES: Readonly<Record<string, string>> = {
  rating: 'its rating',
  phases: 'where its fullest phase is at its rating',
  average: 'so that its average stays under its limit',
  thermal: 'so that it gets no hotter than at its continuous load',
};

function limitSentence(input: ExplainInput, id: LimitId): string {
  const view = input.view.limits.find((limit) => limit.id === id)!;
  const until = view.until === null ? '' : ` until ${clock(view.until)}`;
  const source = LIMIT_SOURCES[view.source] ?? `set by ${view.source}${until}`;
  const power =
    view.powerWatts === null
      ? 'what flows is not known'
      : `${formatWatts(view.powerWatts)} flow (${view.basis}, ${view.quality})`;
  return `${id}: ${power} of ${formatWatts(view.limitWatts)} (${source}).`;
}

function clock(ts: EpochMs): string {
  return new Date(ts).toISOString().replace(/\.\d+Z$/, 'Z');
}
