import type { Milliseconds } from '../units.ts';
import type { Bus, BusDeps, BusOptions } from './bus.ts';
import { openBus } from './bus.ts';
import type { ConnectPath, SerialSettings } from './connect.ts';
import { serialPath, tcpPath } from './connect.ts';

/** Where a unit is reached. `rtu-over-tcp` is a transparent serial server: RTU frames with CRC inside TCP. */
export type ModbusTransport =
  | {
      readonly kind: 'modbus-tcp' | 'rtu-over-tcp';
      readonly host: string;
      readonly port: number;
      readonly unit: number;
    }
  | ({ readonly kind: 'rtu'; readonly unit: number } & SerialSettings);

/** A share in a bus: the last one given back closes the path. */
export interface BusLease extends AsyncDisposable {
  readonly bus: Bus;
}

export interface PathTimes {
  /** Longest wait for one reply; the first user of a path decides. */
  readonly responseTimeoutMs: Milliseconds;
  readonly pauseMs?: Milliseconds;
  readonly onBytes?: BusOptions['onBytes'];
}

const CONNECT_LIMIT_MS = 3000;

export interface BusPoolDeps extends BusDeps {
  /** How a path is opened; not given: over the network or the serial line that the transport names. */
  readonly pathTo?: (transport: ModbusTransport) => ConnectPath;
}

/**
 * Every meter behind one host and port, or on one serial line, shares one `Bus`: many gateways serve a single
 * client, and two requests at once on a serial line destroy each other.
 */
export class BusPool implements AsyncDisposable {
  private readonly deps: BusPoolDeps;
  private readonly shared = new Map<string, { readonly bus: Bus; leases: number }>();

  constructor(deps: BusPoolDeps) {
    this.deps = deps;
  }

  lease(transport: ModbusTransport, times: PathTimes): BusLease {
    const name = transport.kind === 'rtu' ? transport.device : `${transport.host}:${transport.port}`;
    const key = `${transport.kind} ${name}`;
    const entry = this.shared.get(key) ?? { bus: this.open(transport, name, times), leases: 0 };
    this.shared.set(key, entry);
    entry.leases += 1;
    let held = true;
    return {
      bus: entry.bus,
      [Symbol.asyncDispose]: async () => {
        if (!held) return;
        held = false;
        entry.leases -= 1;
        if (entry.leases > 0) return;
        if (this.shared.get(key) === entry) this.shared.delete(key);
        await entry.bus[Symbol.asyncDispose]();
      },
    };
  }

  /** Closes every path, whoever still holds it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.shared.values()];
    this.shared.clear();
    for (const { bus } of entries) await bus[Symbol.asyncDispose]();
  }

  private open(transport: ModbusTransport, name: string, times: PathTimes): Bus {
    const { clock, pathTo } = this.deps;
    const connect =
      pathTo?.(transport) ??
      (transport.kind === 'rtu'
        ? serialPath(transport)
        : tcpPath(transport.host, transport.port, CONNECT_LIMIT_MS, clock));
    const framing = transport.kind === 'modbus-tcp' ? 'mbap' : 'rtu';
    return openBus({ name, framing, connect, ...times }, this.deps);
  }
}
