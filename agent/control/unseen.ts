import type { DeviceId, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import { type DeviceInput, worstOf } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import { currentPoint } from './plan.ts';
import { ASLEEP_WATTS } from './points.ts';
import { type ControlRules, editionOf, type StepContext, type StepLimit } from './step-context.ts';

/**
 * What is planned for what cannot be seen. Rises are frozen at once by the ledger and by stale meters; this file
 * decides how much must fall. One device or meter that is lost counts at its worst after a grace. Many that are
 * lost together have one cause (a switch, a converter, a broker): the site holds for the grace and then falls by
 * ramp, so that a dead switch does not put a healthy hall to sleep. A limit whose meter shows it to be over is
 * shed at once whatever is said here.
 */

/** This many devices below one root that went silent together are one cause, not as many faults. */
const GROUP_AT_LEAST = 4;
/** And this share of those that were ever seen. */
const GROUP_SHARE = 0.02;
/** Silent within this of each other: together. */
const TOGETHER_MS = 60_000;
/** Meters that fell silent within this of each other have one cause. */
const METERS_TOGETHER_MS = 10_000;
/**
 * A device that went silent alone and for this long is what its limit's meter shows of it: a start is hardly ever silent for so
 * long, and one that is comes back as a start, which counts whole. By edition of the laws.
 */
const GONE_AFTER_MS = [10 * 60_000, 5 * 60_000, 3 * 60_000] as const;

type Limits = Readonly<Record<LimitId, LimitMemory>>;

interface Lost {
  readonly input: DeviceInput;
  readonly since: MonotonicMs;
  /** `null`: not read since the agent started, and nothing says what it can be told: planned as it is, unless it is gone. */
  readonly knownWatts: Watts | null;
  readonly extraWatts: Watts;
}

/**
 * Watts to plan for each device that was read once and is silent now, or was not read yet since the agent started:
 * a start sheds nothing by itself. Devices that are not in the result are planned as they are. Pure.
 */
export function plannedUnseen(
  context: StepContext,
  inputs: readonly DeviceInput[],
  limits: Limits,
  now: MonotonicMs,
): ReadonlyMap<DeviceId, Watts> {
  const { rules } = context;
  const edition = editionOf(rules);
  const isFirst = edition < 2;
  const goneAfterMs = GONE_AFTER_MS[Math.min(edition, GONE_AFTER_MS.length) - 1]!;
  const planned = new Map<DeviceId, Watts>();
  const rootOf = rootsOf(context.limits);
  const byRoot = new Map<LimitId, { lost: Lost[]; seen: number }>();
  for (const input of inputs) {
    const root = rootOf.get(input.facts.limit);
    if (root === undefined) continue;
    const group = byRoot.get(root) ?? { lost: [], seen: 0 };
    byRoot.set(root, group);
    if (input.device.sampledAt !== null || input.entry.silentSince !== null) group.seen += 1;
    const lost = lostOf(input, rules);
    if (lost !== null && !(isFirst && currentPoint(input) === null)) group.lost.push(lost);
  }
  for (const [root, { lost, seen }] of byRoot) {
    if (lost.length === 0) continue;
    const moments = lost.map(({ since }) => since);
    const many = Math.max(GROUP_AT_LEAST, Math.ceil(seen * GROUP_SHARE));
    const group = lost.filter(({ since }) => within(moments, since, TOGETHER_MS) >= many);
    const shareOf = rampedShares(group, limits[root]!.inForceWatts, rules, now);
    const grouped = new Set(group);
    for (const one of lost) {
      const { facts } = one.input;
      const isGone = !grouped.has(one) && now - one.since > goneAfterMs;
      if (isGone && metered(context.limits, limits, facts.limit, rules, now)) planned.set(facts.id, 0);
      else if (one.knownWatts === null) continue;
      else if (grouped.has(one))
        planned.set(facts.id, Math.ceil(one.knownWatts + one.extraWatts * shareOf(one)));
      else {
        const counts = now - one.since > rules.deviceStaleMs + rules.staleGraceMs;
        planned.set(facts.id, Math.ceil(one.knownWatts + (counts ? one.extraWatts : 0)));
      }
    }
  }
  return planned;
}

function lostOf(input: DeviceInput, rules: ControlRules): Lost | null {
  const { device, entry, facts } = input;
  if (device.fresh || entry.silentSince === null || entry.quarantine !== null) return null;
  if (device.inventory !== 'present' && device.inventory !== 'absent') return null;
  if (device.failure === 'wrong-device') return null;
  const worst = worstOf(entry, facts, device);
  const told = toldWatts(input, rules);
  const knownWatts = told === null ? null : Math.min(told, worst);
  return {
    input,
    since: entry.silentSince,
    knownWatts,
    extraWatts: knownWatts === null ? 0 : worst - knownWatts,
  };
}

/** What it was last told or shown to draw; before its first reading nothing says which points it has. */
function toldWatts(input: DeviceInput, rules: ControlRules): Watts | null {
  const { pending, pointId } = input.entry;
  const told = pending !== null && !pending.failed ? pending : null;
  const isThere = input.facts.points.some(({ id }) => id === told?.pointId);
  // What it is on its way to, also where it was not read yet and its facts do not have that point.
  if (told !== null && !isThere && editionOf(rules) >= 3) return told.watts;
  const point = currentPoint(input);
  if (point !== null) return point.watts;
  if (told !== null) return told.watts;
  return pointId === 'sleep' ? ASLEEP_WATTS : null;
}

/**
 * How much of its worst case a device of a group counts at: nothing within the grace, then as fast as the ramp goes. Each
 * from its own silence on: who died a moment before the agent's start says nothing of those that it has not asked yet.
 */
function rampedShares(
  group: readonly Lost[],
  inForceWatts: Watts,
  rules: ControlRules,
  now: MonotonicMs,
): (one: Lost) => number {
  const extra = group.reduce((sum, { extraWatts }) => sum + extraWatts, 0);
  if (extra <= 0) return () => 1;
  const first = Math.min(...group.map(({ since }) => since));
  const perMs = rampWattsPerMs(inForceWatts, rules);
  return ({ since }) => {
    const elapsed = now - (editionOf(rules) < 3 ? first : since) - rules.deviceStaleMs - rules.staleGraceMs;
    return Math.min(1, Math.max(0, (elapsed * perMs) / extra));
  };
}

function rampWattsPerMs(watts: Watts, rules: ControlRules): number {
  return (watts * rules.rampPercentPerMinute) / 100 / 60_000;
}

/** How many of the `moments` lie within `ms` of `at`, itself included. */
function within(moments: readonly MonotonicMs[], at: MonotonicMs, ms: number): number {
  let count = 0;
  for (const moment of moments) if (Math.abs(moment - at) <= ms) count += 1;
  return count;
}

function rootsOf(limits: readonly StepLimit[]): Map<LimitId, LimitId> {
  const roots = new Map<LimitId, LimitId>();
  for (const limit of limits)
    roots.set(limit.id, limit.parent === null ? limit.id : roots.get(limit.parent)!);
  return roots;
}

/** Its meter was not read yet since the agent started, and is given its grace: a start sheds nothing by itself. */
function isStarting({ samples, goodAt }: LimitMemory, rules: ControlRules, now: MonotonicMs): boolean {
  return (
    editionOf(rules) >= 2 && samples.length === 0 && now - goodAt <= rules.meterStaleMs + rules.staleGraceMs
  );
}

/** Whether a fresh meter stands at the limit or above it. */
function metered(
  all: readonly StepLimit[],
  limits: Limits,
  from: LimitId,
  rules: ControlRules,
  now: MonotonicMs,
): boolean {
  for (let at = all.find(({ id }) => id === from); at !== undefined; ) {
    if (at.metered && now - limits[at.id]!.goodAt <= rules.meterStaleMs) return true;
    if (at.metered && isStarting(limits[at.id]!, rules, now)) return true;
    const { parent } = at;
    at = parent === null ? undefined : all.find(({ id }) => id === parent);
  }
  return false;
}

/**
 * Watts to take off the room of each limit whose meter is silent: its own reserve again as soon as the meter is
 * stale; after the grace everything below it that works, and stands below no other meter that is read, counts at
 * its nameplate. Pure.
 */
export function blindWatts(
  context: StepContext,
  inputs: readonly DeviceInput[],
  limits: Limits,
  now: MonotonicMs,
): ReadonlyMap<LimitId, Watts> {
  const { rules } = context;
  const result = new Map<LimitId, Watts>();
  const stale = context.limits.filter(
    (limit) => limit.metered && now - limits[limit.id]!.goodAt > rules.meterStaleMs,
  );
  if (stale.length === 0) return result;
  const blind = new Set(stale.map(({ id }) => id));
  const uncovered = uncoveredBelow(context, inputs, blind);
  const moments = stale.map(({ id }) => limits[id]!.goodAt);
  for (const { id } of stale) {
    const { goodAt, inForceWatts } = limits[id]!;
    const reserve = isStarting(limits[id]!, rules, now) ? 0 : inForceWatts * rules.reserveShare;
    const together = within(moments, goodAt, METERS_TOGETHER_MS) > 1;
    const elapsed = now - goodAt - rules.staleGraceMs;
    const { runningWatts, nameplateWatts } = uncovered.get(id)!;
    // As many fewer watts by their points as their nameplates are more: enough, and no more than enough.
    const short =
      nameplateWatts > 0
        ? Math.max(0, (inForceWatts - reserve) * (1 - Math.min(1, runningWatts / nameplateWatts)))
        : 0;
    const ramped = together ? Math.min(short, elapsed * rampWattsPerMs(inForceWatts, rules)) : short;
    result.set(id, reserve + (elapsed > 0 ? Math.max(0, ramped) : 0));
  }
  return result;
}

/** Of every blind limit: what works below it and below no meter that is read, by points and by nameplates. */
function uncoveredBelow(
  context: StepContext,
  inputs: readonly DeviceInput[],
  blind: ReadonlySet<LimitId>,
): Map<LimitId, { runningWatts: Watts; nameplateWatts: Watts }> {
  const limitOf = new Map(context.limits.map((limit) => [limit.id, limit]));
  const sums = new Map([...blind].map((id) => [id, { runningWatts: 0, nameplateWatts: 0 }]));
  for (const input of inputs) {
    const { facts, device } = input;
    if (device.inventory === 'expected' || device.inventory === 'removed') continue;
    const point = currentPoint(input);
    if (point?.kind === 'sleep') continue;
    let gain = 1;
    for (let at = limitOf.get(facts.limit); at !== undefined; ) {
      const sum = sums.get(at.id);
      if (sum === undefined && at.metered) break;
      if (sum !== undefined) {
        const watts = point?.watts ?? facts.nameplateWatts;
        // What works at a lower point may stray from it as far as full power may from its own.
        const full = facts.points.at(-1)?.watts ?? facts.nameplateWatts;
        sum.runningWatts += gain * watts;
        sum.nameplateWatts += gain * watts * Math.max(1, full > 0 ? facts.nameplateWatts / full : 1);
      }
      gain *= at.gain;
      at = at.parent === null ? undefined : limitOf.get(at.parent);
    }
  }
  return sums;
}
