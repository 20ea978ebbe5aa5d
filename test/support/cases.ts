/**
 * How many cases a property takes: all of `full`, or the share of them that `CASES_SHARE` says (0 to 1), at least
 * one. Only the mutation proof says one: it runs the same property for every change of a source.
 */
export function cases(full: number): number {
  return Math.max(1, Math.ceil(full * Number(process.env['CASES_SHARE'] ?? 1)));
}
