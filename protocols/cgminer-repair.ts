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
  'string-comma': (text) => text.replace(STRING, (literal, at: number) => separate(text, literal, at)),
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

/** Parses JSON, repairing what firmware is known to break. `null` when it cannot be saved. */
export function parseRepaired(text: string): RepairedJson | null {
  const plain = tryParse(text);
  if (plain !== null) return { value: plain.value, repairs: [] };
  let current = text;
  const repairs: CgminerRepair[] = [];
  for (const repair of CGMINER_REPAIRS) {
    const next = repairSteps[repair](current);
    if (next === current) continue;
    current = next;
    repairs.push(repair);
    const parsed = tryParse(current);
    if (parsed !== null) return { value: parsed.value, repairs };
  }
  return null;
}

const STRING = /"(?:[^"\\]|\\[\s\S])*"/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
const CONTROL_CHARACTERS = /[\u0000-\u001f]/g;

function tryParse(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return null;
  }
}

/** Applies `change` to everything that is not inside a string literal. */
function outsideStrings(text: string, change: (part: string) => string): string {
  let result = '';
  let from = 0;
  for (const match of text.matchAll(STRING)) {
    result += change(text.slice(from, match.index)) + match[0];
    from = match.index + match[0].length;
  }
  return result + change(text.slice(from));
}

/** A string literal that follows another without anything between gets its comma back. */
function separate(text: string, literal: string, at: number): string {
  return at > 0 && text[at - 1] === '"' ? `,${literal}` : literal;
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
