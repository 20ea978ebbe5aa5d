import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { commandTable } from '../agent/cli/program.ts';
import { bundle, unbundled } from './bundle.ts';
import {
  bashCompletion,
  bom,
  copyrightFile,
  debianChangelog,
  type Locked,
  type LockedPackage,
  MAINTAINER,
  manPage,
} from './documents.ts';
import {
  ARCHITECTURES,
  type Architecture,
  checkOut,
  git,
  nodeOf,
  put,
  ROOT,
  runtimeFiles,
} from './sources.ts';

const APP = 'usr/lib/switchyard';
/** Never loaded by a running agent. */
const NOT_SHIPPED =
  /\.(map|d\.[cm]?ts|md|markdown|yml|flow)$|(^|\/)(\.github|\.bin|test|tests|docs|example|examples|benchmark|benchmarks)(\/|$)/;

/**
 * Builds the Debian package of one architecture into `out` from the tracked files and the lockfile alone: npm
 * fetches what the lockfile names and checks its sums; no install script runs. The same commit gives the same bytes.
 * Returns the path of the package. Throws what git, npm or dpkg-deb says.
 */
export async function buildPackage(arch: Architecture, out: string): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const epochSeconds = Number(git(['log', '-1', '--format=%ct']).trim());
  const work = mkdtempSync(join(tmpdir(), 'switchyard-package-'));
  try {
    const tree = join(work, 'tree');
    copyFiles(tree);
    const installed = await install(arch, work, tree);
    writeDocuments(tree, version, installed, new Date(epochSeconds * 1000));
    writeControl(tree, arch, version);
    settle(tree, epochSeconds);
    mkdirSync(out, { recursive: true });
    const target = join(out, `switchyard_${version}_${arch}.deb`);
    execFileSync(
      'dpkg-deb',
      ['--root-owner-group', '--threads-max=1', '-Zxz', '-z1', '--build', tree, target],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, SOURCE_DATE_EPOCH: String(epochSeconds) },
      },
    );
    return target;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function copyFiles(tree: string): void {
  for (const name of [...runtimeFiles(), 'LICENSE'])
    put(tree, `${APP}/${name}`, readFileSync(join(ROOT, name)));
  for (const [from, to, mode] of [
    ['notify-exec', `${APP}/notify-exec`, 0o755],
    ['switchyard.sh', 'usr/bin/switchyard', 0o755],
    ['switchyard.service', 'usr/lib/systemd/system/switchyard.service', 0o644],
    ['drop-ins/serial.conf', 'usr/share/doc/switchyard/examples/serial.conf', 0o644],
    ['drop-ins/gpu.conf', 'usr/share/doc/switchyard/examples/gpu.conf', 0o644],
    ['drop-ins/large-site.conf', 'usr/share/doc/switchyard/examples/large-site.conf', 0o644],
    ['lintian-overrides', 'usr/share/lintian/overrides/switchyard', 0o644],
    ['../config/examples/hybrid.yaml', 'usr/share/doc/switchyard/examples/switchyard.yaml', 0o644],
  ] as const)
    put(tree, to, readFileSync(join(ROOT, 'packaging', from)), mode);
}

/** Installs what the lockfile names for the architecture and puts Node, the bundle and what cannot be bundled into the tree. */
async function install(arch: Architecture, work: string, tree: string): Promise<Locked> {
  const cpu = ARCHITECTURES[arch];
  const folder = join(work, 'source');
  mkdirSync(folder);
  const modules = checkOut(folder, arch);
  const node = nodeOf(modules, arch);
  copyFileSync(join(node, 'bin', 'node'), join(tree, APP, 'node'));
  put(tree, `${APP}/LICENSE.node`, readFileSync(join(node, 'LICENSE')));
  const bundled = await bundle(folder, join(tree, APP));
  for (const path of bundled) copyLicences(folder, path, tree);
  const whole = unbundled(modules);
  for (const path of whole) {
    cpSync(join(folder, path), join(tree, APP, path), {
      recursive: true,
      filter: (source) => {
        const name = relative(modules, source);
        // The Node of the package is linked against glibc.
        const foreign =
          name.includes('/prebuilds/') &&
          (!name.includes(`/prebuilds/linux-${cpu}`) || name.includes('musl'));
        return !foreign && !shipsNot(name);
      },
    });
  }
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.fromEntries(
    Object.entries(lock.packages).filter(([path]) => bundled.has(path) || whole.has(path)),
  );
}

