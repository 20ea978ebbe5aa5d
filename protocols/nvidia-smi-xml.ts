import { XMLParser, XMLValidator } from 'fast-xml-parser';
import type { SmiGpu, SmiReport } from './nvidia-smi.ts';
import { smiValue, switchOf, textOf, uuidOf } from './nvidia-smi.ts';
import type { Result } from './result.ts';
import { fail, ok } from './result.ts';

/**
 * `nvidia-smi -q -x`. The number of its DTD says nothing about its layout, so every element is looked for by
 * all of its names. Pure. Source: recorded documents of drivers 418 to 595 under `test/golden/nvidia-smi`.
 */

/** Elements become strings or nested records; the same element can be either on two drivers. */
type Node = { readonly [name: string]: unknown };

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  processEntities: false,
  trimValues: true,
  isArray: (name) => name === 'gpu' || name === 'mig_device' || name === 'process_info',
});

/** The largest document believed: about 66 kB per GPU, 16 GPUs, and room. */
const DOCUMENT_MOST = 4_000_000;

/** The arguments that ask for the document. */
export const SMI_XML_ARGUMENTS: readonly string[] = ['-q', '-x'];

/** A whole document, with whatever warnings stand around it, to its report. Fails `malformed`. */
export function parseSmiXml(text: string): Result<SmiReport> {
  if (text.length > DOCUMENT_MOST)
    return fail('malformed', `nvidia-smi wrote ${text.length} characters of XML`);
  const start = text.indexOf('<?xml');
  const close = '</nvidia_smi_log>';
  const end = text.lastIndexOf(close);
  if (start < 0 || end < start) return fail('malformed', 'nvidia-smi wrote no complete XML document');
  const document = text.slice(start, end + close.length);
  // An inner DTD (--dtd) could define entities: nothing of it is wanted.
  if (/<!ENTITY|<!DOCTYPE[^>]*\[/.test(document))
    return fail('malformed', 'the XML carries a DTD of its own');
  const validity = XMLValidator.validate(document);
  if (validity !== true)
    return fail('malformed', `the XML is broken: ${validity.err.msg} (line ${validity.err.line})`);
  let log: Node | null;
  try {
    log = nodeOf(parser.parse(document) as Node, 'nvidia_smi_log');
  } catch (error) {
    return fail(
      'malformed',
      `the XML cannot be parsed: ${error instanceof Error ? error.message : 'unknown'}`,
    );
  }
  if (log === null) return fail('malformed', 'the XML is no nvidia_smi_log');
  const gpus = (Array.isArray(log['gpu']) ? (log['gpu'] as unknown[]) : []).filter(isNode).map(gpuOf);
  const remarks = [text.slice(0, start), text.slice(end + close.length)]
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const attached = numberIn(log, ['attached_gpus']);
  if (attached !== null && attached !== gpus.length) {
    remarks.push(`${attached} GPUs are attached, ${gpus.length} are shown`);
  }
  return ok({ driverVersion: textOf(leaf(log, 'driver_version') ?? ''), gpus, remarks });
}

function gpuOf(gpu: Node, position: number): SmiGpu {
  const power = nodeOf(gpu, 'gpu_power_readings') ?? nodeOf(gpu, 'power_readings') ?? {};
  const memory = nodeOf(gpu, 'fb_memory_usage') ?? {};
  const faults = new Set<string>();
  const number = (node: Node, ...names: string[]) => numberIn(node, names, faults);
  const recovery = leaf(gpu, 'gpu_recovery_action');
  return {
    uuid: uuidOf(leaf(gpu, 'uuid') ?? ''),
    index: position,
    busId: textOf(leaf(gpu, '@id') ?? ''),
    name: textOf(leaf(gpu, 'product_name') ?? ''),
    powerWatts: number(power, 'average_power_draw', 'power_draw', 'instant_power_draw'),
    instantPowerWatts: number(power, 'instant_power_draw'),
    requestedLimitWatts: number(power, 'requested_power_limit', 'power_limit'),
    enforcedLimitWatts: number(power, 'current_power_limit', 'enforced_power_limit'),
    defaultLimitWatts: number(power, 'default_power_limit'),
    minLimitWatts: number(power, 'min_power_limit'),
    maxLimitWatts: number(power, 'max_power_limit'),
    temperatureCelsius: number(nodeOf(gpu, 'temperature') ?? {}, 'gpu_temp'),
    utilizationPercent: number(nodeOf(gpu, 'utilization') ?? {}, 'gpu_util'),
    memoryUsedMebibytes: number(memory, 'used'),
    memoryTotalMebibytes: number(memory, 'total'),
    migEnabled: switchOf(leaf(nodeOf(gpu, 'mig_mode') ?? {}, 'current_mig')),
    persistenceEnabled: switchOf(leaf(gpu, 'persistence_mode')),
    recoveryAction: recovery === undefined ? null : textOf(recovery),
    faults: [...faults],
  };
}

/** The first of `names` that holds a number. Words for trouble go to `faults`. */
function numberIn(node: Node, names: readonly string[], faults?: Set<string>): number | null {
  for (const name of names) {
    const text = leaf(node, name);
    if (text === undefined) continue;
    const value = smiValue(text);
    if (value.kind === 'number') return value.value;
    if (value.kind === 'fault') faults?.add(value.token);
  }
  return null;
}

function leaf(node: Node, name: string): string | undefined {
  const value = Object.hasOwn(node, name) ? node[name] : undefined;
  return typeof value === 'string' ? value : undefined;
}

function nodeOf(node: Node, name: string): Node | null {
  const value = Object.hasOwn(node, name) ? node[name] : undefined;
  return isNode(value) ? value : null;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
