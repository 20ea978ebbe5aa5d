import type { Quality } from '../../../drivers/load-driver.ts';
import { type MetricType, type PlainValue, QUALITY } from '../../../protocols/sparkplug/value.ts';
import type { EpochMs, LimitId } from '../../../protocols/units.ts';
import type { BookState } from '../../orders/book.ts';
import type { DeviceState, MeterState, Snapshot } from '../../site/snapshot.ts';
import type { LimitView, SiteView } from '../../site/view.ts';
import { deviceRow, meterRow } from '../messages.ts';
import type { DeviceImage, MetricImage, NodeImage } from './edge-node.ts';

/**
 * What the site knows, as metrics of edge nodes. Each kind of device has a fixed list of names: what it does not say
 * is null, and no birth is ever out of date. Pure.
 */

/** What became of the last order that came for a device; of the site's own node it has the empty key. */
export interface OrderWord {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
}

/** Prefixes of the devices of the site's own node; ids have no dot. */
export const LIMIT_DEVICE = 'limit.';
export const METER_DEVICE = 'meter.';
export const RESTORE = 'Limit Control/Restore';
/** Takes the id of an alarm. */
export const ALARM_ACKNOWLEDGE = 'Alarms/acknowledge';

const ORDER_NAMES = ['orderId', 'orderStatus', 'orderReason'] as const;

const MINER: Readonly<Record<string, MetricType>> = {
  state: 'String',
  powerWatts: 'Double',
  powerSource: 'String',
  hashrateThs: 'Double',
  chipTemperatureCelsius: 'Double',
  powerLimitWatts: 'Double',
};
const GPU_NODE: Readonly<Record<string, MetricType>> = {
  state: 'String',
  powerWatts: 'Double',
  knownPowerWatts: 'Double',
  capWatts: 'Double',
  temperatureCelsius: 'Double',
  utilizationPercent: 'Double',
  gpus: 'Int32',
};
const PROPERTIES = ['vendor', 'model', 'firmware', 'firmwareVersion', 'macAddress', 'serialNumber'] as const;

/** The edge node of the site: totals, and a device for each limit and meter. */
export function siteImage(
  view: SiteView,
  snapshot: Snapshot,
  book: Pick<BookState, 'leases'>,
  orders: ReadonlyMap<string, OrderWord>,
): NodeImage {
  const at = snapshot.epochMs;
  const { totals, alarms } = view;
  const count = (severity: string) => alarms.filter((alarm) => alarm.severity === severity).length;
  const open = alarms.find((alarm) => alarm.acknowledgedBy === null) ?? null;
  return {
    metrics: [
      word('mode', view.mode, at),
      figure('powerWatts', totals.powerWatts, at),
      figure('limitWatts', totals.limitWatts, at),
      figure('miningWatts', totals.miningWatts, at),
      figure('aiWatts', totals.aiWatts, at),
      figure('otherWatts', totals.otherWatts, at),
      figure('hashrateThs', totals.hashrateThs, at),
      whole('minersPresent', totals.miners.present, at),
      whole('minersAbsent', totals.miners.absent, at),
      whole('gpuNodesPresent', totals.gpuNodes.present, at),
      whole('gpuNodesAbsent', totals.gpuNodes.absent, at),
      whole('Alarms/critical', count('critical'), at),
      whole('Alarms/major', count('major'), at),
      whole('Alarms/minor', count('minor'), at),
      word('Alarms/worst', open?.id ?? null, at),
      word('Alarms/worstMessage', open?.message ?? null, at),
      word(ALARM_ACKNOWLEDGE, null, at),
      ...orderMetrics(orders.get(''), at),
    ],
    devices: [
      ...view.limits.map((limit) => limitImage(limit, at, book, orders)),
      ...snapshot.meters.map((meter) => meterImage(meter, at)),
    ],
  };
}

function limitImage(
  limit: LimitView,
  now: EpochMs,
  book: Pick<BookState, 'leases'>,
  orders: ReadonlyMap<string, OrderWord>,
): DeviceImage {
  const id = `${LIMIT_DEVICE}${limit.id}`;
  const at = now - (limit.ageMs ?? 0);
  const quality = qualityOf(limit.quality);
  const setPoint = setPointOf(book, limit.id);
  return {
    id,
    alive: true,
    metrics: [
      figure('powerWatts', limit.powerWatts, at, quality),
      figure('headroomWatts', limit.headroomWatts, at, quality),
      figure('limitWatts', limit.limitWatts, now),
      word('limitSource', limit.source, now),
      { name: 'limitUntil', type: 'DateTime', value: limit.until, at: now, quality: QUALITY.good },
      figure('ratingWatts', limit.ratingWatts, now),
      figure('worstWatts', limit.worstWatts, now),
      word('quality', limit.quality, now),
      word('basis', limit.basis, now),
      figure('setPointWatts', setPoint?.targetWatts ?? null, now),
      figure('setPointBandWatts', setPoint?.bandWatts ?? null, now),
      flag(RESTORE, false, now),
      ...orderMetrics(orders.get(id), now),
    ],
  };
}

