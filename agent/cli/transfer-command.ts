import { formatWatts, parsePower } from '../../config/quantity.ts';
import type { ConversionView } from '../control/transfer-conversion.ts';
import type { TransferView } from '../control/transfer-service.ts';
import type { OrderAnswer } from '../orders/book.ts';
import { ask, type Context } from './context.ts';
import { answerOutcome, sendOrder } from './order-commands.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderTable } from './table.ts';

export interface TransferOptions {
  readonly limit?: string;
  readonly watts?: string;
  readonly workload?: string;
  readonly to: string;
  readonly until?: string;
}

/** `transfer [list | start --limit L --watts W --workload ID | end ID]`: hand-overs between mining and AI. */
export async function transferCommand(
  context: Context,
  verb: string | undefined,
  id: string | undefined,
  options: TransferOptions,
): Promise<Outcome> {
  if (verb === undefined || verb === 'list') return list(context);
  if (verb === 'start') return start(context, options);
  if (verb === 'end' && id !== undefined) {
    const answer = await ask(context, 'POST', '/local/transfer-end', { id, who: 'technician' });
    if (!answer.ok) return failureOutcome(answer.error);
    const body = answer.value.body as { error?: string };
    if (answer.value.status !== 200)
      return { exit: EXIT.refused, problems: [{ code: 'refused', message: `${body.error ?? 'refused'}.` }] };
    return { exit: EXIT.ok, data: body, text: `${id} ends: its workload has its notice.` };
  }
  return usage(
    'write: transfer list, transfer start --limit LIMIT --watts POWER --workload ID, or transfer end ID.',
  );
}

function usage(message: string): Outcome {
  return { exit: EXIT.usage, problems: [{ code: 'usage', message }] };
}

async function list(context: Context): Promise<Outcome> {
  const answer = await ask(context, 'GET', '/api/v1/transfers');
  if (!answer.ok) return failureOutcome(answer.error);
  const body = answer.value.body as { transfers: TransferView[]; conversions?: ConversionView[] };
  const rows = body.transfers.map((transfer) => [
    transfer.id,
    transfer.direction,
    transfer.state,
    formatWatts(transfer.watts),
    transfer.workload,
    transfer.limit,
    transfer.asker,
    transfer.reason,
  ]);
  const text =
    rows.length === 0
      ? 'No hand-over is under way.'
      : renderTable(['id', 'direction', 'state', 'power', 'workload', 'limit', 'asked by', 'reason'], rows);
  const conversions = (body.conversions ?? []).flatMap(renderConversion);
  return { exit: EXIT.ok, data: body, text: [text, ...conversions].join('\n') };
}

async function start(context: Context, options: TransferOptions): Promise<Outcome> {
  const { limit, watts, workload, to, until } = options;
  if (limit === undefined || (to !== 'ai' && to !== 'mining'))
    return usage('transfer start needs --limit LIMIT, and --to ai or --to mining.');
  const plain = watts !== undefined && /^\d+(\.\d+)?$/.test(watts);
  const power =
    watts === undefined ? null : plain ? { ok: true as const, value: Number(watts) } : parsePower(watts);
  if (power !== null && !power.ok) return usage(`${power.message}.`);
  const end = until === undefined ? null : Date.parse(until);
  if (end !== null && Number.isNaN(end)) return usage('--until is a time like 2026-12-01T14:00:00Z.');
  const answer = await sendOrder(context, 'transfer', {
    limit,
    direction: to === 'ai' ? 'mining-to-ai' : 'ai-to-mining',
    ...(power === null ? {} : { watts: power.value }),
    ...(workload === undefined ? {} : { workload }),
    ...(end === null ? {} : { until: end }),
  });
  if ('exit' in answer) return answer as Outcome;
  const { id } = answer as OrderAnswer;
  return answerOutcome(
    answer as OrderAnswer,
    `${id} is accepted: ${to === 'ai' ? 'mining is shed, and AI gets the power when meters show it' : 'AI has its notice, and mining gets the power when it is seen down'}. See \`switchyard transfer\`.`,
  );
}

/** One hand-over in a line. */
export function renderTransfer(transfer: TransferView): string {
  const way = transfer.direction === 'mining-to-ai' ? 'to AI' : 'to mining';
  return `Hand-over ${transfer.id}: ${formatWatts(transfer.watts)} ${way} for ${transfer.workload}, ${transfer.state} (${transfer.reason}).`;
}

/** A staged conversion: one line for it, one per step. */
export function renderConversion(conversion: ConversionView): string[] {
  const { id, limit, entitledWatts, reservedWatts, bridgeWatts, steps } = conversion;
  const words = {
    scheduled: 'scheduled',
    bridging: 'due, mining is the bridge until its nodes are energised',
    converted: 'converted',
  } as const;
  return [
    `Conversion ${id} of ${limit}: ${formatWatts(entitledWatts)} belong to AI, ${formatWatts(reservedWatts)} of them kept free now, ${formatWatts(bridgeWatts)} are bridged by mining.`,
    ...steps.map(
      (step) =>
        `  ${step.from}: ${formatWatts(step.aiWatts)} for AI, ${words[step.state]}${step.waitingFor.length === 0 ? '' : `; waits for ${step.waitingFor.join(', ')}`}`,
    ),
  ];
}
