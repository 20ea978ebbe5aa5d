import type { DeviceId } from '../protocols/units.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Where each miner answers: as configured at first. Machines of one entry may change addresses (a DHCP server that
 * lost its leases); then ids follow the machines. Every address always belongs to exactly one id.
 */
export class Whereabouts {
  private readonly addresses: Map<DeviceId, Address>;

  constructor(
    places: readonly { readonly deviceId: DeviceId; readonly host: string; readonly port: number }[],
  ) {
    this.addresses = new Map(places.map(({ deviceId, host, port }) => [deviceId, { host, port }]));
  }

  /** Takes addresses of an earlier life over; they are the same addresses in another order. */
  restore(addresses: ReadonlyMap<DeviceId, Address>): void {
    for (const [id, { host, port }] of addresses)
      if (this.addresses.has(id)) this.addresses.set(id, { host, port });
  }

  of(id: DeviceId): Address {
    const address = this.addresses.get(id);
    if (address === undefined) throw new RangeError(`${id} has no address`);
    return address;
  }

  exchange(a: DeviceId, b: DeviceId): void {
    const first = this.of(a);
    this.addresses.set(a, this.of(b));
    this.addresses.set(b, first);
  }
}

export function addressText({ host, port }: Address): string {
  return `${host}:${port}`;
}