function setPointOf(book: Pick<BookState, 'leases'>, limit: LimitId) {
  return book.leases.find((lease) => lease.limit === limit && lease.setPoint !== undefined)?.setPoint ?? null;
}

function meterImage(meter: MeterState, now: EpochMs): DeviceImage {
  const at = now - (meter.ageMs ?? 0);
  const quality = qualityOf(meter.quality);
  const row = meterRow(meter);
  const phases = (metric: 'voltageVolts' | 'currentAmps', name: string, unit: string) =>
    (['l1', 'l2', 'l3'] as const).map((phase) =>
      figure(`${name}${phase.toUpperCase()}${unit}`, meter.reading?.[metric]?.[phase] ?? null, at, quality),
    );
  return {
    id: `${METER_DEVICE}${meter.id}`,
    alive: meter.reading !== null && (meter.failure === null || meter.quality === 'good'),
    metrics: [
      ...(['powerWatts', 'frequencyHz', 'powerFactor', 'importWattHours', 'exportWattHours'] as const).map(
        (name) => figure(name, plain(row[name]), at, quality),
      ),
      ...phases('voltageVolts', 'voltage', 'Volts'),
      ...phases('currentAmps', 'current', 'Amps'),
      word('quality', meter.quality, now),
    ],
  };
}

/** An edge node of miners and GPU nodes. */
export function groupImage(
  devices: readonly DeviceState[],
  now: EpochMs,
  held: (device: DeviceState) => boolean,
  orders: ReadonlyMap<string, OrderWord>,
): NodeImage {
  return {
    metrics: [
      whole('devices', devices.length, now),
      whole('present', devices.filter(({ inventory }) => inventory === 'present').length, now),
    ],
    devices: devices.map((device) => loadImage(device, now, held(device), orders)),
  };
}

function loadImage(
  device: DeviceState,
  now: EpochMs,
  held: boolean,
  orders: ReadonlyMap<string, OrderWord>,
): DeviceImage {
  const at = now - Math.round(device.ageMs ?? 0);
  const quality = qualityOf(device.quality);
  const row = deviceRow(device);
  return {
    id: device.id,
    alive:
      device.inventory === 'present' ||
      (device.inventory === 'held' && device.reading !== null && device.failure === null),
    metrics: [
      ...Object.entries(device.kind === 'miner' ? MINER : GPU_NODE).map(
        ([name, type]): MetricImage => ({ name, type, value: plain(row[name]), at, quality }),
      ),
      word('inventory', device.inventory, now),
      word('quality', device.quality, now),
      flag('held', held, now),
      ...PROPERTIES.map((name) => word(`Properties/${name}`, device.identity?.[name] ?? null, now)),
      ...orderMetrics(orders.get(device.id), now),
    ],
  };
}

function orderMetrics(order: OrderWord | undefined, at: EpochMs): MetricImage[] {
  const values = [order?.id, order?.status, order?.reason];
  return ORDER_NAMES.map((name, index) => word(name, values[index] ?? null, at));
}

function qualityOf(quality: Quality): number {
  if (quality === 'good' || quality === 'estimated') return QUALITY.good;
  return quality === 'stale' ? QUALITY.stale : QUALITY.bad;
}

function plain(value: unknown): PlainValue {
  return typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean' ? value : null;
}

function figure(name: string, value: PlainValue, at: EpochMs, quality: number = QUALITY.good): MetricImage {
  return { name, type: 'Double', value, at: Math.round(at), quality };
}

function whole(name: string, value: number, at: EpochMs): MetricImage {
  return { name, type: 'Int32', value, at, quality: QUALITY.good };
}

function word(name: string, value: string | null, at: EpochMs): MetricImage {
  return { name, type: 'String', value, at, quality: QUALITY.good };
}

function flag(name: string, value: boolean, at: EpochMs): MetricImage {
  return { name, type: 'Boolean', value, at, quality: QUALITY.good };
}
