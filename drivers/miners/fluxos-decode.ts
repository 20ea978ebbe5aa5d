import { FLUXOS_LEAST_SHARE, FLUXOS_TIMING } from '../../config/miners/timing.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadControl } from '../load-driver.ts';
import { type CgminerReplies, decodeCgminer } from './cgminer.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  flagOf,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
} from './reply-fields.ts';

/** Replies of port 4028 and, where the web port lets us in, of its pages of the same shape. */
export interface FluxosReplies extends CgminerReplies {
  readonly ipreport?: CgminerBody;
  readonly psu?: CgminerBody;
  readonly mode?: CgminerBody;
  readonly temperature?: CgminerBody;
  readonly fan?: CgminerBody;
}

/**
 * A reading of FluxOS (Auradine). Power is what the supply takes in; the limit is the watts of a custom mode.
 *
 * Source: example replies in the vendor's API manual, of several builds.
 */
export function decodeFluxos(
  replies: FluxosReplies,
  configuredModel: string | null = null,
  control: FluxosControl | null = null,
): MinerFields {
  const base = decodeCgminer('fluxos', replies, configuredModel);
  const report = mergedRecords(replies.ipreport, 'IPReport');
  const mode = mergedRecords(replies.mode, 'Mode');
  const supply = firstNumber(mergedRecords(replies.psu, 'PSU'), 'PowerIn');
  const reports = supply !== null && supply >= 0;
  const powerWatts = reports ? supply : base.powerWatts;
  const sleeps = isFluxosAsleep(mode);
  const custom = firstText(mode, 'Mode') === 'custom';
  const limit = custom ? firstNumber(mode, 'Power') : null;
  const boards = sectionRecords(replies.temperature ?? {}, 'Temperature').filter((entry) =>
    /hash/i.test(firstText(entry, 'Name') ?? ''),
  );
  const sensors = (name: string): readonly unknown[] =>
    boards.flatMap((board) => sectionRecords(board, name).map((sensor) => sensor['Temperature']));
  return {
    ...nothingSaid('fluxos'),
    ...base,
    vendor: 'Auradine',
    model: firstText(report, 'model') ?? base.model,
    firmwareVersion: firstText(report, 'version') ?? base.firmwareVersion,
    macAddress: macOf(report['mac']) ?? base.macAddress,
    serialNumber: firstText(report, 'SerialNo') ?? base.serialNumber,
    state: sleeps ? 'sleeping' : base.state,
    nominalHashrateThs:
      (custom ? hashrateThs(firstNumber(mode, 'Ths'), 'TH') : null) ?? base.nominalHashrateThs,
    powerWatts,
    powerSource: reports ? 'reported' : base.powerSource,
    powerLimitWatts: limit !== null && limit > 0 ? limit : null,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, base.hashrateThs),
    chipTemperatureCelsius: hottest(sensors('ChipTemp')),
    boardTemperatureCelsius: hottest(sensors('BoardTemp')),
    fanRpm: sectionRecords(replies.fan ?? {}, 'Fan').flatMap((fan) => {
      const rpm = firstNumber(fan, 'Speed');
      return rpm === null || rpm < 0 ? [] : [rpm];
    }),
    control: fluxosControl(control),
  };
}

/** What may be commanded with user and password at hand. */
export interface FluxosControl {
  /** The greatest power that is known of this unit: a target it took, or what it drew at work. */
  readonly greatestWatts: Watts | null;
}

/** `Sleep` of the mode page. */
export function isFluxosAsleep(mode: CgminerBody): boolean {
  return flagOf(mode['Sleep']) === true || firstText(mode, 'Sleep') === 'on';
}

/** The target in force, or what the unit draws at work: a bound known to be good, `null` where it says neither. */
export function fluxosWorkingWatts(fields: MinerFields): Watts | null {
  const drawn = fields.state === 'hashing' && fields.powerSource === 'reported' ? fields.powerWatts : null;
  const greatest = Math.max(fields.powerLimitWatts ?? 0, drawn ?? 0);
  return greatest > 0 ? Math.floor(greatest) : null;
}

/** Least and greatest target that are offered. */
export function fluxosRange(
  greatestWatts: Watts | null,
): { readonly minWatts: Watts; readonly maxWatts: Watts } | null {
  return greatestWatts === null
    ? null
    : { minWatts: Math.ceil(greatestWatts * FLUXOS_LEAST_SHARE), maxWatts: greatestWatts };
}

/** What a unit can be told. */
export function fluxosControl(control: FluxosControl | null): LoadControl {
  if (control === null) return nothingSaid('fluxos').control;
  const range = fluxosRange(control.greatestWatts);
  const { sleepMs, wakeMs, changeMs } = FLUXOS_TIMING;
  return {
    sleep: true,
    wake: true,
    powerLimit: range === null ? null : { kind: 'watts', ...range, stepWatts: 1 },
    sleepMs,
    wakeMs,
    changeMs: range === null ? null : changeMs,
  };
}
