import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { parseRepaired } from './cgminer-repair.ts';
import { type CgminerBody, isRecord } from './cgminer-reply.ts';
import type { Clock } from './clock.ts';
import { type Failure, fail, ok, type Result } from './result.ts';
import {
  type ExchangeFailure,
  type ExchangeLimits,
  exchangeFailure,
  exchangeOverTcpAs,
  type TcpAnswer,
  type Way,
} from './tcp-exchange.ts';
import type { MonotonicMs } from './units.ts';
import { utf8Text } from './utf8-text.ts';

/**
 * Whatsminer API 3 (TCP 4433): each way four bytes of length, little endian, and that many bytes of JSON.
 * Source: MicroBT Whatsminer API 3.0.x.
 */

const PREFIX_BYTES = 4;
/** A length beyond this is no frame: something else speaks on the port. */
const FRAME_MAXIMUM_BYTES = 1024 * 1024;

/** One frame around a JSON text. */
export function encodeWhatsminerFrame(json: string): Uint8Array {
  const body = Buffer.from(json, 'utf8');
  const frame = Buffer.alloc(PREFIX_BYTES + body.length);
  frame.writeUInt32LE(body.length);
  body.copy(frame, PREFIX_BYTES);
  return frame;
}

/** Bytes that a frame beginning with `bytes` will have, prefix and all; `null` while that is not known. */
export function whatsminerFrameLength(bytes: Uint8Array): number | null {
  if (bytes.length < PREFIX_BYTES) return null;
  return PREFIX_BYTES + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

/** Says when the frame is whole; for a peer that keeps the connection open. Keeps four bytes, whatever comes. */
export function watchForWhatsminerFrame(): (piece: Uint8Array) => boolean {
  const head = new Uint8Array(PREFIX_BYTES);
  let seen = 0;
  return (piece) => {
    for (let at = 0; seen + at < PREFIX_BYTES && at < piece.length; at += 1) head[seen + at] = piece[at]!;
    seen += piece.length;
    const length = seen < PREFIX_BYTES ? null : whatsminerFrameLength(head);
    // A senseless length will not be reached: there is nothing to wait for.
    return length !== null && (seen >= length || length > FRAME_MAXIMUM_BYTES);
  };
}

/** What a unit answers. */
export interface WhatsminerV3Reply {
  /** 0 ok, -1 failed, -2 invalid command or parameter, -4 no permission. */
  readonly code: number | null;
  /** Unix seconds on the unit's clock: what tokens are made with. */
  readonly when: number | null;
  readonly message: unknown;
}

/**
 * The reply in the first frame of `bytes`.
 *
 * Fails `malformed` when it is no frame, cut off, or no JSON object.
 */
export function decodeWhatsminerFrame(bytes: Uint8Array): Result<WhatsminerV3Reply> {
  const length = whatsminerFrameLength(bytes);
  if (length === null || length > FRAME_MAXIMUM_BYTES)
    return fail('malformed', `the reply is no frame of Whatsminer API 3 (${bytes.length} bytes)`);
  if (bytes.length < length)
    return fail('malformed', `the reply was cut off: ${bytes.length} of ${length} bytes came`);
  const text = utf8Text(bytes.subarray(PREFIX_BYTES, length));
  const body = parseRepaired(text.replace(/\0+$/, '').trim())?.value;
  if (!isRecord(body)) return fail('malformed', `the reply is no JSON object: ${text.slice(0, 200)}`);
  const { code, when, msg } = body;
  return ok({
    code: typeof code === 'number' ? code : null,
    when: typeof when === 'number' ? when : null,
    message: msg,
  });
}

/** The first 8 characters of base64(SHA-256(command + password + salt + ts)). Source: API 3.0.x. */
export function whatsminerV3Token(
  command: string,
  password: string,
  salt: string,
  unixSeconds: number,
): string {
  return createHash('sha256')
    .update(`${command}${password}${salt}${unixSeconds}`, 'utf8')
    .digest('base64')
    .slice(0, 8);
}

/** Where a unit's framed API is. */
export interface WhatsminerV3Target extends Way {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly limits: ExchangeLimits;
}

/** A yes with the moment of asking. */
export interface WhatsminerV3Answer extends WhatsminerV3Reply {
  readonly sentAt: MonotonicMs;
}

/**
 * One request, one connection, one reply; a unit that says no is a failure.
 *
 * Fails `unreachable`, `timeout`, `malformed`, `cancelled`; `unauthorised` (-4), `unsupported` (-2), `refused`.
 */
export function askWhatsminerV3(
  target: WhatsminerV3Target,
  request: CgminerBody,
  signal: AbortSignal,
): Promise<Result<WhatsminerV3Answer, ExchangeFailure>> {
  const { host, port, clock, limits } = target;
  return exchangeOverTcpAs(
    {
      host,
      port,
      request: encodeWhatsminerFrame(JSON.stringify(request)),
      limits,
      watch: watchForWhatsminerFrame,
      connect: target.connect,
      starts: target.starts,
    },
    clock,
    signal,
    (answer) => answerOf(answer, `${host}:${port}`, String(request['cmd'])),
  );
}

/** What the bytes of an answer say. */
function answerOf(
  answer: Result<TcpAnswer, ExchangeFailure>,
  place: string,
  command: string,
): Result<WhatsminerV3Answer, ExchangeFailure> {
  if (!answer.ok) return answer;
  const { bytes, end, sentAt } = answer.value;
  if (bytes.length === 0)
    return exchangeFailure(
      true,
      'unreachable',
      `${place} takes connections but closes them without an answer`,
    );
  const reply = decodeWhatsminerFrame(bytes);
  if (!reply.ok)
    return end === 'idle'
      ? exchangeFailure(true, 'timeout', `${place} fell silent in the middle of an answer`)
      : exchangeFailure(true, reply.error.kind, `${place}: ${reply.error.message}`);
  const no = refusalOf(reply.value, command);
  return no === null ? ok({ ...reply.value, sentAt }) : { ok: false, error: { ...no, connected: true } };
}

function refusalOf({ code, message }: WhatsminerV3Reply, command: string): Failure | null {
  if (code === 0) return null;
  const said = `${command}: ${typeof message === 'string' ? message.slice(0, 200) : 'no reason given'} (code ${code})`;
  if (code === -4)
    return {
      kind: 'unauthorised',
      message: `the miner allows no commands: ${said}`,
      hint: 'switch the API on in the vendor tool, change the default password, and give it in the configuration',
    };
  return { kind: code === -2 ? 'unsupported' : code === null ? 'malformed' : 'refused', message: said };
}
