import { z } from 'zod';
import { gpuNode, workload } from './gpu-schema.ts';
import { FIRMWARE_FAMILIES } from './miners/firmwares.ts';
import {
  brokerUrl,
  duration,
  durationSeconds,
  id,
  location,
  percent,
  port,
  power,
  secret,
  size,
  tags,
  text,
} from './schema-parts.ts';
import { sparkplug } from './sparkplug-schema.ts';

/**
 * The configuration file: one schema, from which the types, the editors' JSON Schema and every error
 * message come. Powers are watts, durations milliseconds once parsed.
 */

const rating = z.union([
  power,
  z
    .strictObject({
      amps: z.number().positive(),
      volts: z.number().positive().describe('Line to line for three phases, line to neutral for one'),
      phases: z.union([z.literal(1), z.literal(3)]).default(3),
      powerFactor: z.number().min(0.5).max(1).default(1),
    })
    .describe('Rating in amperes per phase'),
  z
    .strictObject({ kva: z.number().positive(), powerFactor: z.number().min(0.5).max(1).default(0.95) })
    .describe('Rating in kilovolt-amperes with the power factor to expect'),
]);

const average = z
  .strictObject({
    watts: power.describe('The most that may flow on average'),
    over: duration.describe('In any period of this length: 15min for most tariffs and grid contracts'),
  })
  .describe('A limit of the average beside the rating, which still bounds every moment');

const thermal = z
  .strictObject({
    continuous: power.describe('What may flow for ever'),
    timeConstant: duration.describe(
      'In which 63 % of a change of temperature has happened: minutes for cables and breakers, hours for oil',
    ),
  })
  .describe('A limit of heat: beyond `continuous`, up to the rating, only for as long as it gets no hotter');

export const AUTHORITIES = ['observe', 'advise', 'shed-only', 'full'] as const;

const limit = z.strictObject({
  id,
  name: text.optional(),
  parent: id.optional().describe('The limit above; the one without a parent is the grid connection'),
  rating,
  continuous: z.boolean().default(false).describe('Loads may last 3 h or more: 80 % of the rating is used'),
  losses: z.number().min(1).max(1.5).default(1).describe('Watts above per watt below'),
  margin: power.default(0).describe('Kept free below the rating'),
  average: average.optional(),
  thermal: thermal.optional(),
  meter: id.optional().describe('The meter that measures this limit'),
  authority: z
    .enum(AUTHORITIES)
    .optional()
    .describe('What the agent may do here: observe (default), advise, shed-only, full; inherited'),
});

const load = z.strictObject({
  id,
  limit: id,
  worst: power.describe('The most it may draw'),
  name: text.optional(),
  class: z
    .enum(['cooling', 'other'])
    .optional()
    .describe('Where its energy is booked; by default cooling where the id says so, else other'),
});

const transport = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('modbus-tcp'),
    host: text,
    port: port.default(502),
    unit: z.int().min(0).max(255).default(1),
  }),
  z.strictObject({
    kind: z.literal('rtu-over-tcp'),
    host: text,
    port,
    unit: z.int().min(1).max(247).default(1),
  }),
  z.strictObject({
    kind: z.literal('rtu'),
    device: text,
    baud: z.int().positive().default(9600),
    parity: z.enum(['none', 'even', 'odd']).default('none'),
    stopBits: z.union([z.literal(1), z.literal(2)]).default(1),
    unit: z.int().min(1).max(247).default(1),
  }),
]);

/** `interval: auto` of a meter. */
export const OWN_PACE = 0;

const meter = z.strictObject({
  id,
  name: text.optional(),
  profile: text.describe(
    'Register map, for example `schneider-pm5560` (`switchyard sample profiles` lists them), or a file of your own',
  ),
  transport,
  parameters: z
    .record(z.string(), z.number())
    .optional()
    .describe(
      'Figures set in the meter that its registers need, such as fullScaleWatts; the profile names them',
    ),
  nominalVolts: z.number().positive().optional().describe('Line to neutral, for the range checks'),
  ratedAmps: z
    .number()
    .positive()
    .optional()
    .describe('Primary current of the current transformers: more than 1.2 times this is no reading'),
  confirmed: z
    .array(text)
    .default([])
    .describe('Points of an unconfirmed register that were compared with the display and may be used'),
  interval: z
    .union([z.literal('auto').transform((): number => OWN_PACE), durationSeconds])
    .default(1000)
    .describe(
      'How often it is read; `auto`: as often as the meter makes new values, at most 10 times a second',
    ),
  invert: z.boolean().default(false).describe('The current transformers are mounted the other way round'),
});

