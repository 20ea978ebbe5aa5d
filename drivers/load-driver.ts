import type { MinerFirmware } from '../config/miners/firmwares.ts';
import type { Result } from '../protocols/result.ts';
import type {
  Amps,
  Celsius,
  DeviceId,
  Hertz,
  JoulesPerTerahash,
  Milliseconds,
  MonotonicMs,
  Percent,
  RevolutionsPerMinute,
  Seconds,
  TerahashesPerSecond,
  Volts,
  WattHours,
  Watts,
} from '../protocols/units.ts';

/**
 * What a device is: one file per device family reads it, says what it can do, applies one command and
 * proves it. Drivers know nothing of other devices, limits, money or MQTT.
 */
export interface LoadDriver extends AsyncDisposable {
  readonly deviceId: DeviceId;
  /** Who answers at the address. Fails `wrong-device` when it is no member of this family. */
  identify(signal: AbortSignal): Promise<Result<Identity>>;
  /** What it does now. A failed read is never "off". */
  read(signal: AbortSignal): Promise<Result<LoadReading>>;
  /** Sends one absolute command. `acknowledged` is not evidence: only a later reading is. */
  apply(command: LoadCommand, signal: AbortSignal): Promise<Result<Applied>>;
  /** A command takes at least so long by the device's own rules, whatever the load; 0 or absent: no time to speak of. */
  readonly leastCommandMs?: Milliseconds;
}

/** A power meter: the same life, nothing to command. */
export interface MeterDriver extends AsyncDisposable {
  readonly meterId: DeviceId;
  identify(signal: AbortSignal): Promise<Result<Identity>>;
  read(signal: AbortSignal): Promise<Result<MeterReading>>;
}

/** Who answered. `basis` says what the identity rests on, strongest first: MAC, serial number, address. */
export interface Identity {
  readonly basis: 'mac' | 'serial' | 'address';
  /** The MAC, serial number or address itself: equal values are the same device. */
  readonly value: string;
  readonly vendor: string | null;
  readonly model: string | null;
  readonly firmware: string;
  readonly firmwareVersion: string | null;
  readonly macAddress: string | null;
  readonly serialNumber: string | null;
}

/** When the device was in the state that a reading shows. */
export interface SampleTime {
  /** Midpoint of request and reply on the monotonic clock. */
  readonly sampledAt: MonotonicMs;
  /** When the first request that this reading rests on was sent: evidence about a command must be later than the command. */
  readonly requestedAt: MonotonicMs;
  readonly roundTripMs: Milliseconds;
}

export type MinerState = 'hashing' | 'starting' | 'tuning' | 'sleeping' | 'stopped' | 'fault' | 'unknown';

export interface MinerReading extends SampleTime {
  readonly kind: 'miner';
  readonly firmware: MinerFirmware;
  readonly vendor: string | null;
  readonly model: string | null;
  readonly firmwareVersion: string | null;
  readonly macAddress: string | null;
  readonly serialNumber: string | null;
  readonly state: MinerState;
  readonly hashrateThs: TerahashesPerSecond | null;
  readonly nominalHashrateThs: TerahashesPerSecond | null;
  readonly powerWatts: Watts | null;
  /** `reported` by the device, `estimated` from model or mode, `null` where power is unknown. */
  readonly powerSource: 'reported' | 'estimated' | null;
  readonly powerLimitWatts: Watts | null;
  readonly efficiencyJoulesPerTh: JoulesPerTerahash | null;
  readonly chipTemperatureCelsius: Celsius | null;
  readonly boardTemperatureCelsius: Celsius | null;
  readonly fanRpm: readonly RevolutionsPerMinute[];
  readonly uptimeSeconds: Seconds | null;
  /**
   * 0 to 100: shares that pools rejected, of all accepted and rejected since the miner began to count, weighed by
   * difficulty where it says that. `null` where it does not say, or found too few to tell.
   */
  readonly rejectedPercent: Percent | null;
  readonly boards: readonly MinerBoard[];
  readonly pools: readonly MinerPool[];
  readonly errors: readonly DeviceFault[];
  readonly control: LoadControl;
}

export interface MinerBoard {
  readonly index: number;
  readonly hashrateThs: TerahashesPerSecond | null;
  readonly chipTemperatureCelsius: Celsius | null;
  readonly chipsAlive: number | null;
  readonly chips: number | null;
}

export interface MinerPool {
  readonly url: string;
  readonly user: string | null;
  readonly status: 'alive' | 'dead' | 'disabled' | 'rejecting' | 'unknown';
  readonly priority: number | null;
}

export interface DeviceFault {
  readonly code: string;
  readonly message: string;
}

/** What can be commanded now, and how long it takes: facts of this device, not subclasses. */
export interface LoadControl {
  readonly sleep: boolean;
  readonly wake: boolean;
  readonly powerLimit: PowerLimitControl | null;
  /** How long until a reading may show the effect (the slow end, p99); `null` where the command does not exist. */
  readonly sleepMs: Milliseconds | null;
  readonly wakeMs: Milliseconds | null;
  readonly changeMs: Milliseconds | null;
}

