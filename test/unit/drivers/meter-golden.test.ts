import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openMeter } from '../../../drivers/modbus-meter.ts';
import { BusPool } from '../../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../../protocols/random.ts';
import type { RecordedRegisters } from '../../support/registers-server.ts';
import { serveRegisters } from '../../support/registers-server.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

interface Expected {
  readonly powerWatts: number | null;
  readonly quality: string;
  readonly frequencyHz: number | null;
  readonly voltageVolts: readonly (number | null)[];
  readonly currentAmps: readonly (number | null)[];
  readonly powerFactor: number | null;
  readonly importWattHours: number | null;
  readonly exportWattHours: number | null;
  readonly serialNumber: string | null;
  readonly points: Readonly<Record<string, number | string | null>>;
}

const root = new URL('../../golden/modbus/', import.meta.url);
const cases = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap((meter) => readdirSync(new URL(`${meter.name}/`, root)).map((name) => `${meter.name}/${name}`));

function load<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, root), 'utf8')) as T;
}

/** Single precision times a scale differs from the decimal figure in the ninth digit. */
function close(actual: number | null | undefined, expected: number | null, what: string): void {
  if (expected === null || actual === null || actual === undefined) {
    expect(actual ?? null, what).toBe(expected);
    return;
  }
  expect(Math.abs(actual - expected), `${what}: ${actual}`).toBeLessThanOrEqual(Math.abs(expected) * 1e-12);
}

describe('golden meters', () => {
  test('the five main meters have cases', () => {
    for (const profile of [
      'eastron-sdm630',
      'schneider-pm5560',
      'schneider-iem3155',
      'abb-b23-b24',
      'siemens-pac3200-pac4200',
    ]) {
      expect(cases.some((name) => name.startsWith(`${profile}/`))).toBe(true);
    }
  });

  test.each(cases)('%s', async (name) => {
    const { profile, registers } = load<{ profile: string; registers: RecordedRegisters }>(
      `${name}/registers.json`,
    );
    const expected = load<Expected>(`${name}/expected.json`);
    const clock = new VirtualClock();
    const server = await serveRegisters(registers);
    const buses = new BusPool({ clock, random: seededRandom(1) });
    const transport = { kind: 'modbus-tcp', host: server.host, port: server.port, unit: 1 } as const;
    const meter = openMeter({ id: 'meter', profile, transport }, { clock, buses });
    try {
      const result = await meter.read(new AbortController().signal);
      if (!result.ok) throw new Error(result.error.message);
      const reading = result.value;
      expect(reading.doubts.length === 0).toBe(expected.quality === 'good');
      expect(reading.quality).toBe(expected.quality);
      for (const field of [
        'powerWatts',
        'frequencyHz',
        'powerFactor',
        'importWattHours',
        'exportWattHours',
      ] as const) {
        close(reading[field], expected[field], field);
      }
      for (const [index, phase] of (['l1', 'l2', 'l3'] as const).entries()) {
        close(reading.voltageVolts[phase], expected.voltageVolts[index]!, `voltage ${phase}`);
        close(reading.currentAmps[phase], expected.currentAmps[index]!, `current ${phase}`);
      }
      expect(reading.serialNumber).toBe(expected.serialNumber);
      for (const [point, value] of Object.entries(expected.points)) {
        const actual = reading.points[point];
        if (typeof value === 'number') close(actual as number | null, value, point);
        else expect(actual, point).toBe(value);
      }
    } finally {
      await buses[Symbol.asyncDispose]();
      await server.close();
    }
  });
});
