import { createHash } from 'node:crypto';
import type { OrderType } from '../../../config/schema.ts';
import type { SparkplugPayload } from '../../../protocols/sparkplug/payload.ts';
import { type PlainValue, plainValue } from '../../../protocols/sparkplug/value.ts';
import type { EpochMs, Milliseconds } from '../../../protocols/units.ts';
import { commandedName, type EdgeNodeState, REBIRTH } from './edge-node.ts';
import { ALARM_ACKNOWLEDGE, LIMIT_DEVICE, RESTORE } from './images.ts';

/** An order that a write to metrics stands for, not yet judged by anybody's authority. */
export interface WrittenOrder {
  readonly type: Extract<
    OrderType,
    'set_limit' | 'set_point' | 'restore' | 'hold' | 'release' | 'acknowledge'
  >;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface Command {
  readonly rebirth: boolean;
  readonly orders: readonly WrittenOrder[];
  /** What was written and stands for nothing, in words for the sender. */
  readonly refusal: string | null;
  /** When the host wrote it. */
  readonly writtenAt: EpochMs | null;
}

/** How old a command may be. It is never stored for a node that is away, so an older one is none of this session. */
export const COMMAND_LIFE_MS: Milliseconds = 60_000;

/**
 * What an NCMD (`device` null) or DCMD asks for. Source of the form: docs/reference/sparkplug.md. Pure but for a hash.
 */
export function readCommand(
  state: EdgeNodeState,
  device: string | null,
  payload: SparkplugPayload,
  rules: { readonly issuer: string | null; readonly withinMs: Milliseconds },
): Command {
  const orders: WrittenOrder[] = [];
  const written = new Map<string, PlainValue | undefined>();
  let rebirth = false;
  let refusal: string | null = null;
  for (const metric of payload.metrics) {
    const name = commandedName(state, device, metric);
    if (name === REBIRTH && device === null) rebirth ||= metric.booleanValue === true;
    else if (name === null) refusal = 'malformed: a metric that was never born';
    else written.set(name, plainValue(typeOf(name), metric));
  }
  if (written.size > 0 && rules.issuer === null)
    refusal = 'nothing here is writable: no issuer is configured';
  else if (device === null) refusal ??= ofNode(written, rules.issuer ?? '', orders);
  else if (device.startsWith(LIMIT_DEVICE))
    refusal ??= ofLimit(device.slice(LIMIT_DEVICE.length), written, rules.withinMs, orders);
  else refusal ??= ofLoad(device, written, rules.issuer ?? '', orders);
  return {
    rebirth,
    orders: refusal === null ? orders : [],
    refusal,
    writtenAt: payload.timestamp ?? null,
  };
}

function ofLimit(
  limit: string,
  written: ReadonlyMap<string, PlainValue | undefined>,
  withinMs: Milliseconds,
  orders: WrittenOrder[],
): string | null {
  for (const [name, value] of written) {
    if (name === 'limitWatts' && typeof value === 'number')
      orders.push({ type: 'set_limit', args: { limit, watts: value, withinMs } });
    else if (name === 'setPointWatts' && typeof value === 'number') {
      const band = written.get('setPointBandWatts');
      orders.push({
        type: 'set_point',
        args: { limit, targetWatts: value, ...(typeof band === 'number' ? { bandWatts: band } : {}) },
      });
    } else if (name === 'setPointBandWatts' && written.has('setPointWatts')) continue;
    else if ((name === 'limitWatts' || name === 'setPointWatts') && value === null)
      orders.push({ type: 'restore', args: { limit } });
    else if (name === RESTORE && value === true) orders.push({ type: 'restore', args: { limit } });
    else return notWritable(name);
  }
  return null;
}

function ofLoad(
  target: string,
  written: ReadonlyMap<string, PlainValue | undefined>,
  issuer: string,
  orders: WrittenOrder[],
): string | null {
  for (const [name, value] of written) {
    if (name !== 'held' || typeof value !== 'boolean') return notWritable(name);
    orders.push(
      value
        ? { type: 'hold', args: { target, who: issuer, why: 'over Sparkplug' } }
        : { type: 'release', args: { target, who: issuer } },
    );
  }
  return null;
}

function ofNode(
  written: ReadonlyMap<string, PlainValue | undefined>,
  issuer: string,
  orders: WrittenOrder[],
): string | null {
  for (const [name, value] of written) {
    if (name !== ALARM_ACKNOWLEDGE || typeof value !== 'string') return notWritable(name);
    orders.push({ type: 'acknowledge', args: { alarm: value, who: issuer } });
  }
  return null;
}

function notWritable(name: string): string {
  return `malformed: ${name} takes no such value`;
}

function typeOf(name: string): 'Double' | 'Boolean' | 'String' {
  if (name === ALARM_ACKNOWLEDGE) return 'String';
  return name === RESTORE || name === 'held' ? 'Boolean' : 'Double';
}

/** The id of an order: the same command again is the same order, and does nothing twice. */
export function orderId(
  issuer: string,
  place: { readonly node: string; readonly device: string | null },
  writtenAt: EpochMs,
  order: WrittenOrder,
): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([place.node, place.device, order]))
    .digest('hex')
    .slice(0, 12);
  return `${issuer}-${writtenAt}-${digest}`;
}
