/**
 * Units as types. A `Watts` is a number that the compiler will not let pass for a `Celsius`; plain numbers
 * (literals, results of arithmetic) are accepted anywhere, so formulas stay readable.
 */
declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]?: Name };

/** Electric power, positive = consumed or imported. */
export type Watts = Unit<'W'>;
/** Apparent power. */
export type VoltAmperes = Unit<'VA'>;
export type WattHours = Unit<'Wh'>;
export type Volts = Unit<'V'>;
export type Amps = Unit<'A'>;
export type Hertz = Unit<'Hz'>;
export type Celsius = Unit<'degC'>;
export type Percent = Unit<'%'>;
/** Hash rate in 10^12 hashes a second. */
export type TerahashesPerSecond = Unit<'TH/s'>;
export type JoulesPerTerahash = Unit<'J/TH'>;
export type RevolutionsPerMinute = Unit<'rpm'>;
export type Dollars = Unit<'$'>;
export type DollarsPerHour = Unit<'$/h'>;
/** A span of time. */
export type Milliseconds = Unit<'ms'>;
export type Seconds = Unit<'s'>;
/** A moment on the monotonic clock of this process (never stepped, meaningless elsewhere). */
export type MonotonicMs = Unit<'ms-monotonic'>;
/** A moment of wall time, milliseconds since 1970 UTC (may be stepped; for stamps and expiry only). */
export type EpochMs = Unit<'ms-epoch'>;

declare const idKind: unique symbol;
/** Stable id of a device: `[a-z0-9][a-z0-9-]{0,62}`. */
export type DeviceId = string & { readonly [idKind]?: 'device' };
/** Id of a node of the limit tree, same alphabet. */
export type LimitId = string & { readonly [idKind]?: 'limit' };

/** The alphabet of every id: safe in topics, JSON paths and file names. */
export const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
