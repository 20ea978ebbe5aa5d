import type { MinerReading, MinerState } from '../../drivers/load-driver.ts';
import type { DeviceId, EpochMs, Milliseconds } from '../../protocols/units.ts';
import type { SiteModel } from './model.ts';
import type { DeviceState, MeterState, SiteEvent, Snapshot } from './snapshot.ts';

export type Severity = 'critical' | 'major' | 'minor' | 'info';

/** A condition that holds now and that somebody should know of. */
export interface Condition {
  readonly code: string;
  readonly severity: Severity;
  /** Device, meter, limit or `site`. */
  readonly target: string;
  /** One sentence that names the fault. */
  readonly message: string;
  /** What to do next. */
  readonly nextStep: string;
  /** How many devices one condition stands for. */
  readonly count?: number;
  /** What those devices share, and the trouble most likely comes from: `entry hall-a`, `network 10.1.0.0/24`. */
  readonly firstCause?: string;
  readonly devices?: readonly DeviceId[];
  /** Too young to be told on its own: others may follow, and then it is one cause. */
  readonly fresh?: true;
}

export interface Alarm extends Condition {
  /** `code:target`, stable while the condition holds. */
  readonly id: string;
  readonly since: EpochMs;
  readonly acknowledgedBy: string | null;
}

/** Every condition that a snapshot alone shows, one for each device. Pure. */
export function conditionsOf(model: SiteModel, snapshot: Snapshot): Condition[] {
  const conditions: Condition[] = [];
  for (const meter of snapshot.meters) meterCondition(meter, conditions);
  deviceConditions(snapshot, conditions);
  for (const limit of model.limits) {
    const state = snapshot.limits.find((candidate) => candidate.id === limit.id);
    if (state?.powerWatts == null || state.basis !== 'measured' || state.quality !== 'good') continue;
    if (state.powerWatts > limit.ratingWatts) {
      conditions.push({
        code: 'over-rating',
        severity: 'critical',
        target: limit.id,
        message: `${limit.id} carries ${Math.round(state.powerWatts)} W, above its rating of ${limit.ratingWatts} W (${limit.ratingText}).`,
        nextStep: 'Reduce load below it now; the breaker, not the agent, protects the wire.',
      });
    }
  }
  disagreements(model, snapshot, conditions);
  return conditions;
}

function meterCondition(meter: MeterState, conditions: Condition[]): void {
  if (meter.quality === 'good' || meter.quality === 'estimated') return;
  const where = meter.limit === null ? '' : ` It measures ${meter.limit}.`;
  const never = meter.reading === null;
  // Stale by its driver's own word although it answers: its figures stand still.
  const standsStill = meter.failure === null && meter.reading?.quality === 'stale';
  if (meter.quality === 'bad' || standsStill) {
    conditions.push({
      code: 'meter-bad',
      severity: 'critical',
      target: meter.id,
      message: `The meter ${meter.id} gives figures that cannot be trusted: ${meter.doubts.join('; ') || 'quality bad'}.${where}`,
      nextStep: `Run \`switchyard meter ${meter.id}\` and compare with its display; check current transformers and wiring.`,
    });
  } else if (meter.failure !== null || never || meter.quality === 'stale') {
    conditions.push({
      code: 'meter-silent',
      severity: 'critical',
      target: meter.id,
      message: `The meter ${meter.id} ${never ? 'has not answered yet' : `has been silent for ${Math.round((meter.ageMs ?? 0) / 1000)} s`}${meter.failure === null ? '' : `: ${meter.failure.message}`}.${where}`,
      nextStep: meter.failure?.hint ?? `Run \`switchyard meter ${meter.id}\` on the gateway.`,
    });
  } else {
    conditions.push({
      code: 'meter-without-power',
      severity: 'critical',
      target: meter.id,
      message: `The meter ${meter.id} answers but gives no total power.${where}`,
      nextStep: 'Check that the profile fits the meter.',
    });
  }
}

function deviceConditions(snapshot: Snapshot, conditions: Condition[]): void {
  for (const device of snapshot.devices) {
    if (device.inventory === 'absent') conditions.push(absentCondition(device));
    readingConditions(device, conditions);
  }
}

/** When its switch dies a hall falls silent within a minute, not in one moment. */
const OLD_AFTER_MS: Milliseconds = 60_000;
const OLD_AFTER_FAILURES = 6;

