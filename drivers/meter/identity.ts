import type { MeterIdentity, MeterProfile } from '../../config/meters/profile.ts';
import { registersOf } from '../../config/meters/profile.ts';
import { decodeNumber, decodeText, isNotAvailable } from '../../protocols/modbus/values.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { Identity } from '../load-driver.ts';
import type { Exchange } from './sunspec.ts';

/**
 * Asks who answers. Entries that the meter refuses are unknown; fails `wrong-device` when an entry differs from
 * what every member of the family answers, and with the first failure that is no exception.
 */
export async function readIdentity(
  profile: MeterProfile,
  address: string,
  exchange: Exchange,
): Promise<Result<Identity, Failure>> {
  const found = new Map<MeterIdentity['what'], string>();
  for (const entry of profile.identify) {
    const result = await exchange({
      kind: 'read',
      functionCode: entry.functionCode,
      address: entry.address,
      count: registersOf(entry),
    });
    if (!result.ok) {
      if (result.error.exceptionCode === null) return result;
      continue;
    }
    const text = identityText(profile, entry, result.value.words);
    if (entry.expect !== undefined && text !== null && text !== String(entry.expect)) {
      const who = `${address} answers ${entry.what} "${text}"`;
      return fail('wrong-device', `${who}, a ${profile.id} would answer "${entry.expect}"`);
    }
    if (text !== null) found.set(entry.what, text);
  }
  const serialNumber = found.get('serial') ?? null;
  return ok({
    basis: serialNumber === null ? 'address' : 'serial',
    value: serialNumber ?? address,
    vendor: found.get('vendor') ?? profile.vendor,
    model: found.get('model') ?? profile.models[0] ?? null,
    firmware: profile.id,
    firmwareVersion: found.get('firmware') ?? null,
    macAddress: null,
    serialNumber,
  });
}

function identityText(profile: MeterProfile, entry: MeterIdentity, words: readonly number[]): string | null {
  const order = entry.wordOrder ?? profile.wordOrder;
  if (entry.type === 'str' || entry.type === 'str1') return decodeText(entry.type, order, words);
  if (isNotAvailable(profile.notAvailable[entry.type] ?? [], order, words)) return null;
  const value = decodeNumber(entry.type, order, words);
  return value === null || value === 0 ? null : String(value);
}
