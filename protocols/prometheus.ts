import { isAscii } from 'node:buffer';
import type { Result } from './result.ts';
import { fail, ok } from './result.ts';

/**
 * The Prometheus text format 0.0.4, with the quoted names of Prometheus 3. Own parser: the packages that exist
 * accept broken input or merge samples. Pure. Source: prometheus/common expfmt, whose vectors are the tests.
 */

export interface PrometheusSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** May be NaN or infinite: what the exporter said. */
  readonly value: number;
  readonly timestampMs: number | null;
}

export interface PrometheusText {
  readonly samples: readonly PrometheusSample[];
  /** Type of each family that was declared. */
  readonly types: ReadonlyMap<string, string>;
  /** Repeated or late HELP and TYPE lines: against the rules, harmless, and usual with dcgm-exporter. */
  readonly oddities: number;
}

const BYTES_MOST = 8_000_000;
const SAMPLES_MOST = 200_000;
const TYPES: ReadonlySet<string> = new Set([
  'counter',
  'gauge',
  'histogram',
  'summary',
  'untyped',
  'gaugehistogram',
  'gauge_histogram',
]);
const NAME_RUN = /[a-zA-Z0-9_:]+/y;
const LABEL_RUN = /[a-zA-Z0-9_]+/y;
const TOKEN_RUN = /[^ \t]+/y;
const FLOAT = /^[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf|infinity)$|^nan$/i;

/** A whole body to its samples. Fails `malformed` with the line, also when the body was cut inside a line. */
export function parsePrometheus(body: Uint8Array): Result<PrometheusText> {
  if (body.length > BYTES_MOST) return fail('malformed', `the metrics are longer than ${BYTES_MOST} bytes`);
  const text = textOf(body);
  if (text === null) return fail('malformed', 'the metrics are not UTF-8');
  const lines = text.split('\n');
  const rest = lines.pop() ?? '';
  const families = new Families();
  const known = new KnownParts();
  const samples: PrometheusSample[] = [];
  for (const [index, line] of lines.entries()) {
    try {
      const sample = readKnown(line, known, families) ?? readLine(line, known, families);
      if (sample !== null) samples.push(sample);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      return fail('malformed', `metrics line ${index + 1}: ${error.message}`);
    }
    if (samples.length > SAMPLES_MOST) return fail('malformed', `more than ${SAMPLES_MOST} samples`);
  }
  if (rest.trim() !== '')
    return fail('malformed', `metrics line ${lines.length + 1}: the body ends inside it`);
  return ok({ samples, types: families.types, oddities: families.oddities });
}

/** `null` where it is not UTF-8. Plain ASCII, as nearly every body is, takes a byte per character from here on. */
function textOf(body: Uint8Array): string | null {
  if (isAscii(body)) return Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return null;
  }
}

/**
 * Names and label parts that were read in full in this body already. Every metric of a GPU repeats its labels to the
 * byte: what was read once, up to its closing brace, means the same wherever it stands.
 */
class KnownParts {
  readonly names = new Set<string>();
  readonly labels = new Map<string, PrometheusSample['labels']>();
}

/** The rest of a usual line; anything else (blanks, exponents, time stamps) is read in full. */
const PLAIN_REST = /^ -?\d+(\.\d+)?$/;

/** A line of which only the value is new, or `null`: then it must be read in full. */
function readKnown(line: string, known: KnownParts, families: Families): PrometheusSample | null {
  const opens = line.indexOf('{');
  if (opens <= 0) return null;
  const name = line.slice(0, opens);
  if (!known.names.has(name)) return null;
  const closes = line.lastIndexOf('}');
  const labels = known.labels.get(line.slice(opens, closes + 1));
  if (labels === undefined) return null;
  const rest = line.slice(closes + 1);
  if (!PLAIN_REST.test(rest)) return null;
  const value = Number(rest);
  families.check(name, labels, value);
  return { name, labels, value, timestampMs: null };
}

