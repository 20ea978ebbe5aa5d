import { z } from 'zod';
import { duration, durationSeconds, id, location, power, tags, text } from './schema-parts.ts';

const command = z.array(z.string().min(1)).min(1).describe('Program and arguments; no shell');

const secureUrl = z
  .string()
  .regex(
    /^https:\/\/(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?\/?$/i,
    'write https://host or https://host:port',
  );
const fingerprint = z
  .string()
  .regex(/^([0-9a-f]{2}:?){31}[0-9a-f]{2}$/i, '64 hexadecimal digits, with or without colons')
  .describe('SHA-256 of its certificate, in place of an authority');

/** A node with GPUs: how it is read, capped and drained. */
export const gpuNode = z.strictObject({
  id,
  name: text.optional(),
  limit: id,
  nameplate: power.describe('The most the whole node may draw'),
  hostWatts: power.optional().describe('What the node draws beside its GPUs, at most'),
  reader: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('nvidia-smi'), command: command.optional() }),
    z.strictObject({
      kind: z.literal('dcgm'),
      url: z.url(),
      collectInterval: durationSeconds
        .default(30_000)
        .describe('How often the exporter itself collects: older figures prove nothing'),
    }),
    z.strictObject({
      kind: z.literal('redfish'),
      url: secureUrl.describe('Its management controller, such as https://10.0.0.1'),
      user: text,
      passwordFile: z.string().min(1).describe('File with the password; it is read again at every login'),
      ca: z.string().min(1).optional().describe('PEM file of the authority that signed its certificate'),
      fingerprint: fingerprint.optional(),
      chassis: z
        .string()
        .regex(/^\/redfish\/v1\/Chassis\/[A-Za-z0-9._~-]+$/, 'write /redfish/v1/Chassis/<id>')
        .optional()
        .describe('The chassis that is the whole node; needed where several show power'),
      gpus: z.int().min(1).max(128).default(8).describe('How many GPUs it has: what it earns goes by them'),
    }),
  ]),
  cap: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('none') }),
      z.strictObject({
        kind: z.literal('nvidia-smi'),
        command: command.optional(),
        min: power.optional(),
        max: power.optional(),
      }),
      z.strictObject({
        kind: z.literal('redfish'),
        min: power
          .optional()
          .describe('Least limit of the whole node; needed where the node does not say its own'),
        max: power.optional().describe('Highest limit of the whole node'),
      }),
      z.strictObject({
        kind: z.literal('command'),
        command,
        min: power.optional(),
        max: power.optional(),
      }),
    ])
    .default({ kind: 'none' }),
  drain: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('none') }),
      z.strictObject({
        kind: z.literal('slurm'),
        node: z
          .string()
          .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'one node, as `sinfo -N` names it')
          .describe('Its name in Slurm'),
        command: command
          .optional()
          .describe('What stands before `scontrol`, such as [ssh, head], or where it lies'),
        powerDownAfter: durationSeconds
          .optional()
          .describe(
            'Slurm switches the node off when it was drained, and its watts handed over, for so long; absent: never',
          ),
      }),
      z.strictObject({
        kind: z.literal('kubernetes'),
        node: z
          .string()
          .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'one node, as `kubectl get nodes` names it')
          .describe('Its name in Kubernetes'),
        url: secureUrl.describe('The API server, such as https://10.0.0.1:6443'),
        tokenFile: z
          .string()
          .min(1)
          .describe('File with the bearer token; it is read again at every request'),
        ca: z.string().min(1).optional().describe('PEM file of the authority that signed its certificate'),
        fingerprint: fingerprint.optional(),
        grace: durationSeconds.default(120_000).describe('How long an evicted pod has to end'),
        evict: z
          .enum(['gpu', 'all'])
          .default('gpu')
          .describe('Pods that hold a GPU, or every one; those of DaemonSets and mirror pods always stay'),
      }),
      z.strictObject({ kind: z.literal('command'), command }),
    ])
    .default({ kind: 'none' }),
  tenant: id.optional(),
  tags,
  location: location.optional(),
  interval: durationSeconds.default(2000).describe('How often it is read'),
});

/** What runs on nodes, what it was promised and what it earns. */
export const workload = z.strictObject({
  id,
  name: text.optional(),
  nodes: z.array(id).min(1),
  firm: power.default(0).describe('Watts promised whatever happens to mining'),
  flexible: power.default(0).describe('Watts on top that may be withdrawn with notice'),
  notice: duration.default(0),
  checkpoint: duration.default(0),
  caps: z
    .enum(['together', 'separate'])
    .default('together')
    .describe('Caps of its nodes: the same share of their maximum, as one job needs, or each for itself'),
  dollarsPerGpuHour: z.number().nonnegative().default(0),
  penaltyDollarsPerHour: z.number().nonnegative().default(0),
});
