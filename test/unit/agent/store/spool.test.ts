import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSpool } from '../../../../agent/store/spool.ts';
import { decodeBody, encodeBody } from '../../../../agent/store/spool-rows.ts';
import { Thinner } from '../../../../agent/store/thin.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const SEED = 7;
const STEP_MS = 10_000;

describe('a long outage', () => {
  it('is thinned to minutes, then to five minutes, and only then dropped', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'switchyard-spool-'));
    const clock = new VirtualClock();
    const start = clock.epochMs();
    const random = seededRandom(SEED);
    const spool = openSpool({
      folder,
      maximumBytes: 3_000_000,
      clock,
      disk: () => ({ freeBytes: 1e12, totalBytes: 1e12 }),
    });
    const days = 6;
    const count = (days * 86_400_000) / STEP_MS;
    for (let first = 0; first < count; first += 360) {
      spool.add(
        Array.from({ length: 360 }, (_, index) => {
          const step = first + index;
          const ts = start + step * STEP_MS;
          const limits = [
            {
              id: 'grid',
              powerWatts: 1000 + (step % 6),
              quality: 'good',
              noise: Math.floor(random() * 1e12),
            },
          ];
          return {
            topic: 'hist/site',
            stream: 'site',
            seq: step,
            ts,
            priority: 3,
            body: encodeBody({ ts, seq: step, limits }),
          };
        }),
      );
      await clock.advance(3_600_000);
      spool.maintain(true);
    }
    for (let round = 0; round < 40; round += 1) spool.maintain(true);
    expect(spool.counts().bytes).toBeLessThanOrEqual(3_000_000);
    const rows = spool.read('history', 0, 100_000);
    const stepsAt = new Map<number, number>();
    let messages = 0;
    for (const row of rows) {
      const body = decodeBody(row.body);
      const step = Number(body['thinnedMs'] ?? 0);
      stepsAt.set(step, (stepsAt.get(step) ?? 0) + 1);
      messages += Number(body['messages'] ?? 1);
      if (step === 0) continue;
      expect(body['limits']).toEqual([
        expect.objectContaining({ id: 'grid', powerWattsMin: 1000, powerWattsMax: 1005, quality: 'good' }),
      ]);
    }
    // Every message is still there, in one form or another.
    const gaps = spool.gaps();
    expect(gaps).toEqual([]);
    expect(stepsAt.get(60_000)).toBeGreaterThan(100);
    expect(messages).toBe(count);
    expect(rows.map((row) => row.seq)).toEqual(rows.map((row) => row.seq).sort((a, b) => a - b));
    spool.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('thinning', () => {
  it('keeps mean, least and most of power, and the last word of everything else', () => {
    const thinner = new Thinner();
    thinner.add({ seq: 1, ts: 10, rows: [{ id: 'a', powerWatts: 100, state: 'hashing' }] });
    thinner.add({ seq: 2, ts: 20, rows: [{ id: 'b', powerWatts: null, state: 'unknown' }] });
    thinner.add({ seq: 3, ts: 30, rows: [{ id: 'a', powerWatts: 40, state: 'sleeping' }] });
    expect(thinner.body(60_000)).toEqual({
      seq: 3,
      ts: 30,
      thinnedMs: 60_000,
      messages: 3,
      rows: [
        { id: 'a', powerWatts: 70, powerWattsMin: 40, powerWattsMax: 100, state: 'sleeping' },
        { id: 'b', powerWatts: null, state: 'unknown' },
      ],
    });
  });
});
