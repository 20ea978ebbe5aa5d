import type { LimitId, Watts } from '../../protocols/units.ts';
import type { Account } from './transfer-state.ts';

/**
 * Double entry in whole watts: at every limit `capacity + debt = sum of holders + free`. Nothing appears or
 * disappears: watts only pass from one holder to another.
 */
export type Accounts = Record<LimitId, MutableAccount>;

export interface MutableAccount {
  capacityWatts: Watts;
  debtWatts: Watts;
  freeWatts: Watts;
  holders: Record<string, Watts>;
}

/** Holders that are set anew from evidence; all others are hand-overs. */
const FROM_EVIDENCE = ['loads', 'ai', 'mining', 'conversion'] as const;

/** A copy that may be written to. */
export function copyAccounts(accounts: Readonly<Record<LimitId, Account>>): Accounts {
  const copy: Accounts = {};
  for (const id in accounts) copy[id] = { ...accounts[id]!, holders: { ...accounts[id]!.holders } };
  return copy;
}

/** Brings one book up to the evidence: hand-overs keep what they hold, mining has what is left and needed. */
export function settle(
  before: MutableAccount | undefined,
  evidence: {
    readonly capacityWatts: Watts;
    readonly loadsWatts: Watts;
    readonly aiWatts: Watts;
    readonly conversionWatts: Watts;
    readonly minersWatts: Watts;
  },
): MutableAccount {
  const { capacityWatts, loadsWatts, aiWatts, conversionWatts, minersWatts } = evidence;
  const holders: Record<string, Watts> = {};
  let claims = loadsWatts + aiWatts + conversionWatts;
  for (const id in before?.holders) {
    if ((FROM_EVIDENCE as readonly string[]).includes(id)) continue;
    holders[id] = before.holders[id]!;
    claims += holders[id];
  }
  const mining = Math.min(minersWatts, Math.max(0, capacityWatts - claims));
  const debtWatts = Math.max(0, claims - capacityWatts);
  return {
    capacityWatts,
    debtWatts,
    freeWatts: capacityWatts + debtWatts - claims - mining,
    holders: { ...holders, loads: loadsWatts, ai: aiWatts, conversion: conversionWatts, mining },
  };
}

/** Free watts first, then those of mining; what neither has becomes debt. */
export function hold(account: MutableAccount, id: string, watts: Watts): void {
  const free = Math.min(account.freeWatts, watts);
  const mining = Math.min(account.holders['mining'] ?? 0, watts - free);
  account.freeWatts -= free;
  account.holders['mining'] = (account.holders['mining'] ?? 0) - mining;
  account.debtWatts += watts - free - mining;
  account.holders[id] = (account.holders[id] ?? 0) + watts;
}

/** From one holder to another. */
export function pass(account: MutableAccount, from: string, to: string, watts: Watts): void {
  const has = account.holders[from] ?? 0;
  if (watts < 0 || has < watts) throw new Error(`${from} has ${has} W, not ${watts} W`);
  account.holders[from] = has - watts;
  if (account.holders[from] === 0 && !(FROM_EVIDENCE as readonly string[]).includes(from))
    delete account.holders[from];
  if (watts > 0 || to in account.holders) account.holders[to] = (account.holders[to] ?? 0) + watts;
}

/** What a hand-over holds is free again, or pays debt. */
export function letGo(account: MutableAccount, id: string): void {
  const watts = account.holders[id] ?? 0;
  delete account.holders[id];
  const paid = Math.min(account.debtWatts, watts);
  account.debtWatts -= paid;
  account.freeWatts += watts - paid;
}

/** How far a book is from balance: 0, always. */
export function imbalance(account: Account): Watts {
  let holders = 0;
  for (const id in account.holders) holders += account.holders[id]!;
  return account.capacityWatts + account.debtWatts - holders - account.freeWatts;
}
