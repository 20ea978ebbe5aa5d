import type { DeviceModel, SiteModel } from '../site/model.ts';
import type { DeviceState } from '../site/snapshot.ts';
import { devicePower } from '../site/state.ts';
import type { PageSource } from './source.ts';

/** One line of a list of devices. `null` = not known. */
export interface DeviceRow {
  readonly id: string;
  readonly kind: DeviceState['kind'];
  readonly limit: string;
  readonly name: string | null;
  readonly inventory: DeviceState['inventory'];
  /** A miner's state; for a GPU node `ok` or how many of its GPUs cannot be read. */
  readonly state: string | null;
  readonly powerWatts: number | null;
  readonly powerSource: 'reported' | 'estimated' | null;
  readonly hashrateThs: number | null;
  /** Mean over the GPUs of a node. */
  readonly utilizationPercent: number | null;
  readonly temperatureCelsius: number | null;
  readonly quality: string;
  readonly ageMs: number | null;
  readonly problem: string | null;
}

const MAXIMUM_ROWS = 200;
type Show = 'all' | 'problem' | 'working' | 'asleep' | 'held';

/**
 * One page of the devices at or below a limit, as short rows: `rows` and `offset` select it, `limit` the part of
 * the tree, `kind`, `show` and `q` filter, `sort` is `id`, `power` or `temperature`. A site of thousands stays
 * small on the wire.
 */
export function deviceRows(source: PageSource, query: URLSearchParams) {
  const snapshot = source.snapshot();
  const limit = query.get('limit');
  const kind = query.get('kind');
  const show = (query.get('show') ?? 'all') as Show;
  const words = (query.get('q') ?? '').slice(0, 100).toLowerCase();
  const below = limit === null ? null : subtree(source.model, limit);
  const models = new Map(source.model.devices.map((device) => [device.id, device]));
  const chosen = (snapshot?.devices ?? []).filter(
    (device) =>
      (below === null || below.has(device.limit)) &&
      (kind === null || device.kind === kind) &&
      (words === '' || matches(device, models.get(device.id), words)) &&
      shown(device, show),
  );
  const rows = sorted(
    chosen.map((device) => rowOf(device, models.get(device.id))),
    query.get('sort'),
  );
  const count = clamp(Number(query.get('rows')), 1, MAXIMUM_ROWS);
  const offset = clamp(Number(query.get('offset') ?? 0), 0, Number.MAX_SAFE_INTEGER);
  return {
    v: 1,
    ts: snapshot?.epochMs ?? null,
    total: rows.length,
    offset,
    rows: rows.slice(offset, offset + count),
  };
}

function clamp(value: number, least: number, most: number): number {
  return Number.isFinite(value) ? Math.min(most, Math.max(least, Math.floor(value))) : least;
}

function subtree(model: SiteModel, root: string): Set<string> {
  const below = new Set([root]);
  // Parents come before their children.
  for (const limit of model.limits) if (limit.parent !== null && below.has(limit.parent)) below.add(limit.id);
  return below;
}

function matches(device: DeviceState, model: DeviceModel | undefined, words: string): boolean {
  const { identity } = device;
  return [
    device.id,
    device.address,
    model?.tenant,
    nameOf(device, model),
    identity?.macAddress,
    identity?.serialNumber,
    ...(model?.tags ?? []),
    ...Object.values(model?.location ?? {}),
  ].some((text) => text?.toLowerCase().includes(words));
}

function shown(device: DeviceState, show: Show): boolean {
  const state = device.reading?.kind === 'miner' ? device.reading.state : null;
  if (show === 'problem') return problemOf(device) !== null;
  if (show === 'working')
    return state === null
      ? device.reading !== null
      : state === 'hashing' || state === 'starting' || state === 'tuning';
  if (show === 'asleep') return state === 'sleeping' || state === 'stopped';
  if (show === 'held') return device.inventory === 'held';
  return true;
}

function nameOf(device: DeviceState, model: DeviceModel | undefined): string | null {
  const { reading } = device;
  return (
    (reading?.kind === 'miner' ? reading.model : (reading?.gpus[0]?.name ?? null)) ?? model?.modelName ?? null
  );
}

function problemOf(device: DeviceState): string | null {
  if (device.inventory === 'removed') return null;
  if (device.failure !== null) return device.failure.message;
  const { reading } = device;
  const first = reading?.errors[0];
  if (first !== undefined) return first.message;
  if (reading?.kind === 'miner' && reading.state === 'fault') return 'reports a fault';
  if (reading?.kind === 'gpu-node') {
    const sick = reading.gpus.filter((gpu) => gpu.state !== 'ok').length;
    if (sick > 0) return `${sick} of ${reading.gpus.length} GPUs cannot be read`;
  }
  return device.quality === 'stale' || device.quality === 'bad' ? `reading is ${device.quality}` : null;
}

function rowOf(device: DeviceState, model: DeviceModel | undefined): DeviceRow {
  const { reading } = device;
  const miner = reading?.kind === 'miner' ? reading : null;
  const gpus = reading?.kind === 'gpu-node' ? reading.gpus : [];
  const sick = gpus.filter((gpu) => gpu.state !== 'ok').length;
  return {
    id: device.id,
    kind: device.kind,
    limit: device.limit,
    name: nameOf(device, model),
    inventory: device.inventory,
    state: miner?.state ?? (reading === null ? null : sick === 0 ? 'ok' : `${sick} GPUs unreadable`),
    powerWatts: devicePower(device, model),
    powerSource: miner?.powerSource ?? (gpus.length === 0 ? null : 'estimated'),
    hashrateThs: miner?.hashrateThs ?? null,
    utilizationPercent: mean(gpus.map((gpu) => gpu.utilizationPercent)),
    temperatureCelsius: miner?.chipTemperatureCelsius ?? highest(gpus.map((gpu) => gpu.temperatureCelsius)),
    quality: device.quality,
    ageMs: device.ageMs === null ? null : Math.round(device.ageMs),
    problem: problemOf(device),
  };
}

function known(values: readonly (number | null)[]): number[] {
  return values.filter((value) => value !== null);
}

function mean(values: readonly (number | null)[]): number | null {
  const figures = known(values);
  return figures.length === 0
    ? null
    : Math.round(figures.reduce((sum, value) => sum + value, 0) / figures.length);
}

function highest(values: readonly (number | null)[]): number | null {
  const figures = known(values);
  return figures.length === 0 ? null : Math.max(...figures);
}

/** Highest first for figures, with what is not known last; ids in their natural order. */
function sorted(rows: DeviceRow[], by: string | null): DeviceRow[] {
  const figure = (row: DeviceRow): number =>
    (by === 'power' ? row.powerWatts : row.temperatureCelsius) ?? Number.NEGATIVE_INFINITY;
  return by === 'power' || by === 'temperature'
    ? rows.sort((a, b) => figure(b) - figure(a) || (a.id < b.id ? -1 : 1))
    : rows;
}
