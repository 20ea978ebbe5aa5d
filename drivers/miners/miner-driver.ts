import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { KeptWire } from '../../protocols/kept-wire.ts';
import { isAwaited, onAbort } from '../../protocols/on-abort.ts';
import type { Random } from '../../protocols/random.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { DeviceStarts } from '../../protocols/start-together.ts';
import type { ExchangeLimits, Way } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type {
  Applied,
  Identity,
  LoadCommand,
  LoadDriver,
  MinerEndpoint,
  MinerReading,
} from '../load-driver.ts';
import { createCredentialGuard } from './credential-guard.ts';
import type { MinerFields } from './reply-fields.ts';

/** What every miner driver is given besides its endpoint. */
export interface MinerDeps extends Way {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: ExchangeLimits;
}

/** Who answers, as far as the firmware tells. */
export interface MinerWho {
  readonly vendor: string | null;
  readonly model: string | null;
  readonly firmware: MinerFirmware;
  readonly firmwareVersion: string | null;
  readonly macAddress: string | null;
  readonly serialNumber: string | null;
}

/** What one firmware family does on the wire; everything around it is the same for all. */
export interface MinerFamily {
  readonly firmware: MinerFirmware;
  /** Where the firmware wants time between connections: what a command takes at least. */
  readonly leastCommandMs?: Milliseconds;
  /**
   * The fewest requests that tell who it is, asked anew: its answer guards every write. `forWrite`: only the
   * strongest identity the device has will do.
   */
  who(signal: AbortSignal, forWrite: boolean): Promise<Result<MinerWho>>;
  /** One whole reading. */
  poll(signal: AbortSignal): Promise<Result<MinerFields>>;
  /** Sends one command, given the latest reading. Absent where the firmware takes none. */
  send?(command: LoadCommand, latest: MinerFields, signal: AbortSignal): Promise<Result<Sent>>;
}

/** What sending gave. `stood`: what was asked for stood already, and nothing was sent. */
export interface Sent extends Applied {
  readonly stood?: boolean;
}

interface Pinned {
  readonly macAddress: string | null;
  readonly serialNumber: string | null;
}

/** A write that the miner is still working on. */
interface AtWork {
  readonly command: LoadCommand;
  readonly until: MonotonicMs;
  /** What it drew when the command came. */
  readonly fromWatts: Watts | null;
}

/**
 * A driver out of a family: one request in flight, identity checked at every reading and before every
 * write, no write repeated while the miner still works on it, credentials that it refuses not tried again and
 * again.
 *
 * `expected` is the MAC or serial number under which the device is known; without it the first answer counts. `pace`
 * is how the family's exchanges begin, where they wait for those of others.
 */
