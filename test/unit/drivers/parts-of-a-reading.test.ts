import { describe, expect, it } from 'vitest';
import type { LoadReading } from '../../../drivers/load-driver.ts';
import { LUXOS_READS } from '../../../drivers/miners/luxos-decode.ts';
import {
  AVALON,
  BEHAVIOURS,
  BITMAIN,
  BRAIINS,
  BRAIINS_GRAPHQL,
  bitmain,
  CGMINER,
  EPIC,
  FLUXOS,
  LUXOS,
  LUXOS_JOINED,
  play,
  type Unit,
  VNISH,
  WHATSMINER,
  WHATSMINER_V3,
} from '../../support/unit-in-parts.ts';

const never = new AbortController().signal;

/** What of it is no answer: the rest of the reading stands without it. */
const LOSSES = BEHAVIOURS.filter((behaviour) => behaviour !== 'late');

/** From the first packet to the last byte; a step of the clock more. */
const TOTAL_MS = 8000 + 1000;

/** What is not said here. */
const ANY: unknown = expect.toSatisfy(() => true);

/** It can be put to sleep and woken, and told nothing between. */
const POINTLESS = { sleep: true, wake: true, powerLimit: null, sleepMs: ANY, wakeMs: ANY, changeMs: null };

/** All that a unit is asked at once. */
const JOINED = LUXOS_READS.join('+');

/** Statistics that name no model, as some builds write them. */
const BITMAIN_UNNAMED: Unit = {
  ...BITMAIN,
  port: { ...BITMAIN.port, stats: withoutType(bitmain('stats')) },
};

function withoutType(stats: unknown): unknown {
  return JSON.parse(JSON.stringify(stats, (name, value: unknown) => (name === 'Type' ? undefined : value)));
}

/** A reading of `unit` that is given up while `part` is awaited ends in that moment. */
async function givesUp(unit: Unit, part: string): Promise<void> {
  await using played = await play(unit);
  const { behaves, asked, clock, driver } = played;
  behaves.set(part, 'silent');
  const controller = new AbortController();
  const reading = driver.read(controller.signal);
  while (!asked.includes(part)) await new Promise((resolve) => setImmediate(resolve));
  const before = clock.monotonicMs();
  controller.abort();
  expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
  expect(clock.monotonicMs()).toBe(before);
}

/** A part of a unit's readings, and what they do not say without it. */
type Part = readonly [firmware: string, part: string, unit: Unit, without: object];

/** Asked now and then. */
const SLOW: readonly Part[] = [
  ['bitmain', 'pools', BITMAIN, { pools: [], rejectedPercent: null }],
  ['bitmain', '/cgi-bin/summary.cgi', BITMAIN, { errors: [] }],
  ['braiins', '/api/v1/cooling/state', BRAIINS, { fanRpm: [] }],
  [
    'braiins',
    '/api/v1/miner/hw/hashboards',
    BRAIINS,
    { boards: [], chipTemperatureCelsius: null, boardTemperatureCelsius: null },
  ],
  ['braiins', '/api/v1/pools/', BRAIINS, { pools: [] }],
  ['braiins', '/api/v1/miner/errors', BRAIINS, { errors: [] }],
  [
    'braiins',
    'childSolvers',
    BRAIINS_GRAPHQL,
    { boards: [], chipTemperatureCelsius: null, boardTemperatureCelsius: null },
  ],
  ['braiins', 'poolGroups', BRAIINS_GRAPHQL, { pools: [], rejectedPercent: null }],
  ['braiins', 'modelName', BRAIINS_GRAPHQL, { model: null }],
  ['whatsminer-v3', 'edevs', WHATSMINER_V3, { boards: [] }],
  ['whatsminer', 'devs', WHATSMINER, { boards: [] }],
  ['whatsminer', 'pools', WHATSMINER, { pools: [], rejectedPercent: null }],
  ['whatsminer', 'get_error_code', WHATSMINER, { errors: [] }],
  ['fluxos', 'version', FLUXOS, {}],
  ['fluxos', 'devs', FLUXOS, { boards: [] }],
  ['fluxos', 'pools', FLUXOS, { pools: [] }],
  ['fluxos', '/temperature', FLUXOS, { chipTemperatureCelsius: null, boardTemperatureCelsius: null }],
  ['fluxos', '/fan', FLUXOS, { fanRpm: [] }],
  // The summary counts the shares of the maker's own pool as well.
  ['vnish', 'pools', VNISH, { pools: [], rejectedPercent: expect.closeTo(0.7335, 4) }],
  ['avalon', 'pools', AVALON, { pools: [] }],
  ['luxos', 'pools', LUXOS, { pools: [] }],
  ['luxos', 'events', LUXOS, { errors: [] }],
  ['cgminer', 'devs', CGMINER, { boards: [] }],
  ['cgminer', 'pools', CGMINER, { pools: [] }],
  ['cgminer', 'stats', CGMINER, { fanRpm: [], model: null, vendor: null }],
];

