import type { MeterPoint } from '../../config/meters/profile.ts';
import type { WordOrder } from '../../protocols/modbus/values.ts';
import { orderedBytes } from '../../protocols/modbus/values.ts';

const STEP = 0x10000;
/** A leap this near to a whole number of high words is suspected; a real one is so by chance once in ten. */
const NEARNESS = 0.05 * STEP;

/**
 * Whether `after` may be half of one value and half of the next: a meter that updates a pair of registers between
 * answering the two gives the high word of one refresh with the low word of another. True means "read again", not
 * "wrong": a load may leap like that.
 */
export function mayBeTorn(
  type: MeterPoint['type'],
  order: WordOrder,
  before: readonly number[],
  after: readonly number[],
): boolean {
  if (before.length !== 2 || after.length !== 2) return false;
  const [old, fresh] = [orderedBytes(before, order), orderedBytes(after, order)];
  const sameLow = old.readUInt16BE(2) === fresh.readUInt16BE(2);
  const sameHigh = old.readUInt16BE(0) === fresh.readUInt16BE(0);
  // The low word of a live value never stays while the high word moves, unless it is a round figure.
  if (sameLow && !sameHigh && fresh.readUInt16BE(2) !== 0) return true;
  if (type !== 'i32' && type !== 'u32') return false;
  const leap = Math.abs(fresh.readInt32BE(0) - old.readInt32BE(0));
  const steps = Math.round(leap / STEP);
  return steps >= 1 && Math.abs(leap - steps * STEP) < NEARNESS;
}
