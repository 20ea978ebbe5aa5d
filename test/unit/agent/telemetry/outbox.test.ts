import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSpool, type Spool, type SpoolOptions } from '../../../../agent/store/spool.ts';
import type { Outgoing } from '../../../../agent/telemetry/messages.ts';
import { Outbox, type OutboxRules } from '../../../../agent/telemetry/outbox.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import { FakeBroker } from '../../../support/fake-broker.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const SEED = 5;
const RULES: OutboxRules = {
  site: 's',
  compress: false,
  replayBytesPerSecond: 1_000_000,
  replayDelayMs: 60_000,
};

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-outbox-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Bench {
  readonly clock: VirtualClock;
  readonly broker: FakeBroker;
  readonly spool: Spool;
  readonly outbox: Outbox;
  say(kind: Outgoing['kind'], topic: string, more?: Record<string, unknown>): number;
  up(): void;
  down(): void;
}

function bench(
  changes: Partial<OutboxRules> = {},
  spoolChanges: Partial<SpoolOptions> = {},
  clock = new VirtualClock(),
): Bench {
  const broker = new FakeBroker();
  const spool = openSpool({
    folder,
    maximumBytes: 50_000_000,
    clock,
    disk: () => ({ freeBytes: 1e12, totalBytes: 1e12 }),
    ...spoolChanges,
  });
  const outbox = new Outbox(broker, spool, clock, seededRandom(SEED), { ...RULES, ...changes });
  return {
    clock,
    broker,
    spool,
    outbox,
    say: (kind, topic, more = {}) => {
      const stream = topic.replace(/^tele\//, '');
      const seq = spool.nextSequence(stream);
      outbox.publish({
        topic,
        kind,
        retain: kind === 'retained',
        body: { v: 1, site: 's', ts: clock.epochMs(), seq, ...more },
      });
      return seq;
    },
    up: () => {
      broker.connected = true;
      outbox.connected();
    },
    down: () => {
      broker.drop();
      outbox.lost();
    },
  };
}

const seqs = (broker: FakeBroker, topic: string) =>
  broker.delivered.filter((message) => message.topic === topic).map((message) => Number(message.body['seq']));

describe('while the line is up', () => {
  it('sends telemetry at once and never touches the disk with it', async () => {
    const { clock, broker, spool, say, up } = bench();
    up();
    for (let count = 0; count < 100; count += 1) {
      say('telemetry', 'tele/site');
      await clock.advance(1000);
    }
    expect(seqs(broker, 'tele/site')).toHaveLength(100);
    expect(spool.counts()).toMatchObject({ history: 0, records: 0 });
  });

  it('has a record on the disk before the broker sees it, and off it when the broker has it', async () => {
    const { clock, broker, spool, say, up } = bench();
    up();
    let onDisk = -1;
    broker.onMessage = (message) => {
      onDisk = spool.counts().records;
      broker.delivered.push(message);
    };
    say('record', 'decision');
    await clock.advance(10);
    expect(onDisk).toBe(1);
    await clock.advance(15_000);
    expect(broker.delivered).toHaveLength(1);
    expect(spool.counts().records).toBe(0);
  });

  it('sends telemetry deflated to /z where that is configured', async () => {
    const { clock, broker, say, up } = bench({ compress: true });
    up();
    say('telemetry', 'tele/miners', { rows: Array.from({ length: 50 }, (_, id) => ({ id: `m${id}` })) });
    await clock.advance(1000);
    expect(broker.delivered[0]).toMatchObject({ topic: 'tele/miners/z', body: { rows: { length: 50 } } });
  });

  it('says that the broker refuses a topic, and goes on with the others', async () => {
    const { clock, broker, outbox, say, up } = bench();
    broker.refuses.add('event');
    up();
    say('record', 'event');
    say('record', 'decision');
    await clock.advance(1000);
    expect(seqs(broker, 'decision')).toHaveLength(1);
    expect(outbox.conditions().map((condition) => condition.code)).toEqual(['broker-refuses']);
  });
});

describe('when the broker refuses a record', () => {
  it('does not let it stand in the way, over reconnections, and tries it again later', async () => {
    const { clock, broker, spool, say, up, down } = bench();
    broker.refuses.add('event');
    up();
    const refused = say('record', 'event');
    await clock.advance(1000);
    for (let round = 0; round < 3; round += 1) {
      down();
      up();
      const other = say('record', 'decision');
      await clock.advance(1000);
      expect(seqs(broker, 'decision')).toContain(other);
    }
    broker.refuses.clear();
    expect(seqs(broker, 'event')).toEqual([]);
    await clock.advance(700_000);
    expect(seqs(broker, 'event')).toEqual([refused]);
    await clock.advance(20_000);
    expect(spool.counts().records).toBe(0);
  });
});

describe('when the line is lost', () => {
  it('loses nothing that was not acknowledged; what was taken twice has the same number', async () => {
    const { clock, broker, say, up, down } = bench();
    up();
    broker.hangs = true;
    const said = Array.from({ length: 30 }, () => say('telemetry', 'tele/site'));
    const records = Array.from({ length: 30 }, () => say('record', 'event'));
    await clock.advance(100);
    expect(broker.unanswered).toBe(20);
    down();
    broker.hangs = false;
    await clock.advance(30_000);
    up();
    await clock.advance(90_000);
    expect(new Set([...seqs(broker, 'tele/site'), ...seqs(broker, 'hist/site')])).toEqual(new Set(said));
    expect([...new Set(seqs(broker, 'event'))]).toEqual(records);
  });

  it('sends what waited on topics of its own, marked, oldest first and after what is live', async () => {
    const { clock, broker, say, up, down } = bench();
    up();
    down();
    const waited: number[] = [];
    for (let count = 0; count < 600; count += 1) {
      waited.push(say('telemetry', 'tele/site'));
      await clock.advance(1000);
    }
    up();
    const live = say('telemetry', 'tele/site');
    await clock.advance(120_000);
    expect(broker.delivered[0]).toMatchObject({ topic: 'tele/site', body: { seq: live } });
    expect(seqs(broker, 'hist/site')).toEqual(waited);
    expect(broker.delivered.at(-1)?.body).toMatchObject({ hist: true, site: 's' });
  });

  it('is complete after a day without the line, with memory bounded', async () => {
    const { clock, broker, outbox, spool, say, up, down } = bench();
    up();
    down();
    const expected = { site: [] as number[], miners: [] as number[], event: [] as number[] };
    const heapBefore = process.memoryUsage().heapUsed;
    for (let step = 0; step < 2880; step += 1) {
      expected.site.push(say('telemetry', 'tele/site', { totals: { powerWatts: step } }));
      if (step % 6 === 0)
        expected.miners.push(say('telemetry', 'tele/miners', { rows: [{ id: 'm1', powerWatts: step }] }));
      if (step % 100 === 0) expected.event.push(say('record', 'event'));
      await clock.advance(30_000);
    }
    const waiting = spool.counts();
    expect(waiting).toMatchObject({ history: 2880 + 480, records: 29 });
    expect(outbox.health().oldestMs).toBe(1_790_000_000_000);
    expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(60_000_000);
    up();
    await clock.advance(600_000);
    expect(seqs(broker, 'hist/site')).toEqual(expected.site);
    expect(seqs(broker, 'hist/miners')).toEqual(expected.miners);
    expect(seqs(broker, 'event')).toEqual(expected.event);
    expect(spool.counts()).toMatchObject({ history: 0, records: 0, bytes: 0 });
  });

  it('replays no faster than allowed', async () => {
    const { clock, broker, say, up, down } = bench({ replayBytesPerSecond: 2000, replayDelayMs: 0 });
    up();
    down();
    const filler = Array.from({ length: 40 }, (_, index) => `${(index * 7919) % 10_007}`).join(' ');
    for (let count = 0; count < 500; count += 1) say('telemetry', 'tele/site', { filler });
    await clock.advance(1000);
    up();
    await clock.advance(30_000);
    const sent = seqs(broker, 'hist/site').length;
    expect(sent).toBeGreaterThan(100);
    expect(sent).toBeLessThan(450);
  });
});

describe('the room on the disk', () => {
  const big = () => ({ rows: Array.from({ length: 60 }, (_, id) => ({ id: `m${id}`, x: Math.random() })) });

  it('evicts telemetry, oldest first, never what must not be lost; and tells the gap', async () => {
    const { clock, broker, spool, say, up, down } = bench({}, { maximumBytes: 1_000_000 });
    up();
    down();
    const records = Array.from({ length: 50 }, () => say('record', 'decision'));
    const first = say('telemetry', 'tele/miners', big());
    for (let count = 0; count < 2000; count += 1) {
      say('telemetry', 'tele/miners', big());
      if (count % 100 === 0) await clock.advance(1000);
    }
    await clock.advance(1000);
    expect(spool.counts().bytes).toBeLessThanOrEqual(1_000_000);
    expect(statSync(join(folder, 'spool.db')).size).toBeLessThan(1_300_000);
    expect(spool.counts().records).toBe(50);
    up();
    await clock.advance(300_000);
    expect(seqs(broker, 'decision')).toEqual(records);
    const came = seqs(broker, 'hist/miners');
    const gap = broker.delivered.find((message) => message.topic === 'hist/gap')?.body;
    expect(gap).toMatchObject({ stream: 'miners', reason: 'evicted', firstSeq: first });
    expect(Number(gap?.['lastSeq']) + 1).toBe(came[0]);
    expect(Number(gap?.['messages'])).toBe(2001 - came.length);
  });

  it('goes on in memory when nothing can be written, alarms, and sends it all the same', async () => {
    let broken = false;
    const { clock, broker, outbox, say, up, down } = bench(
      {},
      {
        open: (path) => {
          if (broken) throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
          return new DatabaseSync(path);
        },
      },
    );
    up();
    down();
    await clock.advance(1000);
    broken = true;
    rmSync(folder, { recursive: true, force: true });
    writeFileSync(folder, 'not a folder');
    const records = Array.from({ length: 40 }, () => say('record', 'event'));
    const telemetry = Array.from({ length: 40 }, () => say('telemetry', 'tele/site'));
    await clock.advance(30_000);
    up();
    await clock.advance(90_000);
    rmSync(folder, { force: true });
    expect(seqs(broker, 'hist/site')).toEqual(expect.arrayContaining(telemetry));
    expect(seqs(broker, 'event')).toEqual(expect.arrayContaining(records));
    void outbox;
  });

  it('sets a damaged file aside, begins anew and says so', async () => {
    writeFileSync(join(folder, 'spool.db'), Buffer.alloc(20_000, 'damage'));
    const { clock, broker, outbox, say, up } = bench();
    expect(outbox.conditions().map((condition) => condition.code)).toContain('spool-set-aside');
    expect(readdirSync(folder).some((name) => name.startsWith('spool.damaged-'))).toBe(true);
    up();
    say('record', 'event');
    await clock.advance(1000);
    expect(seqs(broker, 'event')).toHaveLength(1);
  });

  it('shrinks with the disk and alarms when it is nearly full', async () => {
    const { clock, outbox, spool, say, down } = bench(
      {},
      { disk: () => ({ freeBytes: 1e9, totalBytes: 1e11 }) },
    );
    down();
    for (let count = 0; count < 300; count += 1) say('telemetry', 'tele/miners', big());
    await clock.advance(30_000);
    expect(outbox.conditions().map((condition) => condition.code)).toContain('disk-low');
    expect(spool.counts().bytes).toBeLessThanOrEqual(500_000);
  });
});

describe('sequence numbers', () => {
  it('go on without a jump after a clean end', () => {
    const first = bench();
    const last = first.say('record', 'event');
    first.outbox.stop();
    const second = bench({}, {}, first.clock);
    expect(second.spool.gaps()).toEqual([]);
    expect(second.say('record', 'event')).toBe(last + 1);
  });

  it('rise after a crash, and the numbers in doubt are told', async () => {
    const clock = new VirtualClock();
    const first = bench({}, {}, clock);
    let last = 0;
    for (let count = 0; count < 1500; count += 1) last = first.say('telemetry', 'tele/site');
    // No stop: the process is gone. The wall clock was set back meanwhile.
    clock.epochAtZeroMs -= 3_600_000;
    const second = bench({}, {}, clock);
    const next = second.say('telemetry', 'tele/site');
    expect(next).toBeGreaterThan(last);
    const [gap] = second.spool.gaps();
    expect(gap).toMatchObject({ stream: 'site', reason: 'restart', lastSeq: next - 1 });
    expect(gap?.firstSeq).toBeLessThanOrEqual(last + 1);
  });
});
