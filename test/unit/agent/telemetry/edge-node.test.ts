import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BIRTHS_APART_MS, commandedName } from '../../../../agent/telemetry/sparkplug/edge-node.ts';
import { NodeUnderTest } from '../../../support/sparkplug-node.ts';

const host = (online: boolean, timestamp: number) =>
  ({ kind: 'host', state: { online, timestamp } }) as const;

describe('births', () => {
  it('come together, node first, when the line and something to say are there', () => {
    const node = new NodeUnderTest();
    node.connect();
    expect(node.take()).toEqual([]);
    node.see({ m1: 3000, m2: 3100, m3: null });
    expect(node.said.map(({ payload }) => payload.seq)).toEqual([0, 1, 2]);
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1', 'DBIRTH m2']);
    expect(node.checker.findings).toEqual([]);
  });

  it('carry bdSeq of the will and a rebirth metric that is false', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.lose();
    node.connect();
    node.see({ m1: 3000 });
    const metrics = new Map(node.said[0]!.payload.metrics.map((metric) => [metric.name, metric]));
    expect(metrics.get('bdSeq')).toMatchObject({ datatype: 4, longValue: 1n });
    expect(metrics.get('Node Control/Rebirth')).toMatchObject({ datatype: 11, booleanValue: false });
  });

  it('follow the death and return of a device, with one count of messages', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000, m2: 3100 });
    node.take();
    node.now += 10_000;
    node.see({ m1: null, m2: 3100 });
    node.now += 10_000;
    node.see({ m1: null, m2: 2000 });
    node.now += 10_000;
    node.see({ m1: 30, m2: 2000 });
    expect(node.said.map(({ what, payload }) => `${what} ${payload.seq}`)).toEqual([
      'DDEATH m1 3',
      'DDATA m2 4',
      'DBIRTH m1 5',
    ]);
    expect(node.checker.findings).toEqual([]);
  });

  it('begin anew for a device that the last sequence did not have, at most every five seconds', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000, m2: null });
    node.take();
    node.now += 1000;
    node.see({ m1: 2000, m2: 3100 });
    expect(node.take()).toEqual([]);
    node.now += BIRTHS_APART_MS;
    node.do({ kind: 'tick' });
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1', 'DBIRTH m2']);
    // What passed meanwhile is history, not lost.
    expect(node.kept.map(({ device }) => device)).toContain('m1');
    expect(node.checker.findings).toEqual([]);
  });
});

describe('data', () => {
  it('goes by exception, with the name, without the datatype', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000, m2: 3100 }, 6100);
    node.take();
    node.now += 10_000;
    node.see({ m1: 3001, m2: 2500 }, 6101);
    expect(node.said.map(({ what }) => what)).toEqual(['DDATA m2']);
    expect(node.said[0]!.payload.metrics).toEqual([
      { name: 'powerWatts', timestamp: node.epochMs, doubleValue: 2500 },
    ]);
  });

  it('goes by alias where that is wanted, and the same aliases serve commands', () => {
    const node = new NodeUnderTest({ aliases: true });
    node.connect();
    node.see({ m1: 3000, m2: 3100 });
    node.take();
    node.now += 10_000;
    node.see({ m1: 3000, m2: 2500 });
    expect(node.said[0]!.payload.metrics).toEqual([
      { alias: 3n, timestamp: node.epochMs, doubleValue: 2500 },
    ]);
    expect(commandedName(node.state, 'm2', { alias: 4n })).toBe('state');
    expect(commandedName(node.state, 'm2', { alias: 1n })).toBeNull();
    expect(commandedName(node.state, 'm9', { alias: 1n })).toBeNull();
    expect(node.checker.findings).toEqual([]);
  });

  it('that is not known is null, never 0', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.do({
      kind: 'image',
      image: {
        metrics: [{ name: 'powerWatts', type: 'Double', value: null, at: node.epochMs, quality: 500 }],
        devices: [],
      },
    });
    expect(node.said[0]!.payload.metrics.find(({ name }) => name === 'powerWatts')).toEqual({
      name: 'powerWatts',
      timestamp: node.epochMs,
      datatype: 10,
      isNull: true,
      properties: [{ key: 'Quality', type: 3, intValue: 500 }],
    });
    expect(node.checker.findings).toEqual([]);
  });

  it('counts to 255 and on from 0', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 0 });
    for (let round = 1; round <= 600; round += 1) {
      node.now += 10_000;
      node.see({ m1: (round % 2) * 1000 });
    }
    expect(node.said.length).toBe(602);
    expect(Math.max(...node.said.map(({ payload }) => payload.seq!))).toBe(255);
    expect(node.said[256]!.payload.seq).toBe(0);
    expect(node.checker.findings).toEqual([]);
  });
});

