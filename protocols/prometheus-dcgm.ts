import type { PrometheusSample } from './prometheus.ts';
import type { Celsius, Percent, Watts } from './units.ts';

/**
 * Samples of NVIDIA's dcgm-exporter to GPUs. Pure. Names of all generations are read: 1.x, 2.x to 4.5, and the
 * canonical ones of DCGM 4.6. Source: dcgm-exporter default-counters.csv and its templates, DCGM 4.6 field ids.
 */

export interface DcgmGpu {
  readonly uuid: string;
  readonly index: number | null;
  readonly name: string | null;
  /** The whole board; `null` when no row, or a row without a value, came. */
  readonly powerWatts: Watts | null;
  readonly requestedLimitWatts: Watts | null;
  readonly enforcedLimitWatts: Watts | null;
  readonly defaultLimitWatts: Watts | null;
  readonly minLimitWatts: Watts | null;
  readonly maxLimitWatts: Watts | null;
  readonly temperatureCelsius: Celsius | null;
  readonly utilizationPercent: Percent | null;
  readonly memoryUsedMebibytes: number | null;
  readonly memoryTotalMebibytes: number | null;
  readonly migEnabled: boolean | null;
  /** Since the driver was loaded. */
  readonly energyMillijoules: number | null;
  /** The last Xid, 0 for none; sticky. */
  readonly xid: number | null;
}

export interface DcgmReport {
  readonly driverVersion: string | null;
  readonly gpus: readonly DcgmGpu[];
  /** Names of the hosts that the rows carry: more than one means that a shared server was scraped. */
  readonly hosts: readonly string[];
}

const FIELDS = {
  power: ['DCGM_FI_DEV_POWER_USAGE', 'DCGM_FI_DEV_BOARD_POWER_WATTS', 'dcgm_power_usage'],
  instantPower: ['DCGM_FI_DEV_POWER_USAGE_INSTANT', 'DCGM_FI_DEV_BOARD_POWER_RAW_WATTS'],
  requested: ['DCGM_FI_DEV_POWER_MGMT_LIMIT', 'DCGM_FI_DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS'],
  enforced: ['DCGM_FI_DEV_ENFORCED_POWER_LIMIT', 'DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS'],
  default: ['DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF', 'DCGM_FI_DEV_BOARD_POWER_LIMIT_DEFAULT_WATTS'],
  min: ['DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN', 'DCGM_FI_DEV_BOARD_POWER_LIMIT_MIN_WATTS'],
  max: ['DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX', 'DCGM_FI_DEV_BOARD_POWER_LIMIT_MAX_WATTS'],
  temperature: ['DCGM_FI_DEV_GPU_TEMP', 'DCGM_FI_DEV_GPU_TEMP_CELSIUS', 'dcgm_gpu_temp'],
  utilization: ['DCGM_FI_DEV_GPU_UTIL', 'DCGM_FI_DEV_GPU_UTIL_RATIO', 'dcgm_gpu_utilization'],
  memoryUsed: ['DCGM_FI_DEV_FB_USED', 'dcgm_fb_used'],
  memoryFree: ['DCGM_FI_DEV_FB_FREE', 'dcgm_fb_free'],
  memoryReserved: ['DCGM_FI_DEV_FB_RESERVED'],
  memoryTotal: ['DCGM_FI_DEV_FB_TOTAL'],
  energy: ['DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', 'dcgm_total_energy_consumption'],
  xid: ['DCGM_FI_DEV_XID_ERRORS', 'DCGM_FI_DEV_XID_ERROR', 'dcgm_xid_errors'],
  mig: ['DCGM_FI_DEV_MIG_MODE'],
} as const;

type Field = keyof typeof FIELDS;

const FIELD_OF: ReadonlyMap<string, Field> = new Map(
  Object.entries(FIELDS).flatMap(([field, names]) => names.map((name) => [name, field as Field] as const)),
);

/** Blank values that old exporters print: the int32, int64 and floating ones of DCGM. Source: dcgm_structs.h. */
const BLANK_INT32 = 0x7ffffff0;
const BLANK_FLOAT = 140_737_488_355_328;

