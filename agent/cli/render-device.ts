import { formatWatts } from '../../config/quantity.ts';
import type { GpuNodeReading, MeterReading, MinerReading } from '../../drivers/load-driver.ts';
import { renderTable } from './table.ts';

/** A miner in a few lines for a technician. Pure. */
export function renderMiner(
  miner: Omit<MinerReading, 'sampledAt' | 'requestedAt' | 'control'> & {
    address: string;
    control: Pick<MinerReading['control'], 'sleep' | 'wake' | 'powerLimit'>;
  },
): string {
  const said = (value: number | null, unit: string) =>
    value === null ? '-' : `${Math.round(value * 10) / 10} ${unit}`;
  const limit = miner.control.powerLimit;
  const lines = [
    `${miner.address}: ${miner.model ?? 'unknown model'}, ${miner.firmware} ${miner.firmwareVersion ?? ''}`.trimEnd(),
    `  state        ${miner.state}${miner.uptimeSeconds === null ? '' : `, up ${Math.round(miner.uptimeSeconds / 60)} min`}`,
    `  power        ${formatWatts(miner.powerWatts)}${miner.powerSource === null ? ' (not said)' : ` (${miner.powerSource})`}${miner.powerLimitWatts === null ? '' : `, limit ${formatWatts(miner.powerLimitWatts)}`}`,
    `  hashrate     ${said(miner.hashrateThs, 'TH/s')} of ${said(miner.nominalHashrateThs, 'TH/s')}, ${said(miner.efficiencyJoulesPerTh, 'J/TH')}${miner.rejectedPercent === null ? '' : `, ${said(miner.rejectedPercent, '%')} of its shares rejected`}`,
    `  temperature  chips ${said(miner.chipTemperatureCelsius, '°C')}, boards ${said(miner.boardTemperatureCelsius, '°C')}, fans ${miner.fanRpm.join(' ') || '-'} rpm`,
    `  identity     MAC ${miner.macAddress ?? '-'}, serial ${miner.serialNumber ?? '-'}`,
    `  control      ${[miner.control.sleep ? 'sleep' : null, miner.control.wake ? 'wake' : null, limit === null ? null : `power ${limit.minWatts} to ${limit.maxWatts} W (${limit.kind})`].filter((word) => word !== null).join(', ') || 'none: reads only'}`,
  ];
  for (const pool of miner.pools)
    lines.push(`  pool ${pool.priority ?? '-'}       ${pool.url} ${pool.status}`);
  for (const error of miner.errors) lines.push(`  ERROR        ${error.code}: ${error.message}`);
  if (miner.boards.length > 0) {
    lines.push(
      renderTable(
        ['  board', 'TH/s', 'chip °C', 'chips'],
        miner.boards.map((board) => [
          `  ${board.index}`,
          said(board.hashrateThs, '').trim(),
          said(board.chipTemperatureCelsius, '').trim(),
          `${board.chipsAlive ?? '-'}/${board.chips ?? '-'}`,
        ]),
      ),
    );
  }
  return lines.join('\n');
}

/** A meter in a few lines. Pure. */
export function renderMeter(meter: Omit<MeterReading, 'sampledAt' | 'requestedAt'>): string {
  const phases = (values: { l1: number | null; l2: number | null; l3: number | null }, unit: string) => {
    const shown = [values.l1, values.l2, values.l3].map((value) =>
      value === null ? '-' : `${Math.round(value * 10) / 10}`,
    );
    return `${shown.join(' / ')} ${unit}`;
  };
  const lines = [
    `${meter.profile}: ${formatWatts(meter.powerWatts)}, quality ${meter.quality}, ${meter.roundTripMs} ms`,
    `  voltage    ${phases(meter.voltageVolts, 'V')}`,
    `  current    ${phases(meter.currentAmps, 'A')}`,
    `  frequency  ${rounded(meter.frequencyHz, 2)} Hz, power factor ${rounded(meter.powerFactor, 2)}`,
    `  import     ${meter.importWattHours ?? '-'} Wh, export ${meter.exportWattHours ?? '-'} Wh, serial ${meter.serialNumber ?? '-'}`,
  ];
  for (const doubt of meter.doubts) lines.push(`  DOUBT      ${doubt}`);
  return lines.join('\n');
}

/** A GPU node as a table. Pure. */
export function renderGpu(node: Omit<GpuNodeReading, 'sampledAt' | 'requestedAt' | 'control'>): string {
  const whole = (value: number | null) => (value === null ? '-' : String(Math.round(value)));
  const head = `${node.source}, driver ${node.driverVersion ?? '-'}: ${node.powerWatts === null ? `unknown (${formatWatts(node.knownPowerWatts)} of it known)` : formatWatts(node.powerWatts)} in ${node.gpus.length} GPUs`;
  const table = renderTable(
    ['gpu', 'name', 'state', 'W', 'cap W', 'range W', '°C', '%'],
    node.gpus.map((gpu) => [
      whole(gpu.index),
      gpu.name ?? '-',
      gpu.state,
      whole(gpu.powerWatts),
      whole(gpu.enforcedLimitWatts),
      `${whole(gpu.minLimitWatts)}-${whole(gpu.maxLimitWatts)}`,
      whole(gpu.temperatureCelsius),
      whole(gpu.utilizationPercent),
    ]),
  );
  return [
    head,
    table,
    ...node.gpus.map((gpu) => `  ${whole(gpu.index)} ${gpu.uuid}`),
    ...node.errors.map((error) => `ERROR ${error.code}: ${error.message}`),
  ].join('\n');
}

function rounded(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}
