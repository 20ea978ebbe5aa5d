import type { SimulatedGpu, SimulatedGpuNode } from './physics.ts';

/**
 * What the tools of a simulated GPU node print, in the recorded forms. Pure. Source: recorded output of driver
 * 590 on an H100 and the XML of driver 595; dcgm-exporter templates of May 2026.
 */

/** What is wrong with the tools of a simulated node; may be changed while it runs. */
export interface GpuToolFaults {
  /** Never answers (as a dead node does). */
  hang?: boolean;
  /** Refuses writes for want of rights. */
  noPermission?: boolean;
  /** Says `All done.` to a write and does nothing. */
  ignoresWrites?: boolean;
  /** The BMC holds every GPU at this many watts, whatever software asks. */
  heldWatts?: number;
  /** These GPUs are listed with `[GPU is lost]`. */
  lost?: readonly string[];
  /** These GPUs are not listed at all. */
  hidden?: readonly string[];
  /** Names that this driver does not know. */
  unknownFields?: readonly string[];
  /** Prints this instead of a reply. */
  garbage?: string;
  persistence?: boolean;
}

/** Output and exit code of one call. */
export interface ToolReply {
  readonly stdout: string;
  readonly exitCode: number;
}

export const SIMULATED_DRIVER = '590.48.01';
const MEMORY_MEBIBYTES = 81_559;

interface Shown {
  readonly gpu: SimulatedGpu;
  readonly index: number;
  readonly watts: number;
  readonly enforcedWatts: number;
  readonly isLost: boolean;
}

function shown(node: SimulatedGpuNode, faults: GpuToolFaults): Shown[] {
  const held = faults.heldWatts ?? Number.POSITIVE_INFINITY;
  return node.gpus
    .map((gpu, index) => ({
      gpu,
      index,
      watts: Math.min(node.gpuWatts(gpu), held),
      enforcedWatts: Math.min(gpu.limitWatts, held),
      isLost: faults.lost?.includes(gpu.uuid) ?? false,
    }))
    .filter((row) => !(faults.hidden?.includes(row.gpu.uuid) ?? false));
}

/** Answers a call of nvidia-smi with `args`; writes change `node`. */
export function nvidiaSmi(node: SimulatedGpuNode, faults: GpuToolFaults, args: readonly string[]): ToolReply {
  if (faults.garbage !== undefined) return { stdout: faults.garbage, exitCode: 0 };
  const rows = shown(node, faults);
  const query = args.find((arg) => arg.startsWith('--query-gpu='));
  if (query !== undefined) return table(rows, faults, query.slice('--query-gpu='.length).split(','), args);
  if (args[0] === '-q' && args[1] === '-x') return { stdout: document(rows, faults), exitCode: 0 };
  if (args[0] === '-L') {
    const lines = rows.map((row) => `GPU ${row.index}: ${row.gpu.name} (UUID: ${row.gpu.uuid})`);
    return { stdout: `${lines.join('\n')}\n`, exitCode: 0 };
  }
  if (args[0] === '-i' && (args[2] === '-pl' || args[2] === '-pm')) return write(node, rows, faults, args);
  return { stdout: `Invalid combination of input arguments: ${args.join(' ')}\n`, exitCode: 2 };
}

function busId(index: number): string {
  return `00000000:${(0x1b + index * 0x11).toString(16).toUpperCase().padStart(2, '0')}:00.0`;
}

type Cell = readonly [unit: string | null, value: (row: Shown) => string];

const watts = (value: number) => value.toFixed(2);
const temperature = (row: Shown) => 30 + 40 * row.gpu.utilization;
const memoryUsed = (row: Shown) => (row.gpu.utilization > 0 ? 61_440 : 0);

const CELLS: Readonly<Record<string, Cell>> = {
  index: [null, (row) => String(row.index)],
  uuid: [null, (row) => row.gpu.uuid],
  'pci.bus_id': [null, (row) => busId(row.index)],
  name: [null, (row) => row.gpu.name],
  driver_version: [null, () => SIMULATED_DRIVER],
  pstate: [null, () => 'P0'],
  'power.draw': ['W', (row) => watts(row.watts)],
  'power.draw.average': ['W', (row) => watts(row.watts)],
  'power.draw.instant': ['W', (row) => watts(row.watts)],
  'power.limit': ['W', (row) => watts(row.gpu.limitWatts)],
  'enforced.power.limit': ['W', (row) => watts(row.enforcedWatts)],
  'power.default_limit': ['W', (row) => watts(row.gpu.maxLimitWatts)],
  'power.min_limit': ['W', (row) => watts(row.gpu.minLimitWatts)],
  'power.max_limit': ['W', (row) => watts(row.gpu.maxLimitWatts)],
  'temperature.gpu': [null, (row) => temperature(row).toFixed(0)],
  'temperature.memory': [null, (row) => (temperature(row) + 7).toFixed(0)],
  'utilization.gpu': ['%', (row) => (100 * row.gpu.utilization).toFixed(0)],
  'utilization.memory': ['%', (row) => (60 * row.gpu.utilization).toFixed(0)],
  'memory.used': ['MiB', (row) => String(memoryUsed(row))],
  'memory.total': ['MiB', () => String(MEMORY_MEBIBYTES)],
  'mig.mode.current': [null, () => 'Disabled'],
  gpu_recovery_action: [null, () => 'None'],
};
/** Of a lost GPU these are still known. */
const SURVIVES: ReadonlySet<string> = new Set(['index', 'uuid', 'pci.bus_id', 'name', 'driver_version']);