interface Row {
  readonly uuid: string;
  readonly labels: PrometheusSample['labels'];
  readonly values: Map<Field, number>;
  /** Figures of MIG instances, which repeat or part the board's. */
  isMig: boolean;
}

/** All samples of one scrape to its GPUs, in order of index. Rows of NVLinks, switches and CPUs are passed over. */
export function decodeDcgm(samples: readonly PrometheusSample[]): DcgmReport {
  const rows = new Map<string, Row>();
  const hosts = new Set<string>();
  let driverVersion: string | null = null;
  for (const sample of samples) {
    const { labels } = sample;
    const field = FIELD_OF.get(sample.name);
    const uuid = labels['UUID'] ?? labels['uuid'];
    if (field === undefined || uuid === undefined || uuid === '') continue;
    const host = labels['hostname'] ?? labels['Hostname'];
    if (host !== undefined) hosts.add(host);
    driverVersion ??= labels['DCGM_FI_DRIVER_VERSION'] ?? null;
    const row = rows.get(uuid) ?? { uuid, labels, values: new Map<Field, number>(), isMig: false };
    rows.set(uuid, row);
    const isInstance = (labels['GPU_I_ID'] ?? '') !== '';
    if (isInstance) row.isMig = true;
    const value = presentValue(field, sample);
    if (value === null || (isInstance && PER_INSTANCE.has(field))) continue;
    // A MIG board's power stands once per instance, each time whole: the largest is the board, never the sum.
    row.values.set(field, Math.max(row.values.get(field) ?? value, value));
  }
  const gpus = [...rows.values()].map(rowToGpu);
  gpus.sort((a, b) => (a.index ?? 1e9) - (b.index ?? 1e9) || a.uuid.localeCompare(b.uuid));
  return { driverVersion: detached(driverVersion), gpus, hosts: [...hosts].map(detached) };
}

/** Figures that differ between the instances of one board: none of them is the board's. */
const PER_INSTANCE: ReadonlySet<Field> = new Set<Field>([
  'utilization',
  'memoryUsed',
  'memoryFree',
  'memoryReserved',
  'memoryTotal',
]);

function presentValue(field: Field, sample: PrometheusSample): number | null {
  const { value } = sample;
  const blank = field === 'energy' ? BLANK_FLOAT : BLANK_INT32;
  if (!Number.isFinite(value) || value >= blank || value < (field === 'temperature' ? -273 : 0)) return null;
  // Called a ratio since DCGM 4.6, still printed in per cent by most exporters.
  const isRatio = field === 'utilization' && sample.name.endsWith('_RATIO') && value < 1;
  return isRatio ? value * 100 : value;
}

/**
 * The same text on its own. A piece cut out of a body keeps the whole body in memory for as long as somebody remembers
 * the piece, and identities are remembered for ever.
 */
function detached<T extends string | null>(text: T): T {
  return text === null ? text : (Buffer.from(text, 'utf8').toString('utf8') as T);
}

function rowToGpu(row: Row): DcgmGpu {
  const { values, labels } = row;
  const of = (field: Field) => values.get(field) ?? null;
  const used = of('memoryUsed');
  const free = of('memoryFree');
  const parted = used === null || free === null ? null : used + free + (of('memoryReserved') ?? 0);
  const index = labels['gpu'];
  const mig = of('mig');
  return {
    uuid: detached(row.uuid),
    index: index !== undefined && /^\d+$/.test(index) ? Number(index) : null,
    name: detached(labels['modelName'] ?? labels['model_name'] ?? null),
    powerWatts: of('power') ?? of('instantPower'),
    requestedLimitWatts: of('requested'),
    enforcedLimitWatts: of('enforced'),
    defaultLimitWatts: of('default'),
    minLimitWatts: of('min'),
    maxLimitWatts: of('max'),
    temperatureCelsius: of('temperature'),
    utilizationPercent: of('utilization'),
    memoryUsedMebibytes: used,
    memoryTotalMebibytes: of('memoryTotal') ?? parted,
    migEnabled: row.isMig ? true : mig === null ? null : mig > 0,
    energyMillijoules: of('energy'),
    xid: of('xid'),
  };
}