/** A bundled package has no folder of its own: its licence lies with the documents. */
function copyLicences(folder: string, path: string, tree: string): void {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length).replace('/', '-');
  const texts = readdirSync(join(folder, path))
    .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, path, file), 'utf8').trim());
  if (texts.length > 0) put(tree, `usr/share/doc/switchyard/packages/${name}.txt`, `${texts.join('\n\n')}\n`);
}

/** Licences go along whatever they are called; so does a folder whose name only looks like documentation. */
function shipsNot(name: string): boolean {
  if (/licen[cs]e/i.test(name)) return false;
  return NOT_SHIPPED.test(name);
}

function writeDocuments(tree: string, version: string, installed: Locked, date: Date): void {
  const table = commandTable();
  const text = {
    doc: 'usr/share/doc/switchyard',
    man: manPage(table, version, date.toISOString().slice(0, 10)),
  };
  const zipped = (body: string) => gzipSync(body, { level: 9 });
  put(tree, 'usr/share/man/man1/switchyard.1.gz', zipped(text.man));
  put(tree, 'usr/share/bash-completion/completions/switchyard', bashCompletion(table));
  const log = debianChangelog(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8'), version, date);
  put(tree, `${text.doc}/changelog.gz`, zipped(log));
  put(
    tree,
    `${text.doc}/copyright`,
    copyrightFile(installed, readFileSync(join(tree, APP, 'LICENSE.node'), 'utf8')),
  );
  rmSync(join(tree, APP, 'LICENSE.node'));
  // The Node of this build and the one of the package are one version: the lockfile pins both.
  const product = { name: 'switchyard', version };
  put(
    tree,
    `${text.doc}/sbom.cdx.json`,
    `${JSON.stringify(bom(product, installed, process.versions), null, 1)}\n`,
  );
}

function writeControl(tree: string, arch: Architecture, version: string): void {
  const files = readdirSync(tree, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(tree, name)).isFile())
    .sort();
  const kilobytes = files.reduce((sum, name) => sum + Math.ceil(statSync(join(tree, name)).size / 1024), 0);
  put(
    tree,
    'DEBIAN/control',
    `Package: switchyard
Version: ${version}
Architecture: ${arch}
Maintainer: ${MAINTAINER}
Installed-Size: ${kilobytes}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6
Section: admin
Priority: optional
Description: keeps a site of miners and AI under its power limits
 Reads miners, GPU nodes and power meters over their own protocols, keeps a tree
 of limits by the site's meters, hands watts between mining and AI, and reports
 over MQTT and on a local page. Brings its own Node.
`,
  );
  const sum = (name: string) =>
    createHash('md5')
      .update(readFileSync(join(tree, name)))
      .digest('hex');
  put(tree, 'DEBIAN/md5sums', files.map((name) => `${sum(name)}  ${name}\n`).join(''));
  for (const name of ['postinst', 'prerm', 'postrm'])
    put(tree, `DEBIAN/${name}`, readFileSync(join(ROOT, 'packaging', 'debian', name)), 0o755);
}

const EXECUTABLE = new Set([
  `${APP}/node`,
  `${APP}/notify-exec`,
  'usr/bin/switchyard',
  'DEBIAN/postinst',
  'DEBIAN/prerm',
  'DEBIAN/postrm',
]);

/** The same modes and times whatever the umask and clock of the builder. */
function settle(tree: string, epochSeconds: number): void {
  const names = readdirSync(tree, { recursive: true, encoding: 'utf8' });
  for (const name of names.sort().reverse()) {
    const path = join(tree, name);
    chmodSync(path, statSync(path).isDirectory() || EXECUTABLE.has(name) ? 0o755 : 0o644);
    utimesSync(path, epochSeconds, epochSeconds);
  }
  chmodSync(tree, 0o755);
  utimesSync(tree, epochSeconds, epochSeconds);
}