/** Asked until they came. */
const STEADY: readonly Part[] = [
  // Its page names another model than was recorded on the port.
  [
    'bitmain',
    'version',
    BITMAIN_UNNAMED,
    { model: 'Antminer S21', powerWatts: ANY, efficiencyJoulesPerTh: ANY, control: ANY },
  ],
  ['whatsminer', 'get_version', WHATSMINER, { firmwareVersion: '20240624.18.REL' }],
  ['whatsminer', 'devdetails', WHATSMINER, { model: null, control: ANY }],
  ['whatsminer', 'get_miner_info', WHATSMINER, { serialNumber: null }],
  ['vnish', '/api/v1/autotune/presets', VNISH, { control: POINTLESS }],
  ['avalon', 'version', AVALON, { macAddress: null }],
  ['luxos', 'profiles', LUXOS, { powerLimitWatts: null, control: POINTLESS }],
  ['cgminer', 'version', CGMINER, { firmwareVersion: null }],
  [
    'epic',
    '/capabilities',
    EPIC,
    {
      model: null,
      nominalHashrateThs: null,
      chipTemperatureCelsius: null,
      boardTemperatureCelsius: ANY,
      boards: ANY,
      control: ANY,
    },
  ],
];

/** Asked at every reading. */
const LIVE: readonly Part[] = [
  [
    'bitmain',
    '/cgi-bin/get_system_info.cgi',
    BITMAIN,
    { macAddress: null, serialNumber: null, firmwareVersion: 'Tue Dec  6 16:12:30 CST 2022' },
  ],
  ['bitmain', '/cgi-bin/get_miner_conf.cgi', BITMAIN, {}],
  ['braiins', '/api/v1/performance/tuner-state', BRAIINS, { powerLimitWatts: null }],
  ['whatsminer', 'status', WHATSMINER, {}],
  [
    'fluxos',
    '/ipreport',
    FLUXOS,
    { model: null, macAddress: null, serialNumber: null, firmwareVersion: '0.5' },
  ],
  ['fluxos', '/psu', FLUXOS, { powerWatts: null, powerSource: null, efficiencyJoulesPerTh: null }],
  ['fluxos', '/mode', FLUXOS, { powerLimitWatts: null, nominalHashrateThs: null }],
  ['vnish', 'summary', VNISH, { uptimeSeconds: null }],
  [
    'vnish',
    '/api/v1/info',
    VNISH,
    { model: ANY, firmwareVersion: ANY, macAddress: null, serialNumber: null },
  ],
  ['vnish', '/api/v1/summary', VNISH, { powerWatts: ANY, efficiencyJoulesPerTh: ANY }],
  ['vnish', '/api/v1/perf-summary', VNISH, { powerLimitWatts: null }],
  ['avalon', 'summary', AVALON, { rejectedPercent: null }],
  ['luxos', 'version', LUXOS, { firmwareVersion: null }],
  ['luxos', 'power', LUXOS, { powerWatts: null, powerSource: null, efficiencyJoulesPerTh: null }],
  ['luxos', 'devs', LUXOS, { boards: ANY }],
  ['epic', '/network', EPIC, { macAddress: null }],
];

/** Of an answer on port 4028 that was cut, what came counts: then only the rest of the reading is told beforehand. */
const whatCame = (unit: Unit, part: string, loss: string, without: object): object =>
  loss === 'cut' && part in unit.port && !part.startsWith('/')
    ? Object.fromEntries(Object.keys(without).map((name) => [name, ANY]))
    : without;