const miner = z.strictObject({
  id: id.describe('Id of the entry; devices are named `<id>-<nnn>` in the order of addresses'),
  limit: id,
  hosts: z.array(text).min(1).describe('Addresses: host, host:port, a-b ranges, CIDR'),
  port: port.default(4028),
  webPort: port.default(80),
  firmware: z.enum(['auto', ...FIRMWARE_FAMILIES]).default('auto'),
  model: text.default('auto'),
  nameplate: power.optional().describe('The most one device may draw; otherwise from the model table'),
  user: text.optional(),
  password: secret.optional(),
  tenant: id.optional(),
  tags,
  location: location.optional(),
  interval: durationSeconds.default(5000).describe('How often each is read'),
});

const tenant = z.strictObject({
  id,
  name: text.optional(),
  energyDollarsPerMwh: z
    .number()
    .optional()
    .describe(
      'What its energy is sold at: decides what its machines are worth; default: the price of the site',
    ),
  curtailmentShare: z
    .enum(['fair', 'merit'])
    .default('merit')
    .describe('fair: among machines that earn the same, those of the tenant that gave up least go first'),
});

const economics = z.strictObject({
  hashpriceDollarsPerPhDay: z.number().nonnegative().default(45),
  energyDollarsPerMwh: z.number().default(40),
  poolFeePercent: percent.default(1),
  dollarsPerGpuHour: z
    .number()
    .nonnegative()
    .default(2)
    .describe('What an hour of a GPU is worth where its workload does not say'),
});

export const ORDER_TYPES = [
  'set_limit',
  'curtail',
  'set_point',
  'schedule',
  'restore',
  'transfer',
  'prices',
  'hold',
  'release',
  'acknowledge',
  'ping',
] as const;

const issuer = z.strictObject({
  id,
  maxPriority: z.int().min(0).max(100),
  orders: z.union([z.literal('all'), z.array(z.enum(ORDER_TYPES))]),
  limits: z.union([z.literal('all'), z.array(id)]),
  onExpiry: z.enum(['hold', 'release']).default('hold').describe('What its limits do when their lease ends'),
  key: secret.optional().describe('Ed25519 public key, PEM'),
  unsigned: z.boolean().default(false).describe('Orders need no signature: only on a broker you trust'),
});

const conversion = z.strictObject({
  id,
  limit: id.describe('The feeder whose capacity passes from mining to AI'),
  steps: z
    .array(
      z.strictObject({
        from: z.iso.date(),
        ai: power.describe('Capacity that belongs to AI from that day'),
        nodes: z.array(id).default([]),
      }),
    )
    .min(1),
});

const control = z.strictObject({
  cycle: durationSeconds.default(1000).describe('How often the agent decides'),
  restoreRampPercentPerMinute: z
    .number()
    .positive()
    .max(100)
    .default(5)
    .describe('How fast power comes back, per cent of the site a minute'),
  fallRampPercentPerMinute: z
    .number()
    .positive()
    .max(100)
    .optional()
    .describe(
      'How fast power falls for money alone (prices), per cent of the site a minute; what a limit, a set point or a hand-over asks for is never held up; default: at once',
    ),
  staleAfter: durationSeconds.default(5000).describe('A meter older than this proves nothing'),
  deviceStaleAfter: durationSeconds
    .default(30_000)
    .describe('A device reading older than this proves nothing'),
  dwell: durationSeconds
    .default(300_000)
    .describe('Least time between waking a device and putting it to sleep again without need'),
  switchesPerHour: z
    .int()
    .positive()
    .default(6)
    .describe('Most times a device is put to sleep and woken in an hour without need'),
  wakesPerTenSeconds: z
    .int()
    .positive()
    .optional()
    .describe(
      'Most devices woken in ten seconds, per limit; default: 20, or 3 % of those below it if that is more',
    ),
  overshedPercent: percent
    .default(5)
    .describe('Shed this much more than needed, for devices that do not obey'),
  driftPercent: percent
    .default(2)
    .describe('What sleeping devices below a limit may take back by themselves'),
  reserve: percent.default(1).describe('Part of each limit that is never planned'),
  local: z.boolean().default(false).describe('Local control: orders from afar may only lower'),
  minersShareLimit: z
    .boolean()
    .default(true)
    .describe('Power limits and presets may be used, not only sleep'),
});