function absentCondition(device: DeviceState): Condition {
  const fresh = device.ageMs === null ? device.failures < OLD_AFTER_FAILURES : device.ageMs < OLD_AFTER_MS;
  return {
    ...(fresh ? { fresh } : {}),
    code: 'device-silent',
    severity: 'minor',
    target: device.id,
    message: `${device.id} does not answer: ${device.failure?.message ?? 'no reply'}`,
    nextStep:
      device.failure?.hint ??
      'Check its network and supply; it keeps its power reservation until its meter shows the watts gone.',
  };
}

/** Recorded miners show less than 1 %, from the way to the pool; so many have a cause of their own. */
const MANY_REJECTED_PERCENT = 5;

function readingConditions(device: DeviceState, conditions: Condition[]): void {
  if (device.failure?.kind === 'wrong-device') {
    conditions.push({
      code: 'wrong-device',
      severity: 'major',
      target: device.id,
      message: device.failure.message,
      nextStep:
        device.failure.hint ?? `If it was exchanged on purpose, run \`switchyard replace ${device.id}\`.`,
    });
  }
  const { reading } = device;
  if (reading === null || device.inventory !== 'present') return;
  if (reading.kind === 'miner' && reading.state === 'fault') {
    const first = reading.errors[0];
    conditions.push({
      code: 'miner-fault',
      severity: 'minor',
      target: device.id,
      message: `${device.id} reports a fault${first === undefined ? '' : `: ${first.message} (${first.code})`}.`,
      nextStep: `Run \`switchyard miner ${device.id}\` and look at its boards.`,
    });
  }
  const rejectedPercent = reading.kind === 'miner' ? (reading.rejectedPercent ?? 0) : 0;
  if (rejectedPercent >= MANY_REJECTED_PERCENT) {
    conditions.push({
      code: 'rejects-shares',
      severity: 'minor',
      target: device.id,
      message: `Pools rejected ${Math.floor(rejectedPercent)} % of the shares of ${device.id} since it began to count: that work is not paid.`,
      nextStep: 'Look at its pool and clock, or its overclock.',
    });
  }
  const rejecting = reading.kind === 'miner' && reading.pools.find(({ status }) => status === 'rejecting');
  if (rejecting) {
    conditions.push({
      code: 'pool-rejects',
      severity: 'minor',
      target: device.id,
      // Firmware says so after a row of rejects, never of one: there is nothing to wait for.
      message: `${rejecting.url === '' ? 'A pool' : `The pool ${rejecting.url}`} rejects share after share of ${device.id}, which has set it aside.`,
      nextStep: `Check its worker name at that pool; \`switchyard miner ${device.id}\` shows which pool it works for now.`,
    });
  }
  if (reading.kind === 'miner' && !RESTS.includes(reading.state)) poolsDead(device.id, reading, conditions);
  if (reading.kind === 'gpu-node' && reading.gpus.some((gpu) => gpu.state !== 'ok')) {
    const sick = reading.gpus.filter((gpu) => gpu.state !== 'ok');
    conditions.push({
      code: 'gpu-fault',
      severity: 'major',
      target: device.id,
      message: `${sick.length} of ${reading.gpus.length} GPUs of ${device.id} cannot be read; the node counts at its nameplate.`,
      nextStep: 'Drain the node and look at its kernel log for Xid errors.',
    });
  }
}

/** Asleep or on its way: what pools say of it then says nothing of them. */
const RESTS: readonly MinerState[] = ['sleeping', 'stopped', 'starting'];

function poolsDead(id: DeviceId, { pools }: MinerReading, conditions: Condition[]): void {
  const used = pools.filter(({ status }) => status !== 'disabled');
  if (used.length === 0 || used.some(({ status }) => status !== 'dead')) return;
  const first = used.find(({ url }) => url !== '')?.url ?? 'its pool';
  const who = used.length === 1 ? `${first} does` : `${first} and ${used.length - 1} more do`;
  conditions.push({
    code: 'pools-dead',
    severity: 'minor',
    target: id,
    message: `No pool takes work from ${id}: ${who} not answer it.`,
    nextStep:
      "Check the way out of the site (name server, firewall), then the pool's own status page. Its power stays reserved: it may be back in any second.",
  });
}

