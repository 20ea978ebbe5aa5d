import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Identity } from '../../drivers/load-driver.ts';
import type { DeviceId } from '../../protocols/units.ts';

const FILE = 'identities.json';

const identitySchema = z.object({
  basis: z.enum(['mac', 'serial']),
  value: z.string(),
  vendor: z.string().nullable(),
  model: z.string().nullable(),
  firmware: z.string(),
  firmwareVersion: z.string().nullable(),
  macAddress: z.string().nullable(),
  serialNumber: z.string().nullable(),
});
const schema = z.record(
  z.string(),
  z.object({
    /** The configured addresses of its entry when this was written. */
    addresses: z.string(),
    devices: z.record(
      z.string(),
      z.object({ host: z.string(), port: z.int(), identity: identitySchema.nullable() }),
    ),
  }),
);
type Entries = z.infer<typeof schema>;

/** Where a device answered, and as whom. */
export interface KnownPlace {
  readonly host: string;
  readonly port: number;
  readonly identity: Identity | null;
}

/** Devices by configuration entry: addresses as configured, in order, and who answers where now. */
export interface EntryPlaces {
  readonly entry: string;
  readonly addresses: readonly string[];
  readonly devices: ReadonlyMap<DeviceId, KnownPlace>;
}

/**
 * Who answers where, kept over restarts, so that ids go on following machines and an exchange during a pause is
 * told. Losing it costs just that: every machine is then taken for whom it says it is.
 */
export interface IdentityStore {
  /** What was known of an entry; nothing where its addresses are configured otherwise now. */
  of(entry: string, addresses: readonly string[]): ReadonlyMap<DeviceId, KnownPlace>;
  keep(entries: readonly EntryPlaces[]): void;
}

/** The identities in `folder`. An unreadable file counts as none; a disk that cannot be written keeps none. */
export function openIdentities(folder: string): IdentityStore {
  const path = join(folder, FILE);
  let known: Entries = {};
  try {
    known = schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    // First start, or a damaged file: who answers first counts.
  }
  return {
    of: (entry, addresses) => {
      const found = known[entry];
      return found === undefined || found.addresses !== addresses.join(' ')
        ? new Map()
        : new Map(Object.entries(found.devices));
    },
    keep: (entries) => {
      const next: Entries = {};
      for (const { entry, addresses, devices } of entries)
        next[entry] = {
          addresses: addresses.join(' '),
          devices: Object.fromEntries([...devices].map(([id, place]) => [id, storable(place)])),
        };
      try {
        mkdirSync(folder, { recursive: true, mode: 0o750 });
        writeFileSync(`${path}.new`, JSON.stringify(next), { mode: 0o600 });
        renameSync(`${path}.new`, path);
      } catch {
        // A full disk is told of by the journal.
      }
    },
  };
}

/** An address is no identity: whoever stands there has it. */
function storable({ host, port, identity }: KnownPlace): Entries[string]['devices'][string] {
  const { basis } = identity ?? {};
  return { host, port, identity: basis === 'mac' || basis === 'serial' ? { ...identity!, basis } : null };
}
