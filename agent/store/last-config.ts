import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isMap, isScalar, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import type { ConfigTexts, LoadedConfig } from '../../config/load.ts';
import type { EpochMs } from '../../protocols/units.ts';

const FILE = 'last-config.json';
/** A newer agent's last configuration may be unknown to an older one: some before it are kept as well. */
const KEPT_AT_MOST = 4;

const schema = z.looseObject({
  v: z.literal(1),
  configs: z.array(
    z.looseObject({
      /** The main file, absolute. */
      file: z.string(),
      takenAt: z.string(),
      /** Version of the agent that took it. */
      agent: z.string(),
      sources: z.array(z.string()),
      files: z.record(z.string(), z.string()),
    }),
  ),
});

/** A configuration that an agent took in force. */
export interface KeptConfig extends ConfigTexts {
  readonly file: string;
  readonly takenAt: string;
  readonly agent: string;
}

/**
 * Keeps the texts of a configuration that was taken in force, in the state folder (0600). A secret that stands in the
 * configuration itself is not kept: what needs it cannot be commanded while the kept one stands in. Returns why it
 * could not, or `null`.
 */
export function keepConfig(loaded: LoadedConfig, agent: string, now: EpochMs): string | null {
  const folder = loaded.config.store.path;
  const path = join(folder, FILE);
  const kept: KeptConfig & { files: ConfigTexts['files'] } = {
    file: resolve(loaded.file),
    takenAt: new Date(now).toISOString(),
    agent,
    sources: loaded.texts.sources,
    files: {},
  };
  try {
    kept.files = keepable(loaded.texts);
  } catch (error) {
    return (error as Error).message;
  }
  const before = readAll(folder);
  const same = (one: KeptConfig) =>
    one.file === kept.file && JSON.stringify(one.files) === JSON.stringify(kept.files);
  if (before[0] !== undefined && same(before[0])) return null;
  const configs = [kept, ...before.filter((one) => !same(one))].slice(0, KEPT_AT_MOST);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o750 });
    const descriptor = openSync(`${path}.new`, 'w', 0o600);
    try {
      writeFileSync(descriptor, JSON.stringify({ v: 1, configs }));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(`${path}.new`, path);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The configurations that were taken in force from `file`, newest first; none where nothing is kept or readable. */
export function keptConfigs(folder: string, file: string): readonly KeptConfig[] {
  return readAll(folder).filter((kept) => kept.file === resolve(file));
}

/** Keys whose value is a secret or says where one stands. */
const SECRET_KEYS = new Set(['password', 'token']);
/** Nobody sets it: reading it is the warning that the secret is missing. */
const NOT_KEPT = { env: 'SWITCHYARD_SECRET_NOT_KEPT' };

function keepable({ sources, files }: ConfigTexts): ConfigTexts['files'] {
  return Object.fromEntries(
    Object.entries(files).map(([path, text]) => [path, sources.includes(path) ? withoutSecrets(text) : text]),
  );
}

function withoutSecrets(text: string): string {
  const document = parseDocument(text);
  let found = false;
  visit(document, {
    Pair: (_, pair) => {
      if (!isScalar(pair.key) || !SECRET_KEYS.has(String(pair.key.value)) || isMap(pair.value)) return;
      pair.value = document.createNode(NOT_KEPT);
      found = true;
    },
  });
  return found ? document.toString() : text;
}

function readAll(folder: string): readonly KeptConfig[] {
  try {
    return schema.parse(JSON.parse(readFileSync(join(folder, FILE), 'utf8'))).configs;
  } catch {
    // First start, or a damaged file: then an invalid configuration is refused as at a first start.
    return [];
  }
}
