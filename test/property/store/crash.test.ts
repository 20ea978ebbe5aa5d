import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StepRecord } from '../../../agent/control/controller.ts';
import { NEW_ENTRY, worstOf } from '../../../agent/control/ledger.ts';
import { type ControlState, step } from '../../../agent/control/step.ts';
import { type Line, lineOf, type Picture, pack, startPicture } from '../../../agent/store/records.ts';
import { recoverState } from '../../../agent/store/recover.ts';
import { foldRows } from '../../../agent/store/segments.ts';
import { type ControlSite, controlSite } from '../../support/control-site.ts';

const RULES = { meterStaleMs: 5000 };
const SEED = 77123;
const CYCLES = 240;

interface Recorded {
  readonly site: ControlSite;
  readonly rows: { kind: 'start' | 'lines'; ts: number; body: Uint8Array }[];
  readonly records: StepRecord[];
}

/** A run whose limit falls and returns at random moments, with one row for each record. */
function recorded(seed: number, turns: readonly number[], cycles = CYCLES): Recorded {
  const site = controlSite(10, seed);
  const full = site.limitWatts;
  const rows: Recorded['rows'] = [];
  const records: StepRecord[] = [];
  let picture: Picture | null = null;
  for (let index = 0; index < cycles; index += 1) {
    if (turns.includes(index)) site.limitWatts = site.limitWatts === full ? full * 0.45 : full;
    const record = site.cycle();
    records.push(record);
    if (picture === null) {
      picture = startPicture(record.before);
      const start = { contextHash: '', now: record.observation.now, state: record.before };
      rows.push({ kind: 'start', ts: record.ts, body: pack(start) });
    }
    const next = lineOf(picture, record);
    ({ picture } = next);
    const lines: Line[] = [next.line];
    for (const command of record.result.decision.commands) {
      // Half of the falls are known to have left.
      if ((index + command.device.length) % 2 === 0)
        lines.push({
          k: 'sent',
          device: command.device,
          pointId: command.pointId,
          at: record.observation.now + 5,
          acknowledged: true,
        });
    }
    rows.push({ kind: 'lines', ts: record.ts, body: pack(lines) });
  }
  return { site, rows, records };
}

/** What each device could draw at most after a start on `state`: nothing has been read yet. */
function worstAfter(state: ControlState, record: StepRecord, device: string): number {
  const facts = record.result.facts.get(device)!;
  const observed = record.observation.devices.find((candidate) => candidate.id === device)!;
  if (observed.inventory === 'expected') return 0;
  const entry = state.entries[device] ?? { ...NEW_ENTRY, id: device, provenWatts: facts.nameplateWatts };
  return worstOf(entry, facts, { ...observed, inventory: 'present', fresh: false });
}

const runs = fc.record({
  seed: fc.integer({ min: 1, max: 1e6 }),
  turns: fc.uniqueArray(fc.integer({ min: 20, max: CYCLES - 20 }), { minLength: 1, maxLength: 4 }),
  cut: fc.integer({ min: 20, max: CYCLES }),
  pauseMs: fc.integer({ min: 0, max: 600_000 }),
  /** The wall clock is set back while the agent is dead. */
  setBackMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 10_000_000 })),
  monotonicMs: fc.integer({ min: 0, max: 100_000 }),
});

