/**
 * Upper concave hull of one device's modes, in place: `watts` ascending from `start`, `count` of them.
 * Writes the local indices of the hull's corners to `corners` (from the same `start`) and returns how many.
 * The first corner is the mode of least watts, the last the one of most: floors may need watts that earn
 * nothing, so corners with a falling slope stay.
 */
export function upperHull(
  watts: Float64Array,
  value: Float64Array,
  start: number,
  count: number,
  corners: Int32Array,
): number {
  let size = 0;
  for (let k = 0; k < count; k += 1) {
    const w = watts[start + k]!;
    const v = value[start + k]!;
    // Modes of equal watts come best first; the others can never be a corner.
    if (size > 0 && watts[start + corners[start + size - 1]!]! === w) continue;
    while (size >= 2) {
      const b = start + corners[start + size - 1]!;
      const a = start + corners[start + size - 2]!;
      const leftRise = value[b]! - value[a]!;
      const leftRun = watts[b]! - watts[a]!;
      // Corner b stays only where the slope falls after it.
      if (leftRise * (w - watts[b]!) > (v - value[b]!) * leftRun) break;
      size -= 1;
    }
    corners[start + size] = k;
    size += 1;
  }
  return size;
}
