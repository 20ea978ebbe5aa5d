import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Architectures of Debian and what npm calls them. */
export const ARCHITECTURES = { amd64: 'x64', arm64: 'arm64' } as const;
export type Architecture = keyof typeof ARCHITECTURES;

export const ROOT = join(import.meta.dirname, '..');
/** What runs; tests, benches and this folder (but the entry of the executable) stay out. */
const SOURCES = /^((agent|config|drivers|protocols|simulator)\/|packaging\/single-entry\.ts$)/;
/** What of it is read as files at run time. */
const FILES = /^agent\/page\/static\/|^config\/examples\//;

export function git(args: readonly string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' });
}

const tracked = (which: RegExp): string[] =>
  git(['ls-files'])
    .split('\n')
    .filter((name) => which.test(name));

/** What the program reads as files, by the names of the checkout. */
export function runtimeFiles(): string[] {
  return ['package.json', ...tracked(FILES)];
}

/**
 * Puts the tracked sources into `folder` and installs beside them what the lockfile names for the architecture: npm
 * checks its sums, and no install script runs. Returns the folder of the modules.
 */
export function checkOut(folder: string, arch: Architecture): string {
  for (const name of tracked(SOURCES)) put(folder, name, readFileSync(join(ROOT, name)));
  for (const name of ['package.json', 'package-lock.json', '.npmrc'])
    copyFileSync(join(ROOT, name), join(folder, name));
  execFileSync(
    'npm',
    ['ci', '--omit=dev', '--ignore-scripts', '--os=linux', `--cpu=${ARCHITECTURES[arch]}`, '--libc=glibc'],
    { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  return join(folder, 'node_modules');
}

/** The Node of an architecture, as the lockfile pins it. */
export function nodeOf(modules: string, arch: Architecture): string {
  return join(modules, `node-linux-${ARCHITECTURES[arch]}`);
}

export function put(tree: string, name: string, body: string | Uint8Array, mode = 0o644): void {
  const path = join(tree, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, body);
  chmodSync(path, mode);
}
