import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  type AdmitContext,
  admit,
  type BookState,
  EMPTY_BOOK,
  expireLeases,
  limitsInForce,
} from '../../../../agent/orders/book.ts';
import { type Order, parseOrder, parseOrderValue } from '../../../../agent/orders/order.ts';
import { canonicalJson, verifyOrderSignature } from '../../../../agent/orders/signature.ts';
import type { IssuerConfig } from '../../../../config/schema.ts';

const NOW = 1_790_000_000_000;
const issuers: IssuerConfig[] = [
  {
    id: 'grid-operator',
    maxPriority: 80,
    orders: ['set_limit', 'curtail', 'restore'],
    limits: ['grid'],
    onExpiry: 'hold',
    unsigned: true,
  },
  { id: 'fleet', maxPriority: 60, orders: 'all', limits: 'all', onExpiry: 'release', unsigned: true },
  { id: 'signer', maxPriority: 60, orders: 'all', limits: 'all', onExpiry: 'hold', unsigned: false },
];

/** Two machines, one of them below the feeder; a tag that both bear; the limits. */
const PLACES: Readonly<Record<string, string[][]>> = {
  m1: [['feeder', 'grid']],
  m2: [['grid']],
  rack: [['feeder', 'grid'], ['grid']],
  grid: [['feeder', 'grid'], ['grid'], ['grid']],
  feeder: [
    ['feeder', 'grid'],
    ['feeder', 'grid'],
  ],
};

function context(changes: Partial<AdmitContext> = {}): AdmitContext {
  return {
    site: 's',
    issuers,
    limits: [
      { id: 'grid', ratingWatts: 1000 },
      { id: 'feeder', ratingWatts: 600 },
    ],
    now: NOW,
    monotonicMs: 0,
    retained: false,
    clockSynchronised: true,
    localControl: false,
    local: false,
    signatureHolds: () => false,
    drawWatts: () => 800,
    baselineWatts: () => 900,
    pathsOf: (target) => PLACES[target] ?? [],
    alarm: (id) => (id === 'over-rating:grid' ? { target: 'grid', since: 5 } : null),
    ...changes,
  };
}

let counter = 0;
function order(type: string, args: Record<string, unknown>, changes: Record<string, unknown> = {}): Order {
  counter += 1;
  const parsed = parseOrderValue({
    v: 1,
    id: `o${counter}`,
    site: 's',
    type,
    issuer: 'fleet',
    priority: 50,
    issued: NOW,
    seq: counter,
    args,
    ...changes,
  });
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.order;
}

const take = (book: BookState, one: Order, changes: Partial<AdmitContext> = {}) =>
  admit(book, one, context(changes));
const inForce = (book: BookState, limit = 'grid', now = NOW) =>
  limitsInForce(book, context().limits, now).get(limit)!;

describe('what an order may do', () => {
  it('is in force as the minimum of rating and all live leases', () => {
    let { book } = take(EMPTY_BOOK, order('set_limit', { limit: 'grid', watts: 700 }));
    ({ book } = take(book, order('set_limit', { limit: 'grid', watts: 500 }, { issuer: 'grid-operator' })));
    expect(inForce(book)).toMatchObject({ watts: 500, source: 'grid-operator' });
    ({ book } = take(book, order('set_limit', { limit: 'grid', watts: 5000 })));
    expect(inForce(book).watts).toBe(500);
    ({ book } = take(book, order('restore', {}, { issuer: 'grid-operator' })));
    expect(inForce(book).watts).toBe(1000);
  });

  it('never raises above the rating', () => {
    const { book } = take(EMPTY_BOOK, order('set_limit', { limit: 'feeder', watts: 99_999 }));
    expect(inForce(book, 'feeder').watts).toBe(600);
  });

  it('restores its own leases only', () => {
    let { book } = take(
      EMPTY_BOOK,
      order('set_limit', { limit: 'grid', watts: 400 }, { issuer: 'grid-operator' }),
    );
    ({ book } = take(book, order('restore', {})));
    expect(inForce(book).watts).toBe(400);
  });

  it('resolves curtail once, against draw, rating or baseline', () => {
    const watts = (args: Record<string, unknown>) =>
      take(EMPTY_BOOK, order('curtail', { limit: 'grid', ...args })).lease?.watts;
    expect(watts({ fraction: 0.4 })).toBe(480);
    expect(watts({ fraction: 0.4, of: 'rating' })).toBe(600);
    expect(watts({ watts: 100, of: 'baseline' })).toBe(800);
    expect(
      take(EMPTY_BOOK, order('curtail', { limit: 'grid', fraction: 0.1 }), { drawWatts: () => null }).answer,
    ).toMatchObject({ status: 'rejected' });
  });
});