export function createMinerDriver(
  family: MinerFamily,
  endpoint: MinerEndpoint,
  deps: MinerDeps,
  expected: Partial<Pinned> = {},
  pace: DeviceStarts | null = null,
): LoadDriver {
  const { clock } = deps;
  const place = `${endpoint.host}:${endpoint.port}`;
  const turns = createTurns(place, deps.kept);
  let pinned: Pinned = {
    macAddress: expected.macAddress ?? null,
    serialNumber: expected.serialNumber ?? null,
  };
  let latest: MinerFields | null = null;
  let atWork: AtWork | null = null;
  const writes = createCredentialGuard(place, clock);

  const check = (who: Pinned): Result<null> => {
    const stranger = findStranger(pinned, who);
    if (stranger !== null)
      return fail(
        'wrong-device',
        `${place} ${stranger}`,
        'the address may have moved, or the unit was swapped',
      );
    pinned = {
      macAddress: pinned.macAddress ?? who.macAddress,
      serialNumber: pinned.serialNumber ?? who.serialNumber,
    };
    return ok(null);
  };

  const readNow = async (signal: AbortSignal): Promise<Result<MinerReading>> => {
    const requestedAt = clock.monotonicMs();
    const polled = await family.poll(signal);
    if (!polled.ok) return polled;
    const checked = check(polled.value);
    if (!checked.ok) return checked;
    const roundTripMs = clock.monotonicMs() - requestedAt;
    latest = polled.value;
    if (atWork !== null && isDone(atWork, latest)) atWork = null;
    return ok({ ...polled.value, requestedAt, roundTripMs, sampledAt: requestedAt + roundTripMs / 2 });
  };

  const applyNow = async (command: LoadCommand, signal: AbortSignal): Promise<Result<Applied>> => {
    if (family.send === undefined)
      return fail('unsupported', `${place}: ${family.firmware} firmware takes no commands`);
    const closed = writes.closed();
    if (closed !== null) return closed;
    const who = await family.who(signal, true);
    if (!who.ok) {
      writes.note(who.error);
      return who;
    }
    const checked = check(who.value);
    if (!checked.ok) return checked;
    if (hidesItself(pinned, who.value))
      return fail('refused', `${place} does not say who it is now, so it is not commanded`);
    if (latest === null) {
      const read = await readNow(signal);
      if (!read.ok) return read;
    }
    const sent = await family.send(command, latest!, signal);
    writes.note(sent.ok ? null : sent.error);
    if (!sent.ok) return sent;
    const { stood, ...applied } = sent.value;
    if (stood !== true && command.kind !== 'locate')
      atWork = {
        command,
        until: applied.sentAt + settleMs(command, latest!),
        fromWatts: latest!.powerWatts,
      };
    return ok(applied);
  };

  return {
    deviceId: endpoint.deviceId,
    identify: (signal) =>
      turns.take(signal, async (turn) => {
        const who = await family.who(turn, false);
        if (!who.ok) return who;
        const checked = check(who.value);
        return checked.ok ? ok(identityOf(who.value, place)) : checked;
      }),
    read: (signal) => turns.take(signal, readNow),
    apply: (command, signal) => {
      const busy = whyBusy(command, atWork, clock.monotonicMs());
      if (busy !== null) return Promise.resolve(fail('busy', `${place}: ${busy}`));
      return turns.take(signal, async (turn) => {
        if (pace !== null) pace.hurried = true;
        const applied = await applyNow(command, turn);
        if (pace !== null) pace.hurried = false;
        return applied;
      });
    },
    get leastCommandMs() {
      return family.leastCommandMs ?? 0;
    },
    [Symbol.asyncDispose]: async () => {
      turns.close();
      await Promise.resolve();
    },
  };
}

/** The identity that `who` amounts to: MAC, else serial number, else the address with the firmware. */
export function identityOf(who: MinerWho, place: string): Identity {
  const basis = who.macAddress !== null ? 'mac' : who.serialNumber !== null ? 'serial' : 'address';
  return {
    basis,
    value: who.macAddress ?? who.serialNumber ?? `${place} ${who.firmware}`,
    vendor: who.vendor,
    model: who.model,
    firmware: who.firmware,
    firmwareVersion: who.firmwareVersion,
    macAddress: who.macAddress,
    serialNumber: who.serialNumber,
  };
}

/** The turns of one device. */
interface Turns {
  /** Runs work when it is its turn; who waits too long for it gives up without a trace. */
  take<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<Result<T>>): Promise<Result<T>>;
  /** Ends what is under way, and lets nothing begin any more. */
  close(): void;
}

/** Controllers of turns that ended well, for the next turn of whichever device: making one costs more than a turn. */
const unused: AbortController[] = [];

