import type { Milliseconds, MonotonicMs } from '../units.ts';
import type { ModbusRequest } from './pdu.ts';
import { functionCodeOf } from './pdu.ts';

/** A reply that may still come: on RTU nothing but unit, function and length says what it belongs to. */
interface Ghost {
  readonly unit: number;
  readonly functionCode: number;
  /** Registers that the reply would carry. */
  readonly count: number;
  readonly address: number;
  readonly until: MonotonicMs;
  /** The request was answered: only a repetition can still come, and for the same registers it harms nothing. */
  readonly isAnswered: boolean;
}

/** Replies are expected at most this many times later than they are allowed to be. */
const LATENESS = 2.5;
/** A line is not called silent sooner than this, however fast it was. */
const QUIET_LEAST_MS: Milliseconds = 20;
const LIFE_MOST_MS: Milliseconds = 30_000;
const READ_MOST = 125;

/**
 * The replies of one RTU path that are still to be feared, and how the next request is told apart from them: by
 * another length where the map allows one more point to be read, else by waiting until they cannot come any more.
 */
export class Ghosts {
  private ghosts: Ghost[] = [];
  private readonly timeoutMs: Milliseconds;
  private worstReplyMs: Milliseconds = 0;
  private lastUnanswered: { readonly unit: number; readonly sentAt: MonotonicMs } | null = null;
  private lastCount = 0;

  constructor(responseTimeoutMs: Milliseconds) {
    this.timeoutMs = responseTimeoutMs;
  }

  /** Twice the worst reply seen: how long a line must be silent before it counts as silent. */
  get quietMs(): Milliseconds {
    return Math.min(this.timeoutMs, Math.max(QUIET_LEAST_MS, 2 * this.worstReplyMs));
  }

  /** Notes a request whose reply was believed. */
  answered(unit: number, asked: ModbusRequest, sentAt: MonotonicMs, now: MonotonicMs): void {
    this.worstReplyMs = Math.max(this.worstReplyMs, now - sentAt);
    this.add(unit, asked, now + Math.min(this.timeoutMs, 2 * this.worstReplyMs), true);
  }

  /** Notes a request that was given up: its reply may come whenever it likes. */
  unanswered(unit: number, asked: ModbusRequest, sentAt: MonotonicMs): void {
    const lifeMs = Math.min(LIFE_MOST_MS, Math.max(LATENESS * this.timeoutMs, 2 * this.worstReplyMs));
    this.lastUnanswered = { unit, sentAt };
    this.add(unit, asked, sentAt + lifeMs, false);
  }

  /** Notes bytes that came while nothing was asked: this is how slow the path really is. Returns whose they may be. */
  heardLate(now: MonotonicMs): number | null {
    const { lastUnanswered } = this;
    if (lastUnanswered === null) return null;
    this.worstReplyMs = Math.max(this.worstReplyMs, now - lastUnanswered.sentAt);
    return lastUnanswered.unit;
  }

  /**
   * `request` with a length that no feared reply has, or the moment from which it may be asked as it is.
   * `spareCount`: registers after the block that may be read too.
   */
  tell(
    unit: number,
    request: ModbusRequest,
    spareCount: number,
    now: MonotonicMs,
  ): { readonly asked: ModbusRequest } | { readonly freeAt: MonotonicMs } {
    this.ghosts = this.ghosts.filter((ghost) => ghost.until > now);
    const forms: ModbusRequest[] = [request];
    if (request.kind === 'read' && spareCount > 0 && request.count + spareCount <= READ_MOST) {
      forms.push({ ...request, count: request.count + spareCount });
      // Turn about even where nothing is feared: a gateway that repeats its last answer is noticed at once.
      if (request.count === this.lastCount) forms.reverse();
    }
    let freeAt = Number.POSITIVE_INFINITY;
    for (const asked of forms) {
      const until = this.until(unit, asked);
      if (until === null) {
        this.lastCount = asked.kind === 'read' ? asked.count : 0;
        return { asked };
      }
      freeAt = Math.min(freeAt, until);
    }
    return { freeAt };
  }

  private until(unit: number, request: ModbusRequest): MonotonicMs | null {
    const functionCode = functionCodeOf(request);
    const count = countOf(request);
    let until: MonotonicMs | null = null;
    for (const ghost of this.ghosts) {
      if (ghost.unit !== unit || ghost.functionCode !== functionCode || ghost.count !== count) continue;
      if (ghost.isAnswered && ghost.address === request.address) continue;
      until = Math.max(until ?? 0, ghost.until);
    }
    return until;
  }

  private add(unit: number, asked: ModbusRequest, until: MonotonicMs, isAnswered: boolean): void {
    const { address } = asked;
    this.ghosts.push({
      unit,
      functionCode: functionCodeOf(asked),
      count: countOf(asked),
      address,
      until,
      isAnswered,
    });
  }
}

function countOf(request: ModbusRequest): number {
  return request.kind === 'read' ? request.count : request.words.length;
}
