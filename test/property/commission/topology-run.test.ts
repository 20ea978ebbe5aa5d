import { describe, expect, test } from 'vitest';
import type { TopologyMiner } from '../../../agent/commission/topology.ts';
import type { TopologySite } from '../../../agent/commission/topology-run.ts';
import { runTopology } from '../../../agent/commission/topology-run.ts';
import { seededRandom } from '../../../protocols/random.ts';

const LIMITS = ['pdu-0', 'pdu-1', 'pdu-2', 'pdu-3'];
const BOUNDS = { groupWattsMost: 20_000, runMsMost: 3_600_000, roundMs: 60_000 };
const never = new AbortController().signal;

/** Forty miners, two of them swapped; `fails`: the step that rejects, by its number. */
function site(fails: { step: string; at: number } | null = null) {
  const miners: TopologyMiner[] = Array.from({ length: 40 }, (_, index) => ({
    id: `m${String(index).padStart(2, '0')}`,
    limit: LIMITS[index % 4]!,
    watts: 3000,
  }));
  const truth = new Map(miners.map(({ id, limit }) => [id, limit]));
  truth.set('m00', 'pdu-1').set('m05', 'pdu-0');
  const asleep = new Set<string>();
  const held = new Set<string>();
  const calls: Record<string, number> = {};
  let nowMs = 0;
  const step = async (name: string) => {
    calls[name] = (calls[name] ?? 0) + 1;
    nowMs += 12_000;
    if (fails?.step === name && calls[name] === fails.at) throw new Error(`${name} failed`);
  };
  const parts: TopologySite = {
    hold: async (ids) => {
      await step('hold');
      for (const id of ids) held.add(id);
    },
    release: async (ids) => {
      await step('release');
      for (const id of ids) held.delete(id);
    },
    sleep: async (ids) => {
      for (const id of ids) {
        expect(held.has(id)).toBe(true);
        asleep.add(id);
      }
      await step('sleep');
    },
    wake: async (ids) => {
      for (const id of ids) asleep.delete(id);
      await step('wake');
    },
    levels: async () => {
      await step('levels');
      const watts = (limit: string) =>
        [...truth].filter(([id, where]) => where === limit && !asleep.has(id)).length * 3000;
      return new Map(LIMITS.map((limit) => [limit, watts(limit)]));
    },
    monotonicMs: () => nowMs,
    epochMs: () => 1_790_000_000_000 + nowMs,
  };
  return { miners, parts, asleep, held };
}

describe('a commissioning run', () => {
  test('finds what is swapped and writes the record', async () => {
    const { miners, parts, asleep, held } = site();
    const progress: number[] = [];
    const record = await runTopology(miners, BOUNDS, 500, parts, seededRandom(1), never, (done) =>
      progress.push(done),
    );
    expect(record).toMatchObject({
      kind: 'topology-commissioning',
      miners: 40,
      stopped: null,
      undetermined: [],
    });
    expect(record.wrong.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: 'm00', configured: 'pdu-0', found: 'pdu-1' },
      { id: 'm05', configured: 'pdu-1', found: 'pdu-0' },
    ]);
    expect(record.mostWattsAtOnce).toBeLessThanOrEqual(BOUNDS.groupWattsMost);
    expect(record.endedAt - record.startedAt).toBeLessThanOrEqual(BOUNDS.runMsMost);
    expect(progress.at(-1)).toBe(record.rounds);
    expect([asleep.size, held.size]).toEqual([0, 0]);
  });

  test.each([
    ['hold', 3],
    ['sleep', 3],
    ['levels', 8],
    ['wake', 4],
  ])(
    'whose %s fails wakes and releases everybody, and says nothing about whom it did not see',
    async (name, at) => {
      const { miners, parts, asleep, held } = site({ step: name, at });
      const record = await runTopology(miners, BOUNDS, 500, parts, seededRandom(1), never);
      expect(record.stopped).toBe(`${name} failed`);
      expect(record.wrong).toEqual([]);
      expect(record.undetermined.length).toBe(40);
      expect([asleep.size, held.size]).toEqual([0, 0]);
    },
  );

  test('ends in time, and when it is given up', async () => {
    const short = site();
    const record = await runTopology(
      short.miners,
      { ...BOUNDS, runMsMost: 300_000 },
      500,
      short.parts,
      seededRandom(1),
      never,
    );
    expect(record).toMatchObject({ stopped: 'the time was over', wrong: [] });
    expect(record.endedAt - record.startedAt).toBeLessThanOrEqual(300_000 + 2 * BOUNDS.roundMs);
    const given = site();
    const aborted = AbortSignal.abort();
    const none = await runTopology(given.miners, BOUNDS, 500, given.parts, seededRandom(1), aborted);
    expect(none).toMatchObject({ stopped: 'given up', rounds: 0 });
    expect(none.undetermined).toHaveLength(40);
  });
});
