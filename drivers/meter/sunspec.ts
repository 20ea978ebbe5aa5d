import type { MeterProfile } from '../../config/meters/profile.ts';
import type { BusExchange, BusRequest } from '../../protocols/modbus/bus.ts';
import type { BusFailure } from '../../protocols/modbus/bus-failure.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';

export type Exchange = (request: BusRequest) => Promise<Result<BusExchange, BusFailure>>;

const MARKER = [0x5375, 0x6e53] as const;
const END_MODEL = 0xffff;
const COMMON_MODEL = 1;
const MODELS_MOST = 64;

/**
 * Walks the models of a SunSpec device and returns its profile with absolute addresses: the points of the first
 * meter model found, and who made it. Fails `wrong-device` when no marker or no known meter model is there.
 * Source: SunSpec Information Model Specification 1.9, chapter 6.
 */
export async function locateSunSpec(
  profile: MeterProfile,
  exchange: Exchange,
): Promise<Result<MeterProfile, Failure>> {
  const { sunspec, functionCode } = profile;
  if (sunspec === undefined) return ok(profile);
  const read = (address: number, count: number) => exchange({ kind: 'read', functionCode, address, count });
  for (const marker of sunspec.markerAddresses) {
    const found = await read(marker, 2);
    if (!found.ok) {
      if (found.error.exceptionCode === null) return found;
      continue;
    }
    if (found.value.words[0] !== MARKER[0] || found.value.words[1] !== MARKER[1]) continue;
    return walk(profile, sunspec, marker + 2, read);
  }
  return fail('wrong-device', `no SunSpec marker at ${sunspec.markerAddresses.join(', ')}`);
}

async function walk(
  profile: MeterProfile,
  sunspec: NonNullable<MeterProfile['sunspec']>,
  start: number,
  read: (address: number, count: number) => Promise<Result<BusExchange, BusFailure>>,
): Promise<Result<MeterProfile, Failure>> {
  let address = start;
  let identify: MeterProfile['identify'] = [];
  for (let step = 0; step < MODELS_MOST && address < 0xfff0; step += 1) {
    const header = await read(address, 2);
    if (!header.ok) return header;
    const [model, length] = header.value.words as [number, number];
    if (model === END_MODEL || length === 0) break;
    if (model === COMMON_MODEL && identify.length === 0) identify = commonIdentity(address);
    const layout = sunspec.layouts.find((candidate) => candidate.models.includes(model));
    if (layout !== undefined) {
      const points = layout.points.map((point) => ({ ...point, address: point.address + address }));
      return ok({ ...profile, identify, points, sunspec: undefined });
    }
    address += 2 + length;
  }
  return fail('wrong-device', 'the SunSpec device has no meter model (201 to 204, 211 to 214)');
}

function commonIdentity(address: number): MeterProfile['identify'] {
  const text = (what: 'vendor' | 'model' | 'firmware' | 'serial', offset: number, words: number) => ({
    what,
    functionCode: 3 as const,
    address: address + offset,
    type: 'str' as const,
    words,
    confidence: 'A' as const,
  });
  return [text('vendor', 2, 16), text('model', 18, 16), text('firmware', 42, 8), text('serial', 50, 16)];
}