export interface PowerLimitControl {
  readonly minWatts: Watts;
  readonly maxWatts: Watts;
  /** `watts`: any value (`stepWatts` apart); `preset`, `mode`: only `presetsWatts`. */
  readonly kind: 'watts' | 'preset' | 'mode';
  readonly stepWatts?: Watts;
  readonly presetsWatts?: readonly Watts[];
}

export interface GpuReading {
  readonly uuid: string;
  readonly index: number | null;
  readonly name: string | null;
  /** `faulted`: listed but not readable; `absent`: seen before, missing now. */
  readonly state: 'ok' | 'faulted' | 'absent';
  readonly powerWatts: Watts | null;
  readonly requestedLimitWatts: Watts | null;
  /** The limit in force: the only one that bounds the draw. */
  readonly enforcedLimitWatts: Watts | null;
  readonly defaultLimitWatts: Watts | null;
  readonly minLimitWatts: Watts | null;
  readonly maxLimitWatts: Watts | null;
  readonly temperatureCelsius: Celsius | null;
  readonly utilizationPercent: Percent | null;
  readonly memoryUsedMebibytes: number | null;
  readonly memoryTotalMebibytes: number | null;
  readonly migEnabled: boolean | null;
}

export interface GpuNodeReading extends SampleTime {
  readonly kind: 'gpu-node';
  readonly source: 'nvidia-smi' | 'dcgm' | 'redfish';
  readonly driverVersion: string | null;
  /** Sum of the GPUs' board power; `null` when any of them is unknown. */
  readonly powerWatts: Watts | null;
  /** The part of the sum that is known. */
  readonly knownPowerWatts: Watts;
  readonly gpus: readonly GpuReading[];
  readonly errors: readonly DeviceFault[];
  readonly control: LoadControl;
}

export type LoadReading = MinerReading | GpuNodeReading;

export type Quality = 'good' | 'estimated' | 'stale' | 'bad' | 'missing';

export interface PhaseValues<T> {
  readonly l1: T | null;
  readonly l2: T | null;
  readonly l3: T | null;
}

export interface MeterReading extends SampleTime {
  readonly kind: 'meter';
  readonly profile: string;
  /** Import positive. `null` when the meter did not give a usable figure. */
  readonly powerWatts: Watts | null;
  readonly quality: Quality;
  /** Why the quality is not `good`, one sentence each. */
  readonly doubts: readonly string[];
  readonly frequencyHz: Hertz | null;
  readonly voltageVolts: PhaseValues<Volts>;
  readonly currentAmps: PhaseValues<Amps>;
  readonly powerFactor: number | null;
  readonly importWattHours: WattHours | null;
  readonly exportWattHours: WattHours | null;
  /**
   * Rises when a counter was reset, rolled over, ran backwards or leapt: energy is never the difference between
   * readings of two segments.
   */
  readonly energySegment: number;
  readonly serialNumber: string | null;
  /** How often the meter makes new values, from its map or as measured; `null` where it is not known. */
  readonly refreshMs: Milliseconds | null;
  /**
   * By how much the figures may be older than `sampledAt` or younger: half the round trip, and what is known of the
   * meter's refresh and averaging time.
   */
  readonly uncertaintyMs: Milliseconds;
  /** Every point that the profile names, in its own unit. */
  readonly points: Readonly<Record<string, number | string | null>>;
}

/** Commands are absolute, so a repeat is harmless. */
export type LoadCommand =
  /** Stop drawing work power as fast as this device can; it stays reachable. */
  | { readonly kind: 'sleep' }
  /** Work, at or under `limitWatts` (`null`: the device's own limit as it stands). */
  | { readonly kind: 'run'; readonly limitWatts: Watts | null }
  /** Hold one GPU (`uuid`) at or under `limitWatts`. */
  | { readonly kind: 'cap'; readonly uuid: string; readonly limitWatts: Watts }
  /** Blink the locating light. */
  | { readonly kind: 'locate'; readonly on: boolean };

export interface Applied {
  /** The device said yes; `null` when no answer came (the command may have arrived). Not evidence. */
  readonly acknowledged: boolean | null;
  /** When the last byte was handed to the transport: evidence must be requested later than this. */
  readonly sentAt: MonotonicMs;
  /** What was really sent where it differs from the command (for example the next preset below). */
  readonly limitWatts: Watts | null;
  /** What the device said, shortened. */
  readonly note: string | null;
}

/** What a driver is made from: everything that touches the world is passed in. */
export interface MinerEndpoint {
  readonly deviceId: DeviceId;
  readonly host: string;
  readonly port: number;
  readonly webPort: number;
  readonly user: string | null;
  readonly password: { reveal(): string } | null;
  /** Nominal figures from configuration or the model table, for estimates only. */
  readonly model: string | null;
}