/** A parent and the sum of its children, all measured at the same time, may differ by this much. */
const DISAGREE_SHARE = 0.05;
const DISAGREE_WATTS = 500;
const SAME_TIME_MS = 3000;

/** Two meters that cannot both be right: the children draw more than their parent carries. */
export function disagreements(model: SiteModel, snapshot: Snapshot, conditions: Condition[]): void {
  for (const limit of model.limits) {
    const parent = snapshot.limits.find((state) => state.id === limit.id);
    if (parent?.basis !== 'measured' || parent.quality !== 'good' || parent.powerWatts === null) continue;
    let sum = 0;
    let count = 0;
    let together = true;
    for (const child of model.limits) {
      if (child.parent !== limit.id) continue;
      const state = snapshot.limits.find((candidate) => candidate.id === child.id);
      if (state?.basis !== 'measured' || state.quality !== 'good' || state.powerWatts === null) continue;
      sum += state.powerWatts * child.gain;
      count += 1;
      if (Math.abs((state.sampledAt ?? 0) - (parent.sampledAt ?? 0)) > SAME_TIME_MS) together = false;
    }
    if (count === 0 || !together) continue;
    const excess = sum - parent.powerWatts;
    if (excess > Math.max(DISAGREE_WATTS, DISAGREE_SHARE * Math.abs(parent.powerWatts))) {
      conditions.push({
        code: 'meters-disagree',
        severity: 'major',
        target: limit.id,
        message: `The meters below ${limit.id} add up to ${Math.round(sum)} W, its own shows ${Math.round(parent.powerWatts)} W: one of them is wrong.`,
        nextStep:
          'The agent goes by the higher figure. Compare the displays; check current transformer ratios and directions.',
      });
    }
  }
}

/** Who has seen an alarm, and since when it was active then. */
export interface SeenAlarm {
  readonly who: string;
  readonly since: EpochMs;
}

/** Turns conditions that come and go into alarms with a beginning and an acknowledgement. */
export class AlarmBook {
  private readonly alarms = new Map<string, Alarm>();

  /**
   * Brings the book up to the conditions of now; returns what was raised and what was cleared. `seen`: alarms that
   * somebody acknowledged; one of them that comes again after a restart is the same alarm still.
   */
  update(
    conditions: readonly Condition[],
    epochMs: EpochMs,
    seen: Readonly<Record<string, SeenAlarm>> = {},
  ): { raised: Alarm[]; cleared: Alarm[] } {
    const raised: Alarm[] = [];
    const cleared: Alarm[] = [];
    const current = new Set<string>();
    for (const condition of conditions) {
      const id = `${condition.code}:${condition.target}`;
      current.add(id);
      const before = this.alarms.get(id);
      const alarm: Alarm = {
        ...condition,
        id,
        since: before?.since ?? seen[id]?.since ?? epochMs,
        acknowledgedBy: seen[id]?.who ?? null,
      };
      this.alarms.set(id, alarm);
      if (before === undefined) raised.push(alarm);
    }
    for (const [id, alarm] of this.alarms) {
      if (current.has(id)) continue;
      this.alarms.delete(id);
      cleared.push(alarm);
    }
    return { raised, cleared };
  }

  /** An active alarm by its id. */
  get(id: string): Alarm | null {
    return this.alarms.get(id) ?? null;
  }

  /** Worst first, then oldest. */
  active(): Alarm[] {
    const rank: Record<Severity, number> = { critical: 0, major: 1, minor: 2, info: 3 };
    return [...this.alarms.values()].sort(
      (a, b) => rank[a.severity] - rank[b.severity] || a.since - b.since || (a.id < b.id ? -1 : 1),
    );
  }
}

/** What changed among the alarms, as events. */
export function alarmEvents(
  raised: readonly Alarm[],
  cleared: readonly Alarm[],
  epochMs: number,
): SiteEvent[] {
  const event = (kind: string, alarm: Alarm): SiteEvent => ({
    epochMs,
    kind,
    target: alarm.target,
    message: alarm.message,
    detail: { code: alarm.code },
  });
  return [
    ...raised.map((alarm) => event('alarm', alarm)),
    ...cleared.map((alarm) => event('alarm-cleared', alarm)),
  ];
}
