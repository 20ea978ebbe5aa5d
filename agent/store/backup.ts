import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { JOURNAL_TABLES, type TableSet, value } from './database.ts';
import { RECORD_TABLES } from './record-book.ts';
import { SPARKPLUG_TABLES } from './sparkplug-store.ts';
import { SPOOL_TABLES } from './spool-rows.ts';
import { lockState } from './state-lock.ts';

/** What a backup says of itself; stands in it as `manifest.json`. */
export interface BackupManifest {
  readonly v: 1;
  readonly agent: string;
  readonly site: string;
  readonly createdAt: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
}

/** A backup that cannot be used, and why. Nothing was touched. */
export class BackupError extends Error {}

const MANIFEST = 'manifest.json';
/** One folder deep, plain names: nothing in a backup can lead out of where it is unpacked. */
const NAME = /^(state|config)\/[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** Made anew by every life, or of no use to another one. */
const NOT_KEPT = /^(agent\.(lock|sock)|ballast|.*-(wal|shm|journal)|.*\.new|.*\.damaged-.*)$/;

/**
 * Writes state and configuration into one file (mode 0600), consistent while the agent runs: databases are copied by
 * SQLite. Secrets that the configuration only names are not in it. Throws what the file system or SQLite says.
 */
export function writeBackup(
  target: string,
  from: {
    readonly folder: string;
    readonly configs: readonly string[];
    readonly site: string;
    readonly agent: string;
  },
  nowMs: number,
): BackupManifest {
  const work = mkdtempSync(`${target}.work-`);
  try {
    mkdirSync(join(work, 'state'));
    mkdirSync(join(work, 'config'));
    for (const entry of readdirSync(from.folder, { withFileTypes: true })) {
      if (!entry.isFile() || NOT_KEPT.test(entry.name)) continue;
      const [source, copy] = [join(from.folder, entry.name), join(work, 'state', entry.name)];
      if (entry.name.endsWith('.db')) copyDatabase(source, copy);
      else copyFileSync(source, copy);
    }
    for (const file of from.configs) copyFileSync(file, join(work, 'config', basename(file)));
    const names = ['state', 'config'].flatMap((part) =>
      readdirSync(join(work, part)).map((name) => `${part}/${name}`),
    );
    const manifest: BackupManifest = {
      v: 1,
      agent: from.agent,
      site: from.site,
      createdAt: new Date(nowMs).toISOString(),
      files: names.sort().map((name) => ({ name, ...digest(join(work, name)) })),
    };
    writeFileSync(join(work, MANIFEST), JSON.stringify(manifest, null, 2));
    const packed = join(work, 'packed');
    closeSync(openSync(packed, 'wx', 0o600));
    execFileSync('tar', ['-czf', packed, '-C', work, MANIFEST, ...names], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    renameSync(packed, target);
    return manifest;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function copyDatabase(source: string, copy: string): void {
  const database = new DatabaseSync(source, { readOnly: true, timeout: 10_000 });
  try {
    database.prepare('VACUUM INTO ?').run(copy);
  } finally {
    database.close();
  }
}

function digest(path: string): { bytes: number; sha256: string } {
  const hash = createHash('sha256');
  const descriptor = openSync(path, 'r');
  const block = Buffer.alloc(1 << 20);
  let bytes = 0;
  for (let read = readSync(descriptor, block); read > 0; read = readSync(descriptor, block)) {
    hash.update(block.subarray(0, read));
    bytes += read;
  }
  closeSync(descriptor);
  return { bytes, sha256: hash.digest('hex') };
}

/**
 * Puts a backup in place of the state in `to.folder`; what was there is moved into a folder beside it, whose name is
 * returned. Everything is checked first: names, sums, databases, versions, that it is of this site, and that no
 * agent runs on the state. The configuration is only written where there is none. Throws `BackupError` and
 * `StateInUseError` with nothing changed.
 */
export function restoreBackup(
  source: string,
  to: { readonly folder: string; readonly config: string; readonly site: string | null },
  nowMs: number,
): { readonly manifest: BackupManifest; readonly before: string; readonly configWritten: boolean } {
  const unlock = lockState(to.folder);
  if (unlock === null) throw new BackupError(`${to.folder} cannot be written`);
  const work = mkdtempSync(join(to.folder, 'restore-'));
  try {
    const manifest = unpackChecked(source, work);
    if (to.site !== null && manifest.site !== to.site)
      throw new BackupError(`it is of the site "${manifest.site}", and this is "${to.site}"`);
    const before = join(
      to.folder,
      `before-restore-${new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-')}`,
    );
    mkdirSync(before, { mode: 0o700 });
    const owner = statSync(to.folder);
    for (const entry of readdirSync(to.folder, { withFileTypes: true }))
      if (entry.isFile() && !entry.name.startsWith('agent.lock'))
        renameSync(join(to.folder, entry.name), join(before, entry.name));
    for (const { name } of manifest.files) {
      const unpacked = join(work, name);
      if (name.startsWith('state/')) {
        chownSync(unpacked, owner.uid, owner.gid);
        chmodSync(unpacked, 0o600);
        renameSync(unpacked, join(to.folder, basename(name)));
      }
    }
    return { manifest, before, configWritten: restoreConfig(manifest, work, to.config) };
  } finally {
    rmSync(work, { recursive: true, force: true });
    unlock();
  }
}

function restoreConfig(manifest: BackupManifest, work: string, target: string): boolean {
  const main = manifest.files.filter(({ name }) => name.startsWith('config/'));
  const named = main.find(({ name }) => basename(name) === basename(target)) ?? main[0];
  if (named === undefined || existsSync(target)) return false;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join(work, named.name), target);
  return true;
}

function unpackChecked(source: string, work: string): BackupManifest {
  const tar = (args: readonly string[]) => {
    try {
      return execFileSync('tar', args, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
        maxBuffer: 1e6,
      });
    } catch {
      throw new BackupError('it is no backup, or it is cut or damaged');
    }
  };
  const names = tar(['-tzf', source])
    .split('\n')
    .filter((name) => name !== '');
  const strange = names.find((name) => name !== MANIFEST && !NAME.test(name));
  if (strange !== undefined)
    throw new BackupError(`it holds "${strange.slice(0, 100)}", which no backup does`);
  tar(['-xzf', source, '--no-same-owner', '--no-same-permissions', '-C', work]);
  if (!names.includes(MANIFEST)) throw new BackupError('it has no manifest');
  const manifest = JSON.parse(readFileSync(join(work, MANIFEST), 'utf8')) as BackupManifest;
  if (manifest.v !== 1) throw new BackupError('it was made by a newer version of the agent');
  for (const name of names)
    if (!lstatSync(join(work, name)).isFile()) throw new BackupError(`${name} is no plain file`);
  for (const { name, bytes, sha256 } of manifest.files) {
    if (!NAME.test(name) || !names.includes(name)) throw new BackupError(`${name} is missing`);
    const found = digest(join(work, name));
    if (found.bytes !== bytes || found.sha256 !== sha256) throw new BackupError(`${name} is damaged`);
    if (name.endsWith('.db')) checkDatabase(join(work, name), name);
  }
  return manifest;
}

const KNOWN: readonly TableSet[] = [JOURNAL_TABLES, SPOOL_TABLES, RECORD_TABLES, SPARKPLUG_TABLES];

function checkDatabase(path: string, name: string): void {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const verdict = String(value(database, 'PRAGMA integrity_check'));
    if (verdict !== 'ok') throw new BackupError(`${name} is damaged: ${verdict.slice(0, 100)}`);
    const version = Number(value(database, 'PRAGMA user_version'));
    const known = KNOWN.find((tables) => tables.file === basename(name));
    if (known !== undefined && version > known.migrations.length)
      throw new BackupError(`${name} was written by a newer version of the agent`);
  } finally {
    database.close();
  }
}