describe('the number of connections', () => {
  it('goes once around in 257, with every will beside its birth', () => {
    const node = new NodeUnderTest();
    for (let round = 0; round < 257; round += 1) {
      node.connect();
      node.see({ m1: 3000 + round });
      node.lose();
    }
    const numbers = node.said
      .filter(({ what }) => what === 'NBIRTH')
      .map(({ payload }) => payload.metrics.find(({ name }) => name === 'bdSeq')!.longValue);
    expect(numbers.length).toBe(257);
    expect(numbers.at(255)).toBe(255n);
    expect(numbers.at(256)).toBe(0n);
    expect(node.checker.findings).toEqual([]);
  });
});

describe('rebirth', () => {
  it('repeats everything with the same bdSeq and begins the count anew', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000 });
    node.now += 60_000;
    node.see({ m1: 2000 });
    node.take();
    node.do({ kind: 'rebirth' });
    expect(node.said.map(({ payload }) => payload.seq)).toEqual([0, 1]);
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
    expect(node.checker.findings).toEqual([]);
  });

  it('asked for a thousand times in a second is said once more', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000 });
    node.take();
    for (let ask = 0; ask < 1000; ask += 1) {
      node.now += 1;
      node.do({ kind: 'rebirth' });
    }
    // Data stops until the birth that was asked for.
    node.see({ m1: 1 });
    expect(node.take()).toEqual([]);
    node.now += BIRTHS_APART_MS;
    node.do({ kind: 'tick' });
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
  });
});

describe('the primary host', () => {
  const born = (rules = {}) => {
    const node = new NodeUnderTest({ primaryHost: 'ignition', ...rules });
    node.connect();
    node.see({ m1: 3000 });
    expect(node.take()).toEqual([]);
    node.do(host(true, 1000));
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
    return node;
  };

  it('is waited for; what passes meanwhile is kept', () => {
    const node = new NodeUnderTest({ primaryHost: 'ignition' });
    node.connect();
    node.see({ m1: 3000 });
    node.do(host(false, 500));
    expect(node.take()).toEqual([]);
    expect(node.kept.length).toBeGreaterThan(0);
    expect(node.left).toEqual([]);
    node.do(host(true, 1000));
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
  });

  it('that goes takes the node along: its death, then the next broker', () => {
    const node = born();
    node.do(host(false, 1000));
    expect(node.said[0]).toMatchObject({ what: 'NDEATH', qos: 1 });
    expect(node.left).toEqual([false]);
    node.now += 1000;
    node.see({ m1: 10 });
    expect(node.kept.map(({ metrics }) => metrics[0]!.value)).toContain(10);
    // The first word of the next broker counts, however old.
    node.connect();
    node.do(host(true, 700));
    expect(node.take()).toEqual(['NDEATH', 'NBIRTH', 'DBIRTH m1']);
    expect(node.checker.findings).toEqual([]);
  });

  it('said to be gone by an older word is not gone', () => {
    const node = born();
    node.do(host(false, 999));
    expect(node.take()).toEqual([]);
    expect(node.left).toEqual([]);
    node.now += 10_000;
    node.see({ m1: 10 });
    expect(node.take()).toEqual(['DDATA m1']);
  });

  it('may have said its word before the subscriptions are through', () => {
    const there = new NodeUnderTest({ primaryHost: 'ignition', brokers: 2 });
    there.see({ m1: 3000 });
    there.dial();
    there.do(host(true, 1000));
    there.do({ kind: 'connected' });
    expect(there.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
    const gone = new NodeUnderTest({ primaryHost: 'ignition', brokers: 2 });
    gone.dial();
    gone.do(host(false, 1000));
    gone.do({ kind: 'connected' });
    expect([gone.left, gone.take()]).toEqual([[false], []]);
  });

  it('that came anew without its end being seen gets everything again', () => {
    const node = born();
    node.now += BIRTHS_APART_MS;
    node.do(host(true, 1000));
    expect(node.take()).toEqual([]);
    node.do(host(true, 2000));
    expect(node.take()).toEqual(['NBIRTH', 'DBIRTH m1']);
  });

  it('is looked for at the next broker, where there is one', () => {
    const node = new NodeUnderTest({ primaryHost: 'ignition', brokers: 2 });
    node.connect();
    node.see({ m1: 3000 });
    node.do(host(false, 1000));
    expect(node.left).toEqual([false]);
    node.connect();
    node.now += 29_000;
    node.do({ kind: 'tick' });
    expect(node.left).toEqual([false]);
    node.now += 1000;
    node.do({ kind: 'tick' });
    expect(node.left).toEqual([false, false]);
    expect(node.take()).toEqual([]);
  });
});

describe('history', () => {
  it('is what could not be said, and what was said too shortly before the end', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 1000 });
    node.now += 40_000;
    node.see({ m1: 2000 });
    node.now += 10_000;
    node.lose();
    // The births are 50 s old and safe; what went 10 s ago may not have arrived.
    expect(node.kept.map(({ device, metrics }) => [device, metrics.map(({ value }) => value)])).toEqual([
      ['m1', [2000]],
    ]);
    node.now += 10_000;
    node.see({ m1: 3000 });
    expect(node.kept.length).toBe(2);
    node.connect();
    node.take();
    node.now += 1000;
    node.do({ kind: 'history', data: node.kept });
    const [first] = node.said;
    expect(node.take()).toEqual(['DDATA m1', 'DDATA m1']);
    expect(first!.payload).toMatchObject({
      timestamp: node.epochMs,
      metrics: [{ name: 'powerWatts', timestamp: node.epochMs - 21_000, isHistorical: true }],
    });
    expect(node.checker.findings).toEqual([]);
  });
});

