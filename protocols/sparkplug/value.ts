import { DATATYPE, type SparkplugValue } from './payload.ts';

/** A value as the rest of the house knows it; `null` = not known. */
export type PlainValue = number | boolean | string | null;

/** Datatypes of the metrics that this product reports. */
export type MetricType = 'Int32' | 'Int64' | 'Double' | 'Boolean' | 'String' | 'DateTime';

/**
 * The wire fields of a value of a datatype. What does not fit, NaN and infinity among them, is `isNull`: unknown,
 * never 0.
 */
export function wireValue(type: MetricType, value: PlainValue): SparkplugValue {
  if (type === 'String') return typeof value === 'string' ? { stringValue: value } : { isNull: true };
  if (type === 'Boolean') return typeof value === 'boolean' ? { booleanValue: value } : { isNull: true };
  if (typeof value !== 'number' || !Number.isFinite(value)) return { isNull: true };
  if (type === 'Double') return { doubleValue: value };
  const whole = Math.round(value);
  if (type === 'Int64' || type === 'DateTime')
    return Number.isSafeInteger(whole) ? { longValue: BigInt.asUintN(64, BigInt(whole)) } : { isNull: true };
  return whole === (whole | 0) ? { intValue: whole >>> 0 } : { isNull: true };
}

/**
 * The value of a metric or of a write to one, read as `type`. Hosts write numbers in whatever field they like, so
 * every number counts for a numeric type. `undefined`: there is no value of this type.
 */
export function plainValue(type: MetricType, value: SparkplugValue): PlainValue | undefined {
  if (value.isNull === true) return null;
  if (type === 'String') return value.stringValue;
  if (type === 'Boolean') return value.booleanValue;
  if (value.doubleValue !== undefined) return value.doubleValue;
  if (value.floatValue !== undefined) return value.floatValue;
  if (value.longValue !== undefined) return Number(BigInt.asIntN(64, value.longValue));
  return value.intValue === undefined ? undefined : value.intValue | 0;
}

/** The property `Quality` of a metric. Source: Eclipse Sparkplug 3.0.0, 6.4.19. */
export const QUALITY = { bad: 0, good: 192, stale: 500 } as const;

/** A `Quality` property for births and data. */
export function qualityProperty(quality: number) {
  return { key: 'Quality', type: DATATYPE.Int32, intValue: quality };
}
