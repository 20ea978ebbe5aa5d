import { fail, ok, type Result } from '../result.ts';
import {
  BYTES,
  FIXED32,
  FIXED64,
  VARINT,
  WireError,
  type WireField,
  WireWriter,
  wireFields,
} from './wire.ts';

/**
 * The Sparkplug B payload. Its message is proto2: a field that is there is written, also when it is 0, false or
 * empty. Source: Eclipse Sparkplug 3.0.0, 6.4 (`sparkplug_b.proto`).
 */
export interface SparkplugPayload {
  /** Time of sending, ms since 1970 UTC. */
  readonly timestamp?: number;
  readonly metrics: readonly SparkplugMetric[];
  /** 0 to 255. */
  readonly seq?: number;
  readonly uuid?: string;
  readonly body?: Uint8Array;
}

/** One metric as it stands on the wire; exactly one value field, or `isNull`. */
export interface SparkplugMetric extends SparkplugValue {
  readonly name?: string;
  readonly alias?: bigint;
  /** ms since 1970 UTC. */
  readonly timestamp?: number;
  /** A number of `DATATYPE`. */
  readonly datatype?: number;
  readonly isHistorical?: boolean;
  readonly isTransient?: boolean;
  readonly properties?: readonly SparkplugProperty[];
  /** Encoded DataSet, and encoded Template: handed on as they are, this product makes none. */
  readonly datasetValue?: Uint8Array;
  readonly templateValue?: Uint8Array;
}

/** The value fields that metrics and properties share. */
export interface SparkplugValue {
  readonly isNull?: boolean;
  /** 32 bits, unsigned; negative numbers as two's complement. */
  readonly intValue?: number;
  /** 64 bits, unsigned; negative numbers as two's complement. */
  readonly longValue?: bigint;
  readonly floatValue?: number;
  readonly doubleValue?: number;
  readonly booleanValue?: boolean;
  readonly stringValue?: string;
  readonly bytesValue?: Uint8Array;
}

export interface SparkplugProperty extends SparkplugValue {
  readonly key: string;
  readonly type?: number;
}

/** Numbers of the datatypes. Source: Eclipse Sparkplug 3.0.0, 6.4.16. */
export const DATATYPE = {
  Unknown: 0,
  Int8: 1,
  Int16: 2,
  Int32: 3,
  Int64: 4,
  UInt8: 5,
  UInt16: 6,
  UInt32: 7,
  UInt64: 8,
  Float: 9,
  Double: 10,
  Boolean: 11,
  String: 12,
  DateTime: 13,
  Text: 14,
  UUID: 15,
  DataSet: 16,
  Bytes: 17,
  File: 18,
  Template: 19,
  PropertySet: 20,
  PropertySetList: 21,
  Int8Array: 22,
  Int16Array: 23,
  Int32Array: 24,
  Int64Array: 25,
  UInt8Array: 26,
  UInt16Array: 27,
  UInt32Array: 28,
  UInt64Array: 29,
  FloatArray: 30,
  DoubleArray: 31,
  BooleanArray: 32,
  StringArray: 33,
  DateTimeArray: 34,
} as const;

/** Encodes a payload, fields in the order of their numbers. */
export function encodePayload(payload: SparkplugPayload): Buffer {
  const writer = new WireWriter();
  if (payload.timestamp !== undefined) writer.varint(1, payload.timestamp);
  for (const metric of payload.metrics) writer.bytes(2, encodeMetric(metric));
  if (payload.seq !== undefined) writer.varint(3, payload.seq);
  if (payload.uuid !== undefined) writer.text(4, payload.uuid);
  if (payload.body !== undefined) writer.bytes(5, payload.body);
  return writer.finish();
}

function encodeMetric(metric: SparkplugMetric): Buffer {
  const writer = new WireWriter();
  const { name, alias, timestamp, datatype, isHistorical, isTransient, properties } = metric;
  if (name !== undefined) writer.text(1, name);
  if (alias !== undefined) writer.varint(2, alias);
  if (timestamp !== undefined) writer.varint(3, timestamp);
  if (datatype !== undefined) writer.varint(4, datatype);
  if (isHistorical !== undefined) writer.varint(5, Number(isHistorical));
  if (isTransient !== undefined) writer.varint(6, Number(isTransient));
  if (metric.isNull !== undefined) writer.varint(7, Number(metric.isNull));
  if (properties !== undefined) writer.bytes(9, encodeProperties(properties));
  encodeValue(writer, metric, 10);
  if (metric.bytesValue !== undefined) writer.bytes(16, metric.bytesValue);
  if (metric.datasetValue !== undefined) writer.bytes(17, metric.datasetValue);
  if (metric.templateValue !== undefined) writer.bytes(18, metric.templateValue);
  return writer.finish();
}

