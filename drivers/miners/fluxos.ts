import { secondPort } from '../../config/miners/firmwares.ts';
import { readCgminer } from '../../protocols/cgminer-client.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { type CgminerReplies, cgminerTarget, decodeCgminer, isSilence } from './cgminer.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { isForeign } from './recognise.ts';
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
import { exchangeJson, jsonOf, recordAt, webTarget } from './web-json.ts';

/** Replies of port 4028 and, where the web port lets us in, of its pages of the same shape. */
export interface FluxosReplies extends CgminerReplies {
  readonly ipreport?: CgminerBody;
  readonly psu?: CgminerBody;
  readonly mode?: CgminerBody;
  readonly temperature?: CgminerBody;
  readonly fan?: CgminerBody;
}

const WEB_READS = ['ipreport', 'psu', 'mode', 'temperature', 'fan'] as const;

/**
 * A reading of FluxOS (Auradine). Power is what the supply takes in; the limit is the watts of a custom mode.
 *
 * Source: example replies in the vendor's API manual, of several builds.
 */
export function decodeFluxos(replies: FluxosReplies, configuredModel: string | null = null): MinerFields {
  const base = decodeCgminer('fluxos', replies, configuredModel);
  const report = mergedRecords(replies.ipreport, 'IPReport');
  const mode = mergedRecords(replies.mode, 'Mode');
  const supply = firstNumber(mergedRecords(replies.psu, 'PSU'), 'PowerIn');
  const reports = supply !== null && supply >= 0;
  const powerWatts = reports ? supply : base.powerWatts;
  const sleeps = flagOf(mode['Sleep']) === true || firstText(mode, 'Sleep') === 'on';
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
  };
}

/** FluxOS: rates and pools on port 4028; identity, power and mode on the web port, with user and password. */
export function fluxosFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const web = webTarget(endpoint, deps, secondPort('fluxos', endpoint.webPort));
  let token: string | null = null;

  const login = async (signal: AbortSignal): Promise<Result<null>> => {
    const { user, password } = endpoint;
    if (user === null || password === null)
      return fail('unauthorised', `${web.host} wants user and password`);
    const body = { command: 'token', user, password: password.reveal() };
    const answer = await exchangeJson(web, { method: 'POST', path: '/token', body }, signal);
    if (!answer.ok) return answer;
    const json = jsonOf(answer.value, `${web.host}:${web.port}/token`);
    if (!json.ok) return json;
    token = firstText(mergedRecords(recordAt(json.value), 'Token'), 'Token');
    return token === null ? fail('unauthorised', `${web.host} gives no token for this password`) : ok(null);
  };

  /** A page by the token that holds; one that ran out is fetched anew once. */
  const askWeb = async (page: string, signal: AbortSignal): Promise<Result<CgminerBody>> => {
    for (const attempt of [1, 2]) {
      if (token === null) {
        const entered = await login(signal);
        if (!entered.ok) return entered;
      }
      const headers = { token: token ?? '' };
      const answer = await exchangeJson(web, { method: 'GET', path: `/${page}`, headers }, signal);
      if (!answer.ok) return answer;
      const json = jsonOf(answer.value, `${web.host}:${web.port}/${page}`);
      const letter = json.ok ? firstText(mergedRecords(recordAt(json.value), 'STATUS'), 'STATUS') : null;
      if (json.ok && (letter === 'S' || letter === 'I')) return ok(recordAt(json.value));
      token = null;
      if (attempt === 2) return json.ok ? fail('refused', `${web.host} declines ${page}`) : json;
    }
    return fail('refused', `${web.host} declines ${page}`);
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [name in keyof FluxosReplies]: CgminerBody } = {};
    for (const command of ['summary', 'version', 'devs', 'pools'] as const) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && command === 'version' && isForeign({ version: answer.value }, 'fluxos'))
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as FluxOS`);
      if (answer.ok) replies[command] = answer.value.body;
      else if (command === 'summary') return answer;
      else if (isSilence(answer.error)) break;
    }
    for (const page of endpoint.user === null ? [] : WEB_READS) {
      const answer = await askWeb(page, signal);
      if (answer.ok) replies[page] = answer.value;
      else if (answer.error.kind === 'cancelled') return answer;
      // What the open port said is a reading all the same.
      else if (isSilence(answer.error) || answer.error.kind === 'unauthorised') break;
    }
    return ok(decodeFluxos(replies, endpoint.model));
  };

  return {
    firmware: 'fluxos',
    poll,
    who: async (signal) => {
      const report = endpoint.user === null ? null : await askWeb('ipreport', signal);
      if (report?.ok === true) return ok(decodeFluxos({ ipreport: report.value }, endpoint.model));
      if (report?.error.kind === 'cancelled') return report;
      const version = await readCgminer(target, 'version', undefined, signal);
      if (!version.ok) return version;
      if (isForeign({ version: version.value }, 'fluxos'))
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as FluxOS`);
      return ok(decodeFluxos({ version: version.value.body }, endpoint.model));
    },
  };
}
