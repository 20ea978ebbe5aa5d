import type { Compiled } from './compile.ts';
import { type Choice, refreshChoice } from './fill.ts';
import { ACCEPTED_WATTS, type Shortfall } from './problem.ts';

/**
 * The answer when no choice is feasible: every device at its least watts, except that floors are served: each
 * device of a floor in turn goes no higher than the floor still needs, cheapest watts first.
 */
export function leastChoice(c: Compiled, energyPrice: number, choice: Choice): void {
  choice.mode.fill(0);
  for (let f = 0; f < c.floorIds.length; f += 1) serveFloor(c, energyPrice, choice.mode, f);
  refreshChoice(c, choice);
}

function serveFloor(c: Compiled, energyPrice: number, mode: Int32Array, f: number): void {
  const { stride, modeWatts, modeValue } = c;
  const devices = c.floorDevices[f]!;
  let need = c.floorWatts[f]!;
  for (const i of devices) need -= modeWatts[i * stride]!;
  while (need > ACCEPTED_WATTS) {
    // The move that loses least per watt that counts; watts beyond the floor do not count.
    let best = -1;
    let bestMode = 0;
    let bestWorth = Number.NEGATIVE_INFINITY;
    for (const i of devices) {
      const start = i * stride;
      const now = start + mode[i]!;
      const price = energyPrice * c.limitRootGain[c.deviceLimit[i]!]!;
      for (let s = now + 1; s < start + c.modeCount[i]!; s += 1) {
        const step = modeWatts[s]! - modeWatts[now]!;
        // Of equal watts the better comes first: a step of none is worth nothing that is finite.
        const worth = (modeValue[s]! - modeValue[now]! - price * step) / Math.min(step, need);
        if (worth > bestWorth) {
          best = i;
          bestMode = s - start;
          bestWorth = worth;
        }
      }
    }
    if (best < 0) break;
    need -= modeWatts[best * stride + bestMode]! - modeWatts[best * stride + mode[best]!]!;
    mode[best] = bestMode;
  }
  // Whatever turned out not to be needed goes back.
  for (const i of devices) {
    const start = i * stride;
    for (let m = 0; m < mode[i]!; m += 1) {
      const back = modeWatts[start + mode[i]!]! - modeWatts[start + m]!;
      if (need + back > ACCEPTED_WATTS) continue;
      need += back;
      mode[i] = m;
      break;
    }
  }
}

/** Limits exceeded and floors missed by a choice, with the watts; in the order of their ids. */
export function shortfalls(c: Compiled, choice: Choice): Shortfall[] {
  refreshChoice(c, choice);
  const named: Shortfall[] = [];
  for (const [n, id] of c.limitIds.entries()) {
    const over = -choice.slackWatts[n]!;
    if (over > ACCEPTED_WATTS) named.push({ limit: id, watts: over });
  }
  for (const [f, id] of c.floorIds.entries()) {
    const short = c.floorWatts[f]! - choice.floorWatts[f]!;
    if (short > ACCEPTED_WATTS) named.push({ floor: id, watts: short });
  }
  return named;
}
