import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import {
  type BookState,
  EMPTY_BOOK,
  limitsInForce,
  type OrderAnswer,
} from '../../../../agent/orders/book.ts';
import { OrderService } from '../../../../agent/orders/service.ts';
import { canonicalJson } from '../../../../agent/orders/signature.ts';
import { readBook, writeBook } from '../../../../agent/store/book-table.ts';
import { openTables } from '../../../../agent/store/database.ts';
import type { IssuerConfig } from '../../../../config/schema.ts';

const START = 1_790_000_000_000;
const LIMITS = [{ id: 'grid', ratingWatts: 1000 }];
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const PEM = publicKey.export({ type: 'spki', format: 'pem' }).toString();

const ISSUERS: IssuerConfig[] = [
  { id: 'fleet', maxPriority: 60, orders: 'all', limits: 'all', onExpiry: 'release', unsigned: true },
  {
    id: 'limiter',
    maxPriority: 60,
    orders: ['schedule', 'set_limit'],
    limits: 'all',
    onExpiry: 'hold',
    unsigned: true,
  },
  { id: 'owner', maxPriority: 80, orders: 'all', limits: 'all', onExpiry: 'hold', unsigned: true },
  { id: 'grid', maxPriority: 80, orders: 'all', limits: ['grid'], onExpiry: 'hold', unsigned: false },
];

/** A site without devices: draw is what the test says, time is what the test sets. */
function site(restored: BookState = EMPTY_BOOK, at = { ms: 0 }) {
  const answers: OrderAnswer[] = [];
  const persisted: BookState[] = [];
  const state = { local: false, synchronised: true as boolean | null, draw: 900, durable: true, ...{ at } };
  const service = new OrderService(
    {
      site: 's',
      limits: LIMITS,
      issuers: ISSUERS,
      get localControl() {
        return state.local;
      },
      now: () => START + at.ms,
      monotonic: () => at.ms,
      clockSynchronised: () => state.synchronised,
      drawWatts: () => state.draw,
      baselineWatts: () => 950,
      pathsOf: () => [['grid']],
      alarm: (id) => (id === 'group-silent:hall-a' ? { target: 'hall-a', since: 5 } : null),
      keyOf: (issuer) => (issuer.id === 'grid' ? PEM : null),
    },
    {
      answer: (answer) => answers.push(answer),
      persist: (book) => {
        persisted.push(book);
        return state.durable;
      },
      decideNow: (lease) => ({ expectedWatts: Math.min(state.draw, lease.watts), shortfallWatts: 0 }),
      snapshot: () => undefined,
      released: () => undefined,
      delegate: () => null,
    },
    restored,
  );
  let seq = 0;
  const send = (type: string, args: Record<string, unknown>, more: Record<string, unknown> = {}) => {
    seq += 1;
    const id = String(more['id'] ?? `o${seq}`);
    const order = {
      v: 1,
      id,
      site: 's',
      type,
      issuer: 'fleet',
      priority: 50,
      issued: START + at.ms,
      seq,
      args,
      ...more,
    };
    return service.receive(id, Buffer.from(JSON.stringify(order)), false);
  };
  /** Cycles each second with fresh readings of the draw. */
  const run = (ms: number) => {
    for (const end = at.ms + ms; at.ms < end; ) {
      at.ms += 1000;
      service.cycle(
        () => ({ watts: state.draw, sampledAt: at.ms }),
        () => null,
      );
    }
  };
  const inForce = () => limitsInForce(service.book, LIMITS, START + at.ms).get('grid')!;
  return { service, answers, persisted, state, send, run, inForce, at };
}

/** The book as the disk gives it back. */
function afterRestart(book: BookState): BookState {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-book-'));
  const database = openTables(folder, 10_000_000, (path) => new DatabaseSync(path));
  writeBook(database, book, null);
  const read = readBook(database);
  database.close();
  rmSync(folder, { recursive: true, force: true });
  return read;
}

const statuses = (answers: readonly OrderAnswer[], id: string) =>
  answers.filter((answer) => answer.id === id).map((answer) => answer.status);

