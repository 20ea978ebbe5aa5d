import type { DeviceId, Milliseconds, WattHours, Watts } from '../../protocols/units.ts';
import type { DeviceInput } from './ledger.ts';
import { currentPoint } from './plan.ts';

/** What a tenant's machines could have used, and what limits kept from them: both fade within some days. */
export interface TenantMemory {
  readonly wantedWattHours: WattHours;
  readonly curtailedWattHours: WattHours;
}

/** By tenant; only tenants who share curtailment fairly. */
export type TenantMemories = Readonly<Record<string, TenantMemory>>;

/** What is known of a tenant beside its machines. */
export interface TenantRules {
  /** What its energy is sold at; `null`: at the site's price. */
  readonly energyDollarsPerMwh: number | null;
  /** It gives up the same share as the others who do. */
  readonly fair: boolean;
}

/** A week: within it a tenant that gave up more than the others is made up for. */
const FADES_MS = 7 * 24 * 3_600_000;

/** More than this between two cycles was a pause of the agent: nobody saw what was used. */
const LONGEST_MS = 10_000;

/**
 * The most that fairness is worth, in dollars per watt and hour: it decides between machines that earn the same to about
 * a per cent, and is too little to put one to sleep and wake another for it.
 */
const MOST_FAVOUR = 0.0005 / 1000;

/** The difference of curtailed shares from which on fairness weighs all that it may. */
const FULL_DIFFERENCE = 0.02;

/** What each tenant has given up, a cycle later. Pure. */
export function rememberTenants(
  before: TenantMemories,
  rules: Readonly<Record<string, TenantRules>>,
  inputs: readonly DeviceInput[],
  tenantOf: ReadonlyMap<DeviceId, string>,
  elapsedMs: Milliseconds,
): TenantMemories {
  const passedMs = Math.max(0, Math.min(elapsedMs, LONGEST_MS));
  const fades = 1 - passedMs / FADES_MS;
  const hours = passedMs / 3_600_000;
  const wanted = new Map<string, Watts>();
  const curtailed = new Map<string, Watts>();
  for (const input of inputs) {
    const tenant = tenantOf.get(input.facts.id);
    if (tenant === undefined || rules[tenant]?.fair !== true) continue;
    const missing = curtailedWatts(input);
    if (missing === null) continue;
    wanted.set(tenant, (wanted.get(tenant) ?? 0) + input.facts.points.at(-1)!.watts);
    curtailed.set(tenant, (curtailed.get(tenant) ?? 0) + missing);
  }
  const memories: Record<string, TenantMemory> = {};
  for (const [tenant, { fair }] of Object.entries(rules)) {
    if (!fair) continue;
    const known = before[tenant];
    memories[tenant] = {
      wantedWattHours: faded(known?.wantedWattHours, fades) + (wanted.get(tenant) ?? 0) * hours,
      curtailedWattHours: faded(known?.curtailedWattHours, fades) + (curtailed.get(tenant) ?? 0) * hours,
    };
  }
  return memories;
}

function faded(wattHours: WattHours | undefined, share: number): WattHours {
  return (wattHours ?? 0) * share;
}

/** Watts below full power by command; `null`: it would not run for money, or its state is not of our doing. */
function curtailedWatts(input: DeviceInput): Watts | null {
  const { device, facts, entry } = input;
  if (facts.kind !== 'miner' || device.inventory !== 'present' || !device.fresh) return null;
  if (entry.quarantine !== null || device.activity === 'fault' || device.activity === 'unknown') return null;
  const full = facts.points.at(-1)!;
  if (full.dollarsPerHour <= facts.points[0]!.dollarsPerHour && facts.points.length > 1) return null;
  const current = currentPoint(input);
  return current === null ? null : Math.max(0, full.watts - current.watts);
}

/** Share of what a tenant's machines could have used that was kept from them, 0 to 1. */
export function curtailedShare({ wantedWattHours, curtailedWattHours }: TenantMemory): number {
  return wantedWattHours > 0 ? curtailedWattHours / wantedWattHours : 0;
}

/** The share of all fair tenants together. */
export function commonShare(memories: TenantMemories): number {
  let wantedWattHours = 0;
  let curtailedWattHours = 0;
  for (const memory of Object.values(memories)) {
    wantedWattHours += memory.wantedWattHours;
    curtailedWattHours += memory.curtailedWattHours;
  }
  return curtailedShare({ wantedWattHours, curtailedWattHours });
}

/**
 * What a watt of each fair tenant's machines is worth beside what it earns, dollars per watt and hour: more than nothing for
 * who gave up more than all together, less for who gave up less. Pure.
 */
export function favours(memories: TenantMemories): ReadonlyMap<string, number> {
  const common = commonShare(memories);
  return new Map(
    Object.entries(memories).map(([tenant, memory]) => {
      const difference = (curtailedShare(memory) - common) / FULL_DIFFERENCE;
      return [tenant, MOST_FAVOUR * Math.max(-1, Math.min(1, difference))];
    }),
  );
}
