import type { Failure, FailureKind } from '../result.ts';
import { exceptionName } from './pdu.ts';

export interface BusFailure extends Failure {
  /** The Modbus exception, when that was the answer: link, unit and gateway are alive. */
  readonly exceptionCode: number | null;
}

interface Refused {
  readonly ok: false;
  readonly error: BusFailure;
}

/** How an exception reads as a failure. Source: Modbus Application Protocol V1.1b3, section 7. */
const EXCEPTION_KINDS: Readonly<Record<number, FailureKind>> = {
  1: 'unsupported',
  5: 'busy',
  6: 'busy',
  10: 'unreachable',
  11: 'timeout',
};

/** A failure without an exception. */
export function failure(kind: FailureKind, message: string, hint?: string): Refused {
  const told = hint === undefined ? {} : { hint };
  return { ok: false, error: { kind, message, ...told, exceptionCode: null } };
}

/** The same, at once, for a request that was never queued. */
export function refusal(kind: FailureKind, message: string): Promise<Refused> {
  return Promise.resolve(failure(kind, message));
}

/** Exception `code` of `unit` as a failure. `name`: the path, for the message. */
export function exceptionFailure(name: string, unit: number, code: number): Refused {
  const message = `${name}: unit ${unit} answered exception ${code} (${exceptionName(code)})`;
  return { ok: false, error: { kind: EXCEPTION_KINDS[code] ?? 'refused', message, exceptionCode: code } };
}
