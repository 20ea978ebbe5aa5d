import type { LimitId, Milliseconds, Watts } from '../../protocols/units.ts';
import type { DeviceInput, Entry } from './ledger.ts';
import type { DeviceFacts } from './points.ts';
import type { ControlRules, StepLimit } from './step-context.ts';

/**
 * What is learnt of a class of devices on this site: how long falls take until readings show them, and what share
 * of falls is not obeyed. Facts of the firmware are the slow end of every site; a site's own figures let a class
 * that is fast here be planned for short deadlines, and one that is slow or stubborn not.
 */
export interface ClassMemory {
  /** Falls commanded and judged, fading: old ones count less and less. */
  readonly judged: number;
  readonly ignored: number;
  /** The last times from command to evidence, newest last. */
  readonly sleepMs: readonly Milliseconds[];
  readonly changeMs: readonly Milliseconds[];
}

export type ClassMemories = Readonly<Record<string, ClassMemory>>;

const NEW_CLASS: ClassMemory = { judged: 0, ignored: 0, sleepMs: [], changeMs: [] };
/** Times that are remembered, and how many are needed before they are believed. */
const KEPT = 100;
const ENOUGH = 20;
/** The weight of all that was judged before, at each new judgement: the last two hundred or so count. */
const FADE = 0.995;
/** Learnt times are taken with this factor, and within these bounds of the facts. */
const CAUTION = 1.2;
const LEAST_SHARE_OF_FACTS = 0.4;
const MOST_SHARE_OF_FACTS = 3;
/** The configured share of disobedience counts like this many commands seen. */
const PRIOR = 20;
const MOST_OVERSHED = 0.25;

/** Takes in what this cycle's evidence says of the falls that were under way. Pure. */
export function learnClasses(
  before: ClassMemories,
  entriesBefore: Readonly<Record<string, Entry>>,
  inputs: readonly DeviceInput[],
): ClassMemories {
  let next: Record<string, ClassMemory> | null = null;
  for (const { entry, facts, device } of inputs) {
    const was = entriesBefore[entry.id]?.pending ?? null;
    if (was === null || was.failed || was.direction !== 'down' || facts.kind !== 'miner') continue;
    const obeyed = entry.pending === null && entry.pointId === was.pointId;
    const ignored = (entry.pending?.failed ?? false) || entry.quarantine !== null;
    if (!obeyed && !ignored) continue;
    next ??= { ...before };
    const memory = next[facts.className] ?? NEW_CLASS;
    const judged = {
      ...memory,
      judged: Math.round((memory.judged * FADE + 1) * 1000) / 1000,
      ignored: Math.round((memory.ignored * FADE + (obeyed ? 0 : 1)) * 1000) / 1000,
    };
    // A device without watts of its own shows its own word, not when the watts went.
    if (!obeyed || !device.reported || device.sampledAt === null) {
      next[facts.className] = judged;
      continue;
    }
    const kind = was.kind === 'sleep' ? 'sleepMs' : 'changeMs';
    const took = Math.round(device.sampledAt - was.sentAt);
    next[facts.className] = { ...judged, [kind]: [...memory[kind], took].slice(-KEPT) };
  }
  return next ?? before;
}

/** The slow end of what was seen of a class; `null` before enough was. */
interface LearntTimes {
  readonly sleepMs: Milliseconds | null;
  readonly changeMs: Milliseconds | null;
}

/** The slow end of every class, worked out once a cycle. Pure. */
export function learntTimes(classes: ClassMemories): ReadonlyMap<string, LearntTimes> {
  return new Map(
    Object.entries(classes).map(([name, memory]) => [
      name,
      { sleepMs: slowEnd(memory.sleepMs), changeMs: slowEnd(memory.changeMs) },
    ]),
  );
}

function slowEnd(seen: readonly Milliseconds[]): Milliseconds | null {
  return seen.length < ENOUGH ? null : seen.toSorted((a, b) => a - b)[Math.ceil(seen.length * 0.99) - 1]!;
}

/** The facts of a device with the times that were learnt of its class. Pure. */
export function withLearntTimes(facts: DeviceFacts, times: ReadonlyMap<string, LearntTimes>): DeviceFacts {
  const learnt = times.get(facts.className);
  if (learnt === undefined || facts.kind !== 'miner') return facts;
  const sleepMs = bounded(facts.sleepMs, learnt.sleepMs);
  const changeMs = bounded(facts.changeMs, learnt.changeMs);
  return sleepMs === facts.sleepMs && changeMs === facts.changeMs ? facts : { ...facts, sleepMs, changeMs };
}

function bounded(fact: Milliseconds | null, learnt: Milliseconds | null): Milliseconds | null {
  if (fact === null || learnt === null) return fact;
  return Math.round(
    Math.min(fact * MOST_SHARE_OF_FACTS, Math.max(fact * LEAST_SHARE_OF_FACTS, learnt * CAUTION)),
  );
}

/** What a limit sheds beyond need when it falls, for those who will not obey. */
export interface Overshed {
  /** Share of a fall that is ignored in the mean. */
  readonly share: number;
  /** What one of its devices comes to, in the mean: few devices stray further from the share than many. */
  readonly deviceWatts: Watts;
  /** How long the quickest of those at work takes to go down, asleep or to a lower point; infinite where none is. */
  readonly quickestMs: Milliseconds;
}

/**
 * What each limit sheds more than it must: the share of a fall that its devices are known to ignore, weighted by their
 * watts, never less than configured; and what says how far a fall may stray from that. Pure.
 */
export function overshedShares(
  limits: readonly StepLimit[],
  inputs: readonly DeviceInput[],
  classes: ClassMemories,
  rules: ControlRules,
): ReadonlyMap<LimitId, Overshed> {
  const below = new Map(
    limits.map((limit) => [limit.id, { all: 0, ignored: 0, devices: 0, quickestMs: Infinity }]),
  );
  const ignoredBy = new Map<string, number>();
  for (const { facts, entry, device } of inputs) {
    if (device.inventory !== 'present' || entry.quarantine !== null || facts.points.length < 2) continue;
    const at = below.get(facts.limit);
    if (at === undefined) continue;
    const full = facts.points.at(-1)!.watts;
    at.all += full;
    const ignored = ignoredBy.get(facts.className) ?? ignoredShare(classes[facts.className], rules);
    ignoredBy.set(facts.className, ignored);
    at.ignored += full * ignored;
    at.devices += 1;
    if (entry.pointId !== 'sleep')
      at.quickestMs = Math.min(at.quickestMs, facts.sleepMs ?? Infinity, facts.changeMs ?? Infinity);
  }
  const oversheds = new Map<LimitId, Overshed>();
  for (const limit of limits.toReversed()) {
    const { all, ignored, devices, quickestMs } = below.get(limit.id)!;
    oversheds.set(limit.id, {
      share: all === 0 ? rules.overshedShare : Math.max(rules.overshedShare, ignored / all),
      deviceWatts: devices === 0 ? 0 : all / devices,
      quickestMs,
    });
    if (limit.parent === null) continue;
    const parent = below.get(limit.parent)!;
    parent.all += all;
    parent.ignored += ignored;
    parent.devices += devices;
    parent.quickestMs = Math.min(parent.quickestMs, quickestMs);
  }
  return oversheds;
}

function ignoredShare(memory: ClassMemory | undefined, rules: ControlRules): number {
  const { judged, ignored } = memory ?? NEW_CLASS;
  return Math.min(MOST_OVERSHED, (ignored + rules.overshedShare * PRIOR) / (judged + PRIOR));
}