describe('an order from acceptance to its measured end', () => {
  it('says what is expected at once, and done when two readings show it', () => {
    const { send, run, state, answers } = site();
    expect(send('set_limit', { limit: 'grid', watts: 400, withinMs: 30_000 })).toMatchObject({
      status: 'accepted',
      limitWatts: 400,
      deadline: START + 30_000,
      expectedWatts: 400,
      shortfallWatts: 0,
    });
    run(3000);
    state.draw = 390;
    run(3000);
    expect(answers.at(-1)).toMatchObject({ status: 'done', measuredWatts: 390, limitWatts: 400 });
  });

  it('says at the deadline what is short', () => {
    const { send, run, answers } = site();
    send('set_limit', { limit: 'grid', watts: 400, withinMs: 5000 });
    run(6000);
    expect(answers.at(-1)).toMatchObject({ status: 'failed', measuredWatts: 900, shortfallWatts: 500 });
  });

  it.each([
    ['hold', 'owner', 400],
    ['release', 'fleet', 1000],
  ])('onExpiry %s: after its lease %s has %d W in force', (onExpiry, issuer, watts) => {
    const { send, run, inForce, service } = site();
    send('set_limit', { limit: 'grid', watts: 400 }, { issuer, lease: { seconds: 60, onExpiry } });
    run(59_000);
    expect(inForce().watts).toBe(400);
    run(5000);
    expect(inForce().watts).toBe(watts);
    expect(service.conditions().map((condition) => condition.code)).toEqual(
      onExpiry === 'hold' ? ['lease-overdue'] : [],
    );
  });
});

describe('over a restart', () => {
  it('the same id gets the last answer again and changes nothing', () => {
    const first = site();
    first.send('set_limit', { limit: 'grid', watts: 400, withinMs: 5000 }, { id: 'once' });
    first.state.draw = 300;
    first.run(4000);
    const second = site(afterRestart(first.persisted.at(-1)!), first.at);
    const before = second.service.book;
    expect(second.send('set_limit', { limit: 'grid', watts: 100 }, { id: 'once', seq: 99 })).toMatchObject({
      status: 'done',
      limitWatts: 400,
    });
    expect(second.service.book).toBe(before);
  });

  it('a sequence number is not taken twice', () => {
    const first = site();
    first.send('set_limit', { limit: 'grid', watts: 400 }, { seq: 7 });
    const second = site(afterRestart(first.service.book), first.at);
    expect(second.send('set_limit', { limit: 'grid', watts: 900 }, { id: 'replayed', seq: 7 })).toMatchObject(
      {
        status: 'rejected',
        reason: expect.stringMatching(/repeated sequence/),
        lastSeq: 7,
      },
    );
    expect(second.inForce().watts).toBe(400);
  });

  it('an order that was written down and not yet acted on is in force, followed and answered', () => {
    const first = site();
    // The process ends right after the book is on the disk: nothing was answered, nothing decided.
    first.send('set_limit', { limit: 'grid', watts: 400, withinMs: 30_000 }, { id: 'crash' });
    const durable = first.persisted[0]!;
    first.at.ms += 10_000;
    const second = site(afterRestart(durable), first.at);
    expect(second.inForce().watts).toBe(400);
    expect(second.service.deadlineAt('crash')).toBe(30_000);
    second.state.draw = 350;
    second.run(3000);
    expect(statuses(second.answers, 'crash')).toEqual(['done']);
  });

  it('an order that could not be written down lowers all the same, and never raises', () => {
    const { send, state, inForce } = site();
    state.durable = false;
    expect(send('set_limit', { limit: 'grid', watts: 400 }).status).toBe('accepted');
    expect(send('restore', {})).toMatchObject({ status: 'rejected' });
    expect(inForce().watts).toBe(400);
  });
});

