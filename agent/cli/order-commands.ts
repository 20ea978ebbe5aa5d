import { randomUUID } from 'node:crypto';
import { formatWatts, parseDuration, parsePower } from '../../config/quantity.ts';
import type { OrderAnswer } from '../orders/book.ts';
import type { SiteView } from '../site/view.ts';
import { ask, type Context } from './context.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderTable } from './table.ts';

/** Sends an order to the running agent as its local operator. */
export async function sendOrder(
  context: Context,
  type: string,
  args: Record<string, unknown>,
  lease: { seconds: number } | null = null,
): Promise<OrderAnswer | Outcome> {
  const site = await ask(context, 'GET', '/api/v1/site');
  if (!site.ok) return failureOutcome(site.error);
  const order = {
    v: 1,
    id: randomUUID(),
    site: (site.value.body as SiteView).site,
    type,
    issuer: 'local',
    priority: 100,
    issued: Date.now(),
    seq: 0,
    lease,
    args,
  };
  const answer = await ask(context, 'POST', '/local/order', order);
  if (!answer.ok) return failureOutcome(answer.error);
  return answer.value.body as OrderAnswer;
}

/** What an answer to an order means for the command that gave it: exit code, words, next step. */
export function answerOutcome(answer: OrderAnswer, done: string): Outcome {
  if (answer.status === 'rejected' || answer.status === 'failed' || answer.status === 'expired') {
    return {
      exit: EXIT.refused,
      data: answer,
      problems: [{ code: answer.status, message: answer.reason ?? answer.status }],
    };
  }
  return { exit: EXIT.ok, data: answer, text: done };
}

/** `hold` and `release`. */
export async function orderCommand(
  context: Context,
  type: 'hold' | 'release',
  args: { target: string; who: string; why?: string; until?: string },
): Promise<Outcome> {
  const until = args.until === undefined ? null : Date.parse(args.until);
  if (until !== null && Number.isNaN(until))
    return {
      exit: EXIT.usage,
      problems: [{ code: 'usage', message: '--until is a time like 2026-12-01T14:00:00Z.' }],
    };
  const answer = await sendOrder(context, type, { ...args, ...(type === 'hold' ? { until } : {}) });
  if ('exit' in answer) return answer as Outcome;
  return answerOutcome(
    answer as OrderAnswer,
    type === 'hold'
      ? `${args.target} is held for ${args.who}: nobody commands it until it is released.`
      : `${args.target} is released.`,
  );
}

/** `limit [show|set|clear]`. */
export async function limitCommand(
  context: Context,
  verb: string | undefined,
  limit: string | undefined,
  watts: string | undefined,
  options: { within: string; for?: string },
): Promise<Outcome> {
  if (verb === undefined || verb === 'show') {
    const site = await ask(context, 'GET', '/api/v1/site');
    if (!site.ok) return failureOutcome(site.error);
    const { limits } = site.value.body as SiteView;
    const text = renderTable(
      ['limit', 'in force', 'rating', 'power', 'headroom', 'worst', 'source', 'until'],
      limits.map((row) => [
        row.id,
        formatWatts(row.limitWatts),
        formatWatts(row.ratingWatts),
        formatWatts(row.powerWatts),
        formatWatts(row.headroomWatts),
        formatWatts(row.worstWatts),
        row.source,
        row.until === null ? '-' : new Date(row.until).toISOString(),
      ]),
    );
    return { exit: EXIT.ok, data: limits, text };
  }
  if (verb === 'clear') {
    const answer = await sendOrder(context, 'restore', limit === undefined ? {} : { limit });
    return 'exit' in answer
      ? (answer as Outcome)
      : answerOutcome(
          answer as OrderAnswer,
          `${limit ?? 'every limit'}: orders are cleared, power returns by ramp.`,
        );
  }
  if (verb !== 'set' || limit === undefined || watts === undefined)
    return {
      exit: EXIT.usage,
      problems: [
        { code: 'usage', message: 'write: limit set LIMIT POWER, limit clear [LIMIT], or limit show.' },
      ],
    };
  const power = /^\d+(\.\d+)?$/.test(watts) ? { ok: true as const, value: Number(watts) } : parsePower(watts);
  const within = parseDuration(options.within);
  const lease = options.for === undefined ? null : parseDuration(options.for);
  if (!power.ok || !within.ok || (lease !== null && !lease.ok)) {
    const message = !power.ok
      ? power.message
      : !within.ok
        ? within.message
        : lease !== null && !lease.ok
          ? lease.message
          : '';
    return { exit: EXIT.usage, problems: [{ code: 'usage', message: `${message}.` }] };
  }
  const answer = await sendOrder(
    context,
    'set_limit',
    { limit, watts: power.value, withinMs: Math.round(within.value) },
    lease?.ok ? { seconds: lease.value / 1000 } : null,
  );
  if ('exit' in answer) return answer as Outcome;
  const { expectedWatts, shortfallWatts } = answer as OrderAnswer;
  const promise =
    expectedWatts === undefined
      ? ''
      : ` Expected by the deadline: ${formatWatts(expectedWatts)}${(shortfallWatts ?? 0) > 0 ? `, ${formatWatts(shortfallWatts ?? 0)} short` : ''}.`;
  return answerOutcome(
    answer as OrderAnswer,
    `${limit} is limited to ${formatWatts(power.value)}.${promise}`,
  );
}

/** `quarantine` and `replace [--removed]`: what only a person on the gateway may say of a device. */
export async function localCommand(
  context: Context,
  verb: 'quarantine' | 'replace' | 'removed',
  device: string,
  why: string,
): Promise<Outcome> {
  const answer = await ask(context, 'POST', `/local/${verb}`, { device, why });
  if (!answer.ok) return failureOutcome(answer.error);
  const { error } = answer.value.body as { error?: string };
  if (error !== undefined) return { exit: EXIT.usage, problems: [{ code: 'usage', message: `${error}.` }] };
  const text = {
    quarantine: `${device} is set aside: it counts at its nameplate and is commanded by nobody until it is released.`,
    replace: `${device}: whatever answers there now is taken as the device of this place, at its worst until it is read.`,
    removed: `${device} counts as removed: it reserves no power until it answers again.`,
  }[verb];
  return { exit: EXIT.ok, data: answer.value.body, text };
}
