import { type MinerFirmware, secondPort } from '../../config/miners/firmwares.ts';
import { askCgminer, CGMINER_LIMITS } from '../../protocols/cgminer-client.ts';
import { type CgminerBody, type CgminerReply, isRecord } from '../../protocols/cgminer-reply.ts';
import { exchangeOverHttp, type HttpAnswer } from '../../protocols/http-exchange.ts';
import { type Failure, fail, ok, type Result } from '../../protocols/result.ts';
import { askWhatsminerV3 } from '../../protocols/whatsminer-v3.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isSilence } from './cgminer.ts';
import type { MinerDeps } from './miner-driver.ts';
import { firstText } from './reply-fields.ts';
import { exchangeJson, isRecordWith, webTarget } from './web-json.ts';
import { messageOf } from './whatsminer-decode.ts';

/** What answered on port 4028 and on the web page while looking. */
export interface Evidence {
  readonly version?: CgminerReply;
  readonly stats?: CgminerReply;
  readonly devdetails?: CgminerReply;
  readonly getVersion?: CgminerReply;
  readonly web?: Pick<HttpAnswer, 'status' | 'headers'> & { readonly text: string };
}

/** Words of the API that name a firmware; what replaces the stock firmware is looked for first. */
const MARKERS: readonly (readonly [MinerFirmware, readonly string[]])[] = [
  ['braiins', ['BOSMINER', 'BOSER']],
  ['luxos', ['LUXMINER']],
  ['vnish', ['VNISH']],
  ['fluxos', ['GCMINER', 'FLUXOS']],
  ['whatsminer', ['BITMICRO', 'BTMINER', 'WHATSMINER']],
  ['avalon', ['AVALON']],
  ['bitmain', ['ANTMINER', 'BMMINER']],
];

/** Firmware of Whatsminer API 3 begins with this build date. Source: field notes. */
const WHATSMINER_V3_DATE = 20241101;

/**
 * The firmware that the evidence shows, `unknown` when something answers that fits nothing, `null` when
 * nothing was heard that a miner would say.
 */
export function recogniseMiner(evidence: Evidence): MinerFirmware | null {
  const replies = [evidence.version, evidence.stats, evidence.devdetails, evidence.getVersion].filter(
    (reply) => reply !== undefined,
  );
  const build = whatsminerBuild(evidence.getVersion);
  const plain = evidence.version === undefined ? null : plainFirmware(evidence.version);
  // An operator may write anything into the description of a plain cgminer.
  const text = replies.map((reply) => upperText(reply, plain === null)).join('\n');
  const found = MARKERS.find(([, words]) => words.some((word) => text.includes(word)))?.[0];
  if (found === 'whatsminer' && build !== null && build >= WHATSMINER_V3_DATE) return 'whatsminer-v3';
  if (found !== undefined) return found;
  if (build !== null) return build >= WHATSMINER_V3_DATE ? 'whatsminer-v3' : 'whatsminer';
  const byWeb = firmwareOfWeb(evidence.web);
  if (byWeb !== null) return byWeb;
  if (plain !== null) return plain;
  return replies.length > 0 ? 'unknown' : null;
}

function firmwareOfWeb(web: Evidence['web']): MinerFirmware | null {
  if (web === undefined) return null;
  const challenge = String(web.headers['www-authenticate'] ?? '');
  if (web.status === 401 && /digest/i.test(challenge) && /antMiner Configuration/i.test(challenge))
    return 'bitmain';
  if (/Braiins OS/i.test(web.text)) return 'braiins';
  if (/Luxor Firmware/i.test(web.text)) return 'luxos';
  if (/AnthillOS/i.test(web.text)) return 'vnish';
  if (/Miner Web Dashboard/i.test(web.text)) return 'epic';
  if (/Avalon/i.test(web.text)) return 'avalon';
  const toHttps = web.status === 307 && String(web.headers['location'] ?? '').startsWith('https:');
  if (/\/cgi-bin\/luci/.test(web.text) || (toHttps && /luci/.test(web.text))) return 'whatsminer';
  return null;
}

function upperText(reply: CgminerReply, withDescription: boolean): string {
  // As it came, unless a word may stand in it escaped: putting it together again is work at every poll of many units.
  if (withDescription && reply.text !== undefined && !reply.text.includes('\\'))
    return reply.text.toUpperCase();
  const { STATUS: status, Description: _flat, ...rest } = reply.body;
  const text = JSON.stringify(rest).toUpperCase();
  if (!withDescription) return text;
  return `${text} ${reply.status?.description.toUpperCase() ?? ''} ${JSON.stringify(status ?? '').toUpperCase()}`;
}

/** A cgminer or bfgminer that nobody built into a product, told by the keys and words of its own. */
function plainFirmware(version: CgminerReply): 'cgminer' | 'bfgminer' | null {
  const section = version.body['VERSION'];
  const record: unknown = Array.isArray(section) ? section[0] : section;
  if (!isRecord(record)) return null;
  // Cut off, any product looks plain.
  if (version.repairs.includes('cut-off')) return null;
  const message = version.status?.message;
  if (message === 'BFGMiner versions') return 'bfgminer';
  const bare = 'CGMiner' in record && Object.keys(record).every((key) => key === 'CGMiner' || key === 'API');
  return message === 'CGMiner versions' && bare ? 'cgminer' : null;
}

