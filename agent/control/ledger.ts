import type { DeviceId, Milliseconds, MonotonicMs, Percent, Watts } from '../../protocols/units.ts';
import type { ObservedDevice } from './observation.ts';
import { type DeviceFacts, type OperatingPoint, pointShown } from './points.ts';

/** What the ledger keeps of one device between cycles. Plain data, replaced and never mutated. */
export interface Entry {
  readonly id: DeviceId;
  /** The most it could draw by the last evidence. */
  readonly provenWatts: Watts;
  /** The point it was last seen at, or `null` before any evidence. */
  readonly pointId: string | null;
  /** The command that is not yet proved, if any. */
  readonly pending: Pending | null;
  /** Times in a row that a command showed no effect. */
  readonly disobeyed: number;
  /** It obeyed the last fall that it was told; absent where it did not, or was told none. */
  readonly obeyed?: true;
  readonly quarantine: { readonly since: MonotonicMs; readonly why: string } | null;
  readonly sleptAt: MonotonicMs | null;
  readonly wokeAt: MonotonicMs | null;
  /** Moments of wakes in the last hour. */
  readonly wakes: readonly MonotonicMs[];
  /** Its own figure at full power: upwards as seen, downwards slowly. */
  readonly observedWatts: Watts;
  /** Power limit under which it was first found working. */
  readonly normalLimitWatts: Watts | null;
  /** When it was last seen at work although it was told to sleep. */
  readonly roseAt: MonotonicMs | null;
  /** Of a GPU node: the bound that its caps were last proved to hold, as commanded; `null` = not capped by us. */
  readonly heldWatts?: Watts | null;
  /** When something else raised its caps above that, within the last hour. */
  readonly capRises?: readonly MonotonicMs[];
  /** Of a GPU node: since when more flows than its caps allow. */
  readonly overCapSince?: MonotonicMs | null;
  /** A rise that showed before its end: what it may still come to, and until when. Absent where none is under way. */
  readonly rising?: Rising;
  /** What pools rejected when it last worked; absent where they rejected nothing to speak of. */
  readonly rejects?: Rejects;
  /** The last fall that evidence showed: meters with a lag have yet to follow. */
  readonly lastDrop: { readonly watts: Watts; readonly at: MonotonicMs } | null;
  /** Its last reading, while it is silent; `null` while it is read. A pause of the agent is no silence. */
  readonly silentSince: MonotonicMs | null;
}

/** What pools were last seen to reject of a miner's shares while it worked. */
interface Rejects {
  readonly percent: Percent;
  readonly at: MonotonicMs;
}

interface Rising {
  readonly watts: Watts;
  readonly until: MonotonicMs;
  /** The most that it drew so far, and since when it drew no more than that. */
  readonly top?: { readonly watts: Watts; readonly at: MonotonicMs };
}

export interface Pending {
  readonly pointId: string;
  readonly kind: 'sleep' | 'run';
  readonly watts: Watts;
  readonly limitWatts: Watts | null;
  readonly direction: 'up' | 'down';
  /** When it was handed to the driver; evidence must be requested later. */
  readonly sentAt: MonotonicMs;
  /** When evidence must be there at the latest. */
  readonly dueAt: MonotonicMs;
  /** What it drew, at most, before the command. */
  readonly fromWatts: Watts;
  /** Without effect at `dueAt`: counts as not obeyed. */
  readonly failed: boolean;
  readonly cause: string;
}

export const NEW_ENTRY: Omit<Entry, 'id' | 'provenWatts'> = {
  pointId: null,
  pending: null,
  disobeyed: 0,
  quarantine: null,
  sleptAt: null,
  wokeAt: null,
  wakes: [],
  observedWatts: 0,
  normalLimitWatts: null,
  roseAt: null,
  lastDrop: null,
  silentSince: null,
};

