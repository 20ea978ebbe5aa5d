import { z } from 'zod';
import { ORDER_TYPES } from '../../config/schema.ts';
import { orderEnvelope } from '../orders/order.ts';

/**
 * The form of every message, as consumers may rely on it. Fields may be added; none is renamed or gets another
 * unit. The JSON Schemas and the AsyncAPI document in `docs/reference` are generated from here.
 */

const watts = z.number().nullable().describe('W; null = not known');
const wattHours = z.number().nullable().describe('Wh; null = not known');
const epochMs = z.number().int().describe('Milliseconds since 1970 UTC');
const seq = z.number().int().describe('Rises per stream, also over restarts: the key against duplicates');
const quality = z.enum(['good', 'estimated', 'stale', 'bad', 'missing']);
const mode = z.enum([
  'starting',
  'normal',
  'curtailed',
  'shed-only',
  'safe',
  'dry-run',
  'manual',
  'unconfigured',
]);

/** A message with the head that all have. */
function message<T extends z.ZodRawShape>(shape: T) {
  return z.looseObject({ v: z.literal(1), site: z.string(), ts: epochMs, ...shape });
}

const state = message({
  online: z.boolean(),
  session: z.string().describe('New with each start of the agent'),
  agent: z.string().describe('Version'),
  mode,
  infoHash: z.string().describe('Changes with info/site and info/devices'),
});

const infoSite = message({
  schema: z.literal(1),
  name: z.string(),
  infoHash: z.string(),
  deviceParts: z.number().int(),
  limits: z.array(
    z.looseObject({
      id: z.string(),
      name: z.string(),
      parent: z.string().nullable(),
      ratingWatts: z.number(),
      rating: z.string(),
      gain: z.number().describe('Watts at the parent per watt here'),
      meter: z.string().nullable(),
      authority: z.enum(['observe', 'advise', 'shed-only', 'full']),
    }),
  ),
  loads: z.array(z.looseObject({ id: z.string(), limit: z.string(), worstWatts: z.number() })),
  meters: z.array(z.looseObject({ id: z.string(), profile: z.string(), limit: z.string().nullable() })),
  metrics: z.record(z.string(), z.string()).describe('What each field of a row means and its unit'),
});

const text = z.string().nullable();
const infoDevices = message({
  part: z.number().int(),
  parts: z.number().int(),
  devices: z.array(
    z.looseObject({
      id: z.string(),
      kind: z.enum(['miner', 'gpu-node']),
      limit: z.string(),
      entry: z.string(),
      address: z.string(),
      tenant: text,
      tags: z.array(z.string()),
      location: z.record(z.string(), z.string()).nullable(),
      inventory: z.enum(['expected', 'present', 'absent', 'held', 'removed']),
      vendor: text,
      model: text,
      firmware: text,
      firmwareVersion: text,
      macAddress: text,
      serialNumber: text,
    }),
  ),
});

const limits = message({
  limits: z.array(
    z.looseObject({
      id: z.string(),
      watts: z.number(),
      source: z.string().describe('`rating`, or the issuer of the lowest live limit'),
      priority: z.number().nullable(),
      until: epochMs.nullable(),
      onExpiry: z.enum(['hold', 'release']).nullable(),
    }),
  ),
});

const alarms = message({
  alarms: z.array(
    z.looseObject({
      id: z.string(),
      code: z.string(),
      severity: z.enum(['critical', 'major', 'minor', 'info']),
      target: z.string(),
      since: epochMs,
      message: z.string(),
      nextStep: z.string(),
      acknowledgedBy: z.string().nullable(),
      count: z.number().int().optional().describe('How many devices one first cause stands for'),
      firstCause: z
        .string()
        .optional()
        .describe(
          'What those devices share: entry, rack, row, building, network, limit or site, and its name',
        ),
      devices: z.array(z.string()).optional().describe('Those devices, at most 250 of them'),
    }),
  ),
});

