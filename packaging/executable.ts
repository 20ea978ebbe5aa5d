import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { bundleWhole } from './bundle.ts';
import { ARCHITECTURES, type Architecture, checkOut, nodeOf, ROOT, runtimeFiles } from './sources.ts';

/** By which Node knows that something lies in it. Source: nodejs.org, single executable applications. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** Code of threads, each one file of its own. */
const THREADS = ['agent/control/polish-thread'];
const POSTJECT = createRequire(import.meta.url).resolve('postject/dist/cli.js');

/** Both tools warn of what does not matter here; what they said is in the error when they fail. */
function quiet(folder: string, ...args: readonly string[]): void {
  execFileSync(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
}

/**
 * Builds the whole program as one file of one architecture into `out`: Node with the bundle and the page inside. It needs
 * glibc 2.28 and nothing else, takes no options from the environment (`NODE_OPTIONS`), and has no serial lines: they
 * need native code, which the Debian package has. The same commit gives the same bytes. Returns its path. Throws what
 * git, npm or Node says, and where the Node that builds is not the one of the lockfile. `source`: a checkout with its
 * modules, in place of the tracked sources with what the lockfile names.
 */
export async function buildExecutable(arch: Architecture, out: string, source?: string): Promise<string> {
  const work = mkdtempSync(join(tmpdir(), 'switchyard-executable-'));
  try {
    const folder = source ?? join(work, 'source');
    if (source === undefined) mkdirSync(folder);
    const modules = source === undefined ? checkOut(folder, arch) : join(folder, 'node_modules');
    const node = nodeOf(modules, arch);
    const read = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as { version: string };
    const { version: nodeVersion } = read(join(node, 'package.json'));
    // What is put in is made by a Node and read by a Node: only the same version understands it.
    if (process.versions.node !== nodeVersion)
      throw new Error(
        `an executable with Node ${nodeVersion} is built by it, not by ${process.versions.node}`,
      );
    await bundleWhole(folder, 'packaging/single-entry.ts', join(work, 'single.cjs'));
    for (const name of THREADS) await bundleWhole(folder, `${name}.ts`, join(work, `${name}.cjs`));
    const settings = {
      // Both names go into it as they stand here: no folder of this machine.
      main: 'single.cjs',
      output: 'single.blob',
      disableExperimentalSEAWarning: true,
      // Both are made for one machine.
      useCodeCache: false,
      useSnapshot: false,
      execArgv: ['--disable-proto=throw'],
      execArgvExtension: 'none',
      assets: Object.fromEntries([
        ...runtimeFiles().map((name) => [name, join(ROOT, name)]),
        ...THREADS.map((name) => [name, join(work, `${name}.cjs`)]),
      ]),
    };
    writeFileSync(join(work, 'single.json'), JSON.stringify(settings));
    quiet(work, '--experimental-sea-config', 'single.json');
    const { version } = read(join(ROOT, 'package.json'));
    mkdirSync(out, { recursive: true });
    const target = join(out, `switchyard-${version}-linux-${ARCHITECTURES[arch]}`);
    copyFileSync(join(node, 'bin', 'node'), target);
    chmodSync(target, 0o755);
    quiet(work, POSTJECT, resolve(target), 'NODE_SEA_BLOB', 'single.blob', '--sentinel-fuse', FUSE);
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
