import { formatWatts } from '../../config/quantity.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { LimitId } from '../../protocols/units.ts';
import { type ReloadReport, renderReload } from '../live-config.ts';
import type { Lease } from '../orders/book.ts';
import type { Alarm } from '../site/alarms.ts';
import type { SiteView } from '../site/view.ts';
import { renderHost } from '../telemetry/host-alarms.ts';
import type { HostHealth } from '../telemetry/host-health.ts';
import { ask, type Context, problemsOf } from './context.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderTable } from './table.ts';

/** `status`: what the running agent knows, in one screen. */
export async function statusCommand(context: Context): Promise<Outcome> {
  const answer = await ask(context, 'GET', '/api/v1/site');
  if (!answer.ok) return failureOutcome(answer.error);
  const view = answer.value.body as SiteView;
  const orders = await ask(context, 'GET', '/api/v1/orders');
  const leases = orders.ok ? ((orders.value.body as { leases?: readonly Lease[] }).leases ?? []) : [];
  const host = await ask(context, 'GET', '/api/v1/host');
  const gateway =
    host.ok && host.value.status === 200 ? `\ngateway: ${renderHost(host.value.body as HostHealth)}` : '';
  const critical = view.alarms.some((alarm) => alarm.severity === 'critical');
  return {
    exit: critical ? EXIT.problems : EXIT.ok,
    data: view,
    text: `${renderStatus(view, leases)}${gateway}`,
  };
}

/** The status screen. Pure. */
export function renderStatus(view: SiteView, leases: readonly Lease[] = []): string {
  if (view.totals === null) return `${view.site}: starting, nothing read yet.`;
  const { totals } = view;
  const lines = [
    verdict(view, leases),
    '',
    renderTable(
      ['limit', 'power', 'limit in force', 'headroom', 'mining', 'ai', 'quality', 'age', 'source'],
      view.limits.map((limit) => [
        `${'  '.repeat(depthOf(view, limit.id))}${limit.id}`,
        formatWatts(limit.powerWatts),
        formatWatts(limit.limitWatts),
        formatWatts(limit.headroomWatts),
        formatWatts(limit.miningWatts),
        formatWatts(limit.aiWatts),
        `${limit.quality}, ${limit.basis}`,
        limit.ageMs === null ? '-' : `${(limit.ageMs / 1000).toFixed(1)} s`,
        limit.source,
      ]),
    ),
    '',
    `miners: ${totals.miners.present} of ${totals.miners.configured} answer, ${totals.miners.working} work, ${totals.miners.asleep} sleep, ${totals.hashrateThs.toLocaleString('en-US')} TH/s`,
    `GPU nodes: ${totals.gpuNodes.present} of ${totals.gpuNodes.configured} answer, ${totals.gpuNodes.working} work`,
  ];
  for (const alarm of view.alarms.slice(0, 10)) {
    const seen = alarm.acknowledgedBy === null ? '' : ` (seen by ${alarm.acknowledgedBy})`;
    lines.push(`${alarm.severity.toUpperCase()} ${alarm.message} ${alarm.nextStep}${seen}`);
  }
  if (view.alarms.length > 10) lines.push(`... and ${view.alarms.length - 10} more alarms`);
  return lines.join('\n');
}