/** True when a reply names a firmware that is not `firmware`: another machine stands at the address. */
export function isForeign(evidence: Evidence, firmware: MinerFirmware): boolean {
  const found = recogniseMiner(evidence);
  return found !== null && found !== 'unknown' && found !== firmware;
}

/** The build date in a Whatsminer's `get_version`, as a number like 20230803. */
function whatsminerBuild(reply: CgminerReply | undefined): number | null {
  const body: CgminerBody | undefined = reply?.body;
  const digits = /^(\d{8})/.exec(firstText(messageOf(body), 'fw_ver') ?? '');
  return digits === null ? null : Number(digits[1]);
}

/**
 * Finds out what firmware answers at an endpoint: the API port one command at a time, the web page beside it.
 * Writes nothing, follows no redirect, sends no credentials.
 *
 * `unknown`: something speaks the API but fits nothing. Fails as the API port failed when nothing fits.
 */
export async function recognise(
  endpoint: MinerEndpoint,
  deps: MinerDeps,
  signal: AbortSignal,
): Promise<Result<MinerFirmware>> {
  const target = cgminerTarget(endpoint, deps);
  const webPage = askWeb(endpoint, deps, signal);
  const evidence: { -readonly [key in keyof Evidence]: Evidence[key] } = {};
  const version = await askCgminer(target, 'version', undefined, signal);
  let failure: Failure | null = version.ok ? null : version.error;
  if (version.ok) {
    evidence.version = version.value;
    const early = recogniseMiner(evidence);
    if (early !== null && SURE_BY_VERSION.has(early)) {
      // Said by the API itself; asking it on would only burden it.
      const web = await webPage;
      if (web !== null) evidence.web = web;
      return ok(recogniseMiner(evidence) ?? early);
    }
    for (const [name, command] of [
      ['stats', 'stats'],
      ['devdetails', 'devdetails'],
      ['getVersion', 'get_version'],
    ] as const) {
      if (name === 'getVersion' && !mayBeWhatsminer(evidence)) continue;
      const answer = await askCgminer(target, command, undefined, signal);
      if (answer.ok) evidence[name] = answer.value;
      else if (isSilence(answer.error)) break;
      if (name === 'stats' && recogniseMiner(evidence) === 'vnish') break;
      if (name === 'stats' && recogniseMiner(evidence) === 'bitmain') break;
    }
  }
  const web = await webPage;
  if (web !== null) evidence.web = web;
  const found = recogniseMiner(evidence);
  if (found !== null) return ok(found);
  // Newer Whatsminers may have the older port shut.
  if (failure?.kind === 'unreachable' && (await answersFrames(endpoint, deps, signal)))
    return ok('whatsminer-v3');
  if (failure?.kind === 'malformed' && (await answersAsEpic(endpoint, deps, signal))) return ok('epic');
  failure ??= { kind: 'malformed', message: `${endpoint.host} answers nothing that a miner says` };
  return failure.kind === 'malformed'
    ? fail('wrong-device', `${endpoint.host}:${endpoint.port} is no miner: ${failure.message}`)
    : { ok: false, error: failure };
}

/** ePIC speaks HTTP where others have the cgminer API. */
async function answersAsEpic(
  endpoint: MinerEndpoint,
  deps: MinerDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const request = { method: 'GET' as const, path: '/summary' };
  const answer = await exchangeJson(webTarget(endpoint, deps, endpoint.port), request, signal);
  return answer.ok && answer.value.status === 200 && isRecordWith(answer.value.json, 'HBStatus', 'Session');
}

async function answersFrames(
  endpoint: MinerEndpoint,
  deps: MinerDeps,
  signal: AbortSignal,
): Promise<boolean> {
  const { clock, connect, starts, limits = CGMINER_LIMITS } = deps;
  const port = secondPort('whatsminer-v3', endpoint.webPort);
  const target = {
    host: endpoint.host,
    port,
    clock,
    limits: {
      ...limits,
      connectMs: Math.min(limits.connectMs, 1000),
      totalMs: Math.min(limits.totalMs, 3000),
    },
    connect,
    starts,
  };
  return (await askWhatsminerV3(target, { cmd: 'get.device.info' }, signal)).ok;
}

/** Firmware whose `version` leaves no doubt. */
const SURE_BY_VERSION: ReadonlySet<MinerFirmware> = new Set([
  'luxos',
  'braiins',
  'fluxos',
  'avalon',
  'cgminer',
  'bfgminer',
]);

function mayBeWhatsminer(evidence: Evidence): boolean {
  const found = recogniseMiner(evidence);
  return found === 'whatsminer' || found === 'unknown';
}

async function askWeb(
  endpoint: MinerEndpoint,
  deps: MinerDeps,
  signal: AbortSignal,
): Promise<NonNullable<Evidence['web']> | null> {
  const { clock, connect, starts, limits = CGMINER_LIMITS } = deps;
  const target = {
    host: endpoint.host,
    port: endpoint.webPort,
    clock,
    limits: { ...limits, totalMs: Math.min(limits.totalMs, 3000), maximumBytes: 256 * 1024 },
    connect,
    starts,
  };
  const answer = await exchangeOverHttp(target, { method: 'GET', path: '/' }, signal);
  if (!answer.ok) return null;
  const { status, headers, body } = answer.value;
  return { status, headers, text: new TextDecoder().decode(body) };
}
