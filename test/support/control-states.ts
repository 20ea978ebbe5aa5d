import { type Entry, type Finding, learn, NEW_ENTRY, type Pending } from '../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../agent/control/observation.ts';
import type { Overshed } from '../../agent/control/overshed.ts';
import type { DeviceFacts, OperatingPoint } from '../../agent/control/points.ts';
import type { ControlRules, StepContext, StepLimit } from '../../agent/control/step-context.ts';

export const SLEEP: OperatingPoint = {
  id: 'sleep',
  kind: 'sleep',
  watts: 60,
  limitWatts: null,
  dollarsPerHour: 0,
};
export const LOW: OperatingPoint = {
  id: 'low',
  kind: 'run',
  watts: 2000,
  limitWatts: 2000,
  dollarsPerHour: 0.15,
};
export const NORMAL: OperatingPoint = {
  id: 'normal',
  kind: 'run',
  watts: 3000,
  limitWatts: null,
  dollarsPerHour: 0.2,
};

/** A miner that sleeps, runs at 2 or at 3 kW, below `grid`. */
export function minerFacts(changes: Partial<DeviceFacts> = {}): DeviceFacts {
  return {
    id: 'd',
    kind: 'miner',
    limit: 'grid',
    className: 'luxos',
    nameplateWatts: 3300,
    points: [SLEEP, LOW, NORMAL],
    sleepMs: 15_000,
    wakeMs: 300_000,
    changeMs: 20_000,
    wakeDollars: 0.02,
    ...changes,
  };
}

/** A node whose caps come to 5 or to 8 kW. */
export function nodeFacts(changes: Partial<DeviceFacts> = {}): DeviceFacts {
  return minerFacts({
    kind: 'gpu-node',
    className: 'gpu',
    nameplateWatts: 10_000,
    points: [
      { id: 'cap-5', kind: 'run', watts: 5000, limitWatts: 5000, dollarsPerHour: 5 },
      { id: 'full', kind: 'run', watts: 8000, limitWatts: null, dollarsPerHour: 8 },
    ],
    sleepMs: null,
    wakeMs: null,
    changeMs: 5000,
    wakeDollars: 0,
    ...changes,
  });
}

export function entryOf(changes: Partial<Entry> = {}): Entry {
  return { ...NEW_ENTRY, id: 'd', provenWatts: 3000, pointId: 'normal', ...changes };
}

/** A command of second 100 that is due at second 200. */
export function pendingOf(changes: Partial<Pending> = {}): Pending {
  return {
    pointId: 'sleep',
    kind: 'sleep',
    watts: 60,
    limitWatts: null,
    direction: 'down',
    sentAt: 100_000,
    dueAt: 200_000,
    fromWatts: 3000,
    failed: false,
    cause: 'why',
    ...changes,
  };
}

/** A miner that runs at 3 kW, asked at second 150. */
export function observed(changes: Partial<ObservedDevice> = {}): ObservedDevice {
  return {
    id: 'd',
    inventory: 'present',
    activity: 'running',
    powerWatts: 3000,
    reported: true,
    limitWatts: null,
    requestedAt: 150_000,
    sampledAt: 150_100,
    fresh: true,
    failure: null,
    firmware: 'luxos',
    model: null,
    nominalHashrateThs: 120,
    hashrateThs: 120,
    control: null,
    gpus: null,
    implausible: false,
    ...changes,
  };
}

/** A limit of 100 kW without a meter. */
export function stepLimit(changes: Partial<StepLimit> = {}): StepLimit {
  return {
    id: 'grid',
    parent: null,
    gain: 1,
    ratingWatts: 100_000,
    ratingAmps: null,
    average: null,
    loadWorstWatts: 0,
    metered: false,
    authority: 'full',
    ...changes,
  };
}

/** A limit whose devices ignore `share` of a fall, and are quick enough that others replace them. */
export function overshed(share: number): Overshed {
  return { share, deviceWatts: 3000, quickestMs: 1000 };
}

export const CONTROL_RULES: ControlRules = {
  meterStaleMs: 10_000,
  deviceStaleMs: 15_000,
  staleGraceMs: 30_000,
  meterLagMs: 2000,
  pollMs: 5000,
  dwellMs: 600_000,
  leastSleepMs: 60_000,
  wakesPerHour: 3,
  wakesPerTenSeconds: 2,
  restoreHoldMs: 30_000,
  rampPercentPerMinute: 6,
  overshedShare: 0.05,
  driftShare: 0.01,
  reserveShare: 0.02,
  shareLimits: true,
  wholeRises: true,
  edition: 3,
};

export function stepContextOf(limits: readonly StepLimit[]): StepContext {
  return { limits, devices: [], floors: [], rules: CONTROL_RULES };
}

/** What an entry becomes by one reading at second 160, and what is told. */
export function learnt(
  entry: Partial<Entry>,
  device: Partial<ObservedDevice> = {},
  facts: DeviceFacts = minerFacts(),
  now = 160_000,
): { entry: Entry; told: string[] } {
  const findings: Finding[] = [];
  const next = learn(entryOf(entry), facts, observed(device), now, findings);
  return { entry: next, told: findings.map(({ kind, device: id, message }) => `${kind} ${id}: ${message}`) };
}