/** `kept`: what stays open during a turn, and no longer. */
function createTurns(place: string, kept: KeptWire | undefined): Turns {
  let closed = false;
  /** Somebody has the turn, or was just handed it. */
  let taken = false;
  /** Ends the work that has the turn. */
  let current: AbortController | null = null;
  const waiting = new Set<(came: boolean) => void>();
  /** Whether the turn came before the signal aborted. */
  const turnOf = (signal: AbortSignal): Promise<boolean> =>
    new Promise((resolve) => {
      const settle = (came: boolean): void => {
        waiting.delete(settle);
        forget();
        resolve(came);
      };
      const forget = onAbort(signal, () => settle(false));
      waiting.add(settle);
    });
  const handOn = (): void => {
    const [next] = waiting;
    next?.(true);
  };
  const tooLate = () => fail('busy', `${place} was still answering another request; nothing was sent`);
  return {
    take: async (signal, work) => {
      if (closed || signal.aborted) return fail('cancelled', `gave up before asking ${place}`);
      const waits = taken;
      if (waits && !(await turnOf(signal))) return tooLate();
      taken = true;
      const mine = unused.pop() ?? new AbortController();
      current = mine;
      const forget = onAbort(signal, () => mine.abort());
      kept?.beginTurn();
      try {
        if (waits && (closed || signal.aborted)) return tooLate();
        return await work(mine.signal);
      } finally {
        forget();
        kept?.endTurn();
        current = null;
        // What outlived its turn keeps its signal to itself.
        if (!mine.signal.aborted && !isAwaited(mine.signal)) unused.push(mine);
        if (waiting.size === 0) taken = false;
        else handOn();
      }
    },
    close: () => {
      closed = true;
      current?.abort();
      for (const settle of [...waiting]) settle(false);
    },
  };
}

/** Why `who` is not the pinned device, or `null`. */
function findStranger(pinned: Pinned, who: Pinned): string | null {
  if (pinned.macAddress !== null && who.macAddress !== null)
    return pinned.macAddress === who.macAddress
      ? null
      : `answers as ${who.macAddress}, but ${pinned.macAddress} is expected there`;
  if (pinned.serialNumber !== null && who.serialNumber !== null)
    return pinned.serialNumber === who.serialNumber
      ? null
      : `answers as serial ${who.serialNumber}, but ${pinned.serialNumber} is expected there`;
  return null;
}

/** A write needs to see the device that is expected show itself. */
function hidesItself(pinned: Pinned, who: Pinned): boolean {
  const known = pinned.macAddress ?? pinned.serialNumber;
  const shown =
    (pinned.macAddress === null ? null : who.macAddress) ??
    (pinned.serialNumber === null ? null : who.serialNumber);
  return known !== null && shown === null;
}

/** Why a command must wait for the one before it, or `null`. Less power never waits for more. */
function whyBusy(command: LoadCommand, atWork: AtWork | null, now: MonotonicMs): string | null {
  if (atWork === null || now >= atWork.until || command.kind === 'locate') return null;
  const left = Math.ceil((atWork.until - now) / 1000);
  if (isSame(command, atWork.command))
    return `still working on the same command, for at most another ${left} s; not repeated`;
  if (isLess(command, atWork.command)) return null;
  return `still working on "${atWork.command.kind}", for at most another ${left} s`;
}

function isSame(a: LoadCommand, b: LoadCommand): boolean {
  if (a.kind === 'run' && b.kind === 'run') return a.limitWatts === b.limitWatts;
  return a.kind === b.kind && a.kind === 'sleep';
}

function isLess(next: LoadCommand, previous: LoadCommand): boolean {
  if (next.kind === 'sleep') return true;
  if (next.kind !== 'run' || previous.kind !== 'run' || next.limitWatts === null) return false;
  return previous.limitWatts === null || next.limitWatts < previous.limitWatts;
}

/** How long the miner may be at work on `command`, from what the reading before it says of itself. */
function settleMs(command: LoadCommand, before: MinerFields): Milliseconds {
  const { sleepMs, wakeMs, changeMs } = before.control;
  if (command.kind === 'sleep') return sleepMs ?? 0;
  return (before.state === 'hashing' || before.state === 'tuning' ? changeMs : wakeMs) ?? 0;
}

/** A reading that shows the work done frees the way for the next command. */
function isDone({ command, fromWatts }: AtWork, reading: MinerFields): boolean {
  if (command.kind === 'sleep') return reading.state === 'sleeping';
  if (reading.state !== 'hashing' || command.kind !== 'run') return false;
  if (command.limitWatts === null) {
    const { hashrateThs, nominalHashrateThs } = reading;
    return hashrateThs !== null && nominalHashrateThs !== null && hashrateThs >= nominalHashrateThs * 0.9;
  }
  // Being under a limit that was raised says nothing: it was so before.
  if (fromWatts === null || fromWatts <= command.limitWatts) return false;
  return reading.powerSource === 'reported' && (reading.powerWatts ?? Infinity) <= command.limitWatts * 1.03;
}