describe('what is rejected, with its reason and without effect', () => {
  const seen = take(EMPTY_BOOK, order('set_limit', { limit: 'grid', watts: 700 }, { seq: 1_000_000 })).book;
  it.each<[string, Order, Partial<AdmitContext>, RegExp]>([
    ['retained', order('set_limit', { limit: 'grid', watts: 1 }), { retained: true }, /retained/],
    ['wrong site', order('set_limit', { limit: 'grid', watts: 1 }, { site: 'other' }), {}, /wrong site/],
    [
      'late',
      order('set_limit', { limit: 'grid', watts: 1 }, { expires: NOW - 1, seq: 2_000_000 }),
      {},
      /late/,
    ],
    [
      'from the future',
      order('set_limit', { limit: 'grid', watts: 1 }, { issued: NOW + 120_000, seq: 2_000_000 }),
      {},
      /future/,
    ],
    [
      'repeated sequence',
      order('set_limit', { limit: 'grid', watts: 1 }, { seq: 1_000_000 }),
      {},
      /repeated sequence/,
    ],
    [
      'unknown issuer',
      order('set_limit', { limit: 'grid', watts: 1 }, { issuer: 'mallory' }),
      {},
      /unknown issuer/,
    ],
    ['type not allowed', order('prices', {}, { issuer: 'grid-operator' }), {}, /may not order/],
    [
      'limit not allowed',
      order('set_limit', { limit: 'feeder', watts: 1 }, { issuer: 'grid-operator' }),
      {},
      /no authority/,
    ],
    [
      'unknown limit',
      order('set_limit', { limit: 'nowhere', watts: 1 }, { seq: 2_000_000 }),
      {},
      /unknown limit/,
    ],
    [
      'priority too high',
      order('set_limit', { limit: 'grid', watts: 1 }, { priority: 99, seq: 2_000_000 }),
      {},
      /priority/,
    ],
    ['unsigned', order('set_limit', { limit: 'grid', watts: 1 }, { issuer: 'signer' }), {}, /unsigned/],
    [
      'bad signature',
      order(
        'set_limit',
        { limit: 'grid', watts: 1 },
        { issuer: 'signer', sig: { alg: 'Ed25519', value: 'AAAA' } },
      ),
      {},
      /bad signature/,
    ],
    [
      'release not allowed',
      order(
        'set_limit',
        { limit: 'grid', watts: 1 },
        { issuer: 'grid-operator', lease: { seconds: 5, onExpiry: 'release' } },
      ),
      {},
      /may not ask for release/,
    ],
    [
      'raising in local control',
      order('set_limit', { limit: 'grid', watts: 900 }, { seq: 2_000_000 }),
      { localControl: true },
      /local control/,
    ],
    [
      'restore in local control',
      order('restore', {}, { seq: 2_000_000 }),
      { localControl: true },
      /local control/,
    ],
    [
      'raising with a wrong clock',
      order('set_limit', { limit: 'grid', watts: 900 }, { seq: 2_000_000 }),
      { clockSynchronised: false },
      /not synchronised/,
    ],
  ])('%s', (_name, one, changes, reason) => {
    const result = take(seen, one, changes);
    expect(result.answer.status).toMatch(/rejected|expired/);
    expect(result.answer.reason).toMatch(reason);
    expect(result.book).toBe(seen);
  });

  it('tells the last sequence number seen', () => {
    expect(take(seen, order('ping', {}, { seq: 5 })).answer.lastSeq).toBe(1_000_000);
  });

  it('accepts lowering in local control and with a wrong clock', () => {
    for (const changes of [{ localControl: true }, { clockSynchronised: false }]) {
      expect(
        take(seen, order('set_limit', { limit: 'grid', watts: 300 }, { seq: 2_000_000 }), changes).accepted,
      ).toBe(true);
    }
  });

  it('gives the same id the last answer again and does nothing', () => {
    const one = order('set_limit', { limit: 'grid', watts: 700 });
    const first = take(EMPTY_BOOK, one);
    const again = take(first.book, one);
    expect(again.answer).toEqual(first.answer);
    expect(again.accepted).toBe(false);
    expect(again.book).toBe(first.book);
  });

  it.each([
    ['{', /not JSON/],
    ['{"v":1}', /id/],
    [JSON.stringify({ v: 1, id: 'a/b', site: 's', type: 'ping', issuer: 'x', issued: 1, seq: 1 }), /letters/],
    [
      JSON.stringify({
        v: 1,
        id: 'a',
        site: 's',
        type: 'set_limit',
        issuer: 'x',
        issued: 1,
        seq: 1,
        args: { limit: 'grid', watts: -1 },
      }),
      /watts/,
    ],
    [
      JSON.stringify({
        v: 1,
        id: 'a',
        site: 's',
        type: 'curtail',
        issuer: 'x',
        issued: 1,
        seq: 1,
        args: { limit: 'grid' },
      }),
      /either watts or fraction/,
    ],
    [`{"a":"${'x'.repeat(20_000)}"}`, /oversized/],
  ])('says what is wrong with %s', (text, reason) => {
    const parsed = parseOrder(text);
    expect(parsed.ok ? '' : parsed.reason).toMatch(reason);
  });
});

