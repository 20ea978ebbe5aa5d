import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { DeviceInput, Finding } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { StepContext } from './step-context.ts';

/** A cap is exceeded where more than this flows: averages of a second, sensors and meters are not exact. */
const OVER_SHARE = 1.05;
/** For so long, without a break. Source: averages run over a second, caps take effect within a few. */
const OVER_MS: Milliseconds = 15_000;

/**
 * A cap that is read back and not kept bounds nothing. A GPU node that draws more than its caps and its host part, by
 * its own figures or by a meter below which nothing else but known load hangs, is set aside at its nameplate. Pure.
 */
export function judgeCaps(
  context: StepContext,
  limits: Readonly<Record<string, LimitMemory>>,
  inputs: readonly DeviceInput[],
  now: MonotonicMs,
  findings: Finding[],
): readonly DeviceInput[] {
  if (!inputs.some(({ facts }) => facts.kind === 'gpu-node')) return inputs;
  const alone = metersOfOne(context, limits, inputs, now);
  return inputs.map((input) => {
    const { entry, facts, device } = input;
    if (facts.kind !== 'gpu-node') return input;
    const since = entry.overCapSince ?? null;
    const seen = excess(input, alone.get(facts.id) ?? null, now, context.rules.meterLagMs);
    if (seen === null) return since === null ? input : { ...input, entry: { ...entry, overCapSince: null } };
    if (since === null) return { ...input, entry: { ...entry, overCapSince: now } };
    if (now - since < OVER_MS) return input;
    const why = `${seen.by} shows ${Math.round(seen.watts)} W under caps that allow ${Math.round(device.limitWatts!)} W`;
    findings.push({
      kind: 'quarantined',
      device: facts.id,
      message: `${facts.id} is set aside at its nameplate: ${why}`,
    });
    const quarantine = { since: now, why };
    return { ...input, entry: { ...entry, overCapSince: null, pending: null, pointId: null, quarantine } };
  });
}

interface Metered {
  readonly watts: Watts;
  readonly sampledAt: MonotonicMs;
}

/** By GPU node: what a meter shows below which it hangs alone, known load taken off at its most. */
function metersOfOne(
  context: StepContext,
  limits: Readonly<Record<string, LimitMemory>>,
  inputs: readonly DeviceInput[],
  now: MonotonicMs,
): Map<string, Metered> {
  // The only GPU node on a limit; `null`: more than one, or something else beside it.
  const only = new Map<string, string | null>();
  for (const { facts, device } of inputs) {
    if (device.inventory === 'removed') continue;
    const isFirst = facts.kind === 'gpu-node' && !only.has(facts.limit);
    only.set(facts.limit, isFirst ? facts.id : null);
  }
  const parents = new Set(context.limits.map((limit) => limit.parent));
  const alone = new Map<string, Metered>();
  for (const limit of context.limits) {
    const node = only.get(limit.id) ?? null;
    if (node === null || parents.has(limit.id)) continue;
    const latest = limits[limit.id]?.samples.at(-1);
    if (latest === undefined || now - latest[0] > context.rules.meterStaleMs) continue;
    alone.set(node, { watts: latest[1] - limit.loadWorstWatts, sampledAt: latest[0] });
  }
  return alone;
}

/** What flows above the caps in force, and by whose word; `null`: nothing, or it cannot be said. */
function excess(
  { entry, facts, device }: DeviceInput,
  meter: Metered | null,
  now: MonotonicMs,
  meterLagMs: Milliseconds,
): { readonly watts: Watts; readonly by: string } | null {
  if (device.inventory !== 'present' || !device.fresh || entry.quarantine !== null) return null;
  const { limitWatts, powerWatts } = device;
  // Under no cap there is nothing to ignore.
  if (limitWatts === null || limitWatts >= facts.points.at(-1)!.watts * 0.98) return null;
  const most = limitWatts * OVER_SHARE;
  if (powerWatts !== null && powerWatts > most) return { watts: powerWatts, by: 'its own reading' };
  // While caps change, a meter with a lag shows what was.
  const changedAt = Math.max(entry.pending?.sentAt ?? 0, entry.lastDrop?.at ?? 0);
  if (meter === null || meter.watts <= most || meter.sampledAt - meterLagMs < changedAt) return null;
  return now - meter.sampledAt > meterLagMs * 2 ? null : { watts: meter.watts, by: 'its meter' };
}