/** Start of a wake may exceed the target by this. */
export const OVERSHOOT = 1.1;
/** Noise of a device's own watts. */
export const NOISE_SHARE = 0.03;
/** Full power that was seen once settles to what is seen since: outside this band, by this part a reading. */
const SETTLE_BAND = 0.01;
const SETTLE_GAIN = 0.2;
/** Drawing less than this of its full power it does something else than work. */
const WORKING_SHARE = 0.85;
/** A rise is over when the device drew at most this much more within this time, and this share of what it may come to. */
const LEVEL_SHARE = 0.02;
const LEVEL_MS = 60_000;
const LEVEL_AT_LEAST = 0.8;
/** The same share where the watts are estimated from what it hashes: that follows them, it never goes before. */
const ESTIMATED_LEVEL_AT_LEAST = 0.86;
/** More than the end of a start that went above its target takes back. */
const FELL_SHARE = 0.15;
/** Commands without effect before a device is set aside. */
const QUARANTINE_AFTER = 3;
/** Caps that something else raised this often within an hour are no bound: they are not set again. */
const CAP_RISES_AT_MOST = 3;
/** A device set aside gets another chance after this. */
const QUARANTINE_MS = 30 * 60_000;
/** A sleeper draws at most this by its own word, or its sleep is no sleep. */
const ASLEEP_AT_MOST_WATTS = 300;

/** Something that evidence showed and people should know. */
export interface Finding {
  readonly kind: 'obeyed' | 'disobeyed' | 'quarantined' | 'released' | 'rose-by-itself' | 'contradicted';
  readonly device: DeviceId;
  readonly message: string;
}

/**
 * Brings one entry up to what a reading shows. Only readings requested after a command was sent say anything
 * about it; an acknowledgement never does. Pure.
 */
export function learn(
  entry: Entry,
  facts: DeviceFacts,
  device: ObservedDevice,
  now: MonotonicMs,
  findings: Finding[],
): Entry {
  let next = entry;
  if (entry.quarantine !== null && now - entry.quarantine.since > QUARANTINE_MS) {
    next = { ...next, quarantine: null, disobeyed: 0, capRises: [] };
    findings.push({
      kind: 'released',
      device: entry.id,
      message: `${entry.id} gets another chance after 30 minutes of quarantine`,
    });
  }
  if (next.rising !== undefined && now >= next.rising.until) next = withoutRise(next);
  const { sampledAt } = device;
  if (!device.fresh || sampledAt === null || device.requestedAt === null)
    return expire(silent(next, device, now), now, findings);
  if (next.silentSince !== null) next = { ...next, silentSince: null };
  next = observeFull(next, facts, device);
  const { pending } = next;
  if (pending === null) return follow(next, facts, device, now, findings);
  if (device.requestedAt <= pending.sentAt) return expire(next, now, findings);
  if (shows(pending, facts, device)) {
    findings.push({ kind: 'obeyed', device: entry.id, message: `${entry.id} shows ${pending.pointId}` });
    return {
      ...withoutRise(next),
      ...(pending.direction === 'up' && facts.kind === 'miner' ? { rising: risingTo(next, pending) } : {}),
      pointId: pending.pointId,
      pending: null,
      disobeyed: 0,
      ...(facts.kind === 'gpu-node' ? { heldWatts: pending.limitWatts === null ? null : pending.watts } : {}),
      provenWatts: provenAt(pending, facts, device, next.provenWatts),
      lastDrop:
        pending.direction === 'down'
          ? {
              watts: Math.max(0, pending.fromWatts - pending.watts),
              at: fallenAt(pending, facts, device.reported, sampledAt),
            }
          : next.lastDrop,
    };
  }
  return expire(next, now, findings);
}

/** Evidence of a rise comes before its end: a machine ramps on for minutes, and a start ends above its target. */
function risingTo(entry: Entry, pending: Pending): NonNullable<Entry['rising']> {
  const wakes = entry.wokeAt === pending.sentAt;
  return { watts: Math.ceil(pending.watts * (wakes ? OVERSHOOT : 1)), until: pending.dueAt };
}

/**
 * A rise is over before it was due where its own watts say so: near the target, and no more of them for a minute. What still
 * ramps to full power within a quarter of an hour rises by more than `LEVEL_SHARE` in that time. With `byHashrate` what it
 * hashes says so too, nearer to the target. Pure.
 */
