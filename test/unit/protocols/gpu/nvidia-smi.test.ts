import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { SmiReport } from '../../../../protocols/nvidia-smi.ts';
import {
  parseSmiCsv,
  refusedField,
  smiReadFailure,
  smiValue,
  smiWriteAnswer,
} from '../../../../protocols/nvidia-smi.ts';
import { parseSmiXml } from '../../../../protocols/nvidia-smi-xml.ts';
import type { Result } from '../../../../protocols/result.ts';

const golden = new URL('../../../golden/nvidia-smi/', import.meta.url);
const text = (path: string) => readFileSync(new URL(path, golden), 'utf8');

function value(result: Result<SmiReport>): SmiReport {
  if (!result.ok) throw new Error(result.error.message);
  return result.value;
}

interface ExpectedCsv {
  readonly name: string;
  readonly driver: string;
  readonly powerDrawW: number | null;
  readonly powerDrawInstantW: number | null;
  readonly powerLimitW: number | null;
  readonly enforcedPowerLimitW: number | null;
  readonly defaultLimitW: number | null;
  readonly minLimitW: number | null;
  readonly maxLimitW: number | null;
  readonly temperatureC: number | null;
  readonly utilizationPct: number | null;
  readonly mig: string;
  readonly persistence: string;
}

const expectedCsv = JSON.parse(text('csv/expected.json')) as Record<string, ExpectedCsv>;
const onOff: Record<string, boolean | null> = { Enabled: true, Disabled: false };

describe('recorded nvidia-smi tables', () => {
  test('every recorded table has its expectation', () => {
    const files = readdirSync(new URL('csv/', golden)).filter((name) => name.endsWith('.csv'));
    expect(Object.keys(expectedCsv).sort()).toEqual(files.sort());
    expect(files.length).toBe(12);
  });

  test.each(Object.entries(expectedCsv))('%s', (file, expected) => {
    const report = value(parseSmiCsv(text(`csv/${file}`)));
    expect(report.gpus).toHaveLength(1);
    expect(report.driverVersion).toBe(expected.driver);
    expect(report.gpus[0]).toMatchObject({
      name: expected.name,
      powerWatts: expected.powerDrawW,
      instantPowerWatts: expected.powerDrawInstantW,
      requestedLimitWatts: expected.powerLimitW,
      enforcedLimitWatts: expected.enforcedPowerLimitW,
      defaultLimitWatts: expected.defaultLimitW,
      minLimitWatts: expected.minLimitW,
      maxLimitWatts: expected.maxLimitW,
      temperatureCelsius: expected.temperatureC,
      utilizationPercent: expected.utilizationPct,
      migEnabled: onOff[expected.mig] ?? null,
      persistenceEnabled: onOff[expected.persistence] ?? null,
      recoveryAction: null,
      faults: [],
    });
  });

  test('two GPUs, one row each', () => {
    const report = value(parseSmiCsv(text('csv/query-rtx2080super-csv.txt')));
    expect(report.gpus.map((gpu) => [gpu.index, gpu.uuid, gpu.memoryUsedMebibytes])).toEqual([
      [0, 'GPU-df6e7a7c-7314-46f8-abc4-b88b36dcf3aa', 575],
      [1, 'GPU-04757e3e-3077-4e2e-b988-7e2d647b52e9', 1234],
    ]);
    // These columns were not asked for.
    expect(report.gpus[0]).toMatchObject({ powerWatts: null, maxLimitWatts: null, faults: [] });
  });
});

const HEADER = 'index, uuid, name, power.draw [W], temperature.gpu, memory.used [MiB]';

