import { z } from 'zod';
import { ID_PATTERN } from '../protocols/units.ts';
import { parseDuration, parsePower, parseSize, type Quantity } from './quantity.ts';

/** The values that keys of the configuration are made of. Powers are watts, durations milliseconds once parsed. */

function quantity(parse: (text: string) => Quantity, description: string) {
  return z
    .union([z.number().nonnegative(), z.string()])
    .transform((value, context) => {
      if (typeof value === 'number') return value;
      const parsed = parse(value);
      if (parsed.ok) return parsed.value;
      context.addIssue({ code: 'custom', message: parsed.message });
      return z.NEVER;
    })
    .describe(description);
}

export const power = quantity(parsePower, 'Power, for example `20 MW`, `3.2 kW`; a plain number is watts');
export const duration = quantity(
  parseDuration,
  'Duration, for example `500ms`, `15min`; a plain number is milliseconds',
);
export const durationSeconds = z
  .union([z.number().nonnegative(), z.string()])
  .transform((value, context) => {
    if (typeof value === 'number') return value * 1000;
    const parsed = parseDuration(value);
    if (parsed.ok) return parsed.value;
    context.addIssue({ code: 'custom', message: parsed.message });
    return z.NEVER;
  })
  .describe('Duration, for example `1s`, `500ms`; a plain number is seconds');
export const size = quantity(parseSize, 'Size, for example `2 GB`; a plain number is bytes');
export const id = z
  .string()
  .regex(
    ID_PATTERN,
    'an id is lower-case letters, digits and dashes, at most 63, beginning with a letter or digit',
  )
  .describe('Stable id: lower-case letters, digits, dashes');
export const port = z.int().min(1).max(65_535);
export const text = z.string().min(1).max(200);
export const tags = z.array(text).default([]).describe('Free words for grouping');
export const location = z
  .strictObject({
    building: text.optional(),
    row: text.optional(),
    rack: text.optional(),
    shelf: text.optional(),
    slot: text.optional(),
  })
  .describe('Where it stands');
export const percent = z.number().min(0).max(100);

export const secret = z
  .union([
    z.strictObject({
      file: z.string().min(1).describe('File that holds it, relative to this configuration'),
    }),
    z.strictObject({ env: z.string().min(1).describe('Environment variable that holds it') }),
    z.strictObject({ credential: z.string().min(1).describe('Name of a systemd credential') }),
    z.string().describe('The secret itself: better a file'),
  ])
  .describe('A secret: {file: PATH}, {env: NAME} or {credential: NAME}');

export const brokerUrl = z.string().regex(/^mqtts?:\/\//, 'write mqtt://host:1883 or mqtts://host:8883');
