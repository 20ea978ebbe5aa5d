import fc from 'fast-check';
import { describe, it } from 'vitest';
import {
  type AdmitContext,
  admit,
  EMPTY_BOOK,
  expireLeases,
  limitsInForce,
} from '../../../agent/orders/book.ts';
import { parseOrder, parseOrderValue } from '../../../agent/orders/order.ts';
import type { IssuerConfig } from '../../../config/schema.ts';

const limits = [
  { id: 'grid', ratingWatts: 1000 },
  { id: 'feeder', ratingWatts: 600 },
];
const issuers: IssuerConfig[] = ['a', 'b', 'c'].map((id, index) => ({
  id,
  maxPriority: 100,
  orders: 'all',
  limits: 'all',
  onExpiry: index === 0 ? 'hold' : 'release',
  unsigned: true,
}));

const anOrder = fc.record({
  type: fc.constantFrom('set_limit', 'curtail', 'restore', 'prices', 'hold', 'release', 'ping'),
  issuer: fc.constantFrom('a', 'b', 'c', 'nobody'),
  limit: fc.constantFrom('grid', 'feeder'),
  watts: fc.integer({ min: 0, max: 5000 }),
  seconds: fc.option(fc.integer({ min: 1, max: 100 })),
  step: fc.integer({ min: 0, max: 60_000 }),
  retained: fc.boolean(),
});

describe('orders', () => {
  it('no sequence of orders raises a limit above its rating or above the live lease of another', () => {
    fc.assert(
      fc.property(fc.array(anOrder, { maxLength: 30 }), (orders) => {
        let book = EMPTY_BOOK;
        let now = 1_790_000_000_000;
        orders.forEach((given, index) => {
          now += given.step;
          book = expireLeases(book, now).book;
          const args =
            given.type === 'set_limit' || given.type === 'curtail'
              ? { limit: given.limit, watts: given.watts }
              : given.type === 'hold' || given.type === 'release'
                ? { target: given.limit, who: 'x' }
                : {};
          const parsed = parseOrderValue({
            v: 1,
            id: `o${index}`,
            site: 's',
            type: given.type,
            issuer: given.issuer,
            issued: now,
            seq: index,
            args,
            lease: given.seconds === null ? null : { seconds: given.seconds },
          });
          if (!parsed.ok) throw new Error(parsed.reason);
          const context: AdmitContext = {
            site: 's',
            issuers,
            limits,
            now,
            monotonicMs: 0,
            retained: given.retained,
            clockSynchronised: true,
            localControl: false,
            local: false,
            signatureHolds: () => false,
            drawWatts: () => 900,
            baselineWatts: () => null,
            pathsOf: (target) => [[target]],
            alarm: () => null,
          };
          const others = book.leases.filter((lease) => lease.issuer !== given.issuer);
          book = admit(book, parsed.order, context).book;
          for (const { id, ratingWatts } of limits) {
            const watts = limitsInForce(book, limits, now).get(id)!.watts;
            const bound = Math.min(
              ratingWatts,
              ...others.filter((lease) => lease.limit === id).map((lease) => lease.watts),
            );
            if (watts > bound) throw new Error(`${id} at ${watts} above ${bound}`);
          }
        });
      }),
      { numRuns: 2000, seed: 20_261_121 },
    );
  });

  it('no bytes make the parser throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          parseOrder(bytes);
        },
      ),
      { numRuns: 3000, seed: 7 },
    );
  });
});
