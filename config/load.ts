import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { core } from 'zod';
import { crossCheck } from './cross-check.ts';
import { expandHosts } from './hosts.ts';
import { type MeterProfile, missingParameters, unconfirmedPower } from './meters/profile.ts';
import { isProfileFile, parseProfile } from './meters/profile-file.ts';
import { meterProfile, meterProfiles } from './meters/profiles.ts';
import { type ConfigProblem, formatPath, nearest, type Report } from './problem.ts';
import { readSecrets } from './read-secrets.ts';
import { type Config, configSchema, type MinerConfig } from './schema.ts';
import type { Secret } from './secret.ts';
import { type Environment, parseSource, type SourceFile } from './source.ts';

/** One miner address of an entry, with its stable device id. */
export interface MinerPlace {
  readonly deviceId: string;
  readonly entry: MinerConfig;
  readonly host: string;
  readonly port: number;
}

export interface LoadedConfig {
  readonly config: Config;
  /** The main file. */
  readonly file: string;
  readonly miners: readonly MinerPlace[];
  /** Register maps of the site's own, by what `profile:` says. */
  readonly profiles: ReadonlyMap<string, MeterProfile>;
  /** Secrets by the path of their key, `mqtt.password`, `miners[0].password`. */
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly warnings: readonly ConfigProblem[];
  readonly texts: ConfigTexts;
}

/** Everything that a configuration was read from, word for word. */
export interface ConfigTexts {
  /** The main file, then those of `conf.d`. */
  readonly sources: readonly string[];
  /** Text by path: the sources, and register maps of the site's own. */
  readonly files: Readonly<Record<string, string>>;
}

export type ConfigResult =
  | { readonly ok: true; readonly value: LoadedConfig }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Reads `file` and `conf.d/*.yaml` beside it (lists are joined, other keys may stand in one file only), and
 * checks everything that can be checked without a network. Every problem names file, line and column.
 */
export function loadConfig(file: string, environment: Environment = process.env): ConfigResult {
  return loadFiles(file, sourceFiles(file), (path) => readFileSync(path, 'utf8'), environment);
}

/**
 * A configuration as it was read before, whatever its files say now. Only secrets are read again; one that is gone
 * is a warning here: what needs it fails, and the rest of the site is controlled.
 */
export function loadKeptConfig(
  file: string,
  texts: ConfigTexts,
  environment: Environment = process.env,
): ConfigResult {
  const read = (path: string) => {
    const text = texts.files[path];
    if (text === undefined) throw new Error('it was not kept');
    return text;
  };
  return loadFiles(file, texts.sources, read, environment, true);
}

type ReadText = (path: string) => string;