/** Found inside one line; becomes a failure at once, so no trace is kept. */
class LineError extends Error {}

class Families {
  readonly types = new Map<string, string>();
  oddities = 0;
  private readonly helped = new Set<string>();
  private readonly sampled = new Set<string>();
  /** The name that was checked last: most lines are of the same family as the one before. */
  private last: { readonly name: string; readonly isPlain: boolean } | null = null;

  declare(name: string, type: string): void {
    if (this.types.has(name) || this.sampled.has(name)) this.oddities += 1;
    if (!this.types.has(name)) this.types.set(name, type);
    this.last = null;
  }

  help(name: string): void {
    if (this.helped.has(name)) this.oddities += 1;
    this.helped.add(name);
  }

  /** Bounds and quantiles must be numbers, populations cannot be negative. */
  check(name: string, labels: Readonly<Record<string, string>>, value: number): void {
    if (this.last?.name === name && this.last.isPlain) return;
    this.sampled.add(name);
    const base = name.replace(/_(bucket|count|sum)$/, '');
    const isHistogram = /histogram$/.test(this.types.get(base) ?? '');
    const bound = isHistogram && name.endsWith('_bucket') ? labels['le'] : undefined;
    const isSummary = this.types.get(name) === 'summary';
    const quantile = isSummary ? labels['quantile'] : undefined;
    this.last = { name, isPlain: !isHistogram && !isSummary };
    for (const text of [bound, quantile]) {
      if (text !== undefined && !FLOAT.test(text)) throw new LineError(`"${text}" is no number`);
    }
    if (isHistogram && base !== name && !name.endsWith('_sum') && value < 0) {
      throw new LineError(`${name} counts ${value}`);
    }
  }
}

function readLine(line: string, known: KnownParts, families: Families): PrometheusSample | null {
  const cursor = new Cursor(line);
  cursor.skipBlanks();
  if (cursor.atEnd()) return null;
  if (cursor.take('#')) {
    readComment(cursor, families);
    return null;
  }
  return readSample(cursor, known, families);
}

function readComment(cursor: Cursor, families: Families): void {
  cursor.skipBlanks();
  const word = cursor.token();
  if (word !== 'HELP' && word !== 'TYPE') return;
  cursor.skipBlanks();
  if (cursor.atEnd()) return;
  const name = cursor.peek() === '"' ? cursor.quoted() : cursor.token();
  if (cursor.wasQuoted ? name === '' : !isMetricName(name))
    throw new LineError(`"${name}" is no metric name`);
  cursor.skipBlanks();
  if (word === 'HELP') {
    families.help(name);
    return;
  }
  const type = cursor.rest().trim();
  if (!TYPES.has(type)) throw new LineError(`"${type}" is no metric type`);
  families.declare(name, type);
}

function readSample(cursor: Cursor, known: KnownParts, families: Families): PrometheusSample {
  let name: string | null = null;
  if (cursor.peek() !== '{') {
    name = cursor.while(NAME_RUN);
    if (!isMetricName(name)) throw new LineError('no metric name');
    cursor.skipBlanks();
  }
  const found: Record<string, string> = Object.create(null) as Record<string, string>;
  const outside = name;
  const from = cursor.position;
  if (cursor.take('{')) name = readLabels(cursor, found, name);
  const to = cursor.position;
  if (name === null || name === '') throw new LineError('no metric name');
  cursor.skipBlanks();
  const number = cursor.token();
  if (!FLOAT.test(number)) throw new LineError(`"${number.slice(0, 40)}" is no number`);
  const value = toFloat(number);
  cursor.skipBlanks();
  let timestampMs: number | null = null;
  // An exemplar of OpenMetrics may follow: it is none of our business.
  if (!cursor.atEnd() && cursor.peek() !== '#') {
    const stamp = cursor.token();
    if (!/^[+-]?\d{1,16}$/.test(stamp)) throw new LineError(`"${stamp.slice(0, 40)}" is no time stamp`);
    timestampMs = Number(stamp);
    cursor.skipBlanks();
    if (!cursor.atEnd() && cursor.peek() !== '#')
      throw new LineError('something stands after the time stamp');
  }
  const labels = { ...found };
  families.check(name, labels, value);
  if (outside !== null) known.names.add(outside);
  // With the metric's name inside the braces they mean more than labels.
  if (outside !== null && to > from) known.labels.set(cursor.between(from, to), labels);
  return { name, labels, value, timestampMs };
}

