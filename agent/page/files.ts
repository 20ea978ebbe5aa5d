import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { PROGRAM_FOLDER } from '../../config/program-files.ts';
import type { StaticFile } from './server.ts';

/** Where the static files of the page lie. */
export const STATIC_FOLDER = join(PROGRAM_FOLDER, 'agent', 'page', 'static');

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

/**
 * Reads every file of the page into memory, keyed by the exact path under which it is served. Requests never
 * touch the disk. Throws when a file cannot be read.
 */
export function pageFiles(folder = STATIC_FOLDER): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  for (const name of readdirSync(folder)) {
    const type = TYPES[extname(name)];
    if (type !== undefined) files.set(`/${name}`, { type, body: readFileSync(join(folder, name)) });
  }
  return files;
}