export function endedRise(entry: Entry, device: ObservedDevice, byHashrate: boolean): Entry {
  const { rising } = entry;
  const watts = device.powerWatts;
  if (rising === undefined || !device.fresh || watts === null) return entry;
  if (!(device.reported || byHashrate)) return entry;
  if (device.activity !== 'running' || device.sampledAt === null) return entry;
  const { top } = rising;
  // What fell in between (a pool that went away) says nothing of where the rise would be.
  if (top === undefined || watts > top.watts * (1 + LEVEL_SHARE) || watts < top.watts * (1 - FELL_SHARE))
    return { ...entry, rising: { ...rising, top: { watts, at: device.sampledAt } } };
  const atLeast = device.reported ? LEVEL_AT_LEAST : ESTIMATED_LEVEL_AT_LEAST;
  const isLevel = device.sampledAt - top.at >= LEVEL_MS && watts >= rising.watts * atLeast;
  return isLevel ? withoutRise(entry) : entry;
}

/** The entry as versions before this rule knew it. */
export function withoutRise({ rising: _, ...entry }: Entry): Entry {
  return entry;
}

function silent(entry: Entry, device: ObservedDevice, now: MonotonicMs): Entry {
  const counts = device.inventory === 'present' || device.inventory === 'absent';
  if (entry.silentSince !== null || !counts) return entry;
  return { ...entry, silentSince: device.sampledAt ?? now };
}

/** Whether a reading shows what a command asked for. */
export function shows(
  pending: Pick<Pending, 'kind' | 'watts' | 'limitWatts' | 'direction'>,
  facts: DeviceFacts,
  device: ObservedDevice,
): boolean {
  if (facts.kind === 'gpu-node') {
    // The enforced caps are the bound, and they are read back.
    return (
      device.limitWatts !== null &&
      device.limitWatts <= pending.watts * 1.002 &&
      (pending.direction === 'down' || device.limitWatts >= pending.watts * 0.98)
    );
  }
  if (pending.kind === 'sleep') {
    return (
      device.activity === 'asleep' && (!device.reported || (device.powerWatts ?? 0) <= ASLEEP_AT_MOST_WATTS)
    );
  }
  if (pending.direction === 'up') {
    if (device.activity !== 'running') return false;
    if (device.reported && device.powerWatts !== null) return device.powerWatts >= pending.watts * 0.8;
    return true;
  }
  if (device.activity !== 'running' && device.activity !== 'starting') return false;
  if (device.reported && device.powerWatts !== null) return device.powerWatts <= pending.watts * 1.05;
  return device.limitWatts !== null && device.limitWatts <= pending.watts * 1.01;
}

/** When the watts are gone: at the reading that shows them, or at the slow end where a device tells no watts. */
function fallenAt(
  pending: Pending,
  facts: DeviceFacts,
  reported: boolean,
  sampledAt: MonotonicMs,
): MonotonicMs {
  if (reported) return sampledAt;
  return Math.max(
    sampledAt,
    pending.sentAt + ((pending.kind === 'sleep' ? facts.sleepMs : facts.changeMs) ?? 0),
  );
}

/** The bound that evidence gives. A device without watts of its own proves nothing downwards: its meter does. */
function provenAt(pending: Pending, facts: DeviceFacts, device: ObservedDevice, before: Watts): Watts {
  // Without a cap it would not have shown anything; if that ever changes, a node counts in full.
  /* v8 ignore next */
  if (facts.kind === 'gpu-node') return Math.max(device.limitWatts ?? facts.nameplateWatts, 0);
  if (pending.direction === 'up') return Math.max(pending.watts, device.powerWatts ?? 0);
  if (!device.reported || device.powerWatts === null) return before;
  return Math.min(before, Math.max(pending.watts, Math.ceil(device.powerWatts * (1 + NOISE_SHARE))));
}

