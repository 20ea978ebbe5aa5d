import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { loadConfigText } from '../../../config/load.ts';
import { profileJsonSchema } from '../../../config/meters/profile.ts';
import { isProfileFile, parseProfile } from '../../../config/meters/profile-file.ts';
import { meterProfiles } from '../../../config/meters/profiles.ts';

const LINES = [
  '{',
  '  "id": "acme-p1", "vendor": "Acme", "models": ["P1"], "transports": ["tcp"],',
  '  "functionCode": 3, "wordOrder": "msw", "maxRegisters": 100, "safeRegisters": 50,',
  '  "defaults": {"unitId": 1}, "notAvailable": {}, "sign": "+import",',
  '  "blocks": [',
  '    {"functionCode": 3, "address": 0, "count": 6, "why": "power"},',
  '    {"functionCode": 3, "address": 10, "count": 4, "why": "the rest"}',
  '  ],',
  '  "points": [',
  '    {"name": "power.active.total", "address": 0, "type": "f32", "scale": 1, "unit": "W", "confidence": "B", "sources": ["manual"]},',
  '    {"name": "current.l1", "address": 2, "type": "f32", "scale": 1, "unit": "A", "confidence": "B", "sources": ["manual"]},',
  '    {"name": "frequency", "address": 10, "type": "f32", "scale": 1, "unit": "Hz", "confidence": "B", "sources": ["manual"]}',
  '  ]',
  '}',
];

function parse(line: number, from: string, to: string) {
  const lines = [...LINES];
  expect(lines[line - 1]).toContain(from);
  lines[line - 1] = lines[line - 1]!.replace(from, to);
  return parseProfile('acme.json', lines.join('\n'));
}

describe('a profile in a file', () => {
  test('that holds is read', () => {
    const result = parseProfile('acme.json', LINES.join('\n'));
    expect(result).toMatchObject({ ok: true, value: { id: 'acme-p1', points: { length: 3 } } });
  });

  test.each([
    ['an unknown type', 10, '"f32"', '"f23"', 10, 'did you mean "f32"'],
    ['a missing unit', 11, '"unit": "A", ', '', 11, '"unit" is missing'],
    ['a wrong unit', 11, '"unit": "A"', '"unit": ""', 11, 'it must be in A'],
    ['an unknown key', 10, '"scale"', '"skale"', 10, 'skale'],
    ['an overlap of points', 11, '"address": 2', '"address": 1', 11, 'overlap at 1'],
    ['an overlap of blocks', 7, '"address": 10', '"address": 4', 7, 'blocks 0 and 4 overlap'],
    ['an odd length', 6, '"count": 6', '"count": 5', 6, 'odd length'],
    ['an odd start', 7, '"address": 10', '"address": 11', 7, 'starts between two values'],
    ['a block that is too long', 6, '"count": 6', '"count": 102', 6, 'longer than one request'],
    ['a block beyond what Modbus allows', 6, '"count": 6', '"count": 126', 6, 'count'],
    ['a value cut in two', 7, '"count": 4', '"count": 1', 7, 'cuts frequency in two'],
    ['an address that does not exist', 12, '"address": 10', '"address": 70000', 12, 'address'],
    ['a limit that is missing', 3, '"maxRegisters": 100, ', '', 1, '"maxRegisters" is missing'],
    ['JSON that ends too soon', 14, '}', '', 14, ''],
  ])('with %s is refused with line and reason', (_, line, from, to, at, reason) => {
    const result = parse(line, from, to);
    if (result.ok) throw new Error('it was accepted');
    expect(result.problems.map((problem) => problem.message).join('\n')).toContain(reason);
    expect(result.problems.every((problem) => problem.file === 'acme.json')).toBe(true);
    expect(result.problems.map((problem) => problem.line)).toContain(at);
  });

  test('is told from the name of one that ships', () => {
    expect(['./acme.json', 'meters/acme.yaml', 'acme.yml', 'C:\\meters\\a.json'].every(isProfileFile)).toBe(
      true,
    );
    expect([...meterProfiles().keys()].some(isProfileFile)).toBe(false);
  });
});

describe('a configuration that names a profile', () => {
  const config = (profile: string, more = '') =>
    loadConfigText(`site: { id: s }
limits:
  - { id: grid, rating: 1 MW, meter: m }
meters:
  - { id: m, profile: ${profile}, transport: { kind: modbus-tcp, host: 127.0.0.1 }${more} }
`);

  test('that does not exist is refused with what was meant', () => {
    expect(config('schneider-pm556')).toMatchObject({
      ok: false,
      problems: [{ code: 'unknown-profile', line: 5, hint: 'Did you mean "schneider-pm5560"?' }],
    });
  });

  test('in a file that is not there is refused', () => {
    expect(config('./nowhere.json')).toMatchObject({
      ok: false,
      problems: [{ code: 'unreadable', line: 5 }],
    });
  });

  test('whose power needs a figure from the meter warns until it is given', () => {
    const warned = config('satec-pm180');
    expect(warned.ok && warned.value.warnings.map(({ code }) => code)).toContain('missing-parameter');
    const given = config('satec-pm180', ', parameters: { fullScaleWatts: 4000000 }');
    expect(given.ok && given.value.warnings.map(({ code }) => code)).not.toContain('missing-parameter');
  });
});

describe('the JSON Schema of profiles', () => {
  const file = new URL('../../../docs/reference/meter-profile.schema.json', import.meta.url);

  test('in the docs is current (`npm run --silent switchyard -- schema meter`)', () => {
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(profileJsonSchema())));
  });

  test('accepts every map that ships and refuses an unknown type', () => {
    const validate = new Ajv2020({ strict: false }).compile(JSON.parse(readFileSync(file, 'utf8')));
    for (const [id, profile] of meterProfiles()) {
      expect(validate(JSON.parse(JSON.stringify(profile))), id).toBe(true);
    }
    const broken = JSON.parse(LINES.join('\n'));
    expect(validate(broken)).toBe(true);
    broken.points[0].type = 'f23';
    expect(validate(broken)).toBe(false);
  });
});
