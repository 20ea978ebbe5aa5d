import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DATATYPE,
  decodePayload,
  encodePayload,
  type SparkplugMetric,
  type SparkplugPayload,
} from '../../../../protocols/sparkplug/payload.ts';
import {
  parseHostState,
  parseSparkplugTopic,
  sparkplugTopic,
} from '../../../../protocols/sparkplug/topic.ts';
import { plainValue, wireValue } from '../../../../protocols/sparkplug/value.ts';

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', '..', '..', 'golden', 'sparkplug', 'payloads.json'), 'utf8'),
) as {
  datatype_numbers: Record<string, number>;
  vectors: {
    name: string;
    hex: string;
    decoded: { metrics?: Record<string, unknown>[] } & Record<string, unknown>;
  }[];
};

/** The golden form, in which 64-bit integers are decimal text, as a payload. */
function payloadOf(decoded: (typeof golden.vectors)[number]['decoded']): SparkplugPayload {
  return {
    ...('timestamp' in decoded ? { timestamp: Number(decoded['timestamp']) } : {}),
    metrics: (decoded.metrics ?? []).map(
      (metric): SparkplugMetric => ({
        ...metric,
        ...('timestamp' in metric ? { timestamp: Number(metric['timestamp']) } : {}),
        ...('alias' in metric ? { alias: BigInt(String(metric['alias'])) } : {}),
        ...('longValue' in metric ? { longValue: BigInt(String(metric['longValue'])) } : {}),
      }),
    ),
    ...('seq' in decoded ? { seq: Number(decoded['seq']) } : {}),
  };
}

describe('the golden payloads', () => {
  it.each(golden.vectors.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
    const payload = payloadOf(vector.decoded);
    expect(encodePayload(payload).toString('hex')).toBe(vector.hex);
    expect(decodePayload(Buffer.from(vector.hex, 'hex'))).toEqual({ ok: true, value: payload });
  });

  it('have our numbers of the datatypes', () => {
    expect(DATATYPE).toEqual(golden.datatype_numbers);
  });
});

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const time = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const text = fc.string({ unit: 'grapheme' });
const value = fc.oneof(
  fc.record({ isNull: fc.boolean() }),
  fc.record({ intValue: fc.nat({ max: 2 ** 32 - 1 }) }),
  fc.record({ longValue: u64 }),
  fc.record({ floatValue: fc.float() }),
  fc.record({ doubleValue: fc.double() }),
  fc.record({ booleanValue: fc.boolean() }),
  fc.record({ stringValue: text }),
);
const metric = fc
  .tuple(
    fc.record(
      {
        name: text,
        alias: u64,
        timestamp: time,
        datatype: fc.nat({ max: 34 }),
        isHistorical: fc.boolean(),
        isTransient: fc.boolean(),
        properties: fc.array(
          fc
            .tuple(fc.record({ key: text, type: fc.nat({ max: 21 }) }), value)
            .map(([a, b]) => ({ ...a, ...b })),
        ),
      },
      { requiredKeys: [] },
    ),
    fc.oneof(value, fc.record({ bytesValue: fc.uint8Array() }), fc.record({ datasetValue: fc.uint8Array() })),
  )
  .map(([head, body]): SparkplugMetric => ({ ...head, ...body }));
const payload = fc
  .tuple(
    fc.array(metric),
    fc.record({ timestamp: time, seq: fc.nat({ max: 255 }), uuid: text }, { requiredKeys: [] }),
  )
  .map(([metrics, head]): SparkplugPayload => ({ ...head, metrics }));

describe('any payload', () => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(payload, (before) => {
        expect(decodePayload(encodePayload(before))).toEqual({ ok: true, value: before });
      }),
    );
  });

  it('cut or bent anywhere is a value, never an exception', () => {
    fc.assert(
      fc.property(payload, fc.nat(), fc.nat({ max: 255 }), fc.boolean(), (before, at, byte, cut) => {
        const bytes = encodePayload(before);
        if (bytes.length === 0) return;
        const place = at % bytes.length;
        if (!cut) bytes[place] = byte;
        const read = decodePayload(cut ? bytes.subarray(0, place) : bytes);
        if (!read.ok) expect(read.error.kind).toBe('malformed');
      }),
    );
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodePayload(bytes)));
  });
});

describe('values', () => {
  it('that do not fit are unknown, never 0', () => {
    expect(wireValue('Double', null)).toEqual({ isNull: true });
    expect(wireValue('Double', Number.NaN)).toEqual({ isNull: true });
    expect(wireValue('Int32', 2 ** 31)).toEqual({ isNull: true });
    expect(wireValue('Int64', 2 ** 60)).toEqual({ isNull: true });
    expect(wireValue('String', 5)).toEqual({ isNull: true });
    expect(wireValue('Double', 0)).toEqual({ doubleValue: 0 });
    expect(wireValue('Boolean', false)).toEqual({ booleanValue: false });
    expect(wireValue('Int32', -5)).toEqual({ intValue: 4_294_967_291 });
  });

  it('come back, negative ones too, from whatever field a host wrote them in', () => {
    fc.assert(
      fc.property(fc.integer(), (number) => {
        for (const type of ['Int32', 'Int64', 'Double'] as const)
          expect(plainValue('Double', wireValue(type, number))).toBe(number);
      }),
    );
    expect(plainValue('Boolean', { intValue: 1 })).toBeUndefined();
    expect(plainValue('String', { isNull: true })).toBeNull();
  });
});

describe('topics', () => {
  it('are read as they are written, with the device that their type wants', () => {
    const topic = { group: 'mine', type: 'DDATA', node: 'hall-a', device: 'hall-a-001' } as const;
    expect(parseSparkplugTopic(sparkplugTopic(topic))).toEqual(topic);
    expect(parseSparkplugTopic('spBv1.0/mine/NBIRTH/hall-a')).toMatchObject({ type: 'NBIRTH', device: null });
    for (const wrong of [
      'spAv1.0/mine/NBIRTH/hall-a',
      'spBv1.0/mine/DDATA/hall-a',
      'spBv1.0/mine/NBIRTH/hall-a/m1',
      'spBv1.0/mine/DDATA/hall-a/m1/x',
      'spBv1.0/mine/XDATA/hall-a',
      'spBv1.0/STATE/ignition',
    ])
      expect(parseSparkplugTopic(wrong), wrong).toBeNull();
  });

  it('of a host say whether it is there, in the form of version 3 only', () => {
    const state = (text: string) => parseHostState(Buffer.from(text));
    expect(state('{"online":true,"timestamp":17}')).toEqual({ online: true, timestamp: 17 });
    for (const wrong of ['ONLINE', '{"online":1,"timestamp":17}', '{"online":true}', 'null', '', '[]'])
      expect(state(wrong), wrong).toBeNull();
  });
});