/** The inside of the braces; returns the metric name, which may stand there in quotes. */
function readLabels(cursor: Cursor, labels: Record<string, string>, outside: string | null): string | null {
  let name = outside;
  for (;;) {
    cursor.skipBlanks();
    if (cursor.take('}')) return name;
    const isQuoted = cursor.peek() === '"';
    const label = isQuoted ? cursor.quoted() : cursor.while(LABEL_RUN);
    cursor.skipBlanks();
    if (isQuoted && cursor.peek() !== '=') {
      if (name !== null) throw new LineError('two metric names');
      name = label;
    } else {
      if (label === '' || (!isQuoted && /^\d/.test(label))) throw new LineError('no label name');
      if (!cursor.take('=')) throw new LineError(`no = after label ${label}`);
      if (label === '__name__') throw new LineError('label __name__ is reserved');
      cursor.skipBlanks();
      if (cursor.peek() !== '"') throw new LineError(`label ${label} has no quoted value`);
      const value = cursor.quoted();
      if (Object.hasOwn(labels, label)) throw new LineError(`label ${label} stands twice`);
      labels[label] = value;
      cursor.skipBlanks();
    }
    if (cursor.take(',')) continue;
    if (cursor.take('}')) return name;
    throw new LineError('a label is followed by neither , nor }');
  }
}

function isMetricName(name: string): boolean {
  return /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
}

function toFloat(text: string): number {
  const lower = text.toLowerCase();
  if (lower === 'nan') return Number.NaN;
  if (/inf/.test(lower)) return lower.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

class Cursor {
  wasQuoted = false;
  private readonly line: string;
  private at = 0;

  constructor(line: string) {
    this.line = line;
  }

  get position(): number {
    return this.at;
  }

  between(from: number, to: number): string {
    return this.line.slice(from, to);
  }

  atEnd(): boolean {
    return this.at >= this.line.length;
  }

  peek(): string {
    return this.line[this.at] ?? '';
  }

  take(character: string): boolean {
    if (this.peek() !== character) return false;
    this.at += 1;
    return true;
  }

  skipBlanks(): void {
    while (this.peek() === ' ' || this.peek() === '\t') this.at += 1;
  }

  /** What a sticky expression finds here; empty where it finds nothing. */
  while(run: RegExp): string {
    run.lastIndex = this.at;
    const found = run.exec(this.line)?.[0] ?? '';
    this.at += found.length;
    return found;
  }

  /** Up to the next blank. */
  token(): string {
    this.wasQuoted = false;
    return this.while(TOKEN_RUN);
  }

  rest(): string {
    return this.line.slice(this.at);
  }

  /** A quoted string with its escapes undone. */
  quoted(): string {
    this.wasQuoted = true;
    this.at += 1;
    // Escapes are rare: a plain text is cut out whole.
    const end = this.line.indexOf('"', this.at);
    const plain = end < 0 ? null : this.line.slice(this.at, end);
    if (plain !== null && !plain.includes('\\')) {
      this.at = end + 1;
      return plain;
    }
    let text = '';
    for (;;) {
      const next = this.line[this.at];
      if (next === undefined) throw new LineError('a quoted text has no end');
      this.at += 1;
      if (next === '"') return text;
      if (next !== '\\') {
        text += next;
        continue;
      }
      const escaped = this.line[this.at];
      this.at += 1;
      if (escaped === 'n') text += '\n';
      else if (escaped === '\\' || escaped === '"') text += escaped;
      else throw new LineError('an escape that does not exist');
    }
  }
}
