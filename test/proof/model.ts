import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyTransfer, restoreTransfers } from '../../agent/control/transfer.ts';
import { ceilingOf, heldByAi, permitsOf } from '../../agent/control/transfer-permits.ts';
import {
  NO_TRANSFERS,
  TRANSFER_RULES,
  type TransferInput,
  type TransferRules,
  type TransferSite,
  type TransferState,
  total,
} from '../../agent/control/transfer-state.ts';

const MODEL = new URL('../model/transfer.pml', import.meta.url).pathname;

/**
 * The model of hand-overs, exhaustively: no assertion fails in any state, every hand-over ends; and traces of
 * the model, played to the real state machine, end in the same phases and watts after every move.
 */
export function proveModel(traces: number, steps: number): boolean {
  if (spawnSync('spin', ['-V']).status !== 0 || spawnSync('gcc', ['--version']).status !== 0) {
    console.log('spin or gcc is missing: nothing is proved. On Debian: apt-get install spin build-essential');
    return false;
  }
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-model-'));
  try {
    const safe = search(folder, 'safety', ['-DSAFETY'], [], []).holds;
    const spent = search(folder, 'safety, watts spent twice', ['-DSAFETY'], [], ['-DREUSE']);
    console.log(
      spent.found ? 'watts spent twice are found, as they must be' : 'watts spent twice are NOT found',
    );
    const live = search(folder, 'liveness', [], ['-a'], ['-DLIVENESS']).holds;
    return replayAll(folder, traces, steps) && safe && spent.found && live;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `holds`: all states were tried and nothing failed. `found`: an assertion failed. */
function search(
  folder: string,
  name: string,
  compile: readonly string[],
  run: readonly string[],
  define: readonly string[],
): { readonly holds: boolean; readonly found: boolean } {
  const made =
    spawnSync('spin', [...define, '-a', MODEL], { cwd: folder }).status === 0 &&
    spawnSync('gcc', ['-O2', '-DMEMLIM=8000', '-DCOLLAPSE', ...compile, '-o', 'pan', 'pan.c'], {
      cwd: folder,
    }).status === 0;
  if (!made) throw new Error(`${name}: the model does not compile`);
  const start = performance.now();
  const { stdout } = spawnSync('./pan', ['-m1000000', '-n', ...run], { cwd: folder, encoding: 'utf8' });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const states = /(\d+) states, stored/.exec(stdout)?.[1] ?? '?';
  const errors = /errors: (\d+)/.exec(stdout)?.[1];
  const whole = !/Search not completed|max search depth too small|out of memory/i.test(stdout);
  console.log(
    `${name}: ${states} states in ${seconds} s, ${errors ?? 'unknown'} errors${whole ? '' : ', NOT all states'}`,
  );
  const found = /assertion violated|acceptance cycle/.test(stdout);
  if (errors === '0' && whole) return { holds: true, found };
  if (define.includes('-DREUSE')) return { holds: false, found };
  const args = [...define, '-T', '-k', 'transfer.pml.trail', MODEL];
  const trail = spawnSync('spin', args, { cwd: folder, encoding: 'utf8' });
  const moves = trail.stdout.split('\n').filter((line) => /^\s*(move|seen|state) /.test(line));
  console.log([/^pan.*$/m.exec(stdout)?.[0] ?? '', ...moves.slice(-40)].join('\n'));
  return { holds: false, found };
}

function replayAll(folder: string, traces: number, steps: number): boolean {
  const phases = new Map<string, number>();
  let moves = 0;
  for (let seed = 1; seed <= traces; seed += 1) {
    const { stdout } = spawnSync('spin', ['-DTRACE', '-T', `-n${seed}`, `-u${steps}`, MODEL], {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    const difference = replay(stdout, phases);
    moves += [...stdout.matchAll(/^\s*move /gm)].length;
    if (difference !== null) {
      console.log(`trace ${seed}: ${difference}`);
      return false;
    }
  }
  const missing = WORDS.filter((word) => ![...phases.keys()].some((key) => key.endsWith(` ${word}`)));
  console.log(
    `${traces} traces, ${moves} moves played to the state machine: the same phases and watts after each; ` +
      (missing.length === 0 ? 'every phase at rest was reached' : `never reached: ${missing.join(', ')}`),
  );
  return moves > 0 && missing.length === 0;
}

/** Phases at rest, as the model calls them, and as the code does. */
const NAMES: Readonly<Record<string, string>> = { in_use: 'active', releasing: 'verifying-release' };
const WORDS =
  'requested shedding verifying ramping in_use draining releasing released aborted breached'.split(' ');

/** One unit of the model. */
const UNIT = 1000;
/** A short cycle sees no time run out but that of a notice; a long one sees all of them run out. */
const SHORT_MS = 2;
const LONG_MS = 10_000_000;
const DUE_MS = 1e12;
const RULES: TransferRules = {
  ...TRANSFER_RULES,
  rampWattsPerMinute: 1e9,
  leaseMs: 200_000,
  shedMs: 200_000,
  followMs: 200_000,
  stepMs: 200_000,
  breachMs: 1,
  meterLagMs: 1,
  rememberMs: Number.MAX_SAFE_INTEGER,
};
const SITE: TransferSite = {
  limits: [
    { id: 'grid', parent: null, gain: 1 },
    { id: 'feeder', parent: 'grid', gain: 1 },
  ],
  nodes: [{ id: 'node', limit: 'feeder', cappable: true, managed: false, nameplateWatts: 4 * UNIT }],
  workloads: [
    {
      id: 'work',
      nodes: ['node'],
      firmWatts: UNIT,
      flexibleWatts: 3 * UNIT,
      noticeMs: 1,
      checkpointMs: 0,
    },
  ],
};

interface Seen {
  readonly fresh: readonly [boolean, boolean];
  readonly node: boolean;
  readonly obey: boolean;
  readonly long: boolean;
  readonly donors: readonly [number, number];
  readonly ai: number;
  readonly low: readonly [boolean, boolean];
  readonly due: boolean;
}

/** Plays one trace; says where the two differ, or null. */
function replay(trace: string, phases: Map<string, number>): string | null {
  let now = 1000;
  let state = applyTransfer(SITE, RULES, NO_TRANSFERS, tickInput(now, FIRST)).state;
  const lines = trace.split('\n').map((line) => line.trim());
  for (const [n, line] of lines.entries()) {
    const move = /^move (\w+)$/.exec(line)?.[1];
    // The last move of a trace may be cut off.
    if (move === undefined || !lines[n + 2]?.startsWith('state ')) continue;
    const seen = readSeen(lines[n + 1]!);
    const wanted = lines[n + 2]!;
    const which = Number(move.at(-1));
    if (move === 'tick' || move === 'dying') {
      now += seen.long ? LONG_MS : SHORT_MS;
      state = applyTransfer(SITE, RULES, state, tickInput(now, seen)).state;
    } else if (move === 'restart') {
      now += 1;
      const read = JSON.parse(JSON.stringify(state)) as TransferState;
      state = restoreTransfers(read, { now, epochMs: epochOf(now, seen) }).state;
    } else if (move.startsWith('request')) {
      const mine =
        wanted
          .split('|')
          [which]!.trim()
          .split(' ')
          .at(which === 0 ? 2 : 1) === '1';
      state = applyTransfer(SITE, RULES, state, request(which, mine)).state;
    } else {
      const id = `t${which}`;
      const lease = state.transfers[which]?.lease?.epoch ?? null;
      const epoch = move.startsWith('back') ? lease : null;
      state = applyTransfer(SITE, RULES, state, { kind: 'end', id, epoch, reason: move }).state;
    }
    const is = describe(state, move === 'dying' ? wanted : null);
    for (const word of wanted.matchAll(/[a-z_]+/g)) phases.set(`at ${word[0]}`, 1);
    if (is !== translated(wanted)) {
      return `line ${n + 1}, ${move}: the model has\n  ${translated(wanted)}\nthe state machine\n  ${is}\n${lines.slice(Math.max(0, n - 15), n + 3).join('\n')}`;
    }
  }
  return null;
}

function translated(line: string): string {
  return line.replaceAll(/[a-z_]+/g, (word) => NAMES[word] ?? word);
}

/** The state in the model's own words; what was not acted on is as the model says it was before. */
function describe(state: TransferState, notActed: string | null): string {
  const units = (watts: number) => watts / UNIT;
  const transfers = [0, 1].map((n) => {
    const transfer = state.transfers[n];
    if (transfer === undefined) return 'none 0 0 0 0 0 0';
    const { held } = transfer;
    const feeder = held['feeder'] ?? 0;
    if ((held['grid'] ?? 0) !== feeder) return `holds ${held['grid']} W at the grid, ${feeder} W below`;
    const ramped = transfer.lease !== null && transfer.rampedWatts >= transfer.lease.watts;
    const isGrant = transfer.direction === 'mining-to-ai';
    const given = Number(isGrant && transfer.lease !== null && ramped);
    const words = [
      transfer.phase,
      Number(!isGrant),
      units(total(transfer.shares)),
      units(total(transfer.lent)),
    ];
    return [...words, units(feeder), given, Number(transfer.cut)].join(' ');
  });
  const base = units(state.bases['node']!);
  if (notActed !== null) {
    const permits = notActed.split('|').at(-1)!.trim().split(' ').slice(1);
    return `state ${transfers.join(' | ')} | ${[base, ...permits].join(' ')}`;
  }
  const permits = permitsOf(SITE, state);
  // What donors that do not obey are made up for with is reserved on top: the model goes without.
  const reservedAt = (limit: string) => {
    let watts = permits.reservedWatts[limit] ?? 0;
    for (const transfer of state.transfers) if (!heldByAi(transfer)) watts -= transfer.extra[limit] ?? 0;
    return watts;
  };
  const reserved = reservedAt('feeder');
  if (reservedAt('grid') !== reserved) return 'reserves differently at its limits';
  const own = [reserved, permits.grantedWatts['node'] ?? 0, ceilingOf(state, 'node')!].map(units);
  return `state ${transfers.join(' | ')} | ${[base, ...own].join(' ')}`;
}

function readSeen(line: string): Seen {
  const [, flags, , d0, d1, ai, low, due] = line.split(' ') as string[];
  const bits = [...flags!].map((bit) => bit === '1');
  return {
    fresh: [bits[0]!, bits[1]!],
    node: bits[2]!,
    obey: bits[3]!,
    long: bits[4]!,
    donors: [Number(d0), Number(d1)],
    ai: Number(ai),
    low: [low![0] === '1', low![1] === '1'],
    due: due === '1',
  };
}

const FIRST: Seen = {
  fresh: [true, true],
  node: true,
  obey: false,
  long: false,
  donors: [1, 2],
  ai: 2,
  low: [false, false],
  due: false,
};

function epochOf(now: number, seen: Seen): number {
  return now + (seen.due ? DUE_MS : 0);
}

function tickInput(now: number, seen: Seen): Extract<TransferInput, { kind: 'tick' }> {
  const [d0, d1] = seen.donors;
  const limits = (['grid', 'feeder'] as const).map((id, n) => {
    const rating = id === 'grid' ? 5 : 4;
    const donors = id === 'grid' ? d0 + d1 : d1;
    const flow = donors + seen.ai;
    const cap = (seen.low[n] ? 3 : rating) * UNIT;
    return {
      id,
      inForceWatts: cap,
      roomWatts: cap,
      worstWatts: flow * UNIT,
      expectedWatts: (seen.obey ? flow - donors : flow) * UNIT,
      loadsWatts: 0,
      minersWorstWatts: donors * UNIT,
      minersUp: donors,
      sampledAt: seen.fresh[n] ? now : null,
      conversionWatts: 0,
      lowered: seen.low[n]!,
    };
  });
  const levelsWatts = [1, 2, 3, 4].map((level) => level * UNIT);
  const worstWatts = seen.ai * UNIT;
  const nodes = [
    { id: 'node', present: true, fresh: seen.node, worstWatts, levelsWatts, sampledAt: now, service: null },
  ];
  return { kind: 'tick', now, epochMs: epochOf(now, seen), limits, nodes };
}

function request(which: number, mine: boolean): TransferInput {
  return {
    kind: 'request',
    request: {
      id: `t${which}`,
      direction: mine ? 'ai-to-mining' : 'mining-to-ai',
      workload: 'work',
      limit: 'grid',
      watts: UNIT,
      until: DUE_MS,
      asker: 'order:model',
      priority: 0,
      notice: 'flexible',
      onlyNodes: null,
    },
  };
}
