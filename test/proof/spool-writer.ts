import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSpool } from '../../agent/store/spool.ts';
import { encodeBody, type NewRow } from '../../agent/store/spool-rows.ts';
import { systemClock } from '../../protocols/clock.ts';

/**
 * The process that `npm run proof -- spool` kills: `write FOLDER` writes batches for ever and prints the last
 * number after each that the spool has taken; `fill FOLDER` fills a small disk and prints what it saw.
 */
const [task, folder = ''] = process.argv.slice(2);

export const GROUP = 3;
export const SAMPLES = 50;

function batch(seq: number, priority: number): NewRow {
  const rows = Array.from({ length: SAMPLES }, (_, index) => ({
    id: `m${index}`,
    powerWatts: seq * 100 + index,
  }));
  const stream = priority < 5 ? 'miners' : 'event';
  return {
    topic: priority < 5 ? 'hist/miners' : 'event',
    stream,
    seq,
    ts: Date.now(),
    priority,
    body: encodeBody({ v: 1, site: 's', seq, rows, noise: randomBytes(1500).toString('base64') }),
  };
}

if (task === 'write') {
  const spool = openSpool({ folder, maximumBytes: 1_000_000_000, clock: systemClock });
  for (;;) {
    const group = Array.from({ length: GROUP }, () => batch(spool.nextSequence('miners'), 1));
    if (spool.add(group) !== null) process.stdout.write(`${group.at(-1)!.seq}\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

if (task === 'fill') {
  // Ten seconds of its clock pass with every hundred batches, so that a disk that failed is tried again.
  let skewMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + skewMs };
  const spool = openSpool({ folder, maximumBytes: 100_000_000, clock });
  const other = join(folder, 'other');
  let taken = 0;
  let refused = 0;
  let recordsRefused = 0;
  const records: number[] = [];
  const codes = new Set<string>();
  for (let count = 0; count < 6000; count += 1) {
    if (count % 100 === 0) {
      skewMs += 10_000;
      // Another program takes everything that is left, and gives it back.
      if (count === 3000)
        for (let size = 4_000_000; size >= 1000; size /= 2)
          try {
            writeFileSync(other, Buffer.alloc(size), { flag: 'a' });
          } catch {
            // Full: the next, smaller piece.
          }
      if (count === 4000) rmSync(other);
      const seq = spool.nextSequence('event');
      if (spool.add([batch(seq, 5)]) !== null) records.push(seq);
      else recordsRefused += 1;
    }
    if (spool.add([batch(spool.nextSequence('miners'), 1)]) === null) refused += 1;
    else taken += 1;
    if (count % 50 === 0) spool.maintain(false);
    for (const condition of spool.conditions()) codes.add(condition.code);
  }
  const kept = new Set(spool.read('record', 0, 10_000).map((row) => row.seq));
  const counts = spool.counts();
  spool.close();
  const again = openSpool({ folder, maximumBytes: 100_000_000, clock: systemClock });
  console.log(
    JSON.stringify({
      taken,
      refused,
      records: records.length,
      recordsRefused,
      recordsKept: records.filter((seq) => kept.has(seq)).length,
      codes: [...codes],
      counts,
      reopened: again.counts().history,
      readable: again.read('history', 0, 100_000).length,
    }),
  );
}
