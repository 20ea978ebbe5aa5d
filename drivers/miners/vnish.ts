import { readCgminer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { MinerEndpoint, MinerState } from '../load-driver.ts';
import { type CgminerReplies, cgminerTarget, decodeCgminer, isSilence } from './cgminer.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { isForeign } from './recognise.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hottest,
  type MinerFields,
  macOf,
  mergedRecords,
} from './reply-fields.ts';
import { exchangeJson, jsonOf, recordAt, webTarget } from './web-json.ts';

/** Replies of port 4028 and the pages below /api/v1/. */
export interface VnishReplies extends CgminerReplies {
  /** info */
  readonly info?: unknown;
  /** summary */
  readonly webSummary?: unknown;
  /** perf-summary */
  readonly performance?: unknown;
}

const STATES: Readonly<Record<string, MinerState>> = {
  mining: 'hashing',
  initializing: 'starting',
  starting: 'starting',
  restarting: 'starting',
  'auto-tuning': 'tuning',
  'shutting-down': 'stopped',
  stopped: 'stopped',
  failure: 'fault',
};

/**
 * A reading of VNish. Power is what the firmware reports, as a whole or as the sum of its chains; the limit
 * is the watts that the preset in force is named after.
 *
 * Source: replies recorded from an S21 Pro on 1.2.7.
 */
export function decodeVnish(replies: VnishReplies, configuredModel: string | null = null): MinerFields {
  const base = decodeCgminer('vnish', replies, configuredModel);
  const stats = mergedRecords(replies.stats, 'STATS');
  const info = recordAt(replies.info);
  const miner = recordAt(replies.webSummary, 'miner');
  const said = firstNumber(miner, 'power_consumption') ?? chainsWatts(stats);
  const reports = said !== null && said >= 0;
  const powerWatts = reports ? said : base.powerWatts;
  const state = firstText(recordAt(miner, 'miner_status'), 'miner_state') ?? firstText(stats, 'state');
  const preset = firstNumber(recordAt(replies.performance, 'current_preset'), 'name');
  return {
    ...base,
    vendor: 'Bitmain',
    model: firstText(info, 'miner') ?? base.model,
    firmwareVersion: firstText(info, 'fw_version') ?? firstText(stats, 'Cgminer'),
    macAddress: macOf(recordAt(info, 'system', 'network_status')['mac']),
    serialNumber: firstText(info, 'serial'),
    state: (state === null ? undefined : STATES[state]) ?? base.state,
    powerWatts,
    powerSource: reports ? 'reported' : base.powerSource,
    powerLimitWatts: preset !== null && preset > 0 ? preset : null,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, base.hashrateThs),
    chipTemperatureCelsius: hottest(...[1, 2, 3, 4].map((chain) => stats[`temp_chip${chain}`])),
    boardTemperatureCelsius: hottest(...[1, 2, 3, 4].map((chain) => stats[`temp_pcb${chain}`])),
    // The maker's own share is no pool of the operator.
    pools: base.pools.filter(({ url }) => url !== 'DevFee'),
    errors: [1, 2, 3, 4].flatMap((chain) => {
      const fault = firstText(stats, `chain_fault${chain}`);
      return fault === null ? [] : [{ code: `CHAIN${chain}`, message: fault }];
    }),
  };
}

function chainsWatts(stats: CgminerBody): number | null {
  const chains = Array.from({ length: 16 }, (_, chain) =>
    firstNumber(stats, `chain_consumption${chain + 1}`),
  ).flatMap((watts) => (watts === null || watts < 0 ? [] : [watts]));
  return chains.length === 0 ? null : chains.reduce((total, watts) => total + watts, 0);
}

/** VNish (AnthillOS): figures on port 4028, identity, state and preset on the web port. Readings only. */
export function vnishFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const web = webTarget(endpoint, deps);

  const askWeb = async (page: string, signal: AbortSignal): Promise<Result<unknown>> => {
    const path = `/api/v1/${page}`;
    const answer = await exchangeJson(web, { method: 'GET', path }, signal);
    return answer.ok ? jsonOf(answer.value, `${web.host}:${web.port}${path}`) : answer;
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [name in keyof VnishReplies]: VnishReplies[name] } = {};
    for (const command of ['stats', 'summary', 'pools'] as const) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && command === 'stats' && isForeign({ stats: answer.value }, 'vnish'))
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as VNish`);
      if (answer.ok) replies[command] = answer.value.body;
      else if (command === 'stats') return answer;
      else if (isSilence(answer.error)) break;
    }
    for (const [name, page] of [
      ['info', 'info'],
      ['webSummary', 'summary'],
      ['performance', 'perf-summary'],
    ] as const) {
      const answer = await askWeb(page, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (answer.error.kind === 'cancelled') return answer;
      // Closed or behind a password: what port 4028 said is a reading all the same.
      else if (isSilence(answer.error)) break;
    }
    return ok(decodeVnish(replies, endpoint.model));
  };

  return {
    firmware: 'vnish',
    poll,
    who: async (signal) => {
      const info = await askWeb('info', signal);
      if (info.ok) return ok(decodeVnish({ info: info.value }, endpoint.model));
      if (info.error.kind === 'cancelled') return info;
      const stats = await readCgminer(target, 'stats', undefined, signal);
      return stats.ok ? ok(decodeVnish({ stats: stats.value.body }, endpoint.model)) : stats;
    },
  };
}
