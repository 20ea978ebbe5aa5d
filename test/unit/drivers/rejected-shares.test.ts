import { describe, expect, it } from 'vitest';
import { decodeAvalon } from '../../../drivers/miners/avalon-decode.ts';
import { decodeBitmain } from '../../../drivers/miners/bitmain-decode.ts';
import { decodeBraiinsGraphql, decodeBraiinsRest } from '../../../drivers/miners/braiins-decode.ts';
import { decodeCgminer } from '../../../drivers/miners/cgminer.ts';
import { decodeEpic } from '../../../drivers/miners/epic-decode.ts';
import { decodeFluxos } from '../../../drivers/miners/fluxos-decode.ts';
import { decodeLuxos } from '../../../drivers/miners/luxos-decode.ts';
import { type MinerFields, rejectedPercent } from '../../../drivers/miners/reply-fields.ts';
import { decodeVnish } from '../../../drivers/miners/vnish-decode.ts';
import { decodeWhatsminer } from '../../../drivers/miners/whatsminer-decode.ts';
import { decodeWhatsminerV3 } from '../../../drivers/miners/whatsminer-v3-decode.ts';

type Fields = Readonly<Record<string, unknown>>;

const counted = (Accepted: unknown, Rejected: unknown, more: Fields = {}): Fields => ({
  Accepted,
  Rejected,
  ...more,
});
const weight = (accepted: unknown, rejected: unknown): Fields => ({
  'Difficulty Accepted': accepted,
  'Difficulty Rejected': rejected,
});

describe('the per cent of shares that pools reject', () => {
  const cases: readonly (readonly [string, readonly Fields[], number | null])[] = [
    ['numbers', [counted(950, 50)], 5],
    ['text', [counted('950', ' 50 ')], 5],
    ['a miner that has none rejected', [counted(950, 0)], 0],
    ['a miner that has all rejected', [counted(0, 950)], 100],
    ['more rejected than accepted', [counted(250, 750)], 75],
    ['names of web pages', [{ accepted: 950, rejected: 50 }], 5],
    ['names of Braiins OS', [{ accepted_shares: 950, rejected_shares: 50, stale_shares: 900 }], 5],
    ['stale shares apart', [counted(950, 50, { Stale: 1000 })], 5],
    ['200 shares', [counted(198, 2)], 1],
    ['too few shares', [counted(197, 2)], null],
    ['pools together', [counted(150, 0), counted(30, 20)], 10],
    ['a pool that says nothing', [counted(950, 50), {}], 5],
    ['nobody', [], null],
    ['no rejected ones', [{ Accepted: 5412 }], null],
    ['no accepted ones', [{ Rejected: 5412 }], null],
    ['a count below 0', [counted(-1, 500)], null],
    ['another one below 0', [counted(500, -1)], null],
    ['no number', [counted('nan', 50)], null],
    ['a list', [counted([950], 50)], null],
    ['counts beyond any', [counted(1.7e308, 1.7e308)], null],
    ['a count beyond any alone', [counted(0, 1.7e308)], 100],
    ['difficulty before counts', [counted(500, 500, weight(900_000, 100_000))], 10],
    ['difficulty of all pools', [counted(150, 0, weight(300, 0)), counted(0, 50, weight(0, 100))], 25],
    ['difficulty as text', [counted(500, 500, weight('900000.0', '100000.0'))], 10],
    ['counts, where one pool has no difficulty', [counted(180, 0, weight(9e9, 0)), counted(0, 20)], 10],
    ['counts, where rejected ones have none', [counted(900, 100, weight(9e9, 0))], 10],
    ['counts, where accepted ones have none', [counted(900, 100, weight(0, 9e9))], 10],
    ['counts, where a difficulty is below 0', [counted(900, 100, weight(9e9, -9e9))], 10],
    ['difficulty below 0 of no shares', [counted(900, 0, weight(9e9, -9e9))], 0],
  ];
  it.each(cases)('%s', (_what, records, expected) => {
    const percent = rejectedPercent(records);
    if (expected === null) expect(percent).toBeNull();
    else expect(percent).toBeCloseTo(expected, 9);
  });
});

describe('of each family', () => {
  const summary = (record: Fields) => ({ SUMMARY: [record] });
  const pools = (...records: readonly Fields[]) => ({ POOLS: records });
  const context = { configuredModel: null, controllable: false };
  const few = counted(99, 1);
  const mostly = counted(950, 50);
  const whatsminer = { ...context, firmware: 'whatsminer' } as const;
  const graphql = (...shares: readonly Fields[]) => ({
    pools: {
      data: { bosminer: { info: { poolGroups: shares.map((one) => ({ pools: [{ shares: one }] })) } } },
    },
  });
  const cases: readonly (readonly [string, MinerFields, number | null])[] = [
    ['cgminer, the summary', decodeCgminer('cgminer', { summary: summary(mostly), pools: pools(few) }), 5],
    ['cgminer, its pools', decodeCgminer('cgminer', { summary: summary({}), pools: pools(mostly) }), 5],
    ['LuxOS, the summary', decodeLuxos({ summary: summary(mostly), pools: pools(few) }), 5],
    ['LuxOS, its pools', decodeLuxos({ pools: pools(mostly, few) }), (100 * 51) / 1100],
    ['stock Bitmain, its pools', decodeBitmain({ pools: pools(mostly) }, context), 5],
    [
      'stock Bitmain, the page of its pools',
      decodeBitmain({ pools: pools({ accepted: 950, rejected: 50, stale: 3 }) }, context),
      5,
    ],
    [
      'Whatsminer, the summary',
      decodeWhatsminer({ summary: summary(mostly), pools: pools(few) }, whatsminer),
      5,
    ],
    [
      'Whatsminer, its pools where the summary does not say',
      decodeWhatsminer({ summary: summary({ Accepted: 950 }), pools: pools(mostly) }, whatsminer),
      5,
    ],
    [
      'Whatsminer API 3, which does not say',
      decodeWhatsminerV3({ status: { pools: [{ url: 'a' }] } }, context),
      null,
    ],
    ['Avalon, the summary', decodeAvalon({ summary: summary(mostly), pools: pools(few) }), 5],
    ['Avalon, its pools', decodeAvalon({ summary: summary(few), pools: pools(mostly) }), 5],
    ['FluxOS, the summary', decodeFluxos({ summary: summary(mostly) }), 5],
    ['VNish, the summary', decodeVnish({ summary: summary(mostly) }), 5],
    [
      "VNish, the operator's own pools before the summary",
      decodeVnish({
        summary: summary(counted(950, 950)),
        pools: pools({ URL: 'a:3333', ...mostly }, { URL: 'DevFee', ...counted(0, 900) }),
      }),
      5,
    ],
    ['ePIC', decodeEpic({ summary: { Session: mostly } }), 5],
    [
      'Braiins OS over REST',
      decodeBraiinsRest({ stats: { pool_stats: { accepted_shares: '950', rejected_shares: '50' } } }),
      5,
    ],
    [
      'Braiins OS over GraphQL',
      decodeBraiinsGraphql(
        graphql(
          { acceptedSolutions: 900, rejectedSolutions: 50 },
          { acceptedSolutions: 50, rejectedSolutions: 0 },
        ),
      ),
      5,
    ],
    ['Braiins OS over GraphQL that says no shares', decodeBraiinsGraphql(graphql({})), null],
  ];
  it.each(cases)('%s', (_what, reading, expected) => {
    if (expected === null) expect(reading.rejectedPercent).toBeNull();
    else expect(reading.rejectedPercent).toBeCloseTo(expected, 9);
  });
});