function loadFiles(
  file: string,
  paths: readonly string[],
  read: ReadText,
  environment: Environment,
  lenient = false,
): ConfigResult {
  const sources: SourceFile[] = [];
  const problems: ConfigProblem[] = [];
  const files: Record<string, string> = {};
  const reading: ReadText = (path) => {
    files[path] = read(path);
    return files[path];
  };
  for (const path of paths) {
    try {
      sources.push(parseSource(path, reading(path), environment));
    } catch (error) {
      const reason =
        (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message;
      problems.push({
        severity: 'error',
        code: 'unreadable',
        message: reason,
        file: path,
        line: 1,
        column: 1,
        path: '',
      });
    }
  }
  for (const source of sources) problems.push(...source.problems);
  if (problems.length > 0) return { ok: false, problems };
  return checkSources(file, sources, environment, { read: reading, files, lenient });
}

/** The same for text that stands in no file (tests, the embedded demo). */
export function loadConfigText(
  text: string,
  file = 'switchyard.yaml',
  environment: Environment = {},
): ConfigResult {
  const source = parseSource(file, text, environment);
  if (source.problems.length > 0) return { ok: false, problems: source.problems };
  const files: Record<string, string> = { [file]: text };
  const read = (path: string) => readFileSync(path, 'utf8');
  return checkSources(file, [source], environment, { read, files, lenient: false });
}

/** The files of a configuration: the main one, then `conf.d/*.yaml` beside it in the order of their names. */
export function sourceFiles(file: string): string[] {
  return [file, ...dropIns(file)];
}

function dropIns(file: string): string[] {
  const folder = join(dirname(file), 'conf.d');
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml') || name.endsWith('.yml'))
    .sort()
    .map((name) => join(folder, name));
}

interface Merged {
  readonly value: Record<string, unknown>;
  /** Where a top-level key, or an element of a top-level list, came from. */
  origin(path: readonly PropertyKey[]): { source: SourceFile; path: readonly PropertyKey[] };
}

function merge(sources: readonly SourceFile[], problems: ConfigProblem[]): Merged {
  const value: Record<string, unknown> = Object.create(null);
  const owners = new Map<string, SourceFile>();
  const segments = new Map<string, { source: SourceFile; start: number; count: number }[]>();
  for (const source of sources) {
    if (typeof source.value !== 'object' || source.value === null || Array.isArray(source.value)) {
      problems.push({
        severity: 'error',
        code: 'not-a-map',
        message: 'a configuration is a map of keys.',
        file: source.file,
        ...source.locate([]),
        path: '',
      });
      continue;
    }
    for (const [key, part] of Object.entries(source.value)) {
      // `miners:` with nothing below it is as good as no such key.
      if (part === null) continue;
      const present = value[key];
      if (Array.isArray(part) && (present === undefined || Array.isArray(present))) {
        const list = (present as unknown[] | undefined) ?? [];
        segments.set(key, [...(segments.get(key) ?? []), { source, start: list.length, count: part.length }]);
        value[key] = [...list, ...part];
      } else if (present !== undefined) {
        problems.push({
          severity: 'error',
          code: 'defined-twice',
          message: `"${key}" already stands in ${owners.get(key)!.file}.`,
          file: source.file,
          ...source.locate([], key),
          path: key,
        });
      } else value[key] = part;
      if (!owners.has(key)) owners.set(key, source);
    }
  }
  const origin = (path: readonly PropertyKey[]) => {
    const [key, index, ...rest] = path;
    if (typeof key === 'string' && typeof index === 'number') {
      const segment = segments
        .get(key)
        ?.find((part) => index >= part.start && index < part.start + part.count);
      if (segment !== undefined)
        return { source: segment.source, path: [key, index - segment.start, ...rest] };
    }
    const source = (typeof key === 'string' ? owners.get(key) : undefined) ?? sources[0]!;
    return { source, path };
  };
  return { value, origin };
}

/** How files are read, what was read so far, and whether a missing secret is only a warning. */
interface Reading {
  readonly read: ReadText;
  readonly files: Readonly<Record<string, string>>;
  readonly lenient: boolean;
}

function checkSources(
  file: string,
  sources: readonly SourceFile[],
  environment: Environment,
  { read, files, lenient }: Reading,
): ConfigResult {
  const problems: ConfigProblem[] = [];
  const merged = merge(sources, problems);
  const report = (
    severity: 'error' | 'warning',
    code: string,
    path: readonly PropertyKey[],
    message: string,
    hint?: string,
    key?: string,
  ) => {
    const at = merged.origin(key === undefined ? path : [...path, key]);
    const place = at.source.locate(key === undefined ? at.path : at.path.slice(0, -1), key);
    problems.push({
      severity,
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
      file: at.source.file,
      ...place,
      path: formatPath(key === undefined ? path : [...path, key]),
    });
  };
  const parsed = configSchema.safeParse(merged.value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) reportIssue(issue, merged.value, report);
    return { ok: false, problems: inOrder(problems) };
  }
  const config = parsed.data;
  for (const finding of crossCheck(config)) {
    report(finding.severity, finding.code, finding.path, finding.message, finding.hint);
  }
  const profiles = readProfiles(config, dirname(resolve(file)), read, report, problems);
  const miners = placeMiners(config, report);
  const secrets = readSecrets(config, dirname(resolve(file)), environment, report, lenient);
  if (problems.some((problem) => problem.severity === 'error'))
    return { ok: false, problems: inOrder(problems) };
  const texts = { sources: sources.map((source) => source.file), files };
  return { ok: true, value: { config, file, miners, profiles, secrets, warnings: inOrder(problems), texts } };
}

function reportIssue(issue: core.$ZodIssue, value: unknown, report: Report): void {
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) {
      const near = nearest(key, knownKeys(issue.path));
      report(
        'error',
        'unknown-key',
        issue.path,
        `unknown key "${key}".`,
        near === null ? undefined : `Did you mean "${near}"?`,
        key,
      );
    }
    return;
  }
  const missing = valueAt(value, issue.path) === undefined && issue.path.length > 0;
  if (missing) {
    const key = String(issue.path.at(-1));
    report('error', 'missing-key', issue.path.slice(0, -1), `"${key}" is missing.`, `Add \`${key}:\`.`);
    return;
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // The branch that came furthest says what the writer most likely meant.
    const branches = issue.errors.map((branch) => [...branch].sort((a, b) => b.path.length - a.path.length));
    const custom = branches
      .flat()
      .find((inner) => inner.code === 'custom' || inner.code === 'unrecognized_keys');
    const deepest = branches.flat().sort((a, b) => b.path.length - a.path.length)[0];
    const chosen = custom ?? (deepest !== undefined && deepest.path.length > 0 ? deepest : undefined);
    if (chosen !== undefined) {
      reportIssue({ ...chosen, path: [...issue.path, ...chosen.path] } as core.$ZodIssue, value, report);
      return;
    }
  }
  report('error', issue.code, issue.path, `${issue.message.replace(/\.$/, '')}.`);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

