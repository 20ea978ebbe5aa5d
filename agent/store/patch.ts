/**
 * The difference of two plain values: `[0, value]` puts a value in place, `[1, parts, gone?]` changes parts of an
 * object or of an array of objects and takes keys away.
 */
export type Patch =
  | readonly [0, unknown]
  | readonly [1, Readonly<Record<string, Patch>>]
  | readonly [1, Readonly<Record<string, Patch>>, readonly string[]];

/**
 * What turns `before` into `after`, or `null` where both are equal. Values are what JSON can carry; a key whose
 * value is `undefined` counts as missing. Pure.
 */
export function diff(before: unknown, after: unknown): Patch | null {
  if (before === after) return null;
  if (isObject(before) && isObject(after)) return diffObjects(before, after);
  if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length === 0 && after.length === 0) return null;
    if (before.length === after.length && isObject(after[0])) return diffArrays(before, after);
    return JSON.stringify(before) === JSON.stringify(after) ? null : [0, after];
  }
  return [0, after ?? null];
}

/** Carries a patch out on a copy; `null` changes nothing. Throws a TypeError when it does not fit `before`. */
export function applyPatch<T>(before: T, patch: Patch | null | undefined): T {
  if (patch === null || patch === undefined) return before;
  if (patch[0] === 0) return patch[1] as T;
  if (Array.isArray(before)) {
    const next: unknown[] = [...before];
    for (const [index, part] of Object.entries(patch[1]))
      next[Number(index)] = applyPatch(next[Number(index)], part);
    return next as T;
  }
  if (!isObject(before)) throw new TypeError('the patch is for an object, and there is none');
  const next: Record<string, unknown> = { ...before };
  for (const key of patch[2] ?? []) delete next[key];
  for (const [key, part] of Object.entries(patch[1])) next[key] = applyPatch(next[key], part);
  return next as T;
}

/** As `applyPatch`, but changes `before` itself: for a reader that owns it and keeps no earlier picture. */
export function patchInPlace<T>(before: T, patch: Patch | null | undefined): T {
  if (patch === null || patch === undefined) return before;
  if (patch[0] === 0) return patch[1] as T;
  if (typeof before !== 'object' || before === null)
    throw new TypeError('the patch is for an object, and there is none');
  const target = before as Record<string, unknown>;
  for (const key of patch[2] ?? []) delete target[key];
  for (const key in patch[1]) target[key] = patchInPlace(target[key], patch[1][key]);
  return before;
}

function diffObjects(before: Record<string, unknown>, after: Record<string, unknown>): Patch | null {
  const parts: Record<string, Patch> = {};
  let changed = false;
  for (const key in after) {
    if (after[key] === undefined) continue;
    const part = key in before ? diff(before[key], after[key]) : ([0, after[key]] as const);
    if (part === null) continue;
    parts[key] = part;
    changed = true;
  }
  const gone: string[] = [];
  for (const key in before) if (before[key] !== undefined && after[key] === undefined) gone.push(key);
  if (gone.length > 0) return [1, parts, gone];
  return changed ? [1, parts] : null;
}

function diffArrays(before: readonly unknown[], after: readonly unknown[]): Patch | null {
  const parts: Record<string, Patch> = {};
  let changed = false;
  for (let index = 0; index < after.length; index += 1) {
    const part = diff(before[index], after[index]);
    if (part === null) continue;
    parts[index] = part;
    changed = true;
  }
  return changed ? [1, parts] : null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