/** Nothing is pending: the entry follows what the device shows, upwards at once. */
function follow(
  entry: Entry,
  facts: DeviceFacts,
  device: ObservedDevice,
  now: MonotonicMs,
  findings: Finding[],
): Entry {
  const shown = stillAt(entry, facts, device) ?? pointShown(facts, device);
  if (facts.kind === 'gpu-node') {
    const bound = device.limitWatts ?? facts.nameplateWatts;
    return heldCaps(
      { ...entry, pointId: shown?.id ?? null, provenWatts: bound },
      bound,
      device,
      now,
      findings,
    );
  }
  if (shown === null) return { ...entry, provenWatts: facts.nameplateWatts };
  const running = facts.points.at(-1)!;
  // What people do with a machine that they hold is no fault of the machine.
  if (entry.pointId === 'sleep' && shown.kind === 'run' && device.inventory !== 'held') {
    findings.push({
      kind: 'rose-by-itself',
      device: entry.id,
      message: `${entry.id} works although it was put to sleep`,
    });
    return {
      ...entry,
      pointId: shown.id,
      provenWatts: Math.max(running.watts, facts.nameplateWatts),
      roseAt: device.sampledAt,
    };
  }
  if (shown.kind === 'sleep') {
    // Idle without an order: it may come back in any second, so its bound stays.
    return entry.pointId === 'sleep' ? entry : { ...entry, pointId: 'sleep' };
  }
  const own =
    device.reported && device.powerWatts !== null
      ? Math.ceil(device.powerWatts * (1 + NOISE_SHARE))
      : facts.nameplateWatts;
  // A running device is bounded by its operating point and by what it says, whichever is more.
  const bound = Math.min(Math.max(facts.nameplateWatts, own), Math.max(shown.watts, own));
  return { ...entry, pointId: shown.id, provenWatts: Math.max(bound, Math.min(entry.provenWatts, own)) };
}

/**
 * Something else raised the caps: booked at once, said, and set again by whatever limit still needs it. After a
 * few times the node is set aside at its nameplate: caps that do not last bound nothing.
 */
function heldCaps(
  entry: Entry,
  bound: Watts,
  device: ObservedDevice,
  now: MonotonicMs,
  findings: Finding[],
): Entry {
  const held = entry.heldWatts ?? null;
  if (held === null || bound <= held * 1.005 || entry.quarantine !== null) return entry;
  const capRises = [...(entry.capRises ?? []).filter((at) => now - at < 3_600_000), now];
  const from = `${Math.round(held)} W to ${Math.round(bound)} W`;
  findings.push({
    kind: 'rose-by-itself',
    device: entry.id,
    message: `the caps of ${entry.id} were raised by something else, from ${from} (${capRises.length} in an hour)`,
  });
  const next: Entry = { ...entry, heldWatts: null, capRises, roseAt: device.sampledAt };
  if (capRises.length <= CAP_RISES_AT_MOST) return next;
  const why = `something else raised its caps ${capRises.length} times within an hour`;
  findings.push({
    kind: 'quarantined',
    device: entry.id,
    message: `${entry.id} is set aside at its nameplate: ${why}`,
  });
  return { ...next, pointId: null, quarantine: { since: now, why } };
}

/** The point it was put to, as long as what it draws agrees: not every firmware reads a limit back. */
function stillAt(entry: Entry, facts: DeviceFacts, device: ObservedDevice): OperatingPoint | null {
  if (facts.kind !== 'miner' || device.activity !== 'running') return null;
  const point = facts.points.find((candidate) => candidate.id === entry.pointId);
  if (point?.kind !== 'run' || !device.reported || device.powerWatts === null) return null;
  const lower = pointShown(facts, device);
  if (lower !== null && lower.watts < point.watts) return lower;
  return device.powerWatts <= point.watts * 1.05 ? point : null;
}

function observeFull(entry: Entry, facts: DeviceFacts, device: ObservedDevice): Entry {
  if (facts.kind !== 'miner' || device.activity !== 'running') return entry;
  let next = entry;
  if (next.normalLimitWatts === null && device.limitWatts !== null)
    next = { ...next, normalLimitWatts: device.limitWatts };
  const unlimited = device.limitWatts === null || device.limitWatts === next.normalLimitWatts;
  const own = device.reported ? (device.powerWatts ?? 0) : 0;
  if (!unlimited || next.pending !== null || own <= 0) return next;
  // Upwards at once. Downwards slowly, and only as far as facts let it: never below the model's own figure.
  if (own > next.observedWatts && own <= facts.nameplateWatts * 1.3) return { ...next, observedWatts: own };
  if (own < next.observedWatts * (1 - SETTLE_BAND) && own > next.observedWatts * WORKING_SHARE) {
    const settled = next.observedWatts - (next.observedWatts - own) * SETTLE_GAIN;
    return { ...next, observedWatts: Math.ceil(settled) };
  }
  return next;
}

