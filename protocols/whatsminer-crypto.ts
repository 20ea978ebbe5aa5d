import { Buffer } from 'node:buffer';
import { createCipheriv, createDecipheriv, createHash, hash } from 'node:crypto';

const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/**
 * The hash part of `md5crypt` (`$1$salt$hash`), as crypt(3) and `openssl passwd -1` compute it. Used by the
 * protocol as a key, not to store passwords. Source: FreeBSD libcrypt (Poul-Henning Kamp), public domain.
 */
export function md5Crypt(password: string, salt: string): string {
  const secret = Buffer.from(password, 'utf8');
  const seed = Buffer.from(salt.slice(0, 8), 'utf8');
  const md5 = (...parts: readonly Uint8Array[]): Buffer => hash('md5', Buffer.concat(parts), 'buffer');
  const alternate = md5(secret, seed, secret);
  const parts: Uint8Array[] = [secret, Buffer.from('$1$'), seed];
  for (let left = secret.length; left > 0; left -= 16) parts.push(alternate.subarray(0, Math.min(16, left)));
  for (let bits = secret.length; bits > 0; bits >>= 1)
    parts.push((bits & 1) === 1 ? Buffer.from([0]) : secret.subarray(0, 1));
  const nothing = Buffer.alloc(0);
  let digest = md5(...parts);
  for (let round = 0; round < 1000; round += 1) {
    const odd = round % 2 === 1;
    digest = md5(
      odd ? secret : digest,
      round % 3 === 0 ? nothing : seed,
      round % 7 === 0 ? nothing : secret,
      odd ? digest : secret,
    );
  }
  return [
    [0, 6, 12],
    [1, 7, 13],
    [2, 8, 14],
    [3, 9, 15],
    [4, 10, 5],
  ]
    .map(([a, b, c]) => toAlphabet((digest[a!]! << 16) | (digest[b!]! << 8) | digest[c!]!, 4))
    .concat(toAlphabet(digest[11]!, 2))
    .join('');
}

function toAlphabet(value: number, characters: number): string {
  let text = '';
  for (let left = characters, rest = value; left > 0; left -= 1, rest >>>= 6) text += ALPHABET[rest & 0x3f];
  return text;
}

/** What `get_token` answers in `Msg`. */
export interface WhatsminerChallenge {
  readonly time: string;
  readonly salt: string;
  readonly newsalt: string;
}

/** What signs and encrypts writes until the token ends (30 min). */
export interface WhatsminerSession {
  readonly sign: string;
  readonly aesKey: Uint8Array;
}

/** Source: Whatsminer API 2.0.x, token and encryption. */
export function openWhatsminerSession(password: string, challenge: WhatsminerChallenge): WhatsminerSession {
  const key = md5Crypt(password, challenge.salt);
  const sign = md5Crypt(key + challenge.time.slice(-4), challenge.newsalt);
  return { sign, aesKey: createHash('sha256').update(key, 'ascii').digest() };
}

/** `{"enc":1,"data":...}` of a command; `fields` are the command's own, all strings. AES-256-ECB, padded with NUL. */
export function encryptWhatsminerCommand(
  session: WhatsminerSession,
  command: string,
  fields: Readonly<Record<string, string>>,
): Uint8Array {
  const data = encryptWhatsminerText(
    session.aesKey,
    JSON.stringify({ cmd: command, ...fields, token: session.sign }),
  );
  return Buffer.from(JSON.stringify({ enc: 1, data }), 'utf8');
}

/** AES-256-ECB of a text padded with NUL, as base64 without line breaks. */
export function encryptWhatsminerText(aesKey: Uint8Array, text: string): string {
  const plain = Buffer.from(text, 'utf8');
  const padded = Buffer.concat([plain, Buffer.alloc((16 - (plain.length % 16)) % 16)]);
  const cipher = createCipheriv('aes-256-ecb', aesKey, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(padded), cipher.final()]).toString('base64');
}

/** The JSON text inside `data`, whatever the padding; `null` when the key does not fit. */
export function decryptWhatsminerText(aesKey: Uint8Array, data: string): string | null {
  const sealed = Buffer.from(data, 'base64');
  if (sealed.length === 0 || sealed.length % 16 !== 0) return null;
  const decipher = createDecipheriv('aes-256-ecb', aesKey, null).setAutoPadding(false);
  const text = Buffer.concat([decipher.update(sealed), decipher.final()]).toString('utf8');
  const end = text.lastIndexOf('}');
  return text.startsWith('{') && end > 0 ? text.slice(0, end + 1) : null;
}