describe('what is refused over the broker', () => {
  it.each([
    ['expired', {}, { expires: START - 1 }, /late/],
    ['from the future', {}, { issued: START + 120_000 }, /future/],
    ['another site', {}, { site: 'x' }, /wrong site/],
    ['unknown issuer', {}, { issuer: 'nobody' }, /unknown issuer/],
    ['without a signature', {}, { issuer: 'grid' }, /unsigned/],
    ['a bad signature', {}, { issuer: 'grid', sig: { alg: 'Ed25519', value: 'AAAA' } }, /bad signature/],
    ['more priority than it has', {}, { priority: 90 }, /priority/],
  ])('%s', (_name, args, more, reason) => {
    const { send, service } = site();
    const answer = send('set_limit', { limit: 'grid', watts: 400, ...args }, more);
    expect(answer.status).toMatch(/rejected|expired/);
    expect(answer.reason).toMatch(reason);
    expect(service.book).toBe(EMPTY_BOOK);
  });

  it('retained, oversized, not JSON, or under another id than its topic', () => {
    const { service } = site();
    const order = {
      v: 1,
      id: 'a',
      site: 's',
      type: 'ping',
      issuer: 'fleet',
      issued: START,
      seq: 1,
      args: {},
    };
    const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
    expect(service.receive('a', bytes(order), true).reason).toMatch(/retained/);
    expect(service.receive('a', bytes({ ...order, x: 'y'.repeat(20_000) }), false).reason).toMatch(
      /oversized/,
    );
    expect(service.receive('a', Buffer.from('{'), false).reason).toMatch(/not JSON/);
    expect(service.receive('b', bytes(order), false).reason).toMatch(/topic says b/);
    expect(service.book).toBe(EMPTY_BOOK);
  });

  it('a signed order is taken once its signature holds', () => {
    const { service, inForce } = site();
    const order = {
      v: 1,
      id: 'signed',
      site: 's',
      type: 'set_limit',
      issuer: 'grid',
      priority: 80,
      issued: START,
      seq: 1,
      args: { limit: 'grid', watts: 250 },
    };
    const value = sign(null, Buffer.from(canonicalJson(order)), privateKey).toString('base64');
    const send = (body: object) => service.receive('signed', Buffer.from(JSON.stringify(body)), false);
    expect(
      send({ ...order, args: { limit: 'grid', watts: 999 }, sig: { alg: 'Ed25519', value } }).reason,
    ).toMatch(/bad signature/);
    expect(send({ ...order, sig: { alg: 'Ed25519', value } }).status).toBe('accepted');
    expect(inForce()).toMatchObject({ watts: 250, source: 'grid' });
  });
});

const HOUR = 3_600_000;
const steps = [
  { from: START + HOUR, watts: 600 },
  { from: START + 2 * HOUR, watts: 300 },
  { from: START + 3 * HOUR, watts: null },
];

