import { describe, expect, test } from 'vitest';
import { madeUpAlarm, madeUpLimit, madeUpView } from '../support/page-source.ts';

// The modules of the page are plain JavaScript, run here as they are served.
const load = (name: string) => import(new URL(`../../agent/page/static/${name}.js`, import.meta.url).href);
const format = await load('format');
const layout = await load('layout');
const { verdictOf } = await load('verdict');
const { plotGeometry, summaryOf, pointText } = await load('plots');
const { decisionText, inForce } = await load('lists');
const { switchState } = await load('diagram');

const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('figures in words', () => {
  test.each([
    [null, '–'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [0, '0 W'],
    [31.4, '31 W'],
    [999.4, '999 W'],
    [999.6, '1.0 kW'],
    [2760, '2.8 kW'],
    [99_940, '99.9 kW'],
    [99_960, '100 kW'],
    [964_200, '964 kW'],
    [999_600, '1.00 MW'],
    [1_130_000, '1.13 MW'],
    [12_345_678, '12.3 MW'],
    [-65_785, '−65.8 kW'],
    [-0.2, '0 W'],
  ])('%s watts are %s', (watts, text) => {
    expect(plain(format.formatWatts(watts))).toBe(text);
  });

  test.each([
    [null, '–'],
    [400, '0.4 s'],
    [12_000, '12 s'],
    [60_000, '1 min'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
    [-5, '0.0 s'],
  ])('%s ms are %s', (ms, text) => {
    expect(plain(format.formatAge(ms))).toBe(text);
  });

  test('a time of another day carries its date', () => {
    const noon = new Date(2026, 10, 21, 12, 5, 9).getTime();
    expect(format.formatTime(noon)).toBe('12:05:09');
    expect(format.formatTime(noon, noon + 86_400_000)).toBe('2026-11-21 12:05:09');
    expect(format.formatTime(null)).toBe('–');
  });

  test('old readings are called old', () => {
    const limit = madeUpLimit('grid', null);
    expect(format.qualityText(limit)).toBe('measured');
    expect(plain(format.qualityText({ ...limit, quality: 'stale', ageMs: 12_000 }))).toBe('stale, 12 s old');
    expect(format.qualityText({ ...limit, powerWatts: null, quality: 'missing' })).toBe('no reading');
    expect(format.qualityText({ ...limit, basis: 'ledger', quality: 'estimated' })).toBe('estimated');
  });
});

interface Node {
  limit: { id: string };
  x0: number;
  x1: number;
  y: number;
  height: number;
  power: number;
  limitY: number;
}
interface Wire {
  from: string;
  to: string;
  kind: string;
  watts: number;
  width: number;
  x0: number;
  x1: number;
  x2: number;
  y0: number;
  y2: number;
}

function tree(feeders: number, more = {}) {
  const each = {
    powerWatts: 100_000,
    miningWatts: 90_000,
    aiWatts: 10_000,
    limitWatts: 150_000,
    ratingWatts: 150_000,
  };
  return [
    madeUpLimit('grid', null, {
      powerWatts: 100_000 * feeders + 20_000,
      miningWatts: 90_000 * feeders,
      aiWatts: 10_000 * feeders,
      limitWatts: 130_000 * feeders,
      ratingWatts: 140_000 * feeders,
    }),
    ...Array.from({ length: feeders }, (_, index) => madeUpLimit(`f-${index}`, 'grid', { ...each, ...more })),
  ];
}

describe('the diagram', () => {
  test.each([360, 700, 1280])('is drawn to one scale and inside its frame at %i px', (width) => {
    const limits = tree(4);
    const { nodes, wires, sinks, height } = layout.layoutDiagram({
      limits,
      totals: madeUpView(limits).totals,
      width,
    });
    const [root] = nodes as Node[];
    const scale = root!.power / 420_000;
    for (const node of nodes as Node[]) {
      const limit = limits.find(({ id }) => id === node.limit.id)!;
      expect(node.power).toBeCloseTo(limit.powerWatts! * scale, 6);
      expect(node.limitY).toBeCloseTo(limit.limitWatts * scale, 6);
      expect(node.x0).toBeGreaterThanOrEqual(0);
      expect(node.x1).toBeLessThanOrEqual(width);
      expect(node.y + node.height).toBeLessThanOrEqual(height);
    }
    for (const wire of wires as Wire[]) {
      expect(wire.width).toBeCloseTo(Math.max(1, wire.watts * scale), 6);
      expect(wire.x2).toBeGreaterThan(wire.x1);
    }
    const into = (kind: string) =>
      (wires as Wire[])
        .filter((wire) => wire.to === `sink:${kind}`)
        .reduce((sum, wire) => sum + wire.watts, 0);
    expect([into('mining'), into('ai'), into('other')]).toEqual([360_000, 40_000, 20_000]);
    expect(sinks.map((sink: { kind: string; watts: number }) => [sink.kind, sink.watts])).toEqual([
      ['mining', 360_000],
      ['ai', 40_000],
      ['other', 20_000],
    ]);
  });

  test('channels of one column do not touch', () => {
    const limits = tree(12);
    const { nodes } = layout.layoutDiagram({ limits, totals: madeUpView(limits).totals, width: 1200 });
    const feeders = (nodes as Node[]).filter((node) => node.limit.id !== 'grid').sort((a, b) => a.y - b.y);
    for (const [index, node] of feeders.entries()) {
      const next = feeders[index + 1];
      if (next !== undefined) expect(next.y - (node.y + node.height)).toBeGreaterThan(40);
    }
  });

  test('parts never exceed the measured whole, and unknown power draws nothing', () => {
    expect(layout.sharesOf({ powerWatts: 50, miningWatts: 90, aiWatts: 10 })).toEqual({
      mining: 45,
      ai: 5,
      other: 0,
    });
    expect(layout.sharesOf({ powerWatts: 150, miningWatts: 90, aiWatts: 10 })).toEqual({
      mining: 90,
      ai: 10,
      other: 50,
    });
    expect(layout.sharesOf({ powerWatts: null, miningWatts: 90, aiWatts: 10 })).toEqual({
      mining: 0,
      ai: 0,
      other: 0,
    });
    const limits = tree(2, { powerWatts: null });
    const { wires } = layout.layoutDiagram({ limits, totals: madeUpView(limits).totals, width: 900 });
    expect(
      (wires as Wire[]).filter((wire) => wire.from.startsWith('f-') || wire.to.startsWith('f-')),
    ).toEqual([]);
  });

  test.each([
    ['children that add up to more than their parent', { powerWatts: 500_000 }],
    ['power flowing back', { powerWatts: -3000 }],
    ['no power at all', { powerWatts: 0, miningWatts: 0, aiWatts: 0 }],
    ['a limit of zero', { limitWatts: 0, ratingWatts: 0 }],
  ])('%s give a picture of real numbers', (_name, more) => {
    const limits = tree(3, more);
    const drawn = layout.layoutDiagram({ limits, totals: madeUpView(limits).totals, width: 900 });
    // JSON writes NaN and infinities as null; only a parent may be null here.
    expect(
      JSON.stringify(drawn).replaceAll('"parent":null', '').replaceAll('"until":null', ''),
    ).not.toContain('null');
    for (const wire of drawn.wires) expect(layout.ribbonPath(wire)).not.toContain('NaN');
  });

  test('devices directly on a limit with children have a wire of their own', () => {
    const limits = tree(2).map((limit) =>
      limit.id === 'grid' ? { ...limit, powerWatts: 400_000, miningWatts: 360_000 } : limit,
    );
    const { wires } = layout.layoutDiagram({ limits, totals: madeUpView(limits).totals, width: 900 });
    const own = (wires as Wire[]).filter((wire) => wire.from === 'grid' && wire.to === 'sink:mining');
    expect(own.map((wire) => wire.watts)).toEqual([180_000]);
  });

  test('a site without GPU nodes has no AI and no switch', () => {
    const limits = tree(2, { aiWatts: 0, miningWatts: 100_000 }).map((limit) => ({ ...limit, aiWatts: 0 }));
    const { totals } = madeUpView(limits);
    const { sinks, gate } = layout.layoutDiagram({
      limits,
      totals: { ...totals, gpuNodes: { ...totals.gpuNodes, configured: 0 } },
      width: 900,
    });
    expect(sinks.map((sink: { kind: string }) => sink.kind)).toEqual(['mining', 'other']);
    expect(gate).toBeNull();
  });

  test('a deep tree shows its top, and what is chosen below it', () => {
    const limits = [
      ...tree(2),
      madeUpLimit('p-1', 'f-0'),
      madeUpLimit('p-2', 'f-0'),
      madeUpLimit('r-1', 'p-1'),
    ];
    const ids = (selected: string | null, depth: number) =>
      layout
        .visibleLimits(limits, selected, depth)
        .map((limit: { id: string; hidden: number }) => `${limit.id}+${limit.hidden}`);
    expect(ids(null, 2)).toEqual(['grid+0', 'f-0+3', 'f-1+0']);
    expect(ids('f-1', 2)).toEqual(['grid+0', 'f-0+3', 'f-1+0']);
    expect(ids('f-0', 2)).toEqual(['f-0+0', 'p-1+1', 'p-2+0']);
    expect(ids('p-1', 2)).toEqual(['p-1+0', 'r-1+0']);
    expect(ids('p-2', 2)).toEqual(['f-0+0', 'p-1+1', 'p-2+0']);
    expect(ids('no-such-limit', 3)).toEqual(['grid+0', 'f-0+0', 'p-1+1', 'p-2+0', 'f-1+0']);
  });

  test('the switch closes when capacity has been granted, not when it is asked for', () => {
    const transfer = { id: 't', limit: 'grid', direction: 'mining-to-ai', watts: 40_000, endedAt: null };
    expect(switchState([], 0)).toMatchObject({ closed: false, watts: 0 });
    expect(switchState([{ ...transfer, state: 'shedding' }], 0)).toMatchObject({ closed: false });
    expect(switchState([{ ...transfer, state: 'granted' }], 0)).toMatchObject({
      closed: true,
      watts: 40_000,
    });
    expect(switchState([{ ...transfer, state: 'draining' }], 0)).toMatchObject({ closed: true });
    expect(switchState([{ ...transfer, state: 'released', endedAt: 5 }], 0)).toMatchObject({ closed: false });
  });
});

describe('the verdict', () => {
  const now = 1_790_000_000_000;
  const state = (limits = tree(2), more = {}) => ({
    site: madeUpView(limits, more),
    lostSince: null,
    leases: [],
    now,
  });
  const text = (given: unknown) => {
    const { level, word, text: sentence } = verdictOf(given);
    return plain(`${level}: ${word}. ${sentence}`);
  };

  test('says how far the grid is below its limit', () => {
    const limits = [madeUpLimit('grid', null, { headroomWatts: 165_000, limitWatts: 1_130_000 })];
    expect(text(state(limits))).toBe(
      'ok: OK. 165 kW below the 1.13 MW limit of grid. 299 of 300 miners (9 asleep) and 4 of 4 GPU nodes answer.',
    );
  });

  test('says who holds the grid below its rating: somebody, or its own meter', () => {
    const held = (source: string) => text(state([madeUpLimit('grid', null, { source })]));
    expect(held('fleet')).toContain('limit of grid (ordered by fleet).');
    expect(held('phases')).toContain('limit of grid (held by its fullest phase).');
    expect(held('average')).toContain('limit of grid (held by its average).');
    expect(held('thermal')).toContain('limit of grid (held by its heat).');
  });

  test('says what is over, and leaves an order its time', () => {
    const limits = [
      madeUpLimit('grid', null, {
        powerWatts: 965_000,
        limitWatts: 600_000,
        headroomWatts: -365_000,
        source: 'local',
      }),
    ];
    expect(text(state(limits))).toMatch(
      /^alarm: Over the limit\. grid draws 965 kW, 365 kW above its limit of 600 kW/,
    );
    const lease = { limit: 'grid', watts: 600_000, createdAt: now - 10_000, withinMs: 30_000 };
    expect(text({ ...state(limits), leases: [lease] })).toMatch(
      /^attention: Coming down\..* ordered; 20 s left\.$/,
    );
    expect(text({ ...state(limits), leases: [{ ...lease, createdAt: now - 31_000 }] })).toMatch(
      /^alarm: Over the limit/,
    );
    const told = (code: string) =>
      text({ ...state(limits, { alarms: [madeUpAlarm(code, 'grid')] }), leases: [lease] });
    expect(told('cannot-be-met')).toMatch(
      /^alarm: Over the limit\. .* \(set by the local operator\)\. The agent alone cannot bring it under\.$/,
    );
    expect(told('firm-above-limit')).toMatch(/^attention: Coming down/);
  });

  test('never calls an old or missing figure good', () => {
    const stale = [madeUpLimit('grid', null, { quality: 'stale', ageMs: 12_000 })];
    expect(text(state(stale, { mode: 'safe' }))).toBe(
      'alarm: Blind. The draw of grid is 12 s old; the agent is in safe mode.',
    );
    const missing = [
      madeUpLimit('grid', null, { powerWatts: null, headroomWatts: null, quality: 'missing', ageMs: null }),
    ];
    expect(text(state(missing))).toMatch(/^alarm: Blind\. The draw of grid has not been read/);
    expect(text({ ...state(), lostSince: now - 23_000 })).toMatch(
      /^alarm: No contact\. .*\(23 s\)\. The figures below are old\.$/,
    );
  });

  test('knows the agent without figures', () => {
    expect(text({ ...state(), site: null })).toMatch(/^unknown: Loading/);
    expect(text(state([], { totals: null as never, mode: 'starting' }))).toMatch(/^unknown: Starting/);
    expect(text(state([], { mode: 'unconfigured' }))).toMatch(/^unknown: Not configured/);
  });

  test('is spoken again only when its meaning changes', () => {
    const key = (headroomWatts: number) =>
      verdictOf(state([madeUpLimit('grid', null, { headroomWatts })])).key;
    expect(key(165_000)).toBe(key(164_000));
    expect(key(165_000)).not.toBe(key(-1000));
  });
});

describe('the plot', () => {
  const now = 1_790_000_000_000;
  const point = (ago: number, powerWatts: number | null) => ({
    ts: now - ago * 1000,
    powerWatts,
    limitWatts: 1000,
    miningWatts: 500,
    aiWatts: 100,
  });
  const frame = { width: 800, height: 220, seconds: 300, now, stepMs: 1000 };

  test('starts at zero and leaves room above the limit', () => {
    const { y, x } = plotGeometry([point(2, 800), point(1, 800)], frame);
    expect(y(0)).toBe(198);
    expect(y(1000)).toBeGreaterThan(8);
    expect(x(now)).toBe(792);
    expect(x(now - 300_000)).toBe(58);
  });

  test('unknown figures and missing stretches are gaps', () => {
    const points = [point(30, 800), point(29, 800), point(28, null), point(27, 800), point(10, 800)];
    const [, , [, power]] = plotGeometry(points, frame).paths;
    expect(power.match(/M/g)).toHaveLength(3);
    expect(power.match(/L/g)).toHaveLength(1);
  });

  test('is told in words', () => {
    expect(plain(summaryOf([point(2, 800), point(1, 1200)], '5 min'))).toBe(
      'Last 5 min: mean 1.0 kW, lowest 800 W, highest 1.2 kW, over the limit for 50.0 % of it.',
    );
    expect(summaryOf([point(1, null)], '1 hour')).toBe('Last 1 hour: nothing recorded yet.');
    expect(plain(pointText(point(0, null)))).toContain('power –, limit 1.0 kW');
  });
});

describe('the lists', () => {
  test('say who ordered what, and until when', () => {
    const lease = {
      orderId: 'o-1',
      issuer: 'grid-operator',
      priority: 80,
      limit: 'grid',
      watts: 600_000,
      createdAt: 0,
      expiresAt: null,
      onExpiry: 'hold',
      overdue: false,
    };
    const hold = { target: 'm-0001', who: 'kim', why: 'fan', since: 0, until: null };
    const [first, second] = inForce({ leases: [lease], holds: [hold], transfers: [] }, 0);
    expect(plain(`${first.what}; ${first.who}; ${first.until}`)).toBe(
      'grid limited to 600 kW; grid-operator, priority 80; until taken back',
    );
    expect(second.who).toBe('kim: fan');
    const [overdue] = inForce(
      { leases: [{ ...lease, expiresAt: 5, overdue: true }], holds: [], transfers: [] },
      10,
    );
    expect(overdue).toMatchObject({ warn: true });
  });

  test('tell a decision in a sentence', () => {
    const decision = {
      devicesDown: 42,
      movedDownWatts: 113_400,
      devicesUp: 0,
      movedUpWatts: 0,
      binding: [{ limit: 'grid', dollarsPerKwh: 0.045 }],
    };
    expect(plain(decisionText(decision))).toBe('42 devices down by 113 kW; grid binds');
  });
});
