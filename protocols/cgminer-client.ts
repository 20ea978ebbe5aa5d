import { accepted, type CgminerReply, decodeCgminerReply, watchForJsonEnd } from './cgminer-reply.ts';
import { encodeCgminerRequest } from './cgminer-request.ts';
import type { Clock } from './clock.ts';
import { ok, type Result } from './result.ts';
import {
  type ExchangeFailure,
  type ExchangeLimits,
  exchangeFailure,
  exchangeOverTcpAs,
  type TcpAnswer,
  type Way,
} from './tcp-exchange.ts';
import type { MonotonicMs } from './units.ts';

/** Patience with a control board that boots or tunes: it answers in seconds, not milliseconds. */
export const CGMINER_LIMITS: ExchangeLimits = {
  connectMs: 3000,
  idleMs: 3000,
  totalMs: 8000,
  maximumBytes: 1024 * 1024,
};

/** Where a cgminer API is and how it is reached. */
export interface CgminerTarget extends Way {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly limits?: ExchangeLimits;
}

export interface CgminerAnswer extends CgminerReply {
  readonly sentAt: MonotonicMs;
  readonly bytes: Uint8Array;
}

/**
 * One command, one connection, one reply. The caller keeps to one request in flight per miner: the server
 * is a single thread.
 *
 * Fails `unreachable`, `timeout`, `malformed`, `cancelled`; a miner that says no is a reply, see `accepted`.
 */
export function askCgminer(
  target: CgminerTarget,
  command: string,
  parameter: string | undefined,
  signal: AbortSignal,
): Promise<Result<CgminerAnswer, ExchangeFailure>> {
  return askCgminerBytes(target, encodeCgminerRequest(command, parameter), signal);
}

/** The same with the request given as bytes, for firmware with forms of its own. */
export function askCgminerBytes(
  target: CgminerTarget,
  request: Uint8Array,
  signal: AbortSignal,
): Promise<Result<CgminerAnswer, ExchangeFailure>> {
  return askBytes(target, request, signal, (answer) => answerOf(target, answer));
}

/** Like `askCgminer`, and a miner that says no is a failure too. */
export function readCgminer(
  target: CgminerTarget,
  command: string,
  parameter: string | undefined,
  signal: AbortSignal,
): Promise<Result<CgminerAnswer, ExchangeFailure>> {
  return askBytes(target, encodeCgminerRequest(command, parameter), signal, (said) => {
    const answer = answerOf(target, said);
    if (!answer.ok) return answer;
    const verdict = accepted(answer.value, command);
    return verdict.ok ? answer : { ok: false, error: { ...verdict.error, connected: true } };
  });
}

function askBytes(
  target: CgminerTarget,
  request: Uint8Array,
  signal: AbortSignal,
  read: (answer: Result<TcpAnswer, ExchangeFailure>) => Result<CgminerAnswer, ExchangeFailure>,
): Promise<Result<CgminerAnswer, ExchangeFailure>> {
  const { host, port, clock, limits = CGMINER_LIMITS, connect, starts } = target;
  const exchange = { host, port, request, limits, watch: watchForJsonEnd, connect, starts };
  return exchangeOverTcpAs(exchange, clock, signal, read);
}

/** What the bytes of an answer say. */
function answerOf(
  { host, port }: CgminerTarget,
  answer: Result<TcpAnswer, ExchangeFailure>,
): Result<CgminerAnswer, ExchangeFailure> {
  if (!answer.ok) return answer;
  const { bytes, end, sentAt } = answer.value;
  if (bytes.length === 0)
    return exchangeFailure(
      true,
      'unreachable',
      `${host}:${port} takes connections but closes them without an answer`,
      'this address may not be in the API allow list of the miner, or its mining program is restarting',
    );
  const reply = decodeCgminerReply(bytes);
  if (!reply.ok) {
    const { kind, message } = reply.error;
    return exchangeFailure(true, end === 'idle' ? 'timeout' : kind, `${host}:${port}: ${message}`);
  }
  // Silence in the middle of an answer is slowness; only a closed connection makes what came all there is.
  if (end === 'idle' && reply.value.repairs.includes('cut-off'))
    return exchangeFailure(true, 'timeout', `${host}:${port} fell silent in the middle of an answer`);
  const { form, status, body, repairs, text } = reply.value;
  const said = { form, status, body, repairs, sentAt, bytes };
  return ok(text === undefined ? said : { ...said, text });
}
