import { findMinerModel } from '../../config/miners/models.ts';
import { WHATSMINER_LEAST_PERCENT } from '../../config/miners/timing.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import type { Sent } from './miner-driver.ts';
import type { MinerFields } from './reply-fields.ts';
import { percentBaseWatts } from './whatsminer-decode.ts';

/** One order to a Whatsminer, in whichever dialect it is written down. `limitWatts`: what it comes to. */
export type WhatsminerOrder =
  | { readonly kind: 'off'; readonly limitWatts: null }
  | { readonly kind: 'on'; readonly limitWatts: Watts | null }
  /** Of the limit in force: acts within seconds, forgotten at the next restart. */
  | { readonly kind: 'percent'; readonly percent: number; readonly limitWatts: Watts | null }
  /** Lasting; restarts the miner. */
  | { readonly kind: 'limit'; readonly limitWatts: Watts }
  | { readonly kind: 'locate'; readonly on: boolean; readonly limitWatts: null };

/** What the unit said a moment ago. */
export interface WhatsminerNow {
  readonly fields: MinerFields;
  readonly off: boolean;
  /** The frequency search has ended: percentages are accepted. */
  readonly searchOver: boolean;
  readonly configuredModel: string | null;
}

const OFF: WhatsminerOrder = { kind: 'off', limitWatts: null };

/**
 * The orders that a command amounts to. Under the limit in force a percentage acts within seconds and is
 * forgotten at the next restart; above it, while the frequency search runs, or asleep, the lasting limit is
 * set, which restarts the miner.
 */
export function whatsminerOrders(
  command: LoadCommand,
  now: WhatsminerNow,
): Result<readonly WhatsminerOrder[]> {
  if (command.kind === 'sleep') return ok([OFF]);
  if (command.kind === 'locate') return ok([{ kind: 'locate', on: command.on, limitWatts: null }]);
  if (command.kind !== 'run')
    return fail('unsupported', `a Whatsminer is not commanded to "${command.kind}"`);
  const { limitWatts } = command;
  const { fields, off, searchOver, configuredModel } = now;
  const wake: readonly WhatsminerOrder[] = off ? [{ kind: 'on', limitWatts }] : [];
  if (limitWatts === null) return ok(off ? wake : [{ kind: 'percent', percent: 100, limitWatts: null }]);
  const known = findMinerModel(fields.model) ?? findMinerModel(configuredModel);
  const base = percentBaseWatts(fields.powerLimitWatts, known);
  if (base === null)
    return fail('unsupported', 'neither a power limit nor the model of this Whatsminer is known');
  const percent = Math.min(100, Math.floor((limitWatts / base) * 100));
  if (percent < WHATSMINER_LEAST_PERCENT)
    return fail(
      'refused',
      `${limitWatts} W is under ${WHATSMINER_LEAST_PERCENT} % of ${base} W`,
      'put it to sleep instead',
    );
  const lasting = (watts: Watts): WhatsminerOrder => ({ kind: 'limit', limitWatts: Math.floor(watts) });
  if (off) {
    // A percentage does not survive the start, so only a lasting limit can hold from the first watt on.
    return limitWatts >= base ? ok(wake) : ok([...wake, lasting(limitWatts)]);
  }
  if (limitWatts > base * 1.01 && known !== null && base < known.nominalWatts)
    return ok([lasting(Math.min(limitWatts, known.nominalWatts))]);
  return ok([
    searchOver ? { kind: 'percent', percent, limitWatts: (base * percent) / 100 } : lasting(limitWatts),
  ]);
}

/** Gives orders one after another; a unit woken for a limit that it then refuses is switched off again. */
export async function giveWhatsminerOrders(
  orders: readonly WhatsminerOrder[],
  give: (order: WhatsminerOrder) => Promise<Result<Sent>>,
): Promise<Result<Sent>> {
  let last: Result<Sent> = fail('unsupported', 'nothing to send');
  for (const order of orders) {
    last = await give(order);
    if (last.ok) continue;
    // Awake without the limit that was asked for would draw more than allowed: off again.
    if (order !== orders[0] && orders[0]?.kind === 'on') await give(OFF);
    return last;
  }
  return last;
}