describe.each(SLOW)('%s, of whose readings %s is asked now and then,', (_firmware, part, unit, without) => {
  it('is read whole where that part answers late', async () => {
    await using good = await play(unit);
    await using late = await play(unit);
    late.behaves.set(part, 'late');
    const whole = await good.fields();
    if (Object.keys(without).length > 0) expect(whole).not.toMatchObject(without);
    expect(await late.fields()).toEqual(whole);
  });

  it.each(LOSSES)('is read without it where it is lost (%s), and whole again later', async (loss) => {
    await using played = await play(unit);
    const { behaves, asked, clock, fields } = played;
    const wholeFrom = clock.monotonicMs();
    const whole = await fields();
    const wholeMs = clock.monotonicMs() - wholeFrom;
    behaves.set(part, loss);
    await clock.pass(31_000);
    const before = clock.monotonicMs();
    const rest = { ...whole, ...whatCame(unit, part, loss, without) };
    expect(await fields()).toEqual(rest);
    expect(clock.monotonicMs() - before).toBeLessThanOrEqual(wholeMs + TOTAL_MS);
    // It costs its time-out now and then, not at every reading.
    const times = asked.filter((name) => name === part).length;
    expect(await fields()).toEqual(rest);
    expect(asked.filter((name) => name === part)).toHaveLength(times);
    behaves.clear();
    await clock.pass(31_000);
    expect(await fields()).toEqual(whole);
  });

  it('gives up at once while that part is awaited', async () => {
    await givesUp(unit, part);
  });
});

describe.each(STEADY)(
  '%s, of whose readings %s is asked until it came,',
  (_firmware, part, unit, without) => {
    it.each(LOSSES)('is read without it where it is lost (%s)', async (loss) => {
      await using good = await play(unit);
      await using played = await play(unit);
      const { behaves, asked, clock, fields } = played;
      const wholeFrom = good.clock.monotonicMs();
      const whole = await good.fields();
      const wholeMs = good.clock.monotonicMs() - wholeFrom;
      expect(whole).not.toMatchObject(without);
      behaves.set(part, loss);
      const before = clock.monotonicMs();
      const rest = { ...whole, ...without };
      expect(await fields()).toEqual(rest);
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(wholeMs + TOTAL_MS);
      const times = () => asked.filter((name) => name === part).length;
      const once = times();
      expect(await fields()).toEqual(rest);
      expect(times()).toBe(once);
      behaves.clear();
      await clock.pass(31_000);
      // A no may be final.
      if (loss === 'missing') return;
      expect(await fields()).toEqual(whole);
      expect(times()).toBe(once + 1);
      await clock.pass(31_000);
      expect(await fields()).toEqual(whole);
      expect(times()).toBe(once + 1);
    });

    it('gives up at once while that part is awaited', async () => {
      await givesUp(unit, part);
    });
  },
);

describe.each(LIVE)('%s, of whose readings %s is asked each time,', (_firmware, part, unit, without) => {
  it.each(BEHAVIOURS)(
    'says all the rest where it is %s, and all of it once it answers',
    async (behaviour) => {
      await using played = await play(unit);
      const { behaves, clock, fields } = played;
      const wholeFrom = clock.monotonicMs();
      const whole = await fields();
      const wholeMs = clock.monotonicMs() - wholeFrom;
      behaves.set(part, behaviour);
      // With what is asked now and then.
      await clock.pass(31_000);
      const before = clock.monotonicMs();
      expect(await fields()).toEqual(
        behaviour === 'late' ? whole : { ...whole, ...whatCame(unit, part, behaviour, without) },
      );
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(wholeMs + TOTAL_MS);
      behaves.clear();
      expect(await fields()).toEqual(whole);
    },
  );

  it('gives up at once while that part is awaited', async () => {
    await givesUp(unit, part);
  });
});

describe.each([
  ['braiins', '/api/v1/miner/stats', BRAIINS],
  ['braiins', 'fans', BRAIINS_GRAPHQL],
  ['whatsminer-v3', 'summary+pools', WHATSMINER_V3],
  ['whatsminer-v3', 'get.device.info', WHATSMINER_V3],
  ['whatsminer', 'summary', WHATSMINER],
  ['fluxos', 'summary', FLUXOS],
  ['vnish', 'stats', VNISH],
  ['avalon', 'stats', AVALON],
  ['luxos', 'config', LUXOS],
  ['luxos', 'summary', LUXOS],
  ['luxos', JOINED, LUXOS_JOINED],
  ['cgminer', 'summary', CGMINER],
  ['epic', '/summary', EPIC],
] as const)('%s, whose readings rest on %s,', (_firmware, part, unit) => {
  it('is read late where that comes late', async () => {
    await using played = await play(unit);
    const { behaves, fields } = played;
    const whole = await fields();
    behaves.set(part, 'late');
    expect(await fields()).toEqual(whole);
  });

  // Of an answer on port 4028 that was cut, what came counts.
  const isPort = part === JOINED || (part in unit.port && !part.startsWith('/'));
  it.each((['trickles', 'silent', 'cut'] as const).filter((loss) => loss !== 'cut' || !isPort))(
    'is not read where it %s, and says so in time',
    async (loss) => {
      await using played = await play(unit);
      const { behaves, clock, driver, fields } = played;
      const wholeFrom = clock.monotonicMs();
      const whole = await fields();
      const wholeMs = clock.monotonicMs() - wholeFrom;
      behaves.set(part, loss);
      const before = clock.monotonicMs();
      const reading = await clock.expire(driver.read(never));
      expect(reading.ok).toBe(false);
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(wholeMs + TOTAL_MS);
      behaves.clear();
      expect(await fields()).toEqual(whole);
    },
  );
});