describe('tables that are not as they should be', () => {
  test.each(['[GPU is lost]', '[GPU requires reset]', '[Unknown Error]', 'ERR!', 'Something New'])(
    'a GPU that prints %s is faulted and its power unknown, not 0',
    (token) => {
      const row = `0, GPU-1, NVIDIA H100, ${token}, ${token}, 0 MiB`;
      const [gpu] = value(parseSmiCsv(`${HEADER}\n${row}\n`)).gpus;
      expect(gpu).toMatchObject({ uuid: 'GPU-1', powerWatts: null, faults: [token] });
    },
  );

  test.each(['[N/A]', 'N/A', '[Not Supported]', '[Not Found]', '[Function Not Found]', ''])(
    '"%s" is nothing, and no fault',
    (token) => {
      const row = `0, GPU-1, NVIDIA H100, ${token}, 40, 0 MiB`;
      expect(value(parseSmiCsv(`${HEADER}\n${row}\n`)).gpus[0]).toMatchObject({
        powerWatts: null,
        temperatureCelsius: 40,
        faults: [],
      });
    },
  );

  test('a GPU without an identity is kept as faulted', () => {
    const row =
      '3, [GPU requires reset], [GPU requires reset], [GPU requires reset], [GPU requires reset], 0 MiB';
    const [gpu] = value(parseSmiCsv(`${HEADER}\n${row}\n`)).gpus;
    expect(gpu).toMatchObject({ uuid: null, index: 3, faults: ['[GPU requires reset]'] });
  });

  test('a row with a cell too many condemns the table: a name may hold a comma', () => {
    const row = '0, GPU-1, NVIDIA, Inc. H100, 70.1 W, 40, 0 MiB';
    expect(parseSmiCsv(`${HEADER}\n${row}\n`)).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test('Windows line ends, no units, and a warning above the table', () => {
    const warning = 'WARNING: infoROM is corrupted at gpu 0000:0B:00.0';
    const header = HEADER.replace(/ \[[^\]]+\]/g, '');
    const report = value(parseSmiCsv(`${warning}\r\n${header}\r\n0, GPU-1, H100, 70.12, 40, 12\r\n`));
    expect(report.gpus[0]).toMatchObject({ powerWatts: 70.12, memoryUsedMebibytes: 12 });
    expect(report.remarks).toEqual([warning]);
  });

  test('numbers are only what the tool writes as numbers', () => {
    for (const [word, number] of [
      ['69.85 W', 69.85],
      ['-7 C', -7],
      ['0 us', 0],
      ['16', 16],
    ] as const) {
      expect(smiValue(word)).toEqual({ kind: 'number', value: number });
    }
    for (const word of ['0x10', '1e3', '16x', '70 Watts', '1,5 W', 'NaN', '--5 W']) {
      expect(smiValue(word).kind, word).toBe('fault');
    }
  });

  test('a refused field is named', () => {
    expect(refusedField('Field "mig.mode.current" is not a valid field to query.\n\n')).toBe(
      'mig.mode.current',
    );
    expect(refusedField('No devices were found')).toBeNull();
  });
});

const XML: [file: string, expected: Record<string, unknown>, driver: string | null, remarks: number][] = [
  [
    'gtx-1070-ti.xml',
    {
      name: 'GeForce GTX 1070 Ti',
      powerWatts: null,
      enforcedLimitWatts: null,
      temperatureCelsius: 39,
      memoryUsedMebibytes: 42,
      memoryTotalMebibytes: 4096,
    },
    null,
    0,
  ],
  [
    'quadro-p400.xml',
    {
      name: 'Quadro P400',
      powerWatts: null,
      requestedLimitWatts: null,
      maxLimitWatts: null,
      temperatureCelsius: 33,
      utilizationPercent: 0,
      migEnabled: null,
    },
    '418.43',
    0,
  ],
  [
    'quadro-p2000-v12.xml',
    {
      powerWatts: 4.61,
      requestedLimitWatts: 75,
      enforcedLimitWatts: 75,
      defaultLimitWatts: 75,
      minLimitWatts: 75,
      maxLimitWatts: 75,
      utilizationPercent: 0,
      memoryUsedMebibytes: 1,
    },
    '525.125.06',
    0,
  ],
  [
    'tesla-t4.xml',
    { powerWatts: 26.78, requestedLimitWatts: 70, temperatureCelsius: 40, memoryUsedMebibytes: 1032 },
    '515.105.01',
    0,
  ],
  [
    'rtx-3080-v12.xml',
    {
      powerWatts: 22.78,
      requestedLimitWatts: 336,
      enforcedLimitWatts: 336,
      defaultLimitWatts: 320,
      minLimitWatts: 100,
      maxLimitWatts: 336,
      memoryUsedMebibytes: 1128,
    },
    '536.40',
    0,
  ],
  [
    'rtx-3080-v13.xml',
    {
      powerWatts: 139.62,
      instantPowerWatts: 142.33,
      requestedLimitWatts: 320,
      enforcedLimitWatts: 320,
      defaultLimitWatts: 320,
      minLimitWatts: 100,
      maxLimitWatts: 336,
      utilizationPercent: 65,
    },
    '595.58.03',
    0,
  ],
  [
    'a100-sxm4-v12.xml',
    {
      powerWatts: 67.03,
      requestedLimitWatts: 500,
      enforcedLimitWatts: 500,
      minLimitWatts: 100,
      maxLimitWatts: 500,
      migEnabled: true,
      utilizationPercent: null,
    },
    '535.54.03',
    1,
  ],
];

interface ExpectedXml {
  readonly tags: { readonly name: string; readonly uuid?: string };
  readonly fields: Readonly<Record<string, number | string>>;
}
const expectedXml = JSON.parse(text('xml/expected.json')) as Record<string, ExpectedXml[]>;

describe('recorded nvidia-smi XML', () => {
  test('every recorded document is tested', () => {
    const files = readdirSync(new URL('xml/', golden)).filter((name) => name.endsWith('.xml'));
    expect(XML.map(([file]) => file).sort()).toEqual(files.sort());
  });

  test.each(XML)('%s', (file, expected, driver, remarks) => {
    const report = value(parseSmiXml(text(`xml/${file}`)));
    expect(report.gpus).toHaveLength(1);
    expect(report.gpus[0]).toMatchObject({ faults: [], ...expected });
    expect(report.driverVersion).toBe(driver);
    expect(report.remarks).toHaveLength(remarks);
    // The figures that an independent reader of the same document asserts. It prefers the instant draw.
    const other = expectedXml[file]![0]!;
    const gpu = report.gpus[0]!;
    expect(gpu.uuid).toBe(other.tags.uuid);
    const { fields } = other;
    expect(gpu.temperatureCelsius).toBe(fields['temperature_gpu']);
    expect(gpu.memoryTotalMebibytes).toBe(fields['memory_total']);
    expect(gpu.instantPowerWatts ?? gpu.powerWatts).toBe(fields['power_draw'] ?? null);
    expect(gpu.maxLimitWatts).toBe(
      fields['power_limit_max'] ?? (file === 'tesla-t4.xml' ? gpu.maxLimitWatts : null),
    );
  });

  test('text around the document is kept apart', () => {
    const document = text('xml/rtx-3080-v13.xml');
    const report = value(parseSmiXml(`WARNING: before\n${document}\nWARNING: after\n`));
    expect(report.gpus[0]?.powerWatts).toBe(139.62);
    expect(report.remarks).toEqual(['WARNING: before', 'WARNING: after']);
  });

  test.each([
    ['cut short', (document: string) => document.slice(0, document.length / 2)],
    ['broken inside', (document: string) => document.replace('</fb_memory_usage>', '')],
    [
      'with entities',
      (document: string) => document.replace(/<!DOCTYPE[^>]*>/, '<!DOCTYPE x [<!ENTITY a "b">]>'),
    ],
    ['no document', () => 'No devices were found'],
    ['another document', () => '<?xml version="1.0" ?><a></nvidia_smi_log></a></nvidia_smi_log>'],
  ])('a document that is %s is malformed', (_, change) => {
    expect(parseSmiXml(change(text('xml/rtx-3080-v13.xml')))).toMatchObject({
      ok: false,
      error: { kind: 'malformed' },
    });
  });

  test('trouble in the XML is a fault', () => {
    const document = text('xml/rtx-3080-v13.xml').replace(
      '<average_power_draw>139.62 W',
      '<average_power_draw>Unknown Error',
    );
    expect(value(parseSmiXml(document)).gpus[0]?.faults).toEqual(['Unknown Error']);
  });
});

const observed = JSON.parse(text('observed/observed.json')) as {
  powerLimit: string[];
  stdoutErrors: string[];
};

describe('answers to writes', () => {
  test.each([
    [0, 0, true, null],
    [1, 2, false, 'refused'],
    [2, 4, false, 'unauthorised'],
    [3, 0, false, 'unsupported'],
  ] as const)('observed text %i', (index, exitCode, accepted, kind) => {
    expect(smiWriteAnswer(observed.powerLimit[index]!, exitCode)).toMatchObject({ accepted, kind });
  });

  test('the warning about persistence does not hide a success', () => {
    const both = `${observed.powerLimit[4]}\n${observed.powerLimit[0]}`;
    expect(smiWriteAnswer(both, 0)).toMatchObject({ accepted: true });
  });

  test('silence and unknown words are no success', () => {
    expect(smiWriteAnswer('', 0).accepted).toBe(false);
    expect(smiWriteAnswer('', 4)).toMatchObject({ accepted: false, kind: 'unauthorised' });
    expect(smiWriteAnswer('All done.', 255).accepted).toBe(false);
  });

  test('the observed failures of reads have their kinds', () => {
    const kinds = observed.stdoutErrors.map((line) => smiReadFailure(line, 255).kind);
    expect(kinds).toEqual([
      'unreachable',
      'unreachable',
      'unreachable',
      'malformed',
      'unreachable',
      'unreachable',
      'unreachable',
    ]);
    expect(smiReadFailure('', 255).kind).toBe('unreachable');
  });
});
