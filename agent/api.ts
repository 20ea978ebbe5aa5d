import type { Controller } from './control/controller.ts';
import { explain } from './control/explain.ts';
import type { TransferService } from './control/transfer-service.ts';
import type { OrderService } from './orders/service.ts';
import { type History, SPANS, type SpanName } from './page/history.ts';
import type { PageSource } from './page/source.ts';
import type { Journal } from './store/journal.ts';
import { historyBody, logBody } from './store/queries.ts';

/** What the last cycle wanted, whatever of it was sent: the answer of `plan`. */
function planBody(controller: Controller, transfers: TransferService): unknown {
  const result = controller.lastResult;
  if (result === null) return { v: 1, status: 'starting' };
  const { decision } = result;
  return {
    v: 1,
    status: decision.status,
    dollarsPerHour: decision.dollarsPerHour,
    upperBoundDollarsPerHour: decision.upperBoundDollarsPerHour,
    gap: decision.gap,
    binding: decision.binding,
    commands: decision.commands,
    heldBack: decision.heldBack,
    shortfalls: decision.shortfalls,
    conversions: transfers.conversions(),
    transfers: transfers.list().filter((transfer) => transfer.endedAt === null),
    limits: decision.sums,
    points: Object.fromEntries(
      Object.values(result.state.entries).map((entry) => [entry.id, entry.pending?.pointId ?? entry.pointId]),
    ),
  };
}

/** Answers an API path over what the parts of the agent know; `null`: there is no such resource. */
export function apiOf(
  name: string,
  query: URLSearchParams,
  source: PageSource,
  history: History,
  controller: Controller,
  orders: OrderService,
  transfers: TransferService,
  journal: Journal,
): unknown {
  const snapshot = source.snapshot();
  if (name === 'devices') {
    const id = query.get('id');
    const limit = query.get('limit');
    const devices = (snapshot?.devices ?? []).filter(
      (device) => (id === null || device.id === id) && (limit === null || device.limit === limit),
    );
    const models = new Map(source.model.devices.map((device) => [device.id, device]));
    return {
      v: 1,
      ts: snapshot?.epochMs ?? null,
      devices: devices.map((device) => ({ ...models.get(device.id), ...device })),
      meters: snapshot?.meters ?? [],
    };
  }
  if (name === 'log') return logBody(journal, query);
  if (name === 'history' && query.has('from')) return historyBody(journal, query);
  if (name === 'history') {
    const span = query.get('span') ?? '5m';
    const limit = query.get('limit') ?? source.model.limits[0]?.id ?? '';
    if (!(span in SPANS)) return { v: 1, error: `span is one of ${Object.keys(SPANS).join(', ')}` };
    return {
      v: 1,
      limit,
      span,
      stepMs: SPANS[span as SpanName].stepMs,
      points: history.points(limit, span as SpanName),
    };
  }
  if (name === 'decisions') return { v: 1, decisions: controller.recentDecisions().slice(-100).reverse() };
  if (name === 'plan') return planBody(controller, transfers);
  if (name === 'orders')
    return { v: 1, leases: orders.book.leases, holds: orders.book.holds, prices: orders.book.prices };
  if (name === 'commands')
    return { v: 1, device: query.get('id'), commands: controller.commandsOf(query.get('id') ?? '') };
  const view = source.view();
  if (name === 'explain' && snapshot !== null && view !== null) {
    const target = query.get('target') ?? '';
    return {
      v: 1,
      ...explain({
        target,
        model: source.model,
        snapshot,
        view,
        result: controller.lastResult,
        commands: controller.commandsOf(target),
        decisions: controller.recentDecisions(),
        holds: orders.book.holds,
      }),
    };
  }
  if (name === 'transfers')
    return { v: 1, transfers: transfers.list(), conversions: transfers.conversions() };
  return null;
}
