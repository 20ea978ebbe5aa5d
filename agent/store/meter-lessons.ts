import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { MeterLessons } from '../../drivers/meter/reader.ts';

const FILE = 'meter-lessons.json';

const schema = z.record(
  z.string(),
  z.object({
    profile: z.string(),
    serialNumber: z.string().nullable(),
    functionCode: z.union([z.literal(3), z.literal(4)]),
    registersMost: z.int().min(1).max(125),
    absent: z.array(z.string()),
    cuts: z.array(z.int()),
  }),
);

/** What meters refused before, by meter id. It saves requests after a restart; losing it costs nothing but those. */
export interface LessonStore {
  of(meterId: string): MeterLessons | null;
  keep(meterId: string, lessons: MeterLessons): void;
}

/** The lessons in `folder`. An unreadable file counts as none, and a disk that cannot be written keeps none. */
export function openMeterLessons(folder: string): LessonStore {
  const path = join(folder, FILE);
  let known: Readonly<Record<string, MeterLessons>> = {};
  try {
    known = schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    // First start, or a damaged file: everything is learnt again at the first reads.
  }
  return {
    of: (meterId) => known[meterId] ?? null,
    keep: (meterId, lessons) => {
      known = { ...known, [meterId]: lessons };
      try {
        mkdirSync(folder, { recursive: true, mode: 0o750 });
        writeFileSync(`${path}.new`, JSON.stringify(known), { mode: 0o600 });
        renameSync(`${path}.new`, path);
      } catch {
        // A full disk is told of by the journal; what was learnt holds until the restart.
      }
    },
  };
}
