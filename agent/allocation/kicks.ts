import type { Compiled } from './compile.ts';
import { type Choice, refreshChoice, type Worth } from './fill.ts';
import { repairChoice } from './repair.ts';
import type { WindowMemory } from './window-memory.ts';

/** Work that mending what one kick broke may take. */
const UNITS_A_KICK = 2000;

/**
 * Improves a choice that holds, where floors stand in the way of single moves: one device is put where it loses less and
 * stays there, what that breaks is repaired around it, and the result is kept where it is worth more. Every mode that
 * loses less is tried once since the last success, the one that loses least first. A unit of work is one change looked
 * at, or eight devices for the next kick; it ends at `mostUnits` or when all were tried. `take` fills `trial` up and makes it the choice where that earns more than
 * what it is given; it returns what is best then. `choice` and losses must be current. (A destroy-and-repair search;
 * Shaw, 1998.)
 */
export function kickChoice(
  c: Compiled,
  m: WindowMemory,
  { choice, trial }: { readonly choice: Choice; readonly trial: Choice },
  start: Worth,
  mostUnits: number,
  take: (best: Worth) => Worth,
): { best: Worth; workUnits: number } {
  const tried = new Set<number>();
  let best = start;
  let workUnits = 0;
  // Looking for it costs less than a change looked at.
  const lookUnits = 1 + (c.deviceIds.length >> 3);
  while (mostUnits - workUnits > lookUnits) {
    const kick = bestKick(c, m, choice, tried);
    if (kick < 0) break;
    tried.add(kick);
    const device = kick >> c.strideBits;
    trial.mode.set(choice.mode);
    trial.mode[device] = kick - device * c.stride;
    refreshChoice(c, trial);
    const most = Math.min(mostUnits - workUnits - lookUnits, UNITS_A_KICK);
    const repair = repairChoice(c, m, trial, most, false, device);
    workUnits += repair.workUnits + lookUnits;
    if (!repair.repaired) continue;
    const found = take(best);
    if (found !== best) tried.clear();
    best = found;
  }
  return { best, workUnits };
}

/** The mode, as its place among all, by which its device would lose the most less than now; -1: none is left. */
function bestKick(c: Compiled, m: WindowMemory, { mode }: Choice, tried: ReadonlySet<number>): number {
  let best = -1;
  let most = 0;
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const start = i * c.stride;
    const now = m.loss[start + mode[i]!]!;
    for (let s = start; s < start + c.modeCount[i]!; s += 1) {
      if (now - m.loss[s]! <= most || tried.has(s)) continue;
      most = now - m.loss[s]!;
      best = s;
    }
  }
  return best;
}