const history = {
  hist: z.literal(true).optional().describe('It could not be sent in time'),
  thinnedMs: z.number().optional().describe('Stands for all messages of so many milliseconds'),
  messages: z.number().optional(),
};

const teleSite = message({
  seq,
  mode,
  limits: z.array(
    z.looseObject({
      id: z.string(),
      powerWatts: watts,
      limitWatts: watts,
      headroomWatts: watts,
      worstWatts: watts.describe('The most that could flow by what is proved'),
      quality,
      ageMs: z.number().nullable(),
      basis: z.enum(['measured', 'estimated', 'ledger']),
    }),
  ),
  totals: z.looseObject({
    powerWatts: watts,
    miningWatts: watts,
    aiWatts: watts,
    otherWatts: watts,
    hashrateThs: z.number().nullable(),
  }),
  ...history,
});

function rows(shape: z.ZodRawShape, description: string) {
  return message({
    seq,
    full: z.boolean().describe('Rows are whole; otherwise a field that is not there has not changed'),
    rows: z
      .array(z.looseObject({ id: z.string(), powerWatts: watts, quality, ...shape }))
      .max(100)
      .describe(description),
    ...history,
  });
}
const teleMiners = rows(
  {
    inventory: z.string().optional(),
    state: z.string().optional(),
    hashrateThs: z.number().nullable().optional(),
  },
  'Miners that changed',
);
const teleGpus = rows(
  { inventory: z.string().optional(), state: z.string().optional(), capWatts: watts.optional() },
  'GPU nodes that changed',
);
const teleMeters = rows(
  { importWattHours: wattHours.optional(), frequencyHz: z.number().nullable().optional() },
  'Meters',
);

const gap = message({
  seq,
  stream: z.string(),
  firstSeq: z.number().int(),
  lastSeq: z.number().int(),
  fromMs: epochMs,
  toMs: epochMs,
  messages: z.number().int().nullable().describe('How many; null = not known'),
  reason: z.enum(['evicted', 'restart', 'oversized', 'no-room']),
});

const energyQuality = z.enum(['OK', 'ESTIMATED', 'MISSING', 'BAD']);
const energy = message({
  seq,
  start: epochMs,
  seconds: z.number().int(),
  totalWattHours: wattHours,
  quality: energyQuality,
  classes: z.looseObject({
    miningWattHours: wattHours,
    aiFirmWattHours: wattHours,
    aiFlexibleWattHours: wattHours,
    coolingWattHours: wattHours,
    otherWattHours: wattHours,
  }),
  residualWattHours: wattHours.describe('What no meter and no reading explains'),
  estimated: z.array(z.string()).describe('Classes that rest on the readings of devices'),
  tenants: z.record(z.string(), wattHours),
  meters: z.record(
    z.string(),
    z.looseObject({
      wattHours,
      quality: energyQuality,
      basis: z.enum(['register', 'integral']).nullable(),
      integralWattHours: wattHours,
      flags: z.array(z.string()),
    }),
  ),
});

const event = message({
  seq,
  kind: z.string(),
  target: z.string(),
  message: z.string(),
  detail: z.record(z.string(), z.unknown()).optional(),
});

const decision = message({
  seq,
  cycle: z.number().int(),
  mode: z.string(),
  movedDownWatts: z.number(),
  movedUpWatts: z.number(),
  devicesDown: z.number().int(),
  devicesUp: z.number().int(),
  dollarsPerHour: z.number(),
  upperBoundDollarsPerHour: z.number().nullable(),
  gap: z.number().nullable().describe('Certified distance to the best choice'),
  binding: z.array(z.looseObject({ limit: z.string(), dollarsPerKwh: z.number() })),
  why: z.array(z.string()),
});

const health = message({
  seq,
  host: z.looseObject({ uptimeSeconds: z.number(), load1: z.number() }),
  agent: z.looseObject({ cycles: z.number().int(), commands: z.number().int() }),
  broker: z.looseObject({ connected: z.boolean(), queued: z.number().int() }).nullable(),
});