function table(
  rows: readonly Shown[],
  faults: GpuToolFaults,
  fields: readonly string[],
  args: readonly string[],
): ToolReply {
  const persistence: Cell = [null, () => (faults.persistence === false ? 'Disabled' : 'Enabled')];
  const cells: (readonly [string, Cell])[] = [];
  for (const field of fields) {
    const cell = field === 'persistence_mode' ? persistence : CELLS[field];
    if (cell === undefined || faults.unknownFields?.includes(field) === true) {
      return { stdout: `Field "${field}" is not a valid field to query.\n\n`, exitCode: 2 };
    }
    cells.push([field, cell]);
  }
  const format = args.find((arg) => arg.startsWith('--format=')) ?? '';
  const withUnits = !format.includes('nounits');
  const lines = rows.map((row) =>
    cells
      .map(([field, [unit, value]]) => {
        if (row.isLost && !SURVIVES.has(field)) return '[GPU is lost]';
        return unit !== null && withUnits ? `${value(row)} ${unit}` : value(row);
      })
      .join(', '),
  );
  const header = cells
    .map(([field, [unit]]) => (unit !== null && withUnits ? `${field} [${unit}]` : field))
    .join(', ');
  if (rows.length === 0) return { stdout: 'No devices were found\n', exitCode: 6 };
  return {
    stdout: `${format.includes('noheader') ? lines.join('\n') : [header, ...lines].join('\n')}\n`,
    exitCode: 0,
  };
}

function document(rows: readonly Shown[], faults: GpuToolFaults): string {
  const value = (row: Shown, text: string) => (row.isLost ? 'Unknown Error' : text);
  const gpus = rows.map(
    (row) => `	<gpu id="${busId(row.index)}">
		<product_name>${row.gpu.name}</product_name>
		<persistence_mode>${faults.persistence === false ? 'Disabled' : 'Enabled'}</persistence_mode>
		<mig_mode>
			<current_mig>Disabled</current_mig>
			<pending_mig>Disabled</pending_mig>
		</mig_mode>
		<mig_devices>
			None
		</mig_devices>
		<uuid>${row.gpu.uuid}</uuid>
		<gpu_recovery_action>None</gpu_recovery_action>
		<fb_memory_usage>
			<total>${MEMORY_MEBIBYTES} MiB</total>
			<used>${value(row, `${memoryUsed(row)} MiB`)}</used>
		</fb_memory_usage>
		<utilization>
			<gpu_util>${value(row, `${(100 * row.gpu.utilization).toFixed(0)} %`)}</gpu_util>
		</utilization>
		<temperature>
			<gpu_temp>${value(row, `${temperature(row).toFixed(0)} C`)}</gpu_temp>
		</temperature>
		<gpu_power_readings>
			<average_power_draw>${value(row, `${watts(row.watts)} W`)}</average_power_draw>
			<instant_power_draw>${value(row, `${watts(row.watts)} W`)}</instant_power_draw>
			<current_power_limit>${value(row, `${watts(row.enforcedWatts)} W`)}</current_power_limit>
			<requested_power_limit>${value(row, `${watts(row.gpu.limitWatts)} W`)}</requested_power_limit>
			<default_power_limit>${watts(row.gpu.maxLimitWatts)} W</default_power_limit>
			<min_power_limit>${watts(row.gpu.minLimitWatts)} W</min_power_limit>
			<max_power_limit>${watts(row.gpu.maxLimitWatts)} W</max_power_limit>
		</gpu_power_readings>
		<processes>
		</processes>
	</gpu>`,
  );
  return `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
	<timestamp>Fri Apr 10 10:23:01 2026</timestamp>
	<driver_version>${SIMULATED_DRIVER}</driver_version>
	<cuda_version>13.1</cuda_version>
	<attached_gpus>${rows.length}</attached_gpus>
${gpus.join('\n')}
</nvidia_smi_log>
`;
}

