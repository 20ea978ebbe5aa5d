import type { Milliseconds } from '../../protocols/units.ts';
import type { DeviceInput, Entry } from './ledger.ts';
import type { DeviceFacts } from './points.ts';
import { type ControlRules, editionOf } from './step-context.ts';

/** Falls commanded and judged, fading: old ones count less and less. */
interface Falls {
  readonly judged: number;
  readonly ignored: number;
}

/**
 * What is learnt of a class of devices on this site: how long falls take until readings show them, and what share
 * of falls is not obeyed. Facts of the firmware are the slow end of every site; a site's own figures let a class
 * that is fast here be planned for short deadlines, and one that is slow or stubborn not.
 */
export interface ClassMemory extends Falls {
  /** Falls of devices that had obeyed their last one, which are not among the others; absent before there was any. */
  readonly again?: Falls;
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
/** Who obeyed the last time is expected to ignore this part of what the others are. */
const AGAIN_SHARE = 0.25;

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
    const judged: ClassMemory =
      entriesBefore[entry.id]!.obeyed === true
        ? { ...memory, again: judge(memory.again ?? { judged: 0, ignored: 0 }, obeyed) }
        : { ...memory, ...judge(memory, obeyed) };
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

function judge({ judged, ignored }: Falls, obeyed: boolean): Falls {
  return {
    judged: Math.round((judged * FADE + 1) * 1000) / 1000,
    ignored: Math.round((ignored * FADE + (obeyed ? 0 : 1)) * 1000) / 1000,
  };
}

/** Notes on an entry whether the last fall that it was told was obeyed. Pure. */
export function learnObedience(entry: Entry, before: Entry | undefined): Entry {
  const was = before?.pending ?? null;
  if (was === null || was.failed || was.direction !== 'down') return entry;
  if (entry.pending === null && entry.quarantine === null && entry.pointId === was.pointId)
    return entry.obeyed === true ? entry : { ...entry, obeyed: true };
  if (entry.obeyed === undefined || entry.disobeyed === 0) return entry;
  const { obeyed: _, ...rest } = entry;
  return rest;
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

/** What a device of a class is expected to ignore, worked out once for each class. Pure. */
export function ignoredShares(
  classes: ClassMemories,
  rules: ControlRules,
): (className: string, obeyed: boolean) => number {
  const least = editionOf(rules) >= 3 ? rules.overshedShare : 0;
  const known = new Map<string, { readonly first: number; readonly again: number }>();
  return (className, obeyed) => {
    let shares = known.get(className);
    if (shares === undefined) {
      const memory = classes[className];
      shares = {
        first: Math.max(least, ignoredShare(memory, rules.overshedShare)),
        again: Math.max(least * AGAIN_SHARE, ignoredShare(memory?.again, rules.overshedShare * AGAIN_SHARE)),
      };
      known.set(className, shares);
    }
    return obeyed ? shares.again : shares.first;
  };
}

function ignoredShare(falls: Falls | undefined, expected: number): number {
  const { judged, ignored } = falls ?? NEW_CLASS;
  return Math.min(MOST_OVERSHED, (ignored + expected * PRIOR) / (judged + PRIOR));
}
