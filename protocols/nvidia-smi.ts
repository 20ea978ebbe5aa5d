import type { FailureKind, Result } from './result.ts';
import { fail, ok } from './result.ts';
import type { Celsius, Percent, Watts } from './units.ts';

/**
 * What nvidia-smi prints, CSV and one-line answers. Pure. Source: nvidia-smi(1), and recorded output of drivers
 * 418 to 610 under `test/golden/nvidia-smi`.
 */

/** One GPU as nvidia-smi shows it; `null` = not said. */
export interface SmiGpu {
  /** `null` when the tool printed a fault where the identity should be. */
  readonly uuid: string | null;
  readonly index: number | null;
  readonly busId: string | null;
  readonly name: string | null;
  /** Averaged over a second on Ampere and later, otherwise of the moment; plus or minus 5 W. */
  readonly powerWatts: Watts | null;
  readonly instantPowerWatts: Watts | null;
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
  readonly persistenceEnabled: boolean | null;
  /** What the driver asks for (`GPU Reset`, `Node Reboot` ...); `null` when nothing. */
  readonly recoveryAction: string | null;
  /** Words of the tool that mean that this GPU cannot be read, as printed. Then its power is unknown. */
  readonly faults: readonly string[];
}

export interface SmiReport {
  readonly driverVersion: string | null;
  readonly gpus: readonly SmiGpu[];
  /** What else the tool said: GPUs that are counted but not shown, warnings. */
  readonly remarks: readonly string[];
}

/** A printed value: a number, a word that means "none", or a word that means trouble. */
export type SmiValue =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'fault'; readonly token: string };

const NUMBER = /^-?\d+(\.\d+)?( (W|MHz|MiB|%|C|us|ms))?$/;
const ABSENT: ReadonlySet<string> = new Set([
  '',
  'N/A',
  '[N/A]',
  'None',
  '[Not Supported]',
  '[Not Found]',
  '[Function Not Found]',
  '[Insufficient Permissions]',
  'Requested functionality has been deprecated',
  '[Requested functionality has been deprecated]',
]);

/** Text of a numeric field. Words that nobody knows are faults: never a number, never silently nothing. */
export function smiValue(text: string): SmiValue {
  const trimmed = text.trim();
  if (NUMBER.test(trimmed)) return { kind: 'number', value: Number.parseFloat(trimmed) };
  return ABSENT.has(trimmed) ? { kind: 'absent' } : { kind: 'fault', token: trimmed };
}

/** Words that mean a GPU is sick wherever they stand, text fields included. */
const FAULT_WORDS = /^(\[GPU is lost\]|\[GPU requires reset\]|\[Unknown Error\]|Unknown Error|ERR!)$/;

/** Fields that every reading needs. One unknown name fails the whole query, so the list is short. */
export const SMI_FIELDS = [
  'index',
  'uuid',
  'pci.bus_id',
  'name',
  'driver_version',
  'persistence_mode',
  'power.draw',
  'power.limit',
  'enforced.power.limit',
  'power.default_limit',
  'power.min_limit',
  'power.max_limit',
  'temperature.gpu',
  'utilization.gpu',
  'memory.used',
  'memory.total',
] as const;

/** Fields that some drivers do not know: each is given up alone. */
export const SMI_OPTIONAL_FIELDS = ['mig.mode.current', 'gpu_recovery_action'] as const;

/** The arguments of one query. */
export function smiQueryArguments(fields: readonly string[]): string[] {
  return [`--query-gpu=${fields.join(',')}`, '--format=csv'];
}

/** The field that a driver refused, or `null`. */
export function refusedField(output: string): string | null {
  return /Field "([^"]+)" is not a valid field to query/.exec(output)?.[1] ?? null;
}

/**
 * The table that `--format=csv` prints, header included. There is no quoting, so a row with another number of
 * cells than the header condemns the whole table. Fails `malformed`.
 */
export function parseSmiCsv(text: string): Result<SmiReport> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  const start = lines.findIndex((line) => /(^|, )(uuid|gpu_uuid)(,|$)/.test(line.trim()));
  const header = lines[start];
  if (header === undefined) return fail('malformed', `nvidia-smi printed no table: ${shorten(text)}`);
  const columns = header
    .split(', ')
    .map((cell) => (cell.trim().split(' [')[0] ?? '').replace(/^gpu_uuid$/, 'uuid'));
  const rows: SmiGpu[] = [];
  const remarks = lines.slice(0, start);
  let driverVersion: string | null = null;
  for (const line of lines.slice(start + 1)) {
    // Behind a whole table too: `WARNING: infoROM is corrupted at gpu ...`, with exit code 14.
    if (/^WARNING:/i.test(line)) {
      remarks.push(line);
      continue;
    }
    const cells = line.split(', ').map((cell) => cell.trim());
    if (cells.length !== columns.length) {
      const counts = `${cells.length} cells under ${columns.length} columns`;
      return fail('malformed', `nvidia-smi printed ${counts}: ${shorten(line)}`);
    }
    const row = new Map(columns.map((column, index) => [column, cells[index] ?? '']));
    rows.push(rowToGpu(row));
    driverVersion ??= textOf(row.get('driver_version'));
  }
  return ok({ driverVersion, gpus: rows, remarks });
}