describe('a schedule', () => {
  it('runs by the clock of the site, says how each step went, and ends', () => {
    const { send, run, inForce, state, answers } = site();
    send('schedule', { limit: 'grid', steps, until: START + 4 * HOUR, withinMs: 60_000 }, { id: 'plan' });
    expect(inForce().watts).toBe(1000);
    state.draw = 550;
    run(HOUR + 5000);
    expect(inForce()).toMatchObject({ watts: 600, source: 'fleet' });
    expect(answers.at(-1)).toMatchObject({
      id: 'plan',
      status: 'running',
      step: 0,
      met: true,
      measuredWatts: 550,
    });
    run(HOUR);
    expect(inForce().watts).toBe(300);
    run(120_000);
    expect(answers.at(-1)).toMatchObject({ status: 'running', step: 1, met: false, shortfallWatts: 250 });
    run(HOUR);
    expect(inForce().watts).toBe(1000);
    run(HOUR);
    expect(answers.at(-1)).toMatchObject({ status: 'failed', reason: '1 of 3 steps were not met in time' });
  });

  it('goes on after a restart, from the step of now, without the WAN', () => {
    const first = site();
    first.send('schedule', { limit: 'grid', steps, until: null }, { id: 'plan' });
    first.run(HOUR + 5000);
    const book = afterRestart(first.service.book);
    first.at.ms += HOUR;
    const second = site(book, first.at);
    expect(second.inForce().watts).toBe(600);
    second.run(1000);
    expect(second.inForce().watts).toBe(300);
    second.run(HOUR);
    expect(second.inForce().watts).toBe(1000);
  });

  it('is held or let go at its end, as its issuer may', () => {
    for (const [issuer, watts] of [
      ['fleet', 1000],
      ['owner', 600],
    ] as const) {
      const { send, run, inForce } = site();
      send('schedule', { limit: 'grid', steps: [steps[0]], until: START + 2 * HOUR }, { issuer });
      run(2 * HOUR + 5000);
      expect(inForce().watts).toBe(watts);
    }
  });

  it('needs the authority for what its steps do', () => {
    const { send, service } = site();
    const answer = send(
      'schedule',
      { limit: 'grid', steps: [{ from: START + HOUR, targetWatts: 500 }] },
      { issuer: 'limiter' },
    );
    expect(answer).toMatchObject({ status: 'rejected', reason: 'limiter may not order set_point' });
    expect(service.book).toBe(EMPTY_BOOK);
  });

  it('is refused in local control, and its steps do not raise while the clock is wrong', () => {
    const local = site();
    local.state.local = true;
    expect(local.send('schedule', { limit: 'grid', steps }).reason).toMatch(/local control/);
    const { send, run, inForce, state } = site();
    send('schedule', { limit: 'grid', steps });
    run(2 * HOUR + 5000);
    expect(inForce().watts).toBe(300);
    state.synchronised = false;
    run(HOUR);
    expect(inForce().watts).toBe(300);
    state.synchronised = true;
    run(1000);
    expect(inForce().watts).toBe(1000);
  });

  it('never raises above another lease, gives way to its issuer’s next order and to restore', () => {
    const { send, run, inForce, answers, service } = site();
    send('schedule', { limit: 'grid', steps }, { id: 'plan' });
    send('set_limit', { limit: 'grid', watts: 500 }, { issuer: 'owner' });
    run(HOUR + 5000);
    expect(inForce()).toMatchObject({ watts: 500, source: 'owner' });
    send('set_limit', { limit: 'grid', watts: 450 });
    expect(statuses(answers, 'plan').at(-1)).toBe('superseded');
    run(HOUR);
    expect(inForce().watts).toBe(450);
    send('schedule', { limit: 'grid', steps: [{ from: START + 3 * HOUR, watts: 100 }] }, { id: 'second' });
    send('restore', {});
    expect(service.book.schedules).toEqual([]);
    run(2 * HOUR);
    expect(inForce()).toMatchObject({ watts: 500, source: 'owner' });
  });

  it('holds set points', () => {
    const { send, run, service, state } = site();
    send('schedule', { limit: 'grid', steps: [{ from: START + 60_000, targetWatts: 500, bandWatts: 20 }] });
    state.draw = 505;
    run(65_000);
    expect(service.book.leases[0]).toMatchObject({
      watts: 520,
      setPoint: { targetWatts: 500, bandWatts: 20 },
    });
  });

  it('is malformed with steps out of order or of two kinds at once', () => {
    const { send } = site();
    expect(send('schedule', { limit: 'grid', steps: [steps[1], steps[0]] }).reason).toMatch(
      /follow each other/,
    );
    expect(
      send('schedule', { limit: 'grid', steps: [{ from: 1, watts: 1, targetWatts: 2 }] }).reason,
    ).toMatch(/either/);
  });
});

describe('an acknowledged alarm', () => {
  it('is on the disk, survives a restart, and goes with the alarm', () => {
    const { service, send, persisted } = site();
    expect(send('acknowledge', { alarm: 'group-silent:hall-a', who: 'jo' }).status).toBe('done');
    expect(persisted.at(-1)?.acknowledged).toMatchObject({ 'group-silent:hall-a': { who: 'jo', since: 5 } });
    const again = site(afterRestart(service.book));
    expect(again.service.book.acknowledged).toEqual(service.book.acknowledged);
    again.service.forgetAlarms((id) => id === 'something-else');
    expect(again.persisted).toEqual([]);
    again.service.forgetAlarms((id) => id === 'group-silent:hall-a');
    expect(again.persisted.at(-1)?.acknowledged).toEqual({});
  });
});

describe('an order in another form', () => {
  it('that is malformed is rejected like any other, and the same id is the same order', () => {
    const { service } = site();
    const args = { limit: 'grid', watts: 700 };
    expect(service.receiveFor('fleet', 'set_limit', { ...args, watts: -1 })).toMatchObject({
      status: 'rejected',
      reason: expect.stringContaining('malformed'),
    });
    const head = { id: 'scada-1', issued: START, expires: START + 60_000 };
    expect(service.receiveFor('fleet', 'set_limit', args, head).status).toBe('accepted');
    const { lastSeq } = service.book;
    expect(service.receiveFor('fleet', 'set_limit', args, head).id).toBe('scada-1');
    expect(service.book.lastSeq).toEqual(lastSeq);
    const late = { id: 'scada-2', issued: START - 90_000, expires: START - 30_000 };
    expect(service.receiveFor('fleet', 'set_limit', args, late).status).toBe('expired');
    expect(service.receiveFor('fleet', 'set_limit', args, { id: 'scada-3' }, true).reason).toMatch(
      /retained/,
    );
  });
});
