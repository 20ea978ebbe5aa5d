import { type CgminerRepair, parseRepaired } from './cgminer-repair.ts';
import { fail, ok, type Result } from './result.ts';
import { utf8Text } from './utf8-text.ts';

/** Fields as they came: JSON values, or strings where the answer was in text form. */
export type CgminerBody = Readonly<Record<string, unknown>>;

export interface CgminerStatus {
  /** S success, I information, W warning, E error, F fatal; also BYE and RESTART. */
  readonly letter: string;
  readonly code: number | null;
  readonly message: string;
  /** May be any text of the operator: versions are not parsed from it. */
  readonly description: string;
}

export interface CgminerReply {
  readonly form: 'json' | 'text';
  /** `null` when the reply has none (joined replies have one per section). */
  readonly status: CgminerStatus | null;
  readonly body: CgminerBody;
  /** What had to be mended to read it, for diagnostics. */
  readonly repairs: readonly CgminerRepair[];
  /** As it came, where it is JSON and was not mended; for who looks for words anywhere in it. */
  readonly text?: string;
}

/**
 * Reads one reply of the cgminer API, JSON or text, as far as it can be saved.
 *
 * Fails `malformed` when it is no such reply, `unreachable` when a proxy says that the daemon is down.
 * Source: cgminer 4.11.1 API-README and api.c; recorded replies of the firmware that each repair names.
 */
export function decodeCgminerReply(bytes: Uint8Array): Result<CgminerReply> {
  let repairs: readonly CgminerRepair[] = NO_REPAIRS;
  let text = utf8Text(bytes, endOfText(bytes));
  if (text.includes('\0')) {
    text = text.replaceAll('\0', ' ');
    repairs = ['inner-nul'];
  }
  text = text.trim();
  if (text === '') return fail('malformed', 'the reply is empty');
  if (text.startsWith('Socket connect failed'))
    return fail('unreachable', `the mining program behind the port is down: ${text.slice(0, 100)}`);
  if (text.startsWith('HTTP/') || text.startsWith('<'))
    return fail('malformed', 'the port speaks HTTP, not the cgminer API');
  if (!'{[,'.includes(text.charAt(0)))
    return text.length <= TEXT_AT_MOST
      ? decodeText(text, repairs)
      : fail('malformed', `the reply is ${text.length} characters of text, more than any miner writes`);
  const parsed = parseRepaired(text);
  if (parsed === null) return fail('malformed', `the reply is no JSON: ${text.slice(0, 200)}`);
  const body = parsed.value;
  if (!isRecord(body)) return fail('malformed', `the reply is no JSON object: ${text.slice(0, 200)}`);
  if (parsed.repairs.length > 0) repairs = [...repairs, ...parsed.repairs];
  const status = readStatus(body);
  return ok(
    repairs.length === 0
      ? { form: 'json', status, body, repairs, text }
      : { form: 'json', status, body, repairs },
  );
}

/** Shared by the thousands of replies that need none. */
const NO_REPAIRS: readonly CgminerRepair[] = [];

/** Characters of a reply in text form: only old API versions write it, and they cut at 64 kB. */
const TEXT_AT_MOST = 128 * 1024;

/** The replies inside a joined reply, by command; empty when it is a plain one. */
export function joinedSections(reply: CgminerReply): ReadonlyMap<string, CgminerReply> {
  const sections = new Map<string, CgminerReply>();
  for (const [command, value] of Object.entries(reply.body)) {
    // cgminer wraps each section in a list; its own manual shows a plain object.
    const body: unknown = Array.isArray(value) ? value[0] : value;
    if (!isRecord(body) || !('STATUS' in body) || command === 'STATUS') continue;
    sections.set(command, { form: reply.form, status: readStatus(body), body, repairs: reply.repairs });
  }
  return sections;
}

/**
 * The reply if the miner said yes. Otherwise its no: `unauthorised` (code 45), `unsupported` (14),
 * `refused` (the rest). Decides on the letter, as codes differ between firmwares.
 */
export function accepted(reply: CgminerReply, command: string): Result<CgminerReply> {
  const { status } = reply;
  if (status === null) return ok(reply);
  if (status.letter !== 'E' && status.letter !== 'F') return ok(reply);
  const said = `${command}: ${status.message || `status ${status.letter}`}`.slice(0, 300);
  if (status.letter === 'E') {
    if (status.code === 45) return fail('unauthorised', said, 'the miner lets this address only read');
    if (status.code === 14) return fail('unsupported', said);
    return fail('refused', said);
  }
  // F with code -1 means "no text for this message" in cgminer: data follows.
  if (Object.keys(reply.body).every((key) => key === 'STATUS' || key === 'id')) return fail('refused', said);
  return ok(reply);
}