const transfers = z.strictObject({
  askedByNodes: z
    .boolean()
    .default(false)
    .describe('A GPU node that works at its ceiling asks for its flexible watts by itself'),
  lease: durationSeconds
    .default(300_000)
    .describe('A grant that is not renewed by fresh evidence for this long is withdrawn'),
  shedWithin: durationSeconds
    .default(600_000)
    .describe('Mining has this long to free what a hand-over needs, verified'),
  followWithin: durationSeconds
    .default(300_000)
    .describe('A GPU node has this long to take up a grant, and to let go of one'),
  askers: z
    .array(
      z.strictObject({
        id: id.describe('Stands before the ids of what it asks'),
        issuer: id.describe(
          'The issuer in whose name it asks; it must be `unsigned` and may order `transfer`',
        ),
        workload: id.optional().describe('It may ask for this one only'),
        topic: z
          .string()
          .regex(/^[^#+\s]+$/, 'one topic, without + and #')
          .optional()
          .describe('Whole MQTT topic on which it asks'),
        token: secret.optional().describe('Bearer token with which it asks over HTTP: `POST /api/v1/ask`'),
      }),
    )
    .default([])
    .describe('Workload managers that may ask for watts'),
});

const mqtt = z.strictObject({
  url: brokerUrl,
  root: z
    .string()
    .regex(/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/)
    .default('switchyard'),
  username: text.optional(),
  password: secret.optional(),
  ca: z.string().optional().describe('File with the certificate authority to trust'),
  cert: z.string().optional(),
  key: z.string().optional(),
  clientId: text.optional(),
  keepalive: durationSeconds.default(20_000),
  siteInterval: durationSeconds.default(1000).describe('How often `tele/site` is sent'),
  rowInterval: durationSeconds.default(10_000).describe('How often rows that changed are sent'),
  fullInterval: durationSeconds
    .default(300_000)
    .describe('Every row is sent at least this often, changed or not'),
  compress: z.boolean().default(false).describe('Telemetry goes deflated to `.../z` in place of plain JSON'),
  secondUrl: brokerUrl.optional().describe('A second broker, asked when the first does not answer'),
  targets: z
    .array(
      z.strictObject({
        topic: z
          .string()
          .regex(/^[^#+\s]+$/, 'one topic, without + and #')
          .describe('Whole topic on which `{"target":0|100,"timestamp":<unix s>}` comes'),
        issuer: id.describe('The issuer whose orders these are; it must be `unsigned`'),
        limit: id,
        off: power.default(0).describe('The limit at target 0'),
        within: durationSeconds.default(30_000),
        silence: z
          .enum(['hold', 'off'])
          .default('hold')
          .describe('What silence means: as it is, or target 0'),
        silenceAfter: durationSeconds.default(60_000),
      }),
    )
    .default([])
    .describe('Sources that send a level, repeated as a heartbeat'),
  replay: size
    .default(250_000)
    .describe('Most bytes a second for what could not be sent in time, after an outage'),
  replayDelay: durationSeconds
    .default(60_000)
    .describe('After a long outage the replay begins within this time, at random'),
});

const page = z.strictObject({
  listen: z
    .string()
    .regex(/^(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/i, 'write address:port, for example 127.0.0.1:7420')
    .default('127.0.0.1:7420'),
  hosts: z.array(text).default([]).describe('Names under which the page may be asked for, beside addresses'),
});

const store = z.strictObject({
  path: z.string().min(1).default('/var/lib/switchyard'),
  maximum: size.default(2e9),
});

const log = z.strictObject({
  level: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('`-q` and `-v` win over it'),
});

/** The whole file. Output: powers in watts, durations in milliseconds, every default filled in. */
export const configSchema = z.strictObject({
  site: z.strictObject({
    id,
    name: text.optional(),
    timezone: z.string().default('UTC'),
    currency: z.string().default('USD'),
  }),
  limits: z.array(limit).min(1),
  loads: z.array(load).default([]),
  meters: z.array(meter).default([]),
  miners: z.array(miner).default([]),
  gpuNodes: z.array(gpuNode).default([]),
  workloads: z.array(workload).default([]),
  tenants: z.array(tenant).default([]),
  economics: economics.prefault({}),
  issuers: z.array(issuer).default([]),
  conversions: z.array(conversion).default([]),
  control: control.prefault({}),
  transfers: transfers.prefault({}),
  mqtt: mqtt.optional(),
  sparkplug: sparkplug.optional(),
  page: page.prefault({}),
  store: store.prefault({}),
  log: log.prefault({}),
});

/** The configuration after parsing, before secrets are read and hosts expanded. */
export type Config = z.output<typeof configSchema>;
export type LimitConfig = Config['limits'][number];
export type MeterConfig = Config['meters'][number];
export type MinerConfig = Config['miners'][number];
export type GpuNodeConfig = Config['gpuNodes'][number];
export type IssuerConfig = Config['issuers'][number];
export type MqttConfig = NonNullable<Config['mqtt']>;
export type SparkplugConfig = NonNullable<Config['sparkplug']>;
export type SecretSource = z.output<typeof secret>;
export type Authority = (typeof AUTHORITIES)[number];
export type OrderType = (typeof ORDER_TYPES)[number];

/** The same as a JSON Schema (draft 2020-12), for editors. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
}
