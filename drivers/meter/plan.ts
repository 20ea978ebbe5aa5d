import type { MeterPoint } from '../../config/meters/profile.ts';
import { registersOf } from '../../config/meters/profile.ts';

/** One request that brings several points. */
export interface ReadBlock {
  readonly functionCode: 3 | 4;
  readonly address: number;
  readonly count: number;
  /** Registers of the next point that could be read too (0: none); see `BusRequest.spareCount`. */
  readonly spareCount: number;
  readonly points: readonly MeterPoint[];
}

/** What bounds a request, partly from the map and partly learned from this very meter. */
export interface ReadLimits {
  readonly functionCode: 3 | 4;
  readonly registersMost: number;
  /** Registers that nobody asked for may be read over when that is cheaper than another request. */
  readonly gapMost: number;
  /** Ranges that must not be read, both ends included. */
  readonly holes: readonly (readonly [number, number])[];
  /** Addresses before which a request must end. */
  readonly cuts: ReadonlySet<number>;
}

/** Points to the fewest requests that the limits allow, in order of address. */
export function planReads(points: readonly MeterPoint[], limits: ReadLimits): ReadBlock[] {
  const codeOf = (point: MeterPoint) => point.functionCode ?? limits.functionCode;
  const sorted = [...points].sort((a, b) => codeOf(a) - codeOf(b) || a.address - b.address);
  const groups: MeterPoint[][] = [];
  for (const point of sorted) {
    const group = groups.at(-1);
    const first = group?.[0];
    const last = group?.at(-1);
    const joins =
      group !== undefined &&
      first !== undefined &&
      last !== undefined &&
      codeOf(first) === codeOf(point) &&
      endOf(point) - first.address <= limits.registersMost &&
      isBridgeable(endOf(last), point.address, limits);
    if (joins) group.push(point);
    else groups.push([point]);
  }
  return groups.map((group) => blockOf(group, codeOf(group[0]!)));
}

/** `points`, in order of address, as one request. */
export function blockOf(points: readonly MeterPoint[], functionCode: 3 | 4): ReadBlock {
  const address = points[0]?.address ?? 0;
  const last = points.at(-1);
  const count = last === undefined ? 0 : endOf(last) - address;
  return { functionCode, address, count, spareCount: 0, points };
}

/** The same blocks, each knowing how many registers of a mapped point follow it directly. */
export function withSpares(
  blocks: readonly ReadBlock[],
  all: readonly MeterPoint[],
  limits: ReadLimits,
): ReadBlock[] {
  return blocks.map((block) => {
    const end = block.address + block.count;
    const next = all.find(
      (point) => point.address === end && (point.functionCode ?? limits.functionCode) === block.functionCode,
    );
    const fits =
      next !== undefined && block.count + registersOf(next) <= limits.registersMost && !limits.cuts.has(end);
    return { ...block, spareCount: fits ? registersOf(next) : 0 };
  });
}

/** Where a block that was refused is cut in two: at the widest gap, else in the middle. `null`: one point alone. */
export function cutOf(block: ReadBlock): number | null {
  let best: { at: number; gap: number; distance: number } | null = null;
  const middle = block.address + block.count / 2;
  for (const [index, point] of block.points.entries()) {
    const previous = block.points[index - 1];
    if (previous === undefined) continue;
    const candidate = {
      at: point.address,
      gap: point.address - endOf(previous),
      distance: Math.abs(point.address - middle),
    };
    const better =
      best === null ||
      candidate.gap > best.gap ||
      (candidate.gap === best.gap && candidate.distance < best.distance);
    if (better) best = candidate;
  }
  return best?.at ?? null;
}

function endOf(point: MeterPoint): number {
  return point.address + registersOf(point);
}

function isBridgeable(end: number, next: number, limits: ReadLimits): boolean {
  if (next - end > limits.gapMost || limits.cuts.has(next)) return false;
  return !limits.holes.some(([from, to]) => from < next && to >= end);
}
