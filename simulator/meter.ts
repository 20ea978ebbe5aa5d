import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { MeterProfile } from '../config/meters/profile.ts';
import { meterProfile } from '../config/meters/profiles.ts';
import type { Clock } from '../protocols/clock.ts';
import { systemClock } from '../protocols/clock.ts';
import { crc16, encodeMbap, encodeRtu } from '../protocols/modbus/framing.ts';
import type { Random } from '../protocols/random.ts';
import { seededRandom } from '../protocols/random.ts';
import type { Hertz, Milliseconds, MonotonicMs, Volts, WattHours, Watts } from '../protocols/units.ts';
import type { MeterLabels, MeterState } from './meter-map.ts';
import { placedProfile, registerImage } from './meter-map.ts';

/** What flows through the meter now. What is not given is made up consistently. */
export interface MeterTruth {
  /** Import positive. */
  readonly powerWatts: Watts;
  /** 0 to 1. */
  readonly powerFactor?: number;
  readonly frequencyHz?: Hertz;
  /** The counter; not given: the meter counts what it sees. */
  readonly importWattHours?: WattHours;
  readonly exportWattHours?: WattHours;
}

/** What is wrong with a simulated meter; may be changed while it runs. */
export interface MeterFaults {
  /** Repeats the registers of the last refresh for ever. */
  freeze?: boolean;
  /** Answers every request with this exception code. */
  exception?: number;
  /** Accepts connections and never answers. */
  silent?: boolean;
  /** Answers in the name of another unit. */
  wrongUnit?: boolean;
  /** Answers this late. */
  delayMs?: Milliseconds;
  /** True power times this, in every register. */
  factor?: number;
}

export interface SimulatedMeterOptions {
  /** Id of a shipped profile, or a profile. */
  readonly profile: string | MeterProfile;
  readonly unit: number;
  /** Which meter model a SunSpec device has. */
  readonly sunspecModel?: number;
  readonly readings: () => MeterTruth;
  readonly serial?: string;
  /** Line to neutral. */
  readonly nominalVolts?: Volts;
  readonly refreshMs?: Milliseconds;
  /** Figures set in the meter, as `MeterConfig.parameters` has them. */
  readonly parameters?: Readonly<Record<string, number>>;
  readonly faults?: MeterFaults;
}

export interface MeterServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** `rtu` plays a transparent serial server: RTU frames with CRC in TCP. */
  readonly framing?: 'mbap' | 'rtu';
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface MeterServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Faults by unit, live. */
  readonly faults: ReadonlyMap<number, MeterFaults>;
  /** What unit `unit` showed last, `null` before it was asked. */
  shown(unit: number): MeterState | null;
  close(): Promise<void>;
}

/** Serves one meter over Modbus TCP. Rejects when the port cannot be taken. */
export function serveMeter(options: SimulatedMeterOptions & MeterServerOptions): Promise<MeterServer> {
  return serveMeters(options, [options]);
}

/** Serves several units behind one port, as a gateway does; a unit that is not there gets exception 11. */
export function serveMeters(
  server: MeterServerOptions,
  meters: readonly SimulatedMeterOptions[],
): Promise<MeterServer> {
  const clock = server.clock ?? systemClock;
  const random = server.random ?? seededRandom(server.port + meters.length);
  const units = new Map(meters.map((meter) => [meter.unit, new SimulatedMeter(meter, clock, random)]));
  const sockets = new Set<Socket>();
  const closing = new AbortController();
  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let pending: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const request = server.framing === 'rtu' ? takeRtu(pending) : takeMbap(pending);
        if (request === 'partial') return;
        if (request === 'junk') {
          socket.destroy();
          return;
        }
        pending = pending.subarray(request.size);
        const faults = units.get(request.unit)?.faults ?? {};
        if (faults.silent === true) continue;
        const answer = () => {
          if (!socket.destroyed) socket.write(reply(request, units.get(request.unit)));
        };
        if (faults.delayMs === undefined) answer();
        else clock.sleep(faults.delayMs, closing.signal).then(answer, () => undefined);
      }
    });
  });
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(server.port, server.host, () => {
      const { port } = listener.address() as AddressInfo;
      resolve({
        address: { host: server.host, port },
        faults: new Map([...units].map(([unit, meter]) => [unit, meter.faults])),
        shown: (unit) => units.get(unit)?.shown ?? null,
        close: () =>
          new Promise((done) => {
            closing.abort();
            for (const socket of sockets) socket.destroy();
            listener.close(() => done());
          }),
      });
    });
  });
}

interface Request {
  /** `null` on RTU. */
  readonly transactionId: number | null;
  readonly unit: number;
  readonly pdu: Buffer;
  readonly size: number;
}