describe('leases', () => {
  it('hold past their end by default and alarm, or release where asked', () => {
    const held = take(
      EMPTY_BOOK,
      order('set_limit', { limit: 'grid', watts: 400 }, { issuer: 'grid-operator', lease: { seconds: 60 } }),
    ).book;
    const after = expireLeases(held, NOW + 61_000);
    expect(after.overdue).toHaveLength(1);
    expect(inForce(after.book, 'grid', NOW + 61_000)).toMatchObject({ watts: 400, until: null });
    const released = take(
      EMPTY_BOOK,
      order('set_limit', { limit: 'grid', watts: 400 }, { lease: { seconds: 60, onExpiry: 'release' } }),
    ).book;
    expect(inForce(expireLeases(released, NOW + 61_000).book).watts).toBe(1000);
    expect(inForce(expireLeases(released, NOW + 59_000).book).watts).toBe(400);
  });

  it('are replaced by the same issuer, who may raise only what it set itself', () => {
    const first = take(EMPTY_BOOK, order('set_limit', { limit: 'grid', watts: 400 }));
    const second = take(first.book, order('set_limit', { limit: 'grid', watts: 500 }));
    expect(second.superseded).toEqual([first.answer.id]);
    expect(inForce(second.book).watts).toBe(500);
  });

  it('wait for their notBefore', () => {
    const { book } = take(
      EMPTY_BOOK,
      order('set_limit', { limit: 'grid', watts: 400 }, { notBefore: NOW + 10_000 }),
    );
    expect(inForce(book).watts).toBe(1000);
    expect(inForce(book, 'grid', NOW + 10_000).watts).toBe(400);
  });
});

describe('signatures', () => {
  it('hold over canonical JSON whatever the order of keys, and break with any change', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const body = {
      v: 1,
      id: 'x',
      site: 's',
      type: 'ping',
      issuer: 'signer',
      issued: NOW,
      seq: 1,
      args: { b: 1, a: [1, { d: 2, c: 3 }] },
    };
    const value = sign(null, Buffer.from(canonicalJson(body)), privateKey).toString('base64');
    const reordered = Object.fromEntries(Object.entries(body).reverse());
    expect(verifyOrderSignature({ ...reordered, sig: { alg: 'Ed25519', value } }, pem)).toBe(true);
    expect(verifyOrderSignature({ ...body, seq: 2, sig: { alg: 'Ed25519', value } }, pem)).toBe(false);
    expect(verifyOrderSignature({ ...body, sig: { alg: 'Ed25519', value: 'AA' } }, pem)).toBe(false);
    expect(verifyOrderSignature({ ...body, sig: { alg: 'Ed25519', value } }, 'no key')).toBe(false);
  });

  it('serialises as RFC 8785 shows', () => {
    expect(
      canonicalJson({
        numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
        literals: [null, true, false],
      }),
    ).toBe('{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}');
  });
});

