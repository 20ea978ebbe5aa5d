import type { Identity } from '../../drivers/load-driver.ts';
import type { DeviceId } from '../../protocols/units.ts';

/** What is known of a device when somebody unexpected answers at another one's address. */
export interface KnownDevice {
  readonly id: DeviceId;
  /** Configuration entry: devices of one entry hang on the same limit. */
  readonly entry: string;
  readonly identity: Identity | null;
  /** Its own address does not answer as itself any more. */
  readonly lost: boolean;
}

/**
 * Who answers at a device's address in its stead.
 * - `moved`: another device of the same entry that is lost at its own place: the two have changed addresses
 * - `elsewhere`: a device known from another entry, whose limit is another: the limit follows the place
 * - `twin`: a device that answers at its own place as well, or will in a moment
 * - `unknown`: a machine that was never seen
 */
export type Stranger =
  | { readonly kind: 'moved' | 'elsewhere' | 'twin'; readonly device: DeviceId }
  | { readonly kind: 'unknown' };

/** Tells who answers as `identity` where `at` should. Pure. */
export function whoIs(identity: Identity, at: DeviceId, known: readonly KnownDevice[]): Stranger {
  // An address is no identity of its own: whoever stands there has it.
  if (identity.basis === 'address') return { kind: 'unknown' };
  const place = known.find(({ id }) => id === at);
  const device = known.find((other) => other.id !== at && other.identity?.value === identity.value);
  if (device === undefined) return { kind: 'unknown' };
  if (!device.lost) return { kind: 'twin', device: device.id };
  return { kind: device.entry === place?.entry ? 'moved' : 'elsewhere', device: device.id };
}
