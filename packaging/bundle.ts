import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

/** The programs of the package: each becomes one file; what they share, and each command, is a file of its own. */
const ENTRIES = [
  'agent/main',
  'simulator/main',
  'simulator/nvidia-smi',
  'agent/telemetry/inventory-process',
  'agent/control/polish-thread',
];
/** Brings native code, which cannot be bundled. */
const UNBUNDLED = 'serialport';
const EXTERNAL = [/^node:/, UNBUNDLED];

/**
 * Bundles the TypeScript of `source` (with its node_modules) into JavaScript below `target`: a start reads a few files
 * instead of a thousand and strips no types. Lines stay readable, so that a stack in a report says something. The same
 * sources give the same bytes. Returns the packages that went into it, by their path in the lockfile.
 */
export async function bundle(source: string, target: string): Promise<Set<string>> {
  const build = await rolldown({
    cwd: source,
    input: Object.fromEntries(ENTRIES.map((name) => [name, `./${name}.ts`])),
    platform: 'node',
    external: EXTERNAL,
  });
  const { output } = await build.write({
    dir: target,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'code/[name]-[hash].js',
  });
  await build.close();
  const used = new Set<string>();
  for (const part of output) {
    if (part.type !== 'chunk') continue;
    for (const id of part.moduleIds) {
      const found = /(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
      if (found !== undefined) used.add(found);
    }
  }
  return used;
}

/** The same as one file for a single executable; commands are still made only when they are run. */
export async function bundleWhole(source: string, entry: string, file: string): Promise<void> {
  const build = await rolldown({ cwd: source, input: `./${entry}`, platform: 'node', external: EXTERNAL });
  await build.write({ file, format: 'cjs', codeSplitting: false });
  await build.close();
}

/** What stays a folder of its own: the package with native code and everything that it needs, by path. */
export function unbundled(modules: string, name = UNBUNDLED, found = new Set<string>()): Set<string> {
  const file = join(modules, name, 'package.json');
  if (found.has(`node_modules/${name}`) || !existsSync(file)) return found;
  found.add(`node_modules/${name}`);
  const { dependencies = {} } = JSON.parse(readFileSync(file, 'utf8')) as {
    dependencies?: Readonly<Record<string, string>>;
  };
  for (const needed of Object.keys(dependencies)) unbundled(modules, needed, found);
  return found;
}