/** One sentence on how the site is. */
export function verdict(view: SiteView, leases: readonly Lease[] = []): string {
  const { totals } = view;
  const over = view.limits.filter(
    (limit) => limit.powerWatts !== null && limit.powerWatts > limit.limitWatts,
  );
  const name = view.name === view.site ? view.site : `${view.name} (${view.site})`;
  const beyond = over.filter(({ id }) => view.alarms.some((alarm) => isBeyond(alarm, id)));
  const due = over.flatMap((limit) => {
    if (beyond.includes(limit)) return [];
    const lease = leases.find(
      (candidate) => candidate.limit === limit.id && candidate.watts === limit.limitWatts,
    );
    const leftMs = lease === undefined ? 0 : lease.createdAt + lease.withinMs - view.ts;
    return leftMs > 0 ? [{ limit, leftMs }] : [];
  });
  if (over.length > 0 && due.length === over.length) {
    const parts = due.map(
      ({ limit, leftMs }) =>
        `${limit.id} by ${formatWatts(-(limit.headroomWatts ?? 0))} within ${Math.ceil(leftMs / 1000)} s`,
    );
    return `${name} is coming down to its limit: ${parts.join(', ')}.`;
  }
  if (over.length > 0) {
    const parts = over.map((limit) => `${limit.id} by ${formatWatts(-(limit.headroomWatts ?? 0))}`);
    const told =
      beyond.length === 0
        ? ''
        : ` The agent alone cannot bring ${beyond.map(({ id }) => id).join(', ')} under it.`;
    return `${name} is OVER its limit at ${parts.join(', ')}.${told}`;
  }
  if (totals.powerWatts === null) return `${name}: power is not known yet.`;
  const blind = view.limits.filter((limit) => limit.quality === 'stale' || limit.quality === 'bad');
  const doubt =
    blind.length > 0 ? ` The figure of ${blind.map((limit) => limit.id).join(', ')} is not fresh.` : '';
  const other = totals.otherWatts === null ? '' : `, ${formatWatts(totals.otherWatts)} other`;
  return `${name} draws ${formatWatts(totals.powerWatts)} of ${formatWatts(totals.limitWatts)}: ${formatWatts(totals.miningWatts)} mining, ${formatWatts(totals.aiWatts)} AI${other}. Mode ${view.mode}.${doubt}`;
}

/** Nothing that the agent may command brings this limit under: its deadline says nothing. */
function isBeyond({ code, target }: Alarm, limit: LimitId): boolean {
  return code === 'cannot-be-met' && target === limit;
}

function depthOf(view: SiteView, id: string): number {
  let depth = 0;
  for (let at = view.limits.find((limit) => limit.id === id); at?.parent != null; depth += 1) {
    const { parent } = at;
    at = view.limits.find((limit) => limit.id === parent);
  }
  return depth;
}

/** `explain TARGET`: why a device or limit is as it is. */
export async function explainCommand(context: Context, target: string): Promise<Outcome> {
  const answer = await ask(context, 'GET', `/api/v1/explain?target=${encodeURIComponent(target)}`);
  if (!answer.ok) return failureOutcome(answer.error);
  const explanation = answer.value.body as { kind: string; sentences?: readonly string[] };
  if (explanation.sentences === undefined)
    return {
      exit: EXIT.unanswered,
      problems: [{ code: 'starting', message: 'the agent has not completed a cycle yet.' }],
    };
  return {
    exit: explanation.kind === 'unknown' ? EXIT.usage : EXIT.ok,
    data: explanation,
    text: explanation.sentences.join('\n'),
  };
}

/** `reload`: the agent takes its changed configuration in. Exit 3 when it is invalid, 1 when a part needs a restart. */
export async function reloadCommand(context: Context): Promise<Outcome> {
  const answer = await ask(context, 'POST', '/local/reload', {});
  if (!answer.ok) return failureOutcome(answer.error);
  const report = answer.value.body as ReloadReport;
  return {
    exit: !report.ok ? EXIT.configuration : report.restart.length > 0 ? EXIT.problems : EXIT.ok,
    data: report,
    text: renderReload(report),
    problems: problemsOf(report.problems),
  };
}

/** `top`: the status again and again until interrupted. */
export async function topCommand(context: Context): Promise<Outcome> {
  while (!context.signal.aborted) {
    const answer = await ask(context, 'GET', '/api/v1/site');
    if (!answer.ok) return failureOutcome(answer.error);
    const view = answer.value.body as SiteView;
    const clear = context.flags.color ? '\u001b[2J\u001b[H' : '\n';
    context.streams.out(context.flags.json ? `${JSON.stringify(view)}\n` : `${clear}${renderStatus(view)}\n`);
    await systemClock.sleep(1000, context.signal);
  }
  return { exit: EXIT.interrupted };
}
