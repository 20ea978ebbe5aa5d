import type { SimulatedMiner } from '../physics.ts';
import {
  combined,
  type MinerWireFaults,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
} from './api-server.ts';
import { asText, invalidCommand, joined, poolRecords, type ReplyStyle, reply } from './cgminer-form.ts';

/** A miner under plain cgminer 4.11.1: everything can be read but its power, nothing can be commanded. */
export function serveCgminer(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  _faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const style = { place, description: 'cgminer 4.11.1' };
  const version = () =>
    reply(style, 22, 'CGMiner versions', { VERSION: [{ CGMiner: '4.11.1', API: '3.7' }] });
  return serve(miner, style, 'ASC', version);
}

/** A miner under bfgminer 5.5.0: the same with devices called PGA. */
export function serveBfgminer(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  _faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const style = { place, description: 'bfgminer 5.5.0' };
  const version = () =>
    reply(style, 22, 'BFGMiner versions', {
      VERSION: [{ Miner: 'bfgminer 5.5.0', CGMiner: '5.5.0', API: '3.1' }],
    });
  return serve(miner, style, 'PGA', version);
}

async function serve(
  miner: SimulatedMiner,
  style: ReplyStyle,
  device: 'ASC' | 'PGA',
  version: () => ReplyBody,
): Promise<SimulatedServer> {
  const rates = (share: number): ReplyBody => {
    const mhs = rounded(miner.hashrateThs * 1e6 * share, 2);
    return { 'MHS av': mhs, 'MHS 5s': mhs, 'MHS 1m': mhs, 'MHS 5m': mhs, 'MHS 15m': mhs };
  };
  const elapsedSeconds = (): number => Math.floor(miner.uptimeMs / 1000);
  const commands: Readonly<Record<string, () => ReplyBody>> = {
    version,
    config: () =>
      reply(style, 33, 'CGMiner config', {
        CONFIG: [{ 'ASC Count': 3, 'PGA Count': 0, 'Pool Count': 2, Strategy: 'Failover', OS: 'Linux' }],
      }),
    summary: () =>
      reply(style, 11, 'Summary', {
        SUMMARY: [
          {
            Elapsed: elapsedSeconds(),
            ...rates(1),
            'Found Blocks': 0,
            Accepted: 1483,
            Rejected: 1,
            'Hardware Errors': 0,
            'Total MH': rounded(miner.hashrateThs * 1e6 * elapsedSeconds(), 4),
          },
        ],
      }),
    devs: () =>
      reply(style, 9, `3 ${device}(s)`, {
        DEVS: [0, 1, 2].map((index) => ({
          [device]: index,
          Name: 'SIM',
          ID: index,
          Enabled: 'Y',
          Status: 'Alive',
          ...rates(1 / 3),
        })),
      }),
    pools: () => reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(miner.hashrateThs > 0) }),
    stats: () =>
      reply(style, 70, 'CGMiner stats', {
        STATS: [{ STATS: 0, ID: 'SIM0', Elapsed: elapsedSeconds(), Calls: 0 }],
      }),
    coin: () => reply(style, 78, 'CGMiner coin', { COIN: [{ 'Hash Method': 'sha256', LP: true }] }),
    privileged: () => reply(style, 45, "Access denied to 'privileged' command", {}, 'E'),
  };
  const single = (command: string): ReplyBody | null => commands[command]?.() ?? null;
  const api = await serveApi(miner, style.place, ({ command, json }) => {
    const body = command.includes('+')
      ? joined(style, command, single)
      : (single(command) ?? invalidCommand(style));
    return json === null ? asText(body) : JSON.stringify(body);
  });
  return combined(style.place, api, null);
}
