import type { DeviceId, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Condition } from './alarms.ts';
import { reportedWatts } from './meter-devices.ts';
import type { SiteModel } from './model.ts';
import type { Snapshot } from './snapshot.ts';

/** A change smaller than this drowns in what else a meter shows. */
const LEAST_WATTS: Watts = 400;
/** Between the two readings of a change; what ramps more slowly is no step. */
const STEP_MOST_MS: Milliseconds = 20_000;
/** Meters and readings follow a change by this much. */
const SETTLE_MS: Milliseconds = 6000;
/** Over which the level before and after is taken. */
const LEVEL_MS: Milliseconds = 10_000;
const KEPT_MS = 2 * (SETTLE_MS + LEVEL_MS) + STEP_MOST_MS + 5000;
/** Levels may be apart by this share of the step and still be the same. */
const SAME_SHARE = 0.3;
const WRONG_AT_LEAST = 3;
const FORGET_ABOVE = 20;
const STEPS_KEPT = 200;

interface Step {
  readonly device: DeviceId;
  readonly own: LimitId;
  readonly from: MonotonicMs;
  readonly to: MonotonicMs;
  /** At its own meter, losses included. */
  readonly watts: Watts;
}

interface Tally {
  right: number;
  wrong: number;
  /** Which other meter moved instead; `null`: none of the site's. */
  readonly instead: Map<LimitId | null, number>;
}

interface Level {
  readonly watts: Watts;
  readonly range: Watts;
}

/**
 * Notices devices that move another meter than the one they are configured below, from whatever switches anyway: where
 * a single device steps up or down and its meter stays where it was, while another one takes the step. It takes three
 * such steps and hardly any to the contrary to say so; a topology run is the proof.
 */
export class PlaceDoubts {
  private readonly meters: LimitId[] = [];
  /** Metered limit that a limit's devices show up at first, with the losses on the way. */
  private readonly nearest = new Map<LimitId, { readonly id: LimitId; readonly gain: number }>();
  /** Metered limits right below a metered limit. */
  private readonly below = new Map<LimitId, { readonly id: LimitId; readonly gain: number }[]>();
  private readonly shown = new Map<DeviceId, { readonly watts: Watts; readonly at: MonotonicMs }>();
  /** Per metered limit: what it shows beyond its own devices' reports, newest last. */
  private readonly beyond = new Map<LimitId, [MonotonicMs, Watts][]>();
  /** Steps that are not judged yet, and those that were and still disturb their neighbours. */
  private open: Step[] = [];
  private past: Step[] = [];
  private readonly tallies = new Map<DeviceId, Tally>();
  private readonly gains = new Map<DeviceId, { readonly id: LimitId; readonly gain: number }>();

  constructor(model: SiteModel) {
    const limits = new Map(model.limits.map((limit) => [limit.id, limit]));
    const nearestFrom = (start: LimitId | null) => {
      let gain = 1;
      for (let at = start === null ? undefined : limits.get(start); at !== undefined; ) {
        if (at.meterId !== null) return { id: at.id, gain };
        gain *= at.gain;
        at = at.parent === null ? undefined : limits.get(at.parent);
      }
      return null;
    };
    for (const limit of model.limits) {
      const place = nearestFrom(limit.id);
      if (place !== null) this.nearest.set(limit.id, place);
      if (limit.meterId === null) continue;
      this.meters.push(limit.id);
      const parent = nearestFrom(limit.parent);
      if (parent === null) continue;
      const under = this.below.get(parent.id) ?? [];
      this.below.set(parent.id, [...under, { id: limit.id, gain: parent.gain * limit.gain }]);
    }
    for (const device of model.devices) {
      const place = this.nearest.get(device.limit);
      if (place !== undefined) this.gains.set(device.id, place);
    }
  }

  /** Takes a cycle in; the conditions of this moment. */
  conditions(snapshot: Snapshot): Condition[] {
    const now = snapshot.monotonicMs;
    this.noteMeters(snapshot, this.noteDevices(snapshot));
    const due = this.open.filter((step) => now >= step.to + SETTLE_MS + LEVEL_MS);
    for (const step of due) this.judge(step);
    this.open = this.open.filter((step) => !due.includes(step)).slice(-STEPS_KEPT);
    this.past = [...this.past, ...due].filter((step) => now - step.to < KEPT_MS).slice(-STEPS_KEPT);
    return [...this.tallies].flatMap(([device, tally]) => this.condition(device, tally));
  }

  /** Sums of what devices report at each meter; steps are noted on the way. */
  private noteDevices(snapshot: Snapshot): Map<LimitId, Watts> {
    const sums = new Map<LimitId, Watts>();
    for (const device of snapshot.devices) {
      const place = this.gains.get(device.id);
      const watts = reportedWatts(device);
      if (place === undefined || watts === null || device.reading === null) {
        this.shown.delete(device.id);
        continue;
      }
      sums.set(place.id, (sums.get(place.id) ?? 0) + watts * place.gain);
      const { sampledAt } = device.reading;
      const before = this.shown.get(device.id);
      if (before !== undefined && before.at >= sampledAt) continue;
      this.shown.set(device.id, { watts, at: sampledAt });
      const step = before === undefined ? 0 : watts - before.watts;
      if (before === undefined || Math.abs(step) < LEAST_WATTS || sampledAt - before.at > STEP_MOST_MS)
        continue;
      this.open.push({
        device: device.id,
        own: place.id,
        from: before.at,
        to: sampledAt,
        watts: step * place.gain,
      });
    }
    return sums;
  }