/** The keys that the schema knows at `path`, for suggestions; read off the JSON Schema once. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let at: unknown = schemaTree();
  for (const part of path) {
    const keys = typeof part === 'number' ? ['items'] : ['properties', String(part)];
    for (const key of keys) at = (at as Record<string, unknown> | undefined)?.[key];
  }
  const found = new Set<string>();
  const collect = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { properties, anyOf, oneOf } = node as Record<string, unknown>;
    for (const key of Object.keys((properties as object | undefined) ?? {})) found.add(key);
    for (const branch of [...((anyOf as unknown[]) ?? []), ...((oneOf as unknown[]) ?? [])]) collect(branch);
  };
  collect(at);
  return [...found];
}

let cachedTree: unknown;
function schemaTree(): unknown {
  cachedTree ??= configSchema.toJSONSchema({ io: 'input', unrepresentable: 'any', reused: 'inline' });
  return cachedTree;
}

function placeMiners(config: Config, report: Report): MinerPlace[] {
  const places: MinerPlace[] = [];
  const addresses = new Map<string, string>();
  const ids = new Set([...config.meters, ...config.gpuNodes].map((entry) => entry.id));
  config.miners.forEach((entry, index) => {
    const found: { host: string; port: number | null }[] = [];
    entry.hosts.forEach((text, position) => {
      const expanded = expandHosts(text);
      if (expanded.ok) found.push(...expanded.hosts);
      else report('error', 'bad-address', ['miners', index, 'hosts', position], `${expanded.message}.`);
    });
    const digits = Math.max(3, String(found.length).length);
    found.forEach(({ host, port }, position) => {
      const deviceId = `${entry.id}-${String(position + 1).padStart(digits, '0')}`;
      const address = `${host}:${port ?? entry.port}`;
      const other = addresses.get(address);
      if (other !== undefined) {
        report('error', 'address-used-twice', ['miners', index, 'hosts'], `${address} is already ${other}.`);
      }
      if (deviceId.length > 63)
        report(
          'error',
          'id-too-long',
          ['miners', index, 'id'],
          `device ids like "${deviceId}" are longer than 63 characters.`,
        );
      if (ids.has(deviceId))
        report(
          'error',
          'duplicate-id',
          ['miners', index, 'id'],
          `the device id "${deviceId}" is already used.`,
        );
      addresses.set(address, deviceId);
      ids.add(deviceId);
      places.push({ deviceId, entry, host, port: port ?? entry.port });
    });
  });
  return places;
}

/** The register maps that meters name: shipped ones must exist, files must hold. */
function readProfiles(
  config: Config,
  folder: string,
  read: ReadText,
  report: Report,
  problems: ConfigProblem[],
): ReadonlyMap<string, MeterProfile> {
  const own = new Map<string, MeterProfile>();
  const refused = new Set<string>();
  config.meters.forEach((meter, index) => {
    const { profile: name } = meter;
    const path = ['meters', index, 'profile'];
    if (isProfileFile(name)) {
      if (own.has(name) || refused.has(name)) return;
      const file = resolve(folder, name);
      try {
        const parsed = parseProfile(name, read(file));
        if (parsed.ok) own.set(name, parsed.value);
        else problems.push(...parsed.problems);
        if (!parsed.ok) refused.add(name);
      } catch (error) {
        refused.add(name);
        report('error', 'unreadable', path, `${name} cannot be read: ${(error as Error).message}.`);
      }
    } else if (meterProfile(name) === null) {
      const near = nearest(name, meterProfiles().keys());
      const hint = near === null ? 'List: switchyard sample profiles.' : `Did you mean "${near}"?`;
      report('error', 'unknown-profile', path, `there is no meter profile "${name}".`, hint);
    }
    const profile = own.get(name) ?? meterProfile(name);
    if (profile !== null) checkMeter(meter, profile, path.slice(0, -1), report);
  });
  return own;
}

/** What a meter's entry and its register map say together. */
function checkMeter(
  meter: Config['meters'][number],
  profile: MeterProfile,
  path: readonly PropertyKey[],
  report: Report,
): void {
  for (const name of unconfirmedPower(profile, meter.confirmed)) {
    report(
      'warning',
      'unconfirmed-register',
      [...path, 'profile'],
      `${meter.id}: the register of ${name} is not confirmed in ${profile.id}: the agent shows it and does not control on it.`,
      `Compare it with the display under load, then write \`confirmed: [${name}]\`.`,
    );
  }
  for (const name of missingParameters(profile, meter.parameters ?? {})) {
    report(
      'warning',
      'missing-parameter',
      [...path, 'profile'],
      `${meter.id}: ${profile.id} needs \`parameters: { ${name}: ... }\`, as set in the meter: without it there is no power figure.`,
    );
  }
}

function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column);
}