function write(
  node: SimulatedGpuNode,
  rows: readonly Shown[],
  faults: GpuToolFaults,
  args: readonly string[],
): ToolReply {
  const row = rows.find((candidate) => candidate.gpu.uuid === args[1]);
  if (row === undefined) return { stdout: 'No devices were found\n', exitCode: 6 };
  const bus = busId(row.index);
  if (row.isLost) {
    const handle = `Unable to determine the device handle for GPU ${bus.slice(4)}: GPU is lost.`;
    return { stdout: `${handle}  Reboot the system to recover this GPU\n`, exitCode: 15 };
  }
  if (faults.noPermission === true) {
    const what = args[2] === '-pl' ? 'power management limit' : 'persistence mode';
    return { stdout: `Failed to set ${what} for GPU ${bus}: Insufficient Permissions\n`, exitCode: 4 };
  }
  if (args[2] === '-pm') {
    faults.persistence = args[3] === '1';
    return { stdout: `Enabled persistence mode for GPU ${bus}.\nAll done.\n`, exitCode: 0 };
  }
  const { minLimitWatts, maxLimitWatts, limitWatts } = row.gpu;
  const wanted = Number(args[3]);
  if (faults.ignoresWrites === true) {
    const refusal = `Power limit for GPU ${bus} was set to ${watts(wanted)} W from ${watts(limitWatts)} W.`;
    return { stdout: `${refusal}\nAll done.\n`, exitCode: 0 };
  }
  if (!node.cap(row.gpu.uuid, wanted)) {
    const range = `between ${watts(minLimitWatts)} W and ${watts(maxLimitWatts)} W for GPU ${bus}`;
    return {
      stdout: `Provided power limit ${watts(wanted)} W is not a valid power limit which should be ${range}\nTerminating early due to previous errors.\n`,
      exitCode: 2,
    };
  }
  const lines = [`Power limit for GPU ${bus} was set to ${watts(wanted)} W from ${watts(limitWatts)} W.`];
  if (faults.persistence === false) {
    lines.push(
      `Warning: persistence mode is disabled on device ${bus}. See the Known Issues section of the nvidia-smi(1) man page for more information.`,
    );
  }
  return { stdout: `${[...lines, 'All done.'].join('\n')}\n`, exitCode: 0 };
}

/** What the exporter shows: the default counters that are simulated, and the limits where it is told to. */
export function dcgmMetrics(
  node: SimulatedGpuNode,
  faults: GpuToolFaults,
  options: { readonly withLimits: boolean; readonly energyMillijoules: ReadonlyMap<string, number> },
): string {
  const rows = shown(node, faults).filter((row) => !row.isLost);
  const families: [name: string, type: string, help: string, value: (row: Shown) => string][] = [
    ['DCGM_FI_DEV_GPU_TEMP', 'gauge', 'GPU temperature (in C).', (row) => temperature(row).toFixed(0)],
    ['DCGM_FI_DEV_POWER_USAGE', 'gauge', 'Power draw (in W).', (row) => row.watts.toFixed(6)],
    [
      'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION',
      'counter',
      'Total energy consumption since boot (in mJ).',
      (row) => (options.energyMillijoules.get(row.gpu.uuid) ?? 0).toFixed(0),
    ],
    [
      'DCGM_FI_DEV_GPU_UTIL',
      'gauge',
      'GPU utilization (in %).',
      (row) => (100 * row.gpu.utilization).toFixed(0),
    ],
    ['DCGM_FI_DEV_XID_ERRORS', 'gauge', 'Value of the last XID error encountered.', () => '0'],
    [
      'DCGM_FI_DEV_FB_FREE',
      'gauge',
      'Framebuffer memory free (in MiB).',
      (row) => String(MEMORY_MEBIBYTES - memoryUsed(row)),
    ],
    ['DCGM_FI_DEV_FB_USED', 'gauge', 'Framebuffer memory used (in MiB).', (row) => String(memoryUsed(row))],
  ];
  if (options.withLimits) {
    families.push(
      ['DCGM_FI_DEV_POWER_MGMT_LIMIT', 'gauge', 'Power limit.', (row) => row.gpu.limitWatts.toFixed(6)],
      ['DCGM_FI_DEV_ENFORCED_POWER_LIMIT', 'gauge', 'Enforced limit.', (row) => row.enforcedWatts.toFixed(6)],
      [
        'DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN',
        'gauge',
        'Least limit.',
        (row) => row.gpu.minLimitWatts.toFixed(6),
      ],
      [
        'DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX',
        'gauge',
        'Greatest limit.',
        (row) => row.gpu.maxLimitWatts.toFixed(6),
      ],
      [
        'DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF',
        'gauge',
        'Default limit.',
        (row) => row.gpu.maxLimitWatts.toFixed(6),
      ],
    );
  }
  const lines = families.flatMap(([name, type, help, value]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...rows.map((row) => {
      const labels = `gpu="${row.index}",UUID="${row.gpu.uuid}",pci_bus_id="${busId(row.index)}",device="nvidia${row.index}",modelName="${row.gpu.name}",hostname="${node.id}",DCGM_FI_DRIVER_VERSION="${SIMULATED_DRIVER}"`;
      return `${name}{${labels}} ${value(row)}`;
    }),
  ]);
  return `${lines.join('\n')}\n`;
}
