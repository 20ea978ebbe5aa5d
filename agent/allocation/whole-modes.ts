import type { Compiled } from './compile.ts';
import type { Cuts } from './cuts.ts';
import type { LimitLists } from './limit-lists.ts';

/**
 * The relaxed answer less its parts of segments: a whole mode for each device, with sums over each limit's own devices.
 * A limit is gone through only where its list or its cut has changed; what is kept of the others is what going through
 * them would give, to the last bit.
 */
export interface WholeModes {
  /** Local mode of each device, and how many segments of each limit's list that stands for. */
  readonly mode: Int32Array;
  readonly taken: Int32Array;
  readonly watts: Float64Array;
  /** What rounding has taken from these watts. */
  readonly lostWatts: Float64Array;
  /** What the modes earn before energy, and the same without signs: what rounding is measured by. */
  readonly dollars: Float64Array;
  readonly absoluteDollars: Float64Array;
  /** Watts above each device's least: in these modes, and in those of most watts. */
  readonly raisedWatts: Float64Array;
  readonly mostRaisedWatts: Float64Array;
}

/** Room for the whole modes of one compiled problem. */
export function createWholeModes(c: Compiled): WholeModes {
  const limitCount = c.limitIds.length;
  return {
    mode: new Int32Array(c.deviceIds.length),
    taken: new Int32Array(limitCount),
    watts: new Float64Array(limitCount),
    lostWatts: new Float64Array(limitCount),
    dollars: new Float64Array(limitCount),
    absoluteDollars: new Float64Array(limitCount),
    raisedWatts: new Float64Array(limitCount),
    mostRaisedWatts: new Float64Array(limitCount),
  };
}

/** Takes the whole modes from lists and cuts. */
export function takeWholeModes(c: Compiled, lists: LimitLists, cuts: Cuts, whole: WholeModes): void {
  for (let n = 0; n < c.limitIds.length; n += 1) {
    if (lists.repaired[n] === 0 && whole.taken[n] === cuts.taken[n]) continue;
    whole.taken[n] = cuts.taken[n]!;
    lists.repaired[n] = 0;
    takeModes(c, lists, whole, n);
    addUp(c, whole, n);
  }
}

function takeModes(c: Compiled, lists: LimitLists, { mode, taken }: WholeModes, n: number): void {
  const { limitStart, limitDevices, strideBits, hullMode } = c;
  const start = limitStart[n]! << strideBits;
  const end = start + taken[n]!;
  for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) mode[limitDevices[d]!] = 0;
  // The segments of a device stand in its own order: the last one says where it ends.
  for (let t = start; t < end; t += 1) {
    const segment = lists.segment[t]!;
    mode[segment >> strideBits] = hullMode[segment]!;
  }
}

/** The sums of limit `n`; what rounding takes from them is kept until their end. */
function addUp(c: Compiled, whole: WholeModes, n: number): void {
  const { limitStart, limitDevices, strideBits, modeWatts, modeValue, modeCount } = c;
  let watts = 0;
  let lostWatts = 0;
  let dollars = 0;
  let lostDollars = 0;
  let absoluteDollars = 0;
  let raised = 0;
  let lostRaised = 0;
  let mostRaised = 0;
  for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
    const i = limitDevices[d]!;
    const first = i << strideBits;
    const s = first + whole.mode[i]!;
    const least = modeWatts[first]!;
    lostWatts += lostBy(watts, modeWatts[s]!);
    watts += modeWatts[s]!;
    lostDollars += lostBy(dollars, modeValue[s]!);
    dollars += modeValue[s]!;
    absoluteDollars += Math.abs(modeValue[s]!);
    lostRaised += lostBy(raised, modeWatts[s]! - least);
    raised += modeWatts[s]! - least;
    mostRaised += modeWatts[first + modeCount[i]! - 1]! - least;
  }
  whole.watts[n] = watts;
  whole.lostWatts[n] = lostWatts;
  whole.dollars[n] = dollars + lostDollars;
  whole.absoluteDollars[n] = absoluteDollars;
  whole.raisedWatts[n] = raised + lostRaised;
  whole.mostRaisedWatts[n] = mostRaised;
}

/** What rounding takes from `sum + term` (Knuth's two-sum: no branch that the processor could guess wrong). */
export function lostBy(sum: number, term: number): number {
  const next = sum + term;
  const added = next - sum;
  return sum - (next - added) + (term - added);
}
