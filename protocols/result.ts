/** An expected failure is a value, not an exception; exceptions are bugs. */
export type Result<T, E = Failure> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/**
 * Every way in which talking to something outside can fail. The catalogue is `docs/errors.md`.
 *
 * - `unreachable`: no connection (refused, no route, name not found, reset before a reply)
 * - `timeout`: connected or sent, no complete answer by the deadline
 * - `malformed`: an answer that is not what the protocol allows, or too large
 * - `refused`: the device, or a rule, said no
 * - `unsupported`: the device cannot do this
 * - `unauthorised`: credentials missing or wrong
 * - `wrong-device`: something else answers at this address
 * - `busy`: the queue or slot was taken until the deadline passed; nothing was sent
 * - `cancelled`: the caller gave up
 */
export type FailureKind =
  | 'unreachable'
  | 'timeout'
  | 'malformed'
  | 'refused'
  | 'unsupported'
  | 'unauthorised'
  | 'wrong-device'
  | 'busy'
  | 'cancelled';

export interface Failure {
  readonly kind: FailureKind;
  /** One clear sentence for a technician: what happened, with the address or field in it. */
  readonly message: string;
  /** What to do about it, where that is known. */
  readonly hint?: string;
}

export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function fail(
  kind: FailureKind,
  message: string,
  hint?: string,
): { readonly ok: false; readonly error: Failure } {
  return { ok: false, error: hint === undefined ? { kind, message } : { kind, message, hint } };
}
