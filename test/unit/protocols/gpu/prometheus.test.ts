import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PrometheusText } from '../../../../protocols/prometheus.ts';
import { parsePrometheus } from '../../../../protocols/prometheus.ts';
import { decodeDcgm } from '../../../../protocols/prometheus-dcgm.ts';

const golden = new URL('../../../golden/', import.meta.url);
const load = (path: string): unknown => JSON.parse(readFileSync(new URL(path, golden), 'utf8'));

function parse(text: string | Buffer): PrometheusText {
  const result = parsePrometheus(Buffer.from(text as string));
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

type Figure = number | string | undefined;
interface Metric {
  readonly labels: Readonly<Record<string, string>>;
  readonly timestampMs?: number;
  readonly counter?: { readonly Value: Figure };
  readonly gauge?: { readonly Value: Figure };
  readonly untyped?: { readonly Value: Figure };
  readonly summary?: {
    readonly SampleCount?: Figure;
    readonly SampleSum?: Figure;
    readonly Quantile?: readonly { readonly Quantile: Figure; readonly Value: Figure }[];
  };
  readonly histogram?: {
    readonly SampleCount?: Figure;
    readonly SampleCountFloat?: Figure;
    readonly SampleSum?: Figure;
    readonly Bucket?: readonly {
      readonly UpperBound: Figure;
      readonly CumulativeCount?: Figure;
      readonly CumulativeCountFloat?: Figure;
    }[];
  };
}
interface Family {
  readonly name: string;
  readonly type: string;
  readonly metrics: readonly Metric[];
}
const good = load('prometheus/text_parse_ok.json') as { index: number; in: string; families: Family[] }[];
const bad = load('prometheus/text_parse_error.json') as {
  index: number;
  in?: string | { $bytesBase64: string };
  errUTF8: string;
}[];

/** A number as both sides write it: `+Inf` and `100` as text, so that bounds compare as they stand. */
function figure(value: Figure): string {
  const text = String(value).replace(/^\+/, '');
  if (/^-?inf/i.test(text)) return text.startsWith('-') ? '-Inf' : 'Inf';
  return text === 'NaN' ? 'NaN' : String(Number(text));
}

/** The samples that the reference's families were built from, as name, labels and value. */
function flatten(families: readonly Family[]): string[] {
  const lines: string[] = [];
  const add = (name: string, labels: Metric['labels'], value: Figure) => {
    if (value === undefined) return;
    const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
    lines.push(JSON.stringify([name, sorted, figure(value)]));
  };
  for (const { name, metrics } of families) {
    for (const metric of metrics) {
      const { labels, summary, histogram } = metric;
      const plain = metric.counter ?? metric.gauge ?? metric.untyped;
      add(name, labels, plain?.Value);
      for (const { Quantile, Value } of summary?.Quantile ?? [])
        add(name, { ...labels, quantile: figure(Quantile) }, Value);
      for (const bucket of histogram?.Bucket ?? []) {
        const count = bucket.CumulativeCount ?? bucket.CumulativeCountFloat;
        add(`${name}_bucket`, { ...labels, le: figure(bucket.UpperBound) }, count);
      }
      add(
        `${name}_count`,
        labels,
        histogram?.SampleCount ?? histogram?.SampleCountFloat ?? summary?.SampleCount,
      );
      add(`${name}_sum`, labels, histogram?.SampleSum ?? summary?.SampleSum);
    }
  }
  return lines.sort();
}

function flattenOurs(text: PrometheusText): string[] {
  return text.samples
    .map(({ name, labels, value }) => {
      const entries = Object.entries(labels).map(([label, content]): [string, string] =>
        label === 'le' || label === 'quantile' ? [label, figure(content)] : [label, content],
      );
      entries.sort(([a], [b]) => (a < b ? -1 : 1));
      return JSON.stringify([name, entries, figure(value)]);
    })
    .sort();
}

describe('the Prometheus text format, by the vectors of its reference', () => {
  test('all vectors are there', () => {
    expect(good).toHaveLength(18);
    expect(bad).toHaveLength(48);
  });

  test.each(good)('good $index', (vector) => {
    const text = parse(vector.in);
    const expected = flatten(vector.families);
    // The reference folds the samples of a summary together and keeps the last of each: none may be lost here.
    expect(flattenOurs(text)).toEqual(expect.arrayContaining(expected));
    expect(text.samples.length).toBeGreaterThanOrEqual(expected.length);
    const known = new Set(expected);
    const more = flattenOurs(text).filter((line) => !known.has(line));
    expect(more).toEqual([]);
    for (const { name, metrics } of vector.families) {
      for (const { timestampMs, labels, summary, histogram } of metrics) {
        if (timestampMs === undefined || summary !== undefined || histogram !== undefined) continue;
        const stamps = text.samples
          .filter(
            (sample) => sample.name === name && JSON.stringify(sample.labels) === JSON.stringify(labels),
          )
          .map((sample) => sample.timestampMs);
        expect(stamps).toContain(timestampMs);
      }
    }
  });

  /** Against the rules, harmless, and usual with dcgm-exporter: told, not refused. */
  const TOLERATED = [12, 13, 14];
  /** Errors of the old name rules alone. */
  const LEGACY = [41, 42];

  test.each(bad)('bad $index', (vector) => {
    const source = vector.in ?? (vector as unknown as { $bytesBase64: string });
    const body =
      typeof source === 'string' ? Buffer.from(source) : Buffer.from(source.$bytesBase64, 'base64');
    // The line feed that the reference also misses must not be what we find wrong.
    const whole = vector.index === 0 ? body : Buffer.concat([body, Buffer.from('\n')]);
    const result = parsePrometheus(whole);
    if (LEGACY.includes(vector.index)) expect(result.ok).toBe(true);
    else if (TOLERATED.includes(vector.index))
      expect(result).toMatchObject({ ok: true, value: { oddities: 1 } });
    else expect(result).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test('a body cut inside a line is malformed', () => {
    expect(parsePrometheus(Buffer.from('a 1\nb 2')).ok).toBe(false);
    expect(parse('a 1\nb 2\n').samples).toHaveLength(2);
  });

  test('an exemplar is cut off, an endless body refused', () => {
    expect(parse('a_bucket{le="1"} 3 # {trace_id="x"} 0.5\n').samples[0]?.value).toBe(3);
    expect(parsePrometheus(new Uint8Array(8_000_001)).ok).toBe(false);
  });

  test('a line means in company what it means alone (property)', () => {
    // Label parts that were read once are not read again: none may be taken for another, nor a broken line for a good one.
    const names = ['power', 'temp_c', 'power ', ' power', '0bad', ''];
    const labels = [
      '{gpu="0",UUID="GPU-1"}',
      '{gpu="0",UUID="GPU-2"}',
      '{gpu="0",UUID="GPU-1",}',
      '{ gpu="0" }',
      '{a="} 1"}',
      '{a="b"} 1 # {c="d"}',
      '{a="x{y"}',
      '{a="\\"}"}',
      '{}',
      '{a="1",a="2"}',
      '{a="1"',
      'a="1"}',
      '{"quoted.name",a="1"}',
      '{"power"}',
      '',
    ];
    const rests = [
      ' 1',
      ' -2.5',
      ' 1e3',
      '3',
      ' 4 1700000000000',
      ' NaN',
      ' 0x1',
      ' 1 2 3',
      ' ',
      '} 5',
      '  6 ',
    ];
    const line = fc
      .tuple(fc.constantFrom(...names), fc.constantFrom(...labels), fc.constantFrom(...rests))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 12 }), (lines) => {
        const alone = lines.map((text) => parsePrometheus(Buffer.from(`${text}\n`)));
        const firstBad = alone.findIndex((result) => !result.ok);
        const company = parsePrometheus(Buffer.from(`${lines.join('\n')}\n`));
        if (firstBad >= 0) {
          expect(!company.ok && company.error.message).toContain(`metrics line ${firstBad + 1}:`);
          return;
        }
        const expected = alone.flatMap((result) => (result.ok ? result.value.samples : []));
        expect(company.ok && company.value.samples).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  test('what follows a declaration is judged by it, however alike its line is to one before', () => {
    const body = 'x_bucket{le="abc"} 1\n# TYPE x histogram\nx_bucket{le="abc"} 1\n';
    const result = parsePrometheus(Buffer.from(body));
    expect(!result.ok && result.error.message).toContain('line 3: "abc" is no number');
  });

  test('no bytes make the parser throw', () => {
    const pieces = fc.constantFrom(
      'a',
      '{',
      '}',
      '"',
      '\\',
      ',',
      '=',
      ' ',
      '\n',
      '#',
      ' TYPE ',
      '1',
      'NaN',
      '\t',
      'é',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.array(pieces).map((list) => Buffer.from(list.join(''))),
        ),
        (body) => {
          const result = parsePrometheus(body);
          if (result.ok) decodeDcgm(result.value.samples);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

const scrape = (name: string) => parse(readFileSync(new URL(`dcgm-exporter/${name}`, golden)));

describe('dcgm-exporter', () => {
  test('a real scrape of eight H100', () => {
    const expected = (
      load('dcgm-exporter/expected.json') as Record<
        string,
        { samples: number; powerByGpu: Record<string, number>; sumPowerW: number }
      >
    )['h100-8gpu-k8s-partial.prom']!;
    const text = scrape('h100-8gpu-k8s-partial.prom');
    expect(text.samples).toHaveLength(expected.samples);
    const report = decodeDcgm(text.samples);
    expect(report).toMatchObject({ driverVersion: '580.105.08', hosts: ['gpu-node-1'] });
    expect(Object.fromEntries(report.gpus.map((gpu) => [String(gpu.index), gpu.powerWatts]))).toEqual(
      expected.powerByGpu,
    );
    const sum = report.gpus.reduce((total, gpu) => total + (gpu.powerWatts ?? 0), 0);
    expect(sum).toBeCloseTo(expected.sumPowerW, 6);
    expect(report.gpus[0]).toMatchObject({
      name: 'NVIDIA H100 80GB HBM3',
      temperatureCelsius: 30,
      utilizationPercent: 0,
      migEnabled: null,
    });
  });

  test.each(['rendered-current.prom', 'rendered-before-2026-05.prom'])(
    '%s parses, with either host label',
    (file) => {
      expect(scrape(file).samples).toMatchObject([{ name: 'TEST_METRIC', value: 42 }]);
      const line = readFileSync(new URL(`dcgm-exporter/${file}`, golden), 'utf8').replaceAll(
        'TEST_METRIC',
        'DCGM_FI_DEV_POWER_USAGE',
      );
      expect(decodeDcgm(parse(line).samples)).toMatchObject({
        hosts: ['testhost'],
        gpus: [{ powerWatts: 42 }],
      });
    },
  );

  test('the blank of the first exporters is no temperature', () => {
    const lines = readFileSync(new URL('dcgm-exporter/readme-sample.txt', golden), 'utf8')
      .split('\n')
      .filter((line) => line !== '...')
      .join('\n')
      .replaceAll('MEMORY_TEMP', 'GPU_TEMP');
    const [gpu] = decodeDcgm(parse(lines.endsWith('\n') ? lines : `${lines}\n`).samples).gpus;
    expect(gpu).toMatchObject({ uuid: 'GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e52', temperatureCelsius: null });
  });

  test('a MIG board counts once: four instances repeat its power', () => {
    // Source: a report to dcgm-exporter, an A30 with four instances.
    const rows = [52.636, 52.636, 52.746, 52.746].map(
      (watts, id) =>
        `DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a30",GPU_I_PROFILE="1g.6gb",GPU_I_ID="${3 + id}"} ${watts}`,
    );
    const report = decodeDcgm(parse(`${rows.join('\n')}\n`).samples);
    expect(report.gpus).toMatchObject([{ powerWatts: 52.746, migEnabled: true, utilizationPercent: null }]);
  });

  test('old and new field names mean the same', () => {
    const values = (names: readonly string[]) =>
      decodeDcgm(
        parse(names.map((name, index) => `${name}{gpu="0",UUID="GPU-1"} ${100 + index}\n`).join('')).samples,
      ).gpus[0];
    const old = values([
      'DCGM_FI_DEV_POWER_USAGE',
      'DCGM_FI_DEV_POWER_MGMT_LIMIT',
      'DCGM_FI_DEV_ENFORCED_POWER_LIMIT',
      'DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN',
      'DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX',
      'DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF',
      'DCGM_FI_DEV_GPU_TEMP',
      'DCGM_FI_DEV_XID_ERRORS',
    ]);
    const canonical = values([
      'DCGM_FI_DEV_BOARD_POWER_WATTS',
      'DCGM_FI_DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS',
      'DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS',
      'DCGM_FI_DEV_BOARD_POWER_LIMIT_MIN_WATTS',
      'DCGM_FI_DEV_BOARD_POWER_LIMIT_MAX_WATTS',
      'DCGM_FI_DEV_BOARD_POWER_LIMIT_DEFAULT_WATTS',
      'DCGM_FI_DEV_GPU_TEMP_CELSIUS',
      'DCGM_FI_DEV_XID_ERROR',
    ]);
    expect(canonical).toEqual(old);
    expect(old).toMatchObject({
      powerWatts: 100,
      requestedLimitWatts: 101,
      enforcedLimitWatts: 102,
      xid: 107,
    });
  });

  test.each(['NaN', '+Inf', '-5', '9223372036854775794', '2147483632', '140737488355328.000000'])(
    'a power of %s is absent, never 0',
    (text) => {
      const report = decodeDcgm(parse(`DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-1"} ${text}\n`).samples);
      expect(report.gpus[0]?.powerWatts).toBeNull();
    },
  );

  test('an energy counter beyond 32 bits is one', () => {
    const report = decodeDcgm(
      parse('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 3000000000\n').samples,
    );
    expect(report.gpus[0]?.energyMillijoules).toBe(3_000_000_000);
  });
});