/** The records of a section, `[]` when it is missing or of another kind. */
export function sectionRecords(body: CgminerBody, name: string): readonly CgminerBody[] {
  const value = body[name];
  if (Array.isArray(value)) return value.every(isRecord) ? value : value.filter(isRecord);
  return isRecord(value) ? [value] : [];
}

/** True for a plain JSON object. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Watches pieces of a JSON reply and says when the outermost object is whole: some firmware keeps the
 * socket open after its answer. Never true for text or for JSON that does not balance.
 */
export function watchForJsonEnd(): (piece: Uint8Array) => boolean {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let first = true;
  let isJson = false;
  return (piece) => {
    for (const byte of piece) {
      if (first) {
        if (byte <= 0x20) continue;
        first = false;
        isJson = byte === 0x7b;
      }
      if (!isJson) return false;
      if (escaped) escaped = false;
      else if (inString) {
        if (byte === 0x5c) escaped = true;
        else if (byte === 0x22) inString = false;
      } else if (byte === 0x22) inString = true;
      else if (byte === 0x7b || byte === 0x5b) depth += 1;
      else if (byte === 0x7d || byte === 0x5d) {
        depth -= 1;
        if (depth === 0) return true;
      }
    }
    return false;
  };
}

function endOfText(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

/** STATUS is a list in cgminer, an object or flat fields in btminer and CGI, a word after quit and restart. */
function readStatus(body: CgminerBody): CgminerStatus | null {
  const raw = body['STATUS'];
  const status: unknown = Array.isArray(raw) ? raw[0] : typeof raw === 'string' ? body : raw;
  if (!isRecord(status)) return null;
  const code = codeOf(status['Code'] ?? status['code']);
  const message = status['Msg'] ?? status['msg'];
  return {
    letter: typeof status['STATUS'] === 'string' ? status['STATUS'] : '',
    code,
    message: typeof message === 'string' ? message : '',
    description: typeof status['Description'] === 'string' ? status['Description'] : '',
  };
}

/** A code as number or text; anything else is none. */
function codeOf(value: unknown): number | null {
  const code = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN;
  return Number.isFinite(code) ? code : null;
}

/** Where a text record with an index belongs in the JSON form. */
const SECTION_OF_INDEX: Readonly<Record<string, string>> = {
  POOL: 'POOLS',
  ASC: 'DEVS',
  PGA: 'DEVS',
  PROC: 'DEVS',
};

function decodeText(text: string, repairs: readonly CgminerRepair[]): Result<CgminerReply> {
  const sections = new Map<string, Map<string, CgminerBody[]>>();
  let section = new Map<string, CgminerBody[]>();
  const outer = section;
  for (const record of splitUnescaped(text, '|')) {
    const fields = splitUnescaped(record.trim(), ',').filter((field) => field !== '');
    const first = fields[0];
    if (first === undefined) continue;
    const [name, value] = splitField(first);
    if (name === 'CMD') {
      section = new Map();
      sections.set(value ?? '', section);
      continue;
    }
    const key = value === undefined ? name : (SECTION_OF_INDEX[name] ?? name);
    const pairs = (value === undefined ? fields.slice(1) : fields).map((field) => {
      const [fieldName, fieldValue] = splitField(field);
      return [fieldName, fieldValue ?? ''] as const;
    });
    const records = section.get(key);
    if (records === undefined) section.set(key, [Object.fromEntries(pairs)]);
    else records.push(Object.fromEntries(pairs));
  }
  const body: Record<string, unknown> = Object.fromEntries(outer);
  for (const [command, inside] of sections) body[command] = [Object.fromEntries(inside)];
  if (sections.size === 0 && !('STATUS' in body))
    return fail('malformed', `the reply is neither JSON nor cgminer text: ${text.slice(0, 200)}`);
  return ok({ form: 'text', status: readStatus(body), body, repairs });
}

function splitField(field: string): readonly [string, string | undefined] {
  const [name = '', ...rest] = splitUnescaped(field, '=');
  return [unescaped(name), rest.length === 0 ? undefined : unescaped(rest.join('='))];
}

function splitUnescaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === separator) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

function unescaped(text: string): string {
  return text.replace(/\\([\\,=|])/g, '$1');
}
