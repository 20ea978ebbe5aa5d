import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Secret } from '../config/secret.ts';

/** How a changed key takes effect: at once, by opening one device again, or with the next start only. */
export type ChangeKind = 'live' | 'reconnect' | 'restart';

/** One changed key. List entries go by their id: `limits.feeder-a.rating`. */
export interface Change {
  readonly path: string;
  readonly kind: ChangeKind;
}

/** What takes effect without a restart; everything else waits for one. */
const KINDS: readonly (readonly [ChangeKind, RegExp])[] = [
  ['live', /^site\.name$/],
  ['live', /^limits\.[^.]+\.(name|rating|continuous|losses|margin|average|thermal|authority)(\.|$)/],
  ['live', /^loads\.[^.]+\.(name|worst)$/],
  ['live', /^(meters|miners|gpuNodes)\.[^.]+\.interval$/],
  ['live', /^workloads\.[^.]+\.(name|dollarsPerGpuHour|penaltyDollarsPerHour)$/],
  ['live', /^tenants\.[^.]+\.(name|energyDollarsPerMwh|curtailmentShare)$/],
  ['live', /^(economics|issuers|log)(\.|$)/],
  ['live', /^control\.(?!cycle$)/],
  ['live', /^transfers\./],
  ['live', /^mqtt\.(siteInterval|rowInterval|fullInterval)$/],
  ['reconnect', /^miners\.[^.]+\.(user|password|webPort|firmware)(\.|$)/],
  ['reconnect', /^gpuNodes\.[^.]+\.(reader|cap)(\.|$)/],
];

/** How a change of this key takes effect. Pure. */
export function kindOf(path: string): ChangeKind {
  return KINDS.find(([, pattern]) => pattern.test(path))?.[0] ?? 'restart';
}

/**
 * The configuration that runs from now on: `old` with everything of `next` that takes effect without a restart,
 * and what differs. Pure.
 */
export function mergeConfig(
  old: LoadedConfig,
  next: LoadedConfig,
): { readonly loaded: LoadedConfig; readonly changes: readonly Change[] } {
  const changes: Change[] = [];
  const config = merge(old.config, next.config, '', changes) as Config;
  const secrets = mergeSecrets(config, old, next, changes);
  for (const meter of config.meters) {
    const [before, after] = [old, next].map(({ profiles }) => JSON.stringify(profiles.get(meter.profile)));
    if (before !== after && next.profiles.has(meter.profile))
      changes.push({ path: `meters.${meter.id}.profile`, kind: 'restart' });
  }
  const entries = new Map(config.miners.map((entry) => [entry.id, entry]));
  return {
    loaded: {
      ...old,
      config,
      secrets,
      warnings: next.warnings,
      texts: next.texts,
      miners: old.miners.map((place) => ({ ...place, entry: entries.get(place.entry.id) ?? place.entry })),
    },
    changes,
  };
}

type Plain = Readonly<Record<string, unknown>>;

function merge(old: unknown, next: unknown, path: string, changes: Change[]): unknown {
  if (JSON.stringify(old) === JSON.stringify(next)) return old;
  if (hasIds(old) && hasIds(next)) return mergeList(old, next, path, changes);
  if (isPlain(old) && isPlain(next)) {
    const merged: Record<string, unknown> = {};
    for (const key of new Set([...Object.keys(old), ...Object.keys(next)])) {
      const value = merge(old[key], next[key], path === '' ? key : `${path}.${key}`, changes);
      if (value !== undefined) merged[key] = value;
    }
    return merged;
  }
  const kind = kindOf(path);
  changes.push({ path, kind });
  return kind === 'restart' ? old : next;
}

/** Entries on both sides are merged by id; new and removed ones come and go where that needs no restart. */
function mergeList(
  old: readonly Entry[],
  next: readonly Entry[],
  path: string,
  changes: Change[],
): readonly unknown[] {
  const after = new Map(next.map((entry) => [entry.id, entry]));
  const merged: unknown[] = [];
  for (const entry of old) {
    const same = after.get(entry.id);
    const at = `${path}.${entry.id}`;
    if (same !== undefined) {
      merged.push(merge(entry, same, at, changes));
      after.delete(entry.id);
      continue;
    }
    const kind = kindOf(at);
    changes.push({ path: at, kind });
    if (kind === 'restart') merged.push(entry);
  }
  for (const entry of after.values()) {
    const at = `${path}.${entry.id}`;
    const kind = kindOf(at);
    changes.push({ path: at, kind });
    if (kind !== 'restart') merged.push(entry);
  }
  return merged;
}

/** Secrets go with their entries; one whose file has other content is a change of its own. */
function mergeSecrets(
  config: Config,
  old: LoadedConfig,
  next: LoadedConfig,
  changes: Change[],
): Map<string, Secret> {
  const secrets = new Map<string, Secret>();
  const keep = (path: string, place: string, before: Secret | undefined, after: Secret | undefined) => {
    if (before?.reveal() !== after?.reveal() && !changes.some((change) => change.path.startsWith(path)))
      changes.push({ path, kind: kindOf(path) });
    const secret = kindOf(path) === 'restart' ? before : after;
    if (secret !== undefined) secrets.set(place, secret);
  };
  const of = (loaded: LoadedConfig, list: 'miners' | 'issuers', id: string, key: string) =>
    loaded.secrets.get(`${list}[${loaded.config[list].findIndex((entry) => entry.id === id)}].${key}`);
  for (const [list, key] of [
    ['miners', 'password'],
    ['issuers', 'key'],
  ] as const) {
    config[list].forEach(({ id }, index) => {
      const gone = !next.config[list].some((entry) => entry.id === id);
      const before = of(old, list, id, key);
      keep(
        `${list}.${id}.${key}`,
        `${list}[${index}].${key}`,
        before,
        gone ? before : of(next, list, id, key),
      );
    });
  }
  for (const path of ['mqtt.password', 'sparkplug.password'])
    keep(path, path, old.secrets.get(path), next.secrets.get(path));
  return secrets;
}

interface Entry {
  readonly id: string;
}

function hasIds(value: unknown): value is readonly Entry[] {
  return Array.isArray(value) && value.every((entry) => isPlain(entry) && typeof entry['id'] === 'string');
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