function encodeProperties(properties: readonly SparkplugProperty[]): Buffer {
  const writer = new WireWriter();
  for (const { key } of properties) writer.text(1, key);
  for (const property of properties) {
    const one = new WireWriter();
    if (property.type !== undefined) one.varint(1, property.type);
    if (property.isNull !== undefined) one.varint(2, Number(property.isNull));
    encodeValue(one, property, 3);
    writer.bytes(2, one.finish());
  }
  return writer.finish();
}

/** Value fields follow each other from `first` on: int, long, float, double, boolean, string. */
function encodeValue(writer: WireWriter, value: SparkplugValue, first: number): void {
  if (value.intValue !== undefined) writer.varint(first, value.intValue >>> 0);
  if (value.longValue !== undefined) writer.varint(first + 1, value.longValue);
  if (value.floatValue !== undefined) writer.fixed32(first + 2, value.floatValue);
  if (value.doubleValue !== undefined) writer.fixed64(first + 3, value.doubleValue);
  if (value.booleanValue !== undefined) writer.varint(first + 4, Number(value.booleanValue));
  if (value.stringValue !== undefined) writer.text(first + 5, value.stringValue);
}

type Draft<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Takes a payload apart. Never throws: fails `malformed` on bytes that are none. Unknown fields are passed over,
 * and so is a known field of another wire type.
 */
export function decodePayload(bytes: Uint8Array): Result<SparkplugPayload> {
  try {
    const payload: Draft<SparkplugPayload> = { metrics: [] };
    const metrics: SparkplugMetric[] = [];
    for (const field of wireFields(bytes)) {
      if (is(field, 1, VARINT)) payload.timestamp = Number(field.integer);
      else if (is(field, 2, BYTES)) metrics.push(decodeMetric(field.bytes));
      else if (is(field, 3, VARINT)) payload.seq = Number(field.integer);
      else if (is(field, 4, BYTES)) payload.uuid = textOf(field.bytes);
      else if (is(field, 5, BYTES)) payload.body = Uint8Array.from(field.bytes);
    }
    return ok({ ...payload, metrics });
  } catch (error) {
    if (error instanceof WireError) return fail('malformed', `no Sparkplug payload: ${error.message}`);
    throw error;
  }
}

function is(field: WireField, number: number, type: number): boolean {
  return field.field === number && field.type === type;
}

function decodeMetric(bytes: Uint8Array): SparkplugMetric {
  const metric: Draft<SparkplugMetric> = {};
  for (const field of wireFields(bytes)) {
    if (is(field, 1, BYTES)) metric.name = textOf(field.bytes);
    else if (is(field, 2, VARINT)) metric.alias = field.integer;
    else if (is(field, 3, VARINT)) metric.timestamp = Number(field.integer);
    else if (is(field, 4, VARINT)) metric.datatype = Number(field.integer);
    else if (is(field, 5, VARINT)) metric.isHistorical = field.integer !== 0n;
    else if (is(field, 6, VARINT)) metric.isTransient = field.integer !== 0n;
    else if (is(field, 7, VARINT)) metric.isNull = field.integer !== 0n;
    else if (is(field, 9, BYTES)) metric.properties = decodeProperties(field.bytes);
    else if (is(field, 16, BYTES)) metric.bytesValue = Uint8Array.from(field.bytes);
    else if (is(field, 17, BYTES)) metric.datasetValue = Uint8Array.from(field.bytes);
    else if (is(field, 18, BYTES)) metric.templateValue = Uint8Array.from(field.bytes);
    else decodeValue(metric, field, 10);
  }
  return metric;
}

function decodeProperties(bytes: Uint8Array): SparkplugProperty[] {
  const keys: string[] = [];
  const values: Draft<SparkplugProperty>[] = [];
  for (const field of wireFields(bytes)) {
    if (is(field, 1, BYTES)) keys.push(textOf(field.bytes));
    else if (is(field, 2, BYTES)) {
      const value: Draft<SparkplugProperty> = { key: '' };
      for (const part of wireFields(field.bytes)) {
        if (is(part, 1, VARINT)) value.type = Number(part.integer);
        else if (is(part, 2, VARINT)) value.isNull = part.integer !== 0n;
        else decodeValue(value, part, 3);
      }
      values.push(value);
    }
  }
  if (keys.length !== values.length) throw new WireError('as many property keys as values');
  return values.map((value, index) => ({ ...value, key: keys[index]! }));
}

function decodeValue(value: Draft<SparkplugValue>, field: WireField, first: number): void {
  if (is(field, first, VARINT)) value.intValue = Number(BigInt.asUintN(32, field.integer));
  else if (is(field, first + 1, VARINT)) value.longValue = field.integer;
  else if (is(field, first + 2, FIXED32)) value.floatValue = view(field.bytes).getFloat32(0, true);
  else if (is(field, first + 3, FIXED64)) value.doubleValue = view(field.bytes).getFloat64(0, true);
  else if (is(field, first + 4, VARINT)) value.booleanValue = field.integer !== 0n;
  else if (is(field, first + 5, BYTES)) value.stringValue = textOf(field.bytes);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function textOf(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new WireError('text that is not UTF-8');
  }
}
