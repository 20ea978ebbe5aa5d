import { hash } from 'node:crypto';
import { exchangeOverHttp, type HttpAnswer, type HttpRequest, type HttpTarget } from './http-exchange.ts';
import type { Random } from './random.ts';
import type { Result } from './result.ts';
import { type ExchangeFailure, exchangeFailure } from './tcp-exchange.ts';

/** What a server asked for in `WWW-Authenticate: Digest ...`. */
export interface DigestChallenge {
  readonly realm: string;
  readonly nonce: string;
  readonly opaque: string | null;
  /** `auth` where the server offers it, else the older form without. */
  readonly qop: 'auth' | null;
  readonly stale: boolean;
}

/** Characters; a real one has a few hundred. */
const LONGEST_CHALLENGE = 2048;

/** Reads a Digest challenge; `null` when it is another scheme or not MD5. Source: RFC 7616 section 3.3. */
export function parseDigestChallenge(header: string): DigestChallenge | null {
  if (header.length > LONGEST_CHALLENGE) return null;
  const start = /(?:^|,\s*)digest\s+/i.exec(header);
  if (start === null) return null;
  const fields = new Map<string, string>();
  const rest = header.slice(start.index + start[0].length);
  for (const match of rest.matchAll(/([a-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi))
    fields.set(match[1]!.toLowerCase(), match[2]?.replace(/\\(.)/g, '$1') ?? match[3] ?? '');
  const nonce = fields.get('nonce');
  if (nonce === undefined) return null;
  const algorithm = fields.get('algorithm')?.toUpperCase() ?? 'MD5';
  if (algorithm !== 'MD5') return null;
  const offered = fields.get('qop')?.split(/[\s,]+/) ?? [];
  if (offered.length > 0 && !offered.includes('auth')) return null;
  return {
    realm: fields.get('realm') ?? '',
    nonce,
    opaque: fields.get('opaque') ?? null,
    qop: offered.includes('auth') ? 'auth' : null,
    stale: fields.get('stale')?.toLowerCase() === 'true',
  };
}

export interface DigestCredentials {
  readonly user: string;
  readonly password: string;
}

/** The `response` of one request. `count` and `clientNonce` matter with `qop` only. Source: RFC 7616 3.4.1. */
export function digestResponse(
  challenge: DigestChallenge,
  credentials: DigestCredentials,
  request: { readonly method: string; readonly path: string },
  count: number,
  clientNonce: string,
): string {
  return responseOf(challenge, secretOf(challenge, credentials), request, count, clientNonce);
}

function md5(text: string): string {
  return hash('md5', text, 'hex');
}

function secretOf({ realm }: DigestChallenge, { user, password }: DigestCredentials): string {
  return md5(`${user}:${realm}:${password}`);
}

/** Hashes of what is asked: the same few pages of every device, again and again. */
const askedHashes = new Map<string, string>();
const ASKED_HASHES_MOST = 64;

function askedOf(asked: string): string {
  const known = askedHashes.get(asked);
  if (known !== undefined) return known;
  const hashed = md5(asked);
  if (askedHashes.size < ASKED_HASHES_MOST) askedHashes.set(asked, hashed);
  return hashed;
}

function responseOf(
  challenge: DigestChallenge,
  secret: string,
  request: { readonly method: string; readonly path: string },
  count: number,
  clientNonce: string,
): string {
  const asked = askedOf(`${request.method}:${request.path}`);
  return challenge.qop === null
    ? md5(`${secret}:${challenge.nonce}:${asked}`)
    : md5(`${secret}:${challenge.nonce}:${hexCount(count)}:${clientNonce}:auth:${asked}`);
}

/** Keeps the server's nonce between requests, so that only the first costs a refusal. */
export interface DigestSession {
  readonly credentials: DigestCredentials;
  readonly random: Random;
  challenge: DigestChallenge | null;
  /** Hash of the credentials for the realm of the challenge, once it is made. */
  secret: string | null;
  /** What every answer to the challenge begins with, once it is made. */
  opening: string | null;
  count: number;
}

export function createDigestSession(credentials: DigestCredentials, random: Random): DigestSession {
  return { credentials, random, challenge: null, secret: null, opening: null, count: 0 };
}

/**
 * One request with Digest MD5. A refused request is repeated once with the server's nonce; a second
 * refusal is `unauthorised` and never tried again here.
 */
export async function exchangeWithDigest(
  target: HttpTarget,
  request: HttpRequest,
  session: DigestSession,
  signal: AbortSignal,
): Promise<Result<HttpAnswer, ExchangeFailure>> {
  for (let attempt = 0; ; attempt += 1) {
    const authorization = authorize(session, request);
    const headers = authorization === null ? request.headers : { ...request.headers, authorization };
    const answer = await exchangeOverHttp(target, { ...request, ...(headers && { headers }) }, signal);
    if (!answer.ok || answer.value.status !== 401) return answer;
    const challenge = parseDigestChallenge(String(answer.value.headers['www-authenticate'] ?? ''));
    session.challenge = challenge;
    session.secret = null;
    session.opening = null;
    session.count = 0;
    const place = `${target.host}:${target.port}`;
    if (challenge === null)
      return exchangeFailure(true, 'unauthorised', `${place} asks for another kind of login than Digest`);
    if (attempt > 0)
      return exchangeFailure(
        true,
        'unauthorised',
        `${place} refuses the user name or password`,
        'check user and password',
      );
  }
}

function authorize(session: DigestSession, request: HttpRequest): string | null {
  const { challenge, credentials, random } = session;
  if (challenge === null) return null;
  session.count += 1;
  const clientNonce = Math.floor(random() * 2 ** 48)
    .toString(16)
    .padStart(12, '0');
  session.secret ??= secretOf(challenge, credentials);
  const response = responseOf(challenge, session.secret, request, session.count, clientNonce);
  session.opening ??= openingOf(challenge, credentials);
  const tail = challenge.opaque === null ? '' : `, opaque=${quoted(challenge.opaque)}`;
  const asked = `${session.opening}, uri=${quoted(request.path)}, response="${response}"${tail}`;
  return challenge.qop === null
    ? asked
    : `${asked}, qop=auth, nc=${hexCount(session.count)}, cnonce="${clientNonce}"`;
}

function openingOf({ realm, nonce }: DigestChallenge, { user }: DigestCredentials): string {
  return `Digest username=${quoted(user)}, realm=${quoted(realm)}, nonce=${quoted(nonce)}`;
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

function hexCount(count: number): string {
  return count.toString(16).padStart(8, '0');
}
