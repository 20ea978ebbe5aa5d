import type { OrderAnswer } from '../orders/book.ts';
import type { Alarm } from '../site/alarms.ts';
import { ask, type Context } from './context.ts';
import { sendOrder } from './order-commands.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderTable } from './table.ts';

/** `alarms`, `alarms acknowledge ID|all`. Listing exits 1 while an alarm is critical and nobody has seen it. */
export async function alarmsCommand(
  context: Context,
  verb: string | undefined,
  id: string | undefined,
  who: string,
): Promise<Outcome> {
  const answer = await ask(context, 'GET', '/api/v1/alarms');
  if (!answer.ok) return failureOutcome(answer.error);
  const { alarms } = answer.value.body as { alarms: readonly Alarm[] };
  if (verb === undefined || verb === 'list')
    return {
      exit: alarms.some((alarm) => alarm.severity === 'critical' && alarm.acknowledgedBy === null)
        ? EXIT.problems
        : EXIT.ok,
      data: alarms,
      text: alarms.length === 0 ? 'No alarm is active.' : renderAlarms(alarms),
    };
  if (verb !== 'acknowledge' || id === undefined)
    return {
      exit: EXIT.usage,
      problems: [
        { code: 'usage', message: 'write: alarms, or alarms acknowledge ID, or alarms acknowledge all.' },
      ],
    };
  const meant =
    id === 'all' ? alarms.filter((alarm) => alarm.acknowledgedBy === null).map((one) => one.id) : [id];
  const answers: OrderAnswer[] = [];
  for (const alarm of meant) {
    const one = await sendOrder(context, 'acknowledge', { alarm, who });
    if ('exit' in one) return one as Outcome;
    answers.push(one as OrderAnswer);
  }
  const refused = answers.filter(({ status }) => status !== 'done');
  return {
    exit: refused.length === 0 ? EXIT.ok : EXIT.refused,
    data: answers,
    text: `${answers.length - refused.length} of ${meant.length} acknowledged${who === '' ? '' : ` by ${who}`}.`,
    problems: refused.map(({ status, reason }) => ({ code: status, message: reason ?? status })),
  };
}

function renderAlarms(alarms: readonly Alarm[]): string {
  return renderTable(
    ['severity', 'id', 'since', 'seen by', 'what', 'next'],
    alarms.map((alarm) => [
      alarm.severity,
      alarm.id,
      new Date(alarm.since).toISOString(),
      alarm.acknowledgedBy ?? '-',
      alarm.message,
      alarm.nextStep,
    ]),
  );
}