describe('the end', () => {
  it('is said before the line is let go', () => {
    const node = new NodeUnderTest();
    node.connect();
    node.see({ m1: 3000 });
    node.take();
    const effects = node.do({ kind: 'stop' });
    expect(effects.map(({ kind }) => kind)).toEqual(['publish', 'leave', 'keep']);
    expect(node.take()).toEqual(['NDEATH']);
    expect(node.left).toEqual([true]);
  });
});

describe('whatever happens', () => {
  const act = fc.oneof(
    fc.record({
      kind: fc.constant('see' as const),
      watts: fc.array(fc.option(fc.nat({ max: 4000 }), { nil: null }), { minLength: 4, maxLength: 4 }),
    }),
    fc.record({
      kind: fc.constantFrom('connect', 'dial', 'lose', 'rebirth', 'tick', 'history', 'stop'),
    }),
    fc.record({
      kind: fc.constant('host' as const),
      online: fc.boolean(),
      timestamp: fc.nat({ max: 50 }),
    }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat({ max: 40_000 }) }),
  );

  it('keeps the rules', () => {
    fc.assert(
      fc.property(
        fc.array(act, { maxLength: 60 }),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom(1, 2),
        (acts, aliases, waits, brokers) => {
          const node = new NodeUnderTest({ aliases, brokers, primaryHost: waits ? 'ignition' : null });
          for (const one of acts) {
            const { phase } = node.state;
            if (one.kind === 'see' && 'watts' in one)
              node.see(Object.fromEntries(one.watts.map((value, index) => [`m${index}`, value])), node.now);
            else if (one.kind === 'host' && 'online' in one) node.do(host(one.online, one.timestamp));
            else if (one.kind === 'pass' && 'ms' in one) node.now += one.ms;
            else if (one.kind === 'connect' && phase === 'down') node.connect();
            else if (one.kind === 'dial' && phase === 'down') node.dial();
            else if (one.kind === 'lose') node.lose();
            else if (one.kind === 'rebirth' || one.kind === 'tick' || one.kind === 'stop')
              node.do({ kind: one.kind });
            else if (one.kind === 'history')
              node.do({
                kind: 'history',
                data: node.kept
                  .splice(0)
                  .filter(({ device }) => device === null || node.state.born.get(device) === true),
              });
          }
          expect(node.checker.findings).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
