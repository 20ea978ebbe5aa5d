import { readFileSync } from 'node:fs';
import { formatPath } from '../../config/problem.ts';
import { problemFileSchema } from '../../config/problem-file.ts';
import { formatWatts } from '../../config/quantity.ts';
import { solveProblem } from '../allocation/solve.ts';
import type { ConversionView } from '../control/transfer-conversion.ts';
import type { TransferView } from '../control/transfer-service.ts';
import { ask, type Context } from './context.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderConversion, renderTransfer } from './transfer-command.ts';

/** `plan --problem FILE` solves a problem file; `plan` shows what the agent would decide now. */
export async function planCommand(context: Context, options: { problem?: string }): Promise<Outcome> {
  if (options.problem === undefined) {
    const answer = await ask(context, 'GET', '/api/v1/plan');
    if (!answer.ok) return failureOutcome(answer.error);
    return { exit: EXIT.ok, data: answer.value.body, text: renderPlan(answer.value.body as PlanBody) };
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(options.problem === '-' ? 0 : options.problem, 'utf8'));
  } catch (error) {
    return {
      exit: EXIT.configuration,
      problems: [
        {
          code: 'unreadable',
          message: `${options.problem} cannot be read: ${(error as Error).message}.`,
          file: options.problem,
          line: 1,
          column: 1,
        },
      ],
    };
  }
  const parsed = problemFileSchema.safeParse(value);
  if (!parsed.success) {
    return {
      exit: EXIT.configuration,
      problems: parsed.error.issues.map((issue) => ({
        code: 'invalid-problem',
        message: issue.message,
        path: formatPath(issue.path),
      })),
    };
  }
  const startedAt = performance.now();
  const answer = solveProblem(parsed.data as Parameters<typeof solveProblem>[0]);
  const milliseconds = Math.round((performance.now() - startedAt) * 1000) / 1000;
  const data = { ...answer, milliseconds };
  const lines = [
    `${answer.status}: ${answer.dollarsPerHour.toFixed(4)} $/h, at most ${answer.upperBoundDollarsPerHour?.toFixed(4) ?? '-'} $/h possible, gap ${answer.gap === null ? '-' : `${(answer.gap * 100).toFixed(4)} %`}, ${milliseconds} ms`,
    ...answer.limits
      .filter((limit) => limit.dollarsPerKwh > 0)
      .map(
        (limit) =>
          `  ${limit.id} binds: ${formatWatts(limit.watts)} of ${formatWatts(limit.capacityWatts)}, one more kWh is worth ${limit.dollarsPerKwh.toFixed(4)} $`,
      ),
    ...answer.infeasible.map(
      (short) =>
        `  ${'limit' in short ? short.limit : short.floor} cannot be met: ${formatWatts(short.watts)}`,
    ),
  ];
  return { exit: answer.status === 'infeasible' ? EXIT.problems : EXIT.ok, data, text: lines.join('\n') };
}

interface PlanBody {
  readonly status: string;
  readonly dollarsPerHour?: number;
  readonly upperBoundDollarsPerHour?: number | null;
  readonly gap?: number | null;
  readonly binding?: readonly { readonly limit: string; readonly dollarsPerKwh: number }[];
  readonly commands?: readonly { readonly device: string; readonly why: string }[];
  readonly heldBack?: { readonly count: number; readonly watts: number; readonly why: string } | null;
  readonly shortfalls?: readonly { readonly target: string; readonly watts: number }[];
  readonly conversions?: readonly ConversionView[];
  readonly transfers?: readonly TransferView[];
}

function renderPlan(plan: PlanBody): string {
  if (plan.dollarsPerHour === undefined) return 'The agent has not completed a cycle yet.';
  const lines = [
    `${plan.status}: ${plan.dollarsPerHour.toFixed(2)} $/h, at most ${plan.upperBoundDollarsPerHour?.toFixed(2) ?? '-'} $/h possible.`,
  ];
  for (const bound of plan.binding ?? [])
    lines.push(`${bound.limit} binds: one more kWh there is worth ${bound.dollarsPerKwh.toFixed(4)} $.`);
  for (const command of (plan.commands ?? []).slice(0, 20)) lines.push(command.why);
  if ((plan.commands ?? []).length === 0) lines.push('Nothing is to be commanded now.');
  if (plan.heldBack != null)
    lines.push(
      `${plan.heldBack.count} devices (${formatWatts(plan.heldBack.watts)}) wait to rise because of ${plan.heldBack.why}.`,
    );
  for (const short of plan.shortfalls ?? [])
    lines.push(`${short.target} cannot be met: ${formatWatts(short.watts)} too many.`);
  for (const conversion of plan.conversions ?? []) lines.push(...renderConversion(conversion));
  for (const transfer of plan.transfers ?? []) lines.push(renderTransfer(transfer));
  return lines.join('\n');
}
