import { extname } from 'node:path';
import { programFiles } from '../../config/program-files.ts';
import type { StaticFile } from './server.ts';

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
export function pageFiles(): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  for (const [name, body] of programFiles('agent/page/static')) {
    const type = TYPES[extname(name)];
    if (type !== undefined) files.set(`/${name}`, { type, body });
  }
  return files;
}
