import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SparkplugChecker } from '../../../support/sparkplug-checker.ts';

const golden = (name: string) =>
  JSON.parse(
    readFileSync(join(import.meta.dirname, '..', '..', '..', 'golden', 'sparkplug', name), 'utf8'),
  ) as unknown;
const { captures } = golden('captures.json') as {
  captures: {
    name: string;
    conformant: boolean;
    messages: { topic: string; qos: number; retain: boolean; payload_b64: string }[];
  }[];
};
const rules = new Set((golden('rules.json') as { rules: { id: string }[] }).rules.map(({ id }) => id));

/** These break a SHOULD, or one reading of a rule. */
const WARNINGS = ['data with datatype', 'names differ by case', 'ndeath qos0'];

const judge = (capture: (typeof captures)[number]) => {
  const checker = new SparkplugChecker();
  for (const { payload_b64, ...message } of capture.messages)
    checker.message({ ...message, payload: Buffer.from(payload_b64, 'base64') });
  return checker.findings;
};

describe('the rule checker', () => {
  it('has 29 captures to show what it is worth', () => {
    expect(captures.length).toBe(29);
  });

  it.each(captures.map((capture) => [capture.name, capture] as const))(
    'judges "%s" as it is',
    (name, capture) => {
      const findings = judge(capture);
      if (capture.conformant) expect(findings).toEqual([]);
      else {
        const levels = new Set(findings.map(({ level }) => level));
        expect([...levels]).toEqual([WARNINGS.includes(name) ? 'warning' : 'error']);
      }
      for (const { id } of findings) expect(rules, id).toContain(id);
    },
  );
});