describe('acknowledging an alarm', () => {
  const seen = { alarm: 'over-rating:grid', who: 'jo' };

  it('notes who saw it and since when it was active, and needs an alarm that is', () => {
    const { book, answer } = take(EMPTY_BOOK, order('acknowledge', seen));
    expect(answer.status).toBe('accepted');
    expect(book.acknowledged).toEqual({ 'over-rating:grid': { who: 'jo', at: NOW, since: 5 } });
    const wrong = take(EMPTY_BOOK, order('acknowledge', { alarm: 'over-rating:feeder' }));
    expect(wrong.answer).toMatchObject({ status: 'rejected', reason: expect.stringContaining('no alarm') });
    expect(wrong.book).toBe(EMPTY_BOOK);
  });

  it('needs authority for the order and over the target', () => {
    const may = (issuer: string, orders: string[] | 'all', limits: string[] | 'all') =>
      take(EMPTY_BOOK, order('acknowledge', seen, { issuer }), {
        issuers: [{ id: issuer, maxPriority: 60, orders, limits, onExpiry: 'hold', unsigned: true }] as never,
      }).answer;
    expect(may('x', ['acknowledge'], ['grid']).status).toBe('accepted');
    expect(may('x', ['set_limit'], 'all').reason).toMatch(/may not order acknowledge/);
    expect(may('x', 'all', ['feeder']).reason).toMatch(/no authority over grid/);
    expect(take(EMPTY_BOOK, order('acknowledge', seen, { issuer: 'signer' })).answer.reason).toMatch(
      /unsigned/,
    );
  });

  it('raises nothing: allowed in local control and with a wrong clock', () => {
    for (const changes of [{ localControl: true }, { clockSynchronised: false }])
      expect(take(EMPTY_BOOK, order('acknowledge', seen), changes).accepted).toBe(true);
  });
});

describe('who may hold and release', () => {
  const feeder: IssuerConfig = {
    id: 'feeder-owner',
    maxPriority: 60,
    orders: ['hold', 'release'],
    limits: ['feeder'],
    onExpiry: 'hold',
    unsigned: true,
  };
  const mine = { issuers: [...issuers, feeder] };
  const own = { issuer: 'feeder-owner' };
  const answerOf = (book: BookState, one: Order, changes: Partial<AdmitContext> = {}) => {
    const { status, reason } = take(book, one, { ...mine, ...changes }).answer;
    return reason === undefined ? status : `${status}: ${reason}`;
  };

  it('an issuer only what hangs below its own limits, all of it', () => {
    expect(answerOf(EMPTY_BOOK, order('hold', { target: 'm1', who: 'x' }, own))).not.toMatch(/rejected/);
    expect(answerOf(EMPTY_BOOK, order('hold', { target: 'feeder', who: 'x' }, own))).not.toMatch(/rejected/);
    for (const target of ['m2', 'rack', 'grid'])
      expect(answerOf(EMPTY_BOOK, order('hold', { target, who: 'x' }, own))).toBe(
        `rejected: feeder-owner has no authority over ${target}`,
      );
    const held = take(EMPTY_BOOK, order('hold', { target: 'm2', who: 'x' }), mine).book;
    expect(answerOf(held, order('release', { target: 'm2' }, own))).toMatch(/no authority/);
  });

  it('nobody what there is not; but a hold whose target is gone can be released', () => {
    expect(answerOf(EMPTY_BOOK, order('hold', { target: 'm7', who: 'x' }))).toBe(
      'rejected: unknown target "m7": no device, tag or limit',
    );
    expect(answerOf(EMPTY_BOOK, order('release', { target: 'm7' }))).toMatch(/unknown target/);
    const held = take(EMPTY_BOOK, order('hold', { target: 'm1', who: 'x' }), mine).book;
    const gone = { pathsOf: () => [] };
    expect(answerOf(held, order('release', { target: 'm1' }, own), gone)).toMatch(/no authority/);
    expect(answerOf(held, order('release', { target: 'm1' }), gone)).not.toMatch(/rejected/);
  });

  it('nobody from afar what somebody at the site holds: people may be in the racks', () => {
    const local = { issuer: 'local' };
    const held = take(EMPTY_BOOK, order('hold', { target: 'm1', who: 'kim' }, local), { local: true }).book;
    expect(held.holds).toMatchObject([{ target: 'm1', who: 'kim', issuer: 'local' }]);
    for (const type of ['release', 'hold'])
      expect(answerOf(held, order(type, { target: 'm1', who: 'x' }))).toBe(
        'rejected: kim holds m1 at the site: only somebody there releases it',
      );
    const old = { ...held, holds: held.holds.map(({ issuer: _, ...hold }) => hold) };
    expect(answerOf(old, order('release', { target: 'm1' }))).toMatch(/kim holds m1/);
    const released = take(held, order('release', { target: 'm1' }, local), { local: true });
    expect(released.book.holds).toEqual([]);
  });
});
