import { timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Secret } from '../../config/secret.ts';
import type { EpochMs, LimitId } from '../../protocols/units.ts';
import { ID_PATTERN } from '../../protocols/units.ts';
import type { OrderAnswer } from './book.ts';

/**
 * What a workload manager asks, over MQTT or HTTP: so many watts for AI from then until then. Unknown fields are
 * accepted and ignored. Source: docs/reference/asking.md.
 */
const ask = z.object({
  v: z.literal(1).default(1),
  id: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,80}$/)
    .describe('The same id again gets the same answer'),
  watts: z.number().min(1).max(1e9),
  from: z.number().int().min(0).max(8.64e15).nullish(),
  until: z.number().int().min(0).max(8.64e15).nullish(),
  workload: z.string().regex(ID_PATTERN).optional(),
});

/** Somebody who may ask, as configured: with the authority of an issuer, no more. */
export interface Asker {
  readonly id: string;
  readonly issuer: string;
  readonly workload?: string | undefined;
  readonly topic?: string | undefined;
  readonly token: Secret | null;
}

export interface AskOutlets {
  /** Gives a `transfer` order in the name of an issuer. */
  order(issuer: string, id: string, args: Readonly<Record<string, unknown>>): OrderAnswer;
  /** An answer that no order gave. */
  answer(answer: OrderAnswer): void;
  now(): EpochMs;
}

export const MAXIMUM_ASK_BYTES = 4096;
/** Asks for later that may wait. */
const WAITING_MOST = 64;
const EARLIEST_MS = 7 * 86_400_000;

interface Waiting {
  readonly asker: Asker;
  readonly id: string;
  readonly from: EpochMs;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Takes asks in, keeps those for later until their time, and gives each as an order for a hand-over. */
export class Asks {
  private readonly askers: readonly Asker[];
  private readonly limit: LimitId;
  private readonly outlets: AskOutlets;
  private waiting: Waiting[] = [];

  /** `limit`: where hand-overs are asked for, the grid connection. */
  constructor(askers: readonly Asker[], limit: LimitId, outlets: AskOutlets) {
    this.askers = askers;
    this.limit = limit;
    this.outlets = outlets;
  }

  /** A message on a topic of the operator's choice. A retained one may be days old: it asks nothing. */
  receive(topic: string, payload: Uint8Array, retained: boolean): void {
    if (retained) return;
    for (const asker of this.askers) {
      if (asker.topic !== topic) continue;
      const answer = this.take(asker, Buffer.from(payload));
      // The order's own answer was published by its book.
      if (!answer.ordered) this.outlets.answer(answer.said);
    }
  }

  /** Whoever holds one of the tokens; `null`: nobody does, or nobody may ask over HTTP. */
  bearer(header: string | undefined): Asker | null {
    const given = /^Bearer ([\x21-\x7e]{1,500})$/i.exec(header ?? '')?.[1];
    if (given === undefined) return null;
    let found: Asker | null = null;
    // Every token is compared, so that the time says nothing.
    for (const asker of this.askers)
      if (asker.token !== null && same(asker.token.reveal().trim(), given)) found ??= asker;
    return found;
  }

  /** The answer to an ask over HTTP, with its status code. */
  post(asker: Asker, body: Buffer): { readonly status: number; readonly body: OrderAnswer } {
    const { said } = this.take(asker, body);
    const status =
      said.status !== 'rejected' ? 202 : /^(malformed|oversized)/.test(said.reason ?? '') ? 400 : 409;
    return { status, body: said };
  }

  /** Once a cycle: asks whose time has come. */
  cycle(): void {
    const now = this.outlets.now();
    const due = this.waiting.filter((one) => one.from <= now);
    if (due.length === 0) return;
    this.waiting = this.waiting.filter((one) => one.from > now);
    for (const { asker, id, args } of due) this.outlets.order(asker.issuer, id, args);
  }

  private take(asker: Asker, body: Buffer): { readonly said: OrderAnswer; readonly ordered: boolean } {
    const at = this.outlets.now();
    const reject = (id: string, reason: string) => ({
      said: { v: 1 as const, id, status: 'rejected' as const, reason, at },
      ordered: false,
    });
    if (body.length > MAXIMUM_ASK_BYTES)
      return reject(asker.id, `oversized: ${body.length} bytes, at most ${MAXIMUM_ASK_BYTES}`);
    const parsed = ask.safeParse(jsonOf(body));
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return reject(
        asker.id,
        `malformed: ${issue?.path.join('.') || 'not an object'}: ${issue?.message ?? ''}`,
      );
    }
    const { watts, from, until, workload } = parsed.data;
    // Two askers may use the same id.
    const id = `${asker.id}.${parsed.data.id}`;
    const named = asker.workload ?? workload;
    if (asker.workload !== undefined && workload !== undefined && workload !== asker.workload)
      return reject(id, `${asker.id} asks for ${asker.workload}, not for ${workload}`);
    if (until != null && until <= Math.max(at, from ?? 0))
      return reject(id, 'until is over before it begins');
    const args = {
      limit: this.limit,
      watts,
      direction: 'mining-to-ai',
      ...(named === undefined ? {} : { workload: named }),
      ...(until == null ? {} : { until }),
    };
    if (from == null || from <= at)
      return { said: this.outlets.order(asker.issuer, id, args), ordered: true };
    if (from - at > EARLIEST_MS) return reject(id, 'from is more than a week away');
    const known = this.waiting.some((one) => one.id === id);
    if (!known && this.waiting.length >= WAITING_MOST)
      return reject(id, `${WAITING_MOST} asks wait for their time already`);
    if (!known) this.waiting.push({ asker, id, from, args });
    return {
      said: { v: 1, id, status: 'accepted', reason: 'waits for its time', deadline: from, at },
      ordered: false,
    };
  }
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return null;
  }
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
