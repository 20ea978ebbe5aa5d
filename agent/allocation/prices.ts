import type { Compiled } from './compile.ts';
import type { Workspace } from './sweep.ts';
import { lostBy, type WholeModes } from './whole-modes.ts';

/**
 * Prices that go with the relaxed answer of the last sweep: `pathPrice` per limit and `floorPrice` of the
 * nested floors. A limit's threshold is the key of the first segment it turned away; the price of the path is
 * the greatest threshold on it, which is what the next watt there would earn.
 */
export function computePrices(c: Compiled, w: Workspace, energyPrice: number): void {
  const { pathPrice, floorPrice, limitKey } = w;
  const floorCount = c.floorIds.length;
  for (let f = 0; f < floorCount; f += 1) if (c.floorNested[f] === 1) floorPrice[f] = 0;
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const parent = c.limitParent[n]!;
    let price = parent >= 0 ? pathPrice[parent]! : 0;
    const key = limitKey[n]!;
    if (!Number.isNaN(key)) {
      const f = w.limitKeyFloor[n]!;
      // Inside a nested floor the watts are worth the floor's multiplier more.
      const lifted = f < 0 ? 0 : floorPrice[f]! / c.limitRootGain[c.deviceLimit[c.floorDevices[f]![0]!]!]!;
      price = Math.max(price, key - energyPrice + lifted);
    }
    pathPrice[n] = price;
    for (let f = 0; f < floorCount; f += 1) {
      if (c.floorNested[f] !== 1 || c.floorTop[f] !== n) continue;
      const served = w.floorServedKey[f]!;
      if (Number.isNaN(served)) continue;
      const gain = c.limitRootGain[c.deviceLimit[c.floorDevices[f]![0]!]!]!;
      floorPrice[f] = Math.max(0, price - (served - energyPrice)) * gain;
    }
  }
}

/**
 * Upper bound from the prices: whatever the prices are (as long as none is negative), no choice earns more
 * than this; with the prices of the sweep it is the relaxed optimum. Raised by more than what rounding can
 * have taken away. Dollars per hour, net of energy.
 */
export function dualBound(c: Compiled, w: Workspace, energyPrice: number): number {
  const { pathPrice, floorPrice, likelyBest } = w;
  const { strideBits, modeWatts, modeValue, modeCount, limitStart, limitDevices, deviceFloor } = c;
  const hasFloors = c.floorIds.length > 0;
  let sum = 0;
  let lost = 0;
  let magnitude = 0;
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const gain = c.limitRootGain[n]!;
    const energyPerWatt = energyPrice * gain;
    let perWatt = -(pathPrice[n]! + energyPrice) * gain;
    for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
      const i = limitDevices[d]!;
      if (hasFloors) {
        const f = deviceFloor[i]!;
        perWatt = (f >= 0 ? floorPrice[f]! : 0) - (pathPrice[n]! + energyPrice) * gain;
      }
      const start = i << strideBits;
      const last = modeCount[i]! - 1;
      const least = modeWatts[start]!;
      // All modes are asked, the one that was best last first: the processor guesses what follows.
      let bestMode = likelyBest[i]!;
      if (bestMode > last) bestMode = last;
      let best = modeValue[start + bestMode]! + perWatt * (modeWatts[start + bestMode]! - least);
      for (let k = 0; k <= last; k += 1) {
        const reduced = modeValue[start + k]! + perWatt * (modeWatts[start + k]! - least);
        if (reduced > best) {
          best = reduced;
          bestMode = k;
        }
      }
      likelyBest[i] = bestMode;
      const energy = energyPerWatt * least;
      const term = best - energy;
      lost += lostBy(sum, term);
      sum += term;
      magnitude += Math.abs(best) + Math.abs(perWatt) * (modeWatts[start + last]! - least) + Math.abs(energy);
    }
  }
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const parent = c.limitParent[n]!;
    const price = pathPrice[n]! - (parent >= 0 ? pathPrice[parent]! : 0);
    if (price <= 0) continue;
    const term = price * w.baseSlack[n]!;
    lost += lostBy(sum, term);
    sum += term;
    magnitude += Math.abs(term);
  }
  for (let f = 0; f < c.floorIds.length; f += 1) {
    const price = floorPrice[f]!;
    if (price <= 0) continue;
    let base = 0;
    for (const i of c.floorDevices[f]!) base += modeWatts[i << strideBits]!;
    const term = -price * (c.floorWatts[f]! - base);
    lost += lostBy(sum, term);
    sum += term;
    magnitude += Math.abs(term);
  }
  w.boundRounding = 4e-15 * magnitude;
  return sum + lost + w.boundRounding;
}

/**
 * The same bound without floors, from the sums of each limit's whole modes: what these take earns the price of its path
 * or more, what they leave no more than that, so they are the best at that price. That lists and cuts are right is taken
 * for granted here, unlike in `dualBound`, which the tests hold it against. Only its last digits differ.
 */
export function boundByLimits(c: Compiled, w: Workspace, whole: WholeModes, energyPrice: number): number {
  const { pathPrice, baseSlack } = w;
  const { limitParent, limitRootGain } = c;
  let sum = 0;
  let lost = 0;
  let magnitude = 0;
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const parent = limitParent[n]!;
    const gain = limitRootGain[n]!;
    const price = pathPrice[n]! - (parent >= 0 ? pathPrice[parent]! : 0);
    const room = price > 0 ? price * baseSlack[n]! : 0;
    const energy = energyPrice * gain * (whole.watts[n]! + whole.lostWatts[n]!);
    const perWatt = pathPrice[n]! * gain;
    const term = whole.dollars[n]! - energy - perWatt * whole.raisedWatts[n]! + room;
    lost += lostBy(sum, term);
    sum += term;
    const mostPerWatt = perWatt + Math.abs(energyPrice) * gain;
    magnitude +=
      whole.absoluteDollars[n]! + mostPerWatt * whole.mostRaisedWatts[n]! + Math.abs(energy) + room;
  }
  w.boundRounding = 4e-15 * magnitude;
  return sum + lost + w.boundRounding;
}

/** Price of limit `n` alone in dollars per kWh of its own: 0 where it does not bind. */
export function limitDollarsPerKwh(c: Compiled, w: Workspace, n: number): number {
  const parent = c.limitParent[n]!;
  const price = w.pathPrice[n]! - (parent >= 0 ? w.pathPrice[parent]! : 0);
  return price > 0 ? price * c.limitRootGain[n]! * 1000 : 0;
}
