import { describe, expect, it } from 'vitest';
import type { MeterPoint, MeterProfile } from '../../../config/meters/profile.ts';
import { decodePoint } from '../../../drivers/meter/decode.ts';

const PROFILE = { wordOrder: 'msw', notAvailable: { i16: ['8000'] } } as unknown as MeterProfile;
/** One register or more of `type` with its scale. */
const decoded = (
  type: string,
  words: readonly number[],
  scale: unknown = 1,
  more: { encoding?: string; parameters?: Record<string, number>; factor?: number | null } = {},
) =>
  decodePoint(
    PROFILE,
    {
      name: 'p',
      type,
      scale,
      encoding: more.encoding ?? null,
      words: words.length,
    } as unknown as MeterPoint,
    words,
    more.parameters ?? {},
    more.factor ?? null,
  );
const value = (...args: Parameters<typeof decoded>) => decoded(...args).value;

describe('a point of a meter', () => {
  it('is scaled by a number, a parameter of the configuration, or a factor read beside it', () => {
    expect(decoded('i16', [2301], 0.1)).toEqual({ value: 230.1, gap: null });
    expect(value('i16', [0xffff], 10)).toBe(-10);
    expect(value('i16', [5], { parameter: 'ct' }, { parameters: { ct: 40 } })).toBe(200);
    expect(decoded('i16', [5], { parameter: 'ct' })).toEqual({ value: null, gap: 'unscaled' });
    expect(decoded('i16', [5], null)).toEqual({ value: null, gap: 'unscaled' });
    const factor = (f: number | null) => value('i16', [5], { factor: 'sf' }, { factor: f });
    expect([factor(2), factor(0), factor(-2), factor(10), factor(-10)]).toEqual([500, 5, 0.05, 5e10, 5e-10]);
    expect([factor(11), factor(-11), factor(1.5), factor(null)]).toEqual([null, null, null, null]);
  });

  it('is nothing where the meter says so, or says what no meter measures', () => {
    expect(decoded('i16', [0x8000])).toEqual({ value: null, gap: 'not-available' });
    expect(decoded('f32', [0x7fc0, 0])).toEqual({ value: null, gap: 'not-available' });
    expect(decoded('f32', [0, 1])).toEqual({ value: null, gap: 'implausible' });
    expect(decoded('f32', [0x7f7f, 0xffff]).gap).toBe('implausible');
    expect(decoded('f32', [0xff7f, 0xffff]).gap).toBe('implausible');
    expect(decoded('f32', [0, 0])).toEqual({ value: 0, gap: null });
    expect(value('f32', [0x42c8, 0])).toBe(100);
  });

  it('is between two limits by lin3, which may be parameters and negative', () => {
    const lin = (word: number, lin3: readonly [number | string, number | string], parameters = {}) =>
      decoded('u16', [word], { lin3 }, { parameters });
    expect(lin(0, [0, 100]).value).toBe(0);
    expect(lin(9999, [0, 100]).value).toBe(100);
    expect(lin(10_000, [0, 100])).toEqual({ value: null, gap: 'unscaled' });
    expect(lin(9999, ['-full', 'full'], { full: 50 }).value).toBe(50);
    expect(lin(0, ['-full', 'full'], { full: 50 }).value).toBe(-50);
    expect(lin(0, ['-full', 10]).gap).toBe('unscaled');
    expect(lin(0, [10, 'full']).gap).toBe('unscaled');
  });

  it('is a frequency by its size, and a power factor counted on beyond 1', () => {
    const hz = (raw: number) => value('u16', [raw], 1, { encoding: 'hz-by-magnitude' });
    expect([hz(5001), hz(10_000), hz(10_001), hz(50_010)]).toEqual([50.01, 100, 10.001, 50.01]);
    const factor = (raw: number) => value('i16', [raw & 0xffff], 0.01, { encoding: 'pf-4q' });
    expect([factor(90), factor(100), factor(-100), factor(-90)]).toEqual([0.9, 1, -1, -0.9]);
    expect(factor(110)).toBeCloseTo(0.9, 9);
    expect(factor(-110)).toBeCloseTo(-0.9, 9);
  });

  it('is text of two characters a register, or of one, or nothing that can be read', () => {
    expect(decoded('str', [0x4142, 0x4300])).toEqual({ value: 'ABC', gap: null });
    expect(decoded('str1', [0x41, 0x42, 0x43])).toEqual({ value: 'ABC', gap: null });
    expect(decoded('str', [0, 0])).toEqual({ value: null, gap: 'not-available' });
    expect(decoded('str1', [0xff, 0xff])).toEqual({ value: null, gap: 'not-available' });
  });

  it('is exact by a factor: a tenth is divided by ten, a tenfold multiplied', () => {
    const by = (raw: number, factor: number) => value('i16', [raw], { factor: 'sf' }, { factor });
    expect([by(3, -1), by(1, 5), by(1, 9), by(7, 0)]).toEqual([0.3, 100_000, 1_000_000_000, 7]);
  });

  it('is plausible up to 1e18 and down to 1e-12, these left out', () => {
    const gapOf = (number: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(number);
      return decoded(
        'f64',
        [0, 2, 4, 6].map((at) => bytes.readUInt16BE(at)),
      ).gap;
    };
    expect([gapOf(1e18), gapOf(1e-12), gapOf(-1e18), gapOf(-1e-12)]).toEqual(Array(4).fill('implausible'));
    expect([gapOf(9.9e17), gapOf(1.1e-12), gapOf(-9.9e17)]).toEqual([null, null, null]);
  });

  it('is as long as its type', () => {
    expect(() => decoded('f32', [1])).toThrow('p is not 1 registers long');
  });
});