describe('a crash after any record', () => {
  it(`never lowers what a device could draw, and keeps what was under way (seed ${SEED})`, () => {
    fc.assert(
      fc.property(runs, ({ seed, turns, cut, pauseMs, setBackMs, monotonicMs }) => {
        const { rows, records } = recorded(seed, turns);
        const record = records[cut - 1]!;
        const lost = foldRows(rows.slice(0, cut + 1));
        expect(lost.state).toEqual(JSON.parse(JSON.stringify(record.result.state)));
        const epochMs = lost.ts + pauseMs - setBackMs;
        const state = recoverState(lost, { ...RULES, epochMs, monotonicMs });
        expect(state.phase).toBe('starting');
        for (const [id, entry] of Object.entries(record.result.state.entries)) {
          const facts = record.result.facts.get(id)!;
          const observed = record.observation.devices.find((device) => device.id === id)!;
          const after = state.entries[id]!;
          expect(worstAfter(state, record, id)).toBeGreaterThanOrEqual(worstOf(entry, facts, observed));
          expect(after.provenWatts).toBeGreaterThanOrEqual(entry.provenWatts);
          expect(after.quarantine?.why).toBe(entry.quarantine?.why);
          expect(after.wakes).toHaveLength(entry.wakes.length);
          // A rise that was booked is still under way, younger than now, and has time to show itself.
          if (entry.pending?.direction === 'up') {
            expect(after.pending?.pointId).toBe(entry.pending.pointId);
            expect(after.pending?.failed).toBe(entry.pending.failed);
            expect(after.pending!.sentAt).toBeLessThanOrEqual(monotonicMs);
            expect(after.pending!.dueAt).toBeGreaterThan(monotonicMs);
          }
        }
        for (const memory of Object.values(state.limits))
          expect(monotonicMs - memory.goodAt).toBeGreaterThan(RULES.meterStaleMs);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  it(`lets nothing rise before fresh evidence, and sends no rise twice (seed ${SEED})`, () => {
    fc.assert(
      fc.property(runs, ({ seed, turns, cut, pauseMs, monotonicMs }) => {
        const { site, rows, records } = recorded(seed, turns, cut);
        const lost = foldRows(rows);
        const state = recoverState(lost, { ...RULES, epochMs: lost.ts + pauseMs, monotonicMs });
        // Full room and nothing read yet: everything would want to rise.
        const last = records.at(-1)!;
        const unread = {
          now: monotonicMs + 500,
          meters: last.observation.meters.map((meter) => ({
            ...meter,
            powerWatts: null,
            sampledAt: null,
            quality: 'missing' as const,
          })),
          devices: last.observation.devices.map((device) => ({
            ...device,
            requestedAt: monotonicMs + 100,
            sampledAt: monotonicMs + 120,
            fresh: true,
          })),
        };
        const first = step(site.context, state, unread, { ...last.orders, inForce: {} });
        expect(first.decision.commands.filter((command) => command.direction === 'up')).toEqual([]);
        const underWay = new Set(
          Object.values(state.entries)
            .filter((entry) => entry.pending?.direction === 'up' && !entry.pending.failed)
            .map((entry) => entry.id),
        );
        // The site as it is now, read by the new life: devices on their way up are not told again.
        site.limitWatts = site.context.limits[0]!.ratingWatts;
        site.restart(state, monotonicMs);
        for (let index = 0; index < 15; index += 1) {
          const { result, observation } = site.cycle();
          const fresh = observation.devices.every((device) => device.requestedAt !== null);
          for (const command of result.decision.commands) {
            if (command.direction !== 'up') continue;
            expect(fresh).toBe(true);
            expect(result.state.phase).toBe('normal');
            expect(
              underWay.has(command.device) && command.kind === 'run' && command.fromPointId === 'sleep',
            ).toBe(false);
          }
        }
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  it('sheds nothing that it would not have shed without the crash', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const site = controlSite(12, seed, false);
      const full = site.limitWatts;
      let record = site.cycle();
      for (let index = 0; index < 150; index += 1) {
        if (index === 40) site.limitWatts = full * 0.5;
        record = site.cycle();
      }
      // Settled under a limit that binds: half of the site sleeps.
      expect(record.result.decision.commands).toEqual([]);
      const lost = {
        state: record.result.state,
        observation: record.observation,
        ts: record.ts,
        now: record.observation.now,
        sent: [],
        damaged: false,
      };
      site.restart(recoverState(lost, { ...RULES, epochMs: record.ts + 2000, monotonicMs: 300 }), 300);
      const falls: string[] = [];
      for (let index = 0; index < 30; index += 1) {
        const { commands } = site.cycle().result.decision;
        for (const command of commands) if (command.direction === 'down') falls.push(command.device);
      }
      expect(falls).toEqual([]);
    }
  });

  it(`counts every device at its most when records after the last readable one are lost (seed ${SEED})`, () => {
    const { rows, records } = recorded(11, [60, 130]);
    const damaged = rows.map((row, index) =>
      index === 200 ? { ...row, body: row.body.subarray(0, 20) } : row,
    );
    const lost = foldRows(damaged);
    expect(lost.damaged).toBe(true);
    const state = recoverState(lost, { ...RULES, epochMs: lost.ts, monotonicMs: 10 });
    const last = records.at(-1)!;
    for (const entry of Object.values(state.entries)) {
      expect(entry.pending).toBeNull();
      const full = last.result.facts.get(entry.id)!.points.at(-1)!.watts;
      expect(entry.provenWatts).toBeGreaterThanOrEqual(full);
    }
  });
});
