import { z } from 'zod';
import { brokerUrl, durationSeconds, id, secret, size, text } from './schema-parts.ts';

/** Names that are levels of Sparkplug topics. Source: Eclipse Sparkplug 3.0.0, 4.1. */
const level = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,100}$/, 'letters, digits, dash, dot and underscore, at most 100')
  .describe('A level of Sparkplug topics');

/** How devices are put together to edge nodes. */
export const NODE_GROUPS = ['entry', 'limit', 'building', 'row', 'rack'] as const;

/** The site as Sparkplug B 3.0 edge nodes, beside the JSON of `mqtt` or without it. */
export const sparkplug = z.strictObject({
  url: brokerUrl.optional().describe('Broker; default: that of `mqtt`, with its credentials'),
  secondUrl: brokerUrl.optional().describe('The next broker in the list'),
  username: text.optional(),
  password: secret.optional(),
  ca: z.string().optional().describe('File with the certificate authority to trust'),
  cert: z.string().optional(),
  key: z.string().optional(),
  group: level.optional().describe('Group id; default: the id of the site'),
  node: level.default('site').describe('Edge node of the site itself: limits and meters'),
  by: z
    .enum(NODE_GROUPS)
    .default('entry')
    .describe('Miners with the same entry (GPU nodes: limit), limit or place are one edge node'),
  devicesPerNode: z
    .int()
    .min(1)
    .max(1000)
    .default(250)
    .describe('A larger group is several edge nodes, so that births stay small'),
  aliases: z
    .boolean()
    .default(false)
    .describe('Data goes by alias instead of name: a sixth less, and useless to whoever cannot resolve them'),
  primaryHost: level.optional().describe('Nothing is said before this host application is online'),
  issuer: id
    .optional()
    .describe(
      'The issuer whose orders NCMD and DCMD are; it must be `unsigned`. Without it nothing is writable',
    ),
  within: durationSeconds.default(30_000).describe('Limits that are written are met within this'),
  keepalive: durationSeconds.default(20_000),
  siteInterval: durationSeconds.default(1000).describe('How often limits and meters are looked at'),
  rowInterval: durationSeconds.default(10_000).describe('How often miners and GPU nodes are looked at'),
  replay: size.default(250_000).describe('Most bytes a second of history, after an outage'),
});