describe('a unit of which parts are lost', () => {
  it('is read without them where both are silent, and is not asked for more on the way', async () => {
    await using played = await play(BRAIINS);
    const { behaves, asked, clock, fields } = played;
    const whole = await fields();
    await clock.pass(31_000);
    behaves.set('/api/v1/performance/tuner-state', 'silent');
    behaves.set('/api/v1/cooling/state', 'silent');
    asked.length = 0;
    const slow = SLOW.filter(([, , unit]) => unit === BRAIINS).map((lost) => lost[3]);
    expect(await fields()).toEqual(Object.assign({ ...whole, powerLimitWatts: null }, ...slow));
    expect(asked).toHaveLength(4);
    behaves.clear();
    await clock.pass(31_000);
    expect(await fields()).toEqual(whole);
  });

  it.each([
    ['fluxos', FLUXOS, ['/ipreport', '/psu']],
    ['vnish', VNISH, ['/api/v1/info', '/api/v1/summary']],
  ] as const)(
    'is read from its port where all its pages are silent, and two are waited for (%s)',
    async (firmware, unit, waitedFor) => {
      await using played = await play(unit);
      const { behaves, asked, clock, fields } = played;
      const { hashrateThs, boards, pools, fanRpm } = (await fields()) as LoadReading & { kind: 'miner' };
      for (const page of Object.keys(unit.web)) if (page !== '/token') behaves.set(page, 'silent');
      await clock.pass(31_000);
      asked.length = 0;
      const rest = firmware === 'fluxos' ? { fanRpm: [] } : { fanRpm };
      expect(await fields()).toMatchObject({ hashrateThs, boards, pools, ...rest });
      expect(asked.filter((name) => name in unit.web)).toEqual(waitedFor);
    },
  );

  it('is asked everything at once where it takes that, and is read without what is not there', async () => {
    await using played = await play(LUXOS_JOINED);
    const { behaves, asked, fields } = played;
    const whole = await fields();
    behaves.set('pools', 'missing');
    asked.length = 0;
    expect(await fields()).toEqual({ ...whole, pools: [] });
    expect(asked).toEqual([JOINED]);
  });

  it('is asked what it can do now and then where that does not come', async () => {
    await using played = await play(BRAIINS);
    const { behaves, asked, clock, fields, driver } = played;
    const page = '/api/v1/configuration/constraints';
    behaves.set(page, 'trickles');
    expect(await fields()).toMatchObject({ control: { sleep: true, powerLimit: null } });
    expect(await fields()).toMatchObject({ control: { sleep: true, powerLimit: null } });
    expect(asked.filter((name) => name === page)).toHaveLength(1);
    behaves.clear();
    await clock.pass(31_000);
    expect(await fields()).toMatchObject({ control: { powerLimit: { minWatts: 1200, maxWatts: 3500 } } });
    await driver[Symbol.asyncDispose]();
  });

  it('has its figures from its pages where its port is silent', async () => {
    const pages = { '/cgi-bin/stats.cgi': bitmain('stats'), '/cgi-bin/pools.cgi': bitmain('pools') };
    await using played = await play({ ...BITMAIN, web: { ...BITMAIN.web, ...pages } });
    const { behaves, clock, fields } = played;
    const whole = await fields();
    await clock.pass(31_000);
    behaves.set('stats', 'silent');
    expect(await fields()).toEqual(whole);
  });

  it('is not read where its port and one page are silent', async () => {
    await using played = await play(BITMAIN);
    const { behaves, asked, clock, driver } = played;
    behaves.set('stats', 'silent');
    behaves.set('/cgi-bin/get_system_info.cgi', 'silent');
    expect(await clock.expire(driver.read(never))).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    expect(asked).toEqual(['stats', '/cgi-bin/get_system_info.cgi']);
  });
});
