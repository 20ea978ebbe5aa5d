import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { getAsset, getAssetKeys, isSea } from 'node:sea';

/**
 * The program's own files, and its own programs, wherever they are: in a checkout, in the folder of the package (all
 * code in a few bundled files), or within a single executable. Names are those of the checkout, with `/`.
 */

/** First argument by which a single executable is told to be another of its programs. */
export const PROGRAM_FLAG = '--program=';

/** The text of a file of the program. Throws where there is none. */
export function programText(name: string): string {
  return isSea() ? getAsset(name, 'utf8') : readFileSync(join(folderOfProgram(), name), 'utf8');
}

/** The files of a folder of the program, by their names within it. */
export function programFiles(folder: string): Map<string, Buffer> {
  if (!isSea()) {
    const path = join(folderOfProgram(), folder);
    return new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));
  }
  const inside = getAssetKeys().filter((key) => dirname(key) === folder);
  return new Map(inside.map((key) => [key.slice(folder.length + 1), Buffer.from(getAsset(key))]));
}

/** Program and first arguments of what is started as a process of its own, such as `simulator/main`. */
export function programCommand(name: string): [program: string, ...args: string[]] {
  if (isSea()) return [process.execPath, `${PROGRAM_FLAG}${name}`];
  return [process.execPath, sourceFile(name)];
}

/** TypeScript only in a checkout. */
function sourceFile(name: string): string {
  return join(folderOfProgram(), `${name}${extname(import.meta.filename)}`);
}

/** What a thread of the program is made of: a file, or its code where that lies within the executable. */
export function programThread(name: string): { readonly source: string; readonly eval: boolean } {
  if (isSea()) return { source: getAsset(name, 'utf8'), eval: true };
  return { source: sourceFile(name), eval: false };
}

/** What a person types to run it: words that work in the folder where the program was started. */
export function spokenCommand(): string {
  if (isSea()) return process.execPath;
  return extname(import.meta.filename) === '.ts' ? 'npm run --silent switchyard --' : 'switchyard';
}

function folderOfProgram(): string {
  folder ??= marked(import.meta.dirname);
  return folder;
}

let folder: string | null = null;

/** Its package.json marks it. */
function marked(start: string): string {
  if (existsSync(join(start, 'package.json'))) return start;
  const above = dirname(start);
  if (above === start) throw new Error('the program has lost its package.json');
  return marked(above);
}
