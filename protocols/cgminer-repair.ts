import { isTooDeep } from './json-depth.ts';

/**
 * JSON as miners really send it. The repairs are tried in this order, and only when plain parsing fails;
 * those that look at punctuation never touch the inside of a string. None of them makes up a value: an
 * answer that was cut off keeps only values that arrived whole.
 *
 * - `object-comma`: `}{` (Bitmain bmminer, S9 to S17 stats)
 * - `leading-comma-in-list`: `[,{` (bmminer)
 * - `trailing-comma`: `,}` and `,]` (btminer, older Innosilicon)
 * - `control-characters`: raw newline, tab, CR in a string (btminer)
 * - `string-comma`: `""temp0":` (btminer build 2023-01-06)
 * - `not-a-number`: bare `inf`, `nan`, `-nan` become null (Avalon; cgminer at start)
 * - `leading-comma`: `,"id":1}` (Avalon)
 * - `list-as-object`: `"error_code":["604":"..."]` (Whatsminer API 2.0.4)
 * - `cut-off`: no end (btminer with hundreds of errors; servers that give up on a slow reader)
 */
export const CGMINER_REPAIRS = [
  'object-comma',
  'leading-comma-in-list',
  'trailing-comma',
  'control-characters',
  'string-comma',
  'not-a-number',
  'leading-comma',
  'list-as-object',
  'cut-off',
] as const;
export type CgminerRepair = (typeof CGMINER_REPAIRS)[number] | 'inner-nul';

export interface RepairedJson {
  readonly value: unknown;
  readonly repairs: readonly CgminerRepair[];
}

const repairSteps: Readonly<Record<(typeof CGMINER_REPAIRS)[number], (text: string) => string>> = {
  'object-comma': (text) => outsideStrings(text, (part) => part.replace(/\}\s*\{/g, '},{')),
  'leading-comma-in-list': (text) => outsideStrings(text, (part) => part.replace(/\[\s*,/g, '[')),
  'trailing-comma': (text) => outsideStrings(text, (part) => part.replace(/,\s*([}\]])/g, '$1')),
  'control-characters': (text) => text.replace(CONTROL_CHARACTERS, ''),
  'string-comma': separateStrings,
  'not-a-number': (text) =>
    outsideStrings(text, (part) => part.replace(/[-+]?\b(?:inf(?:inity)?|nan)\b/gi, 'null')),
  'leading-comma': (text) => text.replace(/^\s*,/, '{'),
  'list-as-object': (text) =>
    text.replace(
      /("error_code"\s*:\s*)\[(\s*(?:"[^"]*"\s*:\s*"[^"]*"\s*(?:,\s*)?)+)\]/g,
      (_whole, name: string, inside: string) => `${name}{${inside}}`,
    ),
  'cut-off': closeCutOff,
};

/**
 * Parses JSON, repairing what firmware is known to break. `null` when it cannot be saved. The work is in
 * proportion to the text, whatever stands in it.
 */
export function parseRepaired(text: string): RepairedJson | null {
  if (isTooDeep(text)) return null;
  const plain = tryParse(text);
  if (plain !== NO_JSON) return { value: plain, repairs: NO_REPAIRS };
  // Each repair is a pass over the text: what no firmware sends is not worth holding everything else up.
  if (text.length > REPAIRED_AT_MOST) return null;
  let current = text;
  const repairs: CgminerRepair[] = [];
  for (const repair of CGMINER_REPAIRS) {
    const next = repairSteps[repair](current);
    if (next === current) continue;
    current = next;
    repairs.push(repair);
    const parsed = tryParse(current);
    if (parsed !== NO_JSON) return { value: parsed, repairs };
  }
  return null;
}

/** Characters; broken replies of real firmware stay under 64 kB. */
const REPAIRED_AT_MOST = 256 * 1024;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
const CONTROL_CHARACTERS = /[\u0000-\u001f]/g;

/** Nothing that JSON can say. */
const NO_JSON = Symbol('no JSON');
const NO_REPAIRS: readonly CgminerRepair[] = [];

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return NO_JSON;
  }
}

/** Applies `change` to everything that is not inside a string literal; one that does not end takes the rest. */
function outsideStrings(text: string, change: (part: string) => string): string {
  const parts: string[] = [];
  let from = 0;
  for (;;) {
    const start = text.indexOf('"', from);
    if (start < 0) break;
    parts.push(change(text.slice(from, start)));
    from = endOfString(text, start) ?? text.length;
    parts.push(text.slice(start, from));
  }
  parts.push(change(text.slice(from)));
  return parts.join('');
}

/** A string literal that follows another without anything between gets its comma back. */
function separateStrings(text: string): string {
  const parts: string[] = [];
  let from = 0;
  for (;;) {
    const start = text.indexOf('"', from);
    if (start < 0) break;
    parts.push(text.slice(from, start));
    if (start > 0 && start === from && text[start - 1] === '"') parts.push(',');
    from = endOfString(text, start) ?? text.length;
    parts.push(text.slice(start, from));
  }
  parts.push(text.slice(from));
  return parts.join('');
}

interface Open {
  readonly closer: '}' | ']';
  /** In an object: whether the next string is a key. */
  key: boolean;
}

/** Cuts back to the last value that arrived whole and closes what is open. */
function closeCutOff(text: string): string {
  const open: Open[] = [];
  let kept = 0;
  let closers = '';
  const keep = (end: number): void => {
    kept = end;
    closers = open.map(({ closer }) => closer).reduceRight((all, closer) => all + closer, '');
  };
  for (let at = 0; at < text.length; ) {
    const character = text[at]!;
    if (character === '{' || character === '[') {
      open.push({ closer: character === '{' ? '}' : ']', key: character === '{' });
      at += 1;
      keep(at);
    } else if (character === '}' || character === ']') {
      if (open.pop()?.closer !== character) return text;
      at += 1;
      keep(at);
    } else if (character === '"') {
      const end = endOfString(text, at);
      if (end === null) break;
      at = end;
      const container = open.at(-1);
      if (container?.key === true) container.key = false;
      else keep(at);
    } else if (character === ',') {
      const container = open.at(-1);
      if (container?.closer === '}') container.key = true;
      at += 1;
    } else if (/[\s:]/.test(character)) {
      at += 1;
    } else {
      const end = endOfLiteral(text, at);
      // A number that touches the end of the text may be the first half of another number.
      if (end === text.length) break;
      at = end;
      keep(at);
    }
    if (open.length > 64) return text;
  }
  return kept === 0 ? text : text.slice(0, kept) + closers;
}

function endOfString(text: string, start: number): number | null {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at + 1;
  }
  return null;
}

function endOfLiteral(text: string, start: number): number {
  let at = start;
  while (at < text.length && !/[\s,:{}[\]"]/.test(text[at]!)) at += 1;
  return at;
}