function rowToGpu(row: ReadonlyMap<string, string>): SmiGpu {
  const faults = new Set<string>();
  for (const cell of row.values()) if (FAULT_WORDS.test(cell)) faults.add(cell);
  const number = (...columns: string[]): number | null => {
    for (const column of columns) {
      const cell = row.get(column);
      if (cell === undefined) continue;
      const value = smiValue(cell);
      if (value.kind === 'number') return value.value;
      if (value.kind === 'fault') faults.add(value.token);
    }
    return null;
  };
  const recovery = textOf(row.get('gpu_recovery_action'));
  return {
    uuid: uuidOf(row.get('uuid')),
    index: number('index'),
    busId: textOf(row.get('pci.bus_id')),
    name: textOf(row.get('name')),
    powerWatts: number('power.draw', 'power.draw.average', 'power.draw.instant'),
    instantPowerWatts: number('power.draw.instant'),
    requestedLimitWatts: number('power.limit'),
    enforcedLimitWatts: number('enforced.power.limit'),
    defaultLimitWatts: number('power.default_limit'),
    minLimitWatts: number('power.min_limit'),
    maxLimitWatts: number('power.max_limit'),
    temperatureCelsius: number('temperature.gpu'),
    utilizationPercent: number('utilization.gpu'),
    memoryUsedMebibytes: number('memory.used'),
    memoryTotalMebibytes: number('memory.total'),
    migEnabled: switchOf(row.get('mig.mode.current')),
    persistenceEnabled: switchOf(row.get('persistence_mode')),
    recoveryAction: recovery,
    faults: [...faults],
  };
}

/** `Enabled` or `Disabled`; anything else was not said. */
export function switchOf(text: string | undefined): boolean | null {
  const trimmed = text?.trim();
  if (trimmed === 'Enabled') return true;
  return trimmed === 'Disabled' ? false : null;
}

/** Text that says something; the words for "none" and for faults do not. */
export function textOf(text: string | undefined): string | null {
  const trimmed = text?.trim() ?? '';
  return ABSENT.has(trimmed) || FAULT_WORDS.test(trimmed) ? null : trimmed;
}

/** A GPU's identity, or `null` where a fault stands in its place. */
export function uuidOf(text: string | undefined): string | null {
  const trimmed = text?.trim() ?? '';
  return /^GPU-[0-9A-Za-z-]+$/.test(trimmed) ? trimmed : null;
}

/** What an answer to `-pl` means. `accepted` is what the tool says: only a later reading proves it. */
export interface SmiWriteAnswer {
  readonly accepted: boolean;
  readonly kind: FailureKind | null;
  /** The sentence that decided. */
  readonly note: string;
}

const REFUSALS: readonly (readonly [RegExp, FailureKind])[] = [
  [/Insufficient Permissions/i, 'unauthorised'],
  [/not a valid power limit/i, 'refused'],
  [/is not supported for GPU/i, 'unsupported'],
  [/GPU is lost|Unable to determine the device handle|No devices were found/i, 'unreachable'],
  [/couldn't communicate with the NVIDIA driver|Failed to initialize NVML/i, 'unreachable'],
  [/not a valid|Invalid|Terminating early/i, 'refused'],
];

/** Output and exit code of a write to what they mean. An unsupported write also ends with `All done.` and code 0. */
export function smiWriteAnswer(output: string, exitCode: number | null): SmiWriteAnswer {
  for (const [pattern, kind] of REFUSALS) {
    const line = output.split(/\r?\n/).find((candidate) => pattern.test(candidate));
    if (line !== undefined) return { accepted: false, kind, note: shorten(line) };
  }
  const set = output
    .split(/\r?\n/)
    .find((line) => /was set to|Enabled persistence mode|All done/i.test(line));
  if (set !== undefined && exitCode === 0) return { accepted: true, kind: null, note: shorten(set) };
  const kind = exitCode === 4 ? 'unauthorised' : 'refused';
  return { accepted: false, kind, note: shorten(output) || `exit code ${exitCode}` };
}

/** Why a read brought no table, from what the tool said. */
export function smiReadFailure(
  output: string,
  exitCode: number | null,
): { kind: FailureKind; message: string } {
  const message = `nvidia-smi: ${shorten(output) || `exit code ${exitCode} and no output`}`;
  if (/Insufficient Permissions/i.test(output)) return { kind: 'unauthorised', message };
  if (exitCode === 255 && output.trim() === '') return { kind: 'unreachable', message };
  const gone =
    /No devices were found|GPU is lost|Unable to determine the device handle|NVIDIA-SMI has failed|NVML|ssh:|Connection/i;
  return { kind: gone.test(output) ? 'unreachable' : 'malformed', message };
}

function shorten(text: string): string {
  // What is no text is no sentence.
  const line = text
    .replace(/[^\P{C}\s]|\uFFFD/gu, '?')
    .trim()
    .replace(/\s+/g, ' ');
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}