const transfer = message({
  id: z.string(),
  direction: z.enum(['mining-to-ai', 'ai-to-mining']),
  state: z.string(),
  workload: z.string(),
  limit: z.string(),
  watts: z.number(),
});

const answer = message({
  id: z.string(),
  status: z.enum(['accepted', 'running', 'done', 'failed', 'rejected', 'expired', 'superseded']),
  at: epochMs,
  reason: z.string().optional(),
  limitWatts: z.number().optional(),
  deadline: epochMs.optional(),
  expectedWatts: z.number().optional(),
  shortfallWatts: z.number().optional(),
  measuredWatts: watts.optional(),
  lastSeq: z.number().int().optional(),
});

/** One topic below `<root>/v1/<site>/`. `{name}` stands for one level. */
export interface TopicForm {
  readonly topic: string;
  readonly name: string;
  readonly retained: boolean;
  /** From the site's side. */
  readonly action: 'send' | 'receive';
  readonly summary: string;
  readonly schema: z.ZodType;
  /** Also as `.../z`, deflated (raw), where configured. */
  readonly deflated?: boolean;
}

function sent(topic: string, name: string, retained: boolean, summary: string, schema: z.ZodType): TopicForm {
  return { topic, name, retained, action: 'send', summary, schema };
}

function stream(name: string, summary: string, schema: z.ZodType): TopicForm[] {
  const title = `${name[0]!.toUpperCase()}${name.slice(1)}`;
  return [
    { ...sent(`tele/${name}`, `tele${title}`, false, summary, schema), deflated: true },
    {
      ...sent(
        `hist/${name}`,
        `hist${title}`,
        false,
        `What of tele/${name} could not be sent in time, oldest first.`,
        schema,
      ),
      deflated: true,
    },
  ];
}

/** Every topic of a site. */
export const TOPICS: readonly TopicForm[] = [
  sent('state', 'state', true, 'Whether the agent is there, and how it runs; also the will.', state),
  sent('info/site', 'infoSite', true, 'The tree of limits and what every metric means.', infoSite),
  sent('info/devices/{part}', 'infoDevices', true, 'Devices with identity and place.', infoDevices),
  sent('limits', 'limits', true, 'What is in force for each limit.', limits),
  sent('alarms', 'alarms', true, 'The active alarms.', alarms),
  ...stream('site', 'Power, limit and headroom of every limit.', teleSite),
  ...stream('miners', 'Miners that changed; everything every few minutes.', teleMiners),
  ...stream('gpus', 'GPU nodes that changed; everything every few minutes.', teleGpus),
  ...stream('meters', 'Meters that changed; everything every few minutes.', teleMeters),
  sent('hist/gap', 'gap', false, 'Numbers of a stream that will not come any more.', gap),
  sent('hist/health', 'histHealth', false, 'Health that could not be sent in time.', health),
  sent('energy', 'energy', false, 'Energy of an interval by class, tenant and meter.', energy),
  sent('event', 'event', false, 'What happened.', event),
  sent('decision', 'decision', false, 'What was decided and why.', decision),
  sent('health', 'health', false, 'The gateway itself.', health),
  sent('transfer/{id}', 'transfer', true, 'One hand-over between mining and AI.', transfer),
  sent('cmd/res/{id}', 'answer', false, 'Answers to an order.', answer),
  {
    topic: 'cmd/req/{id}',
    name: 'order',
    retained: false,
    action: 'receive',
    summary: `An order: ${ORDER_TYPES.join(', ')}.`,
    schema: orderEnvelope,
  },
];

/** The form of a topic below the site's prefix, `/z` or not; `null` for one that is not ours. */
export function formOf(topic: string): TopicForm | null {
  const plain = topic.replace(/\/z$/, '');
  return (
    TOPICS.find((form) => new RegExp(`^${form.topic.replace(/\{[a-z]+\}/, '[^/]+')}$`).test(plain)) ?? null
  );
}
