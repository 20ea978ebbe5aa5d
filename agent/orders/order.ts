import { z } from 'zod';
import type { OrderType } from '../../config/schema.ts';
import { ID_PATTERN } from '../../protocols/units.ts';

/**
 * The form of an order as it arrives. Unknown fields are accepted and ignored; what is known must be right.
 * Source: the product's outside forms (`docs/reference/orders.md`).
 */

const watts = z.number().min(0).max(1e12);
const epochMs = z.number().int().min(0).max(8.64e15);
const idText = z.string().regex(ID_PATTERN);
const withinMs = z.number().int().min(0).max(86_400_000).default(60_000);

const setLimit = z.object({ limit: idText, watts, withinMs });
const curtail = z
  .object({
    limit: idText,
    watts: watts.optional(),
    fraction: z.number().min(0).max(1).optional(),
    of: z.enum(['draw', 'rating', 'baseline']).default('draw'),
    withinMs,
  })
  .refine(
    (args) => (args.watts === undefined) !== (args.fraction === undefined),
    'give either watts or fraction',
  );
const setPoint = z.object({
  limit: idText,
  targetWatts: watts,
  bandWatts: watts.default(0),
  rampWattsPerMinute: z.number().positive().max(1e12).optional(),
});
const scheduleStep = z
  .object({
    from: epochMs,
    watts: watts.nullable().optional(),
    targetWatts: watts.optional(),
    bandWatts: watts.optional(),
    rampWattsPerMinute: z.number().positive().max(1e12).optional(),
  })
  .refine(
    (step) => (step.watts === undefined) !== (step.targetWatts === undefined),
    'give either watts (null lets go) or targetWatts',
  );
const schedule = z.object({
  limit: idText,
  steps: z
    .array(scheduleStep)
    .min(1)
    .max(500)
    .refine(
      (steps) => steps.every((step, index) => index === 0 || step.from > steps[index - 1]!.from),
      'steps follow each other in time',
    ),
  until: epochMs.nullable().default(null),
  withinMs,
});
const restore = z.object({ limit: idText.optional() });
const transfer = z.object({
  limit: idText,
  watts: watts.optional(),
  direction: z.enum(['mining-to-ai', 'ai-to-mining']),
  workload: idText.optional(),
  until: epochMs.nullable().optional(),
});
const prices = z.object({
  hashpriceDollarsPerPhDay: z.number().min(0).max(1e6).optional(),
  energyDollarsPerMwh: z.number().min(-1e5).max(1e6).optional(),
  poolFeePercent: z.number().min(0).max(100).optional(),
});
const hold = z.object({
  target: z.string().min(1).max(100),
  who: z.string().min(1).max(100),
  why: z.string().max(500).default(''),
  until: epochMs.nullable().default(null),
});
const release = z.object({ target: z.string().min(1).max(100), who: z.string().max(100).default('') });
const acknowledge = z.object({
  alarm: z.string().min(1).max(200).describe('Id of an active alarm'),
  who: z.string().max(100).default(''),
});
const ping = z.object({ snapshot: z.boolean().default(false) });

/** Arguments of each order type. */
export const ORDER_ARGS = {
  set_limit: setLimit,
  curtail,
  set_point: setPoint,
  schedule,
  restore,
  transfer,
  prices,
  hold,
  release,
  acknowledge,
  ping,
} as const satisfies Record<OrderType, z.ZodType>;

export type OrderArgs<T extends OrderType> = z.output<(typeof ORDER_ARGS)[T]>;

/** The head that every order has. */
export const orderEnvelope = z.object({
  v: z.literal(1),
  id: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[A-Za-z0-9_.-]+$/, 'letters, digits, dash, dot and underscore'),
  site: z.string(),
  type: z.enum(Object.keys(ORDER_ARGS) as [OrderType, ...OrderType[]]),
  issuer: z.string(),
  priority: z.number().int().min(0).max(100).default(0),
  issued: epochMs,
  notBefore: epochMs.nullable().default(null),
  expires: epochMs.nullable().default(null),
  seq: z.number().int().min(0),
  lease: z
    .object({
      seconds: z.number().positive().max(31_536_000),
      onExpiry: z.enum(['hold', 'release']).optional(),
    })
    .nullable()
    .default(null),
  args: z.record(z.string(), z.unknown()).default({}),
  sig: z
    .object({ kid: z.string().optional(), alg: z.literal('Ed25519'), value: z.string().max(200) })
    .nullable()
    .optional(),
});

/** An order whose form is right. */
export type Order = Omit<z.output<typeof orderEnvelope>, 'args'> & TypedArgs;
type TypedArgs = { [T in OrderType]: { readonly type: T; readonly args: OrderArgs<T> } }[OrderType];

/** Bytes of one order, at most. */
export const MAXIMUM_ORDER_BYTES = 16_384;

export type OrderParse =
  | { readonly ok: true; readonly order: Order }
  | { readonly ok: false; readonly id: string | null; readonly reason: string };

/** Parses the payload of an order. Never throws; says what is wrong in words for the sender. */
export function parseOrder(payload: Uint8Array | string): OrderParse {
  const size = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
  if (size > MAXIMUM_ORDER_BYTES)
    return { ok: false, id: null, reason: `oversized: ${size} bytes, at most ${MAXIMUM_ORDER_BYTES}` };
  let value: unknown;
  try {
    value = JSON.parse(typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8'));
  } catch {
    return { ok: false, id: null, reason: 'malformed: not JSON' };
  }
  return parseOrderValue(value);
}

/** As `parseOrder`, for a value that is JSON already. */
export function parseOrderValue(value: unknown): OrderParse {
  const given =
    typeof value === 'object' && value !== null && 'id' in value ? (value as { id: unknown }).id : null;
  const id = typeof given === 'string' && given.length <= 100 ? given : null;
  const envelope = orderEnvelope.safeParse(value);
  if (!envelope.success) return { ok: false, id, reason: `malformed: ${issueText(envelope.error)}` };
  const args = ORDER_ARGS[envelope.data.type].safeParse(envelope.data.args);
  if (!args.success) return { ok: false, id, reason: `malformed: args ${issueText(args.error)}` };
  return { ok: true, order: { ...envelope.data, args: args.data } as unknown as Order };
}

function issueText(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'unknown';
  return issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`;
}