function expire(entry: Entry, now: MonotonicMs, findings: Finding[]): Entry {
  const { pending } = entry;
  if (pending === null || pending.failed || now < pending.dueAt) return entry;
  const disobeyed = entry.disobeyed + 1;
  findings.push({
    kind: 'disobeyed',
    device: entry.id,
    message: `${entry.id} shows no effect of "${pending.pointId}" after ${Math.round((now - pending.sentAt) / 1000)} s`,
  });
  const failed: Entry = { ...entry, pending: { ...pending, failed: true }, disobeyed };
  if (disobeyed < QUARANTINE_AFTER) return failed;
  const why = `${disobeyed} commands in a row without effect, the last "${pending.pointId}"`;
  findings.push({
    kind: 'quarantined',
    device: entry.id,
    message: `${entry.id} is set aside at its nameplate: ${why}`,
  });
  return { ...failed, pending: null, pointId: null, quarantine: { since: now, why } };
}

/** Notes a command as it is handed over. Ups are booked here, before they are sent. Pure. */
export function book(
  entry: Entry,
  facts: DeviceFacts,
  point: OperatingPoint,
  from: { watts: Watts },
  now: MonotonicMs,
  slackMs: Milliseconds,
  cause: string,
): Entry {
  const direction = point.watts > from.watts ? 'up' : 'down';
  const wakes = point.kind === 'run' && (entry.pointId === 'sleep' || entry.pending?.kind === 'sleep');
  const takesMs = point.kind === 'sleep' ? facts.sleepMs : wakes ? facts.wakeMs : facts.changeMs;
  const pending: Pending = {
    pointId: point.id,
    kind: point.kind,
    watts: point.watts,
    limitWatts: point.limitWatts,
    direction,
    sentAt: now,
    dueAt: now + (takesMs ?? 60_000) + slackMs,
    fromWatts: from.watts,
    failed: false,
    cause,
  };
  return {
    ...entry,
    pending,
    // Everything commanded since the last evidence may still be true.
    provenWatts: Math.max(
      entry.provenWatts,
      direction === 'up' ? Math.ceil(point.watts * (wakes ? OVERSHOOT : 1)) : 0,
    ),
    sleptAt: point.kind === 'sleep' ? now : entry.sleptAt,
    wokeAt: wakes ? now : entry.wokeAt,
    wakes: wakes ? [...entry.wakes.filter((at) => now - at < 3_600_000), now] : entry.wakes,
  };
}

/** The most a device could be drawing now. */
export function worstOf(entry: Entry, facts: DeviceFacts, device: ObservedDevice): Watts {
  switch (device.inventory) {
    case 'expected':
    case 'removed':
      return 0;
    case 'held':
    case 'absent':
      return Math.max(facts.nameplateWatts, entry.provenWatts);
    case 'present':
      break;
  }
  if (entry.quarantine !== null || device.failure === 'wrong-device')
    return Math.max(facts.nameplateWatts, entry.provenWatts);
  if (!device.fresh) return Math.max(facts.nameplateWatts, entry.provenWatts);
  const own = device.reported && facts.kind === 'miner' ? (device.powerWatts ?? 0) : 0;
  return Math.max(entry.provenWatts, own);
}

/** What a device draws if it obeys: decides whether more must be shed. */
export function expectedOf(entry: Entry, facts: DeviceFacts, device: ObservedDevice): Watts {
  if (device.inventory === 'expected' || device.inventory === 'removed') return 0;
  const { pending } = entry;
  if (pending !== null && !pending.failed) return pending.watts;
  if (device.fresh && device.powerWatts !== null) {
    return facts.kind === 'gpu-node'
      ? Math.max(device.powerWatts, device.limitWatts ?? facts.nameplateWatts)
      : device.powerWatts;
  }
  const point = facts.points.find((candidate) => candidate.id === entry.pointId);
  return point?.watts ?? facts.nameplateWatts;
}

/** One device as a cycle sees it: what is remembered, what it can do, what it shows. */
export interface DeviceInput {
  readonly entry: Entry;
  readonly facts: DeviceFacts;
  readonly device: ObservedDevice;
}