function takeMbap(bytes: Buffer): Request | 'partial' | 'junk' {
  if (bytes.length < 8) return 'partial';
  const length = bytes.readUInt16BE(4);
  if (bytes.readUInt16BE(2) !== 0 || length < 3 || length > 254) return 'junk';
  if (bytes.length < 6 + length) return 'partial';
  const pdu = bytes.subarray(7, 6 + length);
  return { transactionId: bytes.readUInt16BE(0), unit: bytes.readUInt8(6), pdu, size: 6 + length };
}

function takeRtu(bytes: Buffer): Request | 'partial' | 'junk' {
  if (bytes.length < 8) return 'partial';
  if (crc16(bytes.subarray(0, 6)) !== bytes.readUInt16LE(6)) return 'junk';
  return { transactionId: null, unit: bytes.readUInt8(0), pdu: bytes.subarray(1, 6), size: 8 };
}

function reply(request: Request, meter: SimulatedMeter | undefined): Buffer {
  const code = request.pdu[0] ?? 0;
  const pdu = meter === undefined ? Buffer.from([code | 0x80, 11]) : meter.answer(request.pdu);
  const unit = meter?.faults.wrongUnit === true ? (request.unit % 247) + 1 : request.unit;
  return request.transactionId === null ? encodeRtu(unit, pdu) : encodeMbap(request.transactionId, unit, pdu);
}

const REFRESH_MS: Milliseconds = 200;
const NOMINAL_VOLTS: Volts = 240;

class SimulatedMeter {
  readonly faults: MeterFaults;
  private readonly options: SimulatedMeterOptions;
  private readonly profile: MeterProfile;
  private readonly labels: MeterLabels;
  private readonly clock: Clock;
  private readonly random: Random;
  private state: MeterState | null = null;
  private refreshedAt: MonotonicMs = 0;
  private importWattHours = 0;
  private exportWattHours = 0;

  constructor(options: SimulatedMeterOptions, clock: Clock, random: Random) {
    const profile = typeof options.profile === 'string' ? meterProfile(options.profile) : options.profile;
    if (profile === null) throw new Error(`no meter profile is named ${options.profile}`);
    this.options = options;
    this.profile = placedProfile(profile, options.sunspecModel);
    this.faults = options.faults ?? {};
    const model = this.profile.models[0] ?? this.profile.id;
    this.labels = { serial: options.serial ?? '10000001', model, firmware: '1', vendor: profile.vendor };
    this.clock = clock;
    this.random = random;
  }

  /** The figures of the last refresh. */
  get shown(): MeterState | null {
    return this.state;
  }

  /** The reply PDU to a request PDU. */
  answer(pdu: Buffer): Buffer {
    const code = pdu[0] ?? 0;
    const exception = (which: number) => Buffer.from([code | 0x80, which]);
    if (this.faults.exception !== undefined) return exception(this.faults.exception);
    if ((code !== 3 && code !== 4) || pdu.length !== 5) return exception(1);
    const address = pdu.readUInt16BE(1);
    const count = pdu.readUInt16BE(3);
    if (count < 1 || count > this.profile.maxRegisters) return exception(3);
    const { parameters = {} } = this.options;
    const image = registerImage(this.profile, code, this.refreshed(), this.labels, parameters);
    if (image === null) return exception(1);
    const bytes = Buffer.alloc(2 + 2 * count);
    bytes.writeUInt8(code, 0);
    bytes.writeUInt8(2 * count, 1);
    for (let index = 0; index < count; index += 1) {
      const word = image.get(address + index);
      if (word === undefined) return exception(2);
      bytes.writeUInt16BE(word, 2 + 2 * index);
    }
    return bytes;
  }

  /** The figures of the current refresh; a new one when the last is old enough. */
  private refreshed(): MeterState {
    const now = this.clock.monotonicMs();
    const { state } = this;
    const isDue = state === null || now - this.refreshedAt >= (this.options.refreshMs ?? REFRESH_MS);
    if (state !== null && (!isDue || this.faults.freeze === true)) return state;
    const truth = this.options.readings();
    const watts = truth.powerWatts * (this.faults.factor ?? 1);
    if (state !== null) {
      const wattHours = (watts * (now - this.refreshedAt)) / 3_600_000;
      this.importWattHours += Math.max(0, wattHours);
      this.exportWattHours += Math.max(0, -wattHours);
    }
    const wobble = (size: number) => 1 + size * (2 * this.random() - 1);
    const volts = () => (this.options.nominalVolts ?? NOMINAL_VOLTS) * wobble(0.002);
    const first = (watts / 3) * wobble(0.01);
    const second = (watts / 3) * wobble(0.01);
    const next: MeterState = {
      phaseWatts: [first, second, watts - first - second],
      phaseVolts: [volts(), volts(), volts()],
      powerFactor: truth.powerFactor ?? 0.98,
      frequencyHz: truth.frequencyHz ?? 60 * wobble(0.0005),
      importWattHours: truth.importWattHours ?? this.importWattHours,
      exportWattHours: truth.exportWattHours ?? this.exportWattHours,
    };
    this.state = next;
    this.refreshedAt = now;
    return next;
  }
}
