import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';

/**
 * The folder that the program's own files are named from: the checkout, or the folder of the package, where all code is
 * in a few bundled files. Its package.json marks it.
 */
export const PROGRAM_FOLDER = marked(import.meta.dirname);

/** The file of a program that is started as a process of its own, `simulator/main`: TypeScript only in a checkout. */
export function programEntry(name: string): string {
  return join(PROGRAM_FOLDER, `${name}${extname(import.meta.filename)}`);
}

function marked(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error('the program has lost its package.json');
  return marked(above);
}