  private noteMeters(snapshot: Snapshot, sums: ReadonlyMap<LimitId, Watts>): void {
    const now = snapshot.monotonicMs;
    const measured = new Map<LimitId, Watts>();
    for (const limit of snapshot.limits)
      if (limit.basis === 'measured' && limit.quality === 'good' && limit.powerWatts !== null)
        measured.set(limit.id, limit.powerWatts);
    for (const id of this.meters) {
      const own = measured.get(id);
      const under = this.below.get(id) ?? [];
      const known = own !== undefined && under.every((child) => measured.has(child.id));
      const series = this.beyond.get(id) ?? [];
      this.beyond.set(id, series);
      // What was not seen is bridged by nothing.
      if (!known) series.length = 0;
      else {
        const children = under.reduce((sum, child) => sum + measured.get(child.id)! * child.gain, 0);
        if ((series.at(-1)?.[0] ?? -1) < now) series.push([now, own - children - (sums.get(id) ?? 0)]);
      }
      while (series.length > 0 && now - series[0]![0] > KEPT_MS) series.shift();
    }
  }

  private judge(step: Step): void {
    const rise = this.jumpOf(step.own, step);
    const most = Math.abs(step.watts) * SAME_SHARE;
    if (rise !== null && !this.disturbed(step, step.own)) {
      if (Math.abs(rise) <= most) this.tally(step.device).right += 1;
      // Its report moved and its meter did not.
      else if (Math.abs(rise + step.watts) <= most) this.blame(step, most);
    }
    const tally = this.tallies.get(step.device);
    if (tally === undefined || tally.right + tally.wrong <= FORGET_ABOVE) return;
    tally.right /= 2;
    tally.wrong /= 2;
    for (const [id, count] of tally.instead) tally.instead.set(id, count / 2);
  }

  private blame(step: Step, most: Watts): void {
    const moved: LimitId[] = [];
    for (const id of this.beyond.keys()) {
      if (id === step.own) continue;
      const jump = this.jumpOf(id, step);
      // A meter that was not seen, or that others moved at the same time, may hide the truth.
      if (jump === null || this.disturbed(step, id)) return;
      if (Math.abs(jump - step.watts) <= most) moved.push(id);
      else if (Math.abs(jump) > most) return;
    }
    if (moved.length > 1) return;
    const tally = this.tally(step.device);
    const found = moved[0] ?? null;
    tally.wrong += 1;
    tally.instead.set(found, (tally.instead.get(found) ?? 0) + 1);
  }

  /** By how much the level of a meter beyond its devices changed over a step; `null`: it cannot be said. */
  private jumpOf(id: LimitId, step: Step): Watts | null {
    const series = this.beyond.get(id)!;
    const before = levelOf(series, step.from - LEVEL_MS - 1000, step.from - 1000);
    const after = levelOf(series, step.to + SETTLE_MS, step.to + SETTLE_MS + LEVEL_MS);
    const most = Math.abs(step.watts) * SAME_SHARE;
    if (before === null || after === null || before.range > most || after.range > most) return null;
    return after.watts - before.watts;
  }

  /** Whether another device stepped at that meter within the time that is looked at. */
  private disturbed(step: Step, meter: LimitId): boolean {
    return [...this.open, ...this.past].some(
      (other) =>
        other !== step &&
        other.own === meter &&
        other.to > step.from - LEVEL_MS - SETTLE_MS &&
        other.from < step.to + SETTLE_MS + LEVEL_MS,
    );
  }

  private tally(device: DeviceId): Tally {
    const tally = this.tallies.get(device) ?? { right: 0, wrong: 0, instead: new Map() };
    this.tallies.set(device, tally);
    return tally;
  }

  private condition(device: DeviceId, { right, wrong, instead }: Tally): Condition[] {
    if (wrong < WRONG_AT_LEAST || wrong <= 2 * right) return [];
    const [found] = [...instead].sort(([, a], [, b]) => b - a)[0]!;
    const own = this.gains.get(device)!.id;
    return [
      {
        code: 'wrong-place-suspected',
        severity: 'minor',
        target: device,
        message:
          `${device} is configured below ${own}, whose meter does not move when it does; ` +
          `${found === null ? 'no meter of the site does' : `that of ${found} does`}.`,
        nextStep: `Prove it with \`switchyard commission topology ${own}\`, then correct its \`limit\`.`,
      },
    ];
  }
}

function levelOf(
  series: readonly (readonly [MonotonicMs, Watts])[],
  from: MonotonicMs,
  to: MonotonicMs,
): Level | null {
  let [count, sum, least, most] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [at, watts] of series) {
    if (at < from || at > to) continue;
    count += 1;
    sum += watts;
    least = Math.min(least, watts);
    most = Math.max(most, watts);
  }
  return count < 3 ? null : { watts: sum / count, range: most - least };
}
