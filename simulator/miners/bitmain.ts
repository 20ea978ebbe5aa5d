import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { digestResponse } from '../../protocols/http-digest.ts';
import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combined,
  fanRpm,
  type MinerWireFaults,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
  serveWeb,
  wrongPassword,
} from './api-server.ts';
import { invalidCommand, poolRecords, reply } from './cgminer-form.ts';
import { readBody, sendJson } from './web-form.ts';

const REALM = 'antMiner Configuration';
/** Low-power mode draws about this share of nominal. */
const LOW_POWER_SHARE = 0.8;

/** What the web page's file holds. */
interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  conf: ReplyBody;
}

/** A stock Antminer: five read commands on the API port, everything else on its web page behind Digest. */
export async function serveBitmain(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const unit: Unit = { miner, place, faults, conf: factoryConf() };
  const style = { place, description: 'cgminer 1.0.0' };
  const api = await serveApi(miner, place, ({ command }) => {
    // Asleep the mining program is down: connections end without an answer.
    if (isAsleep(miner)) return null;
    return JSON.stringify(read(unit, command) ?? invalidCommand(style));
  });
  try {
    const web = await serveWeb(miner, place, webListener(unit));
    return combined(place, api, web);
  } catch (error) {
    await api.close();
    throw error;
  }
}

function factoryConf(): ReplyBody {
  return {
    pools: [0, 1, 2].map((index) => ({
      url: index === 2 ? '' : `stratum+tcp://pool-${index === 0 ? 'a' : 'b'}.example:3333`,
      user: index === 2 ? '' : 'acct.worker',
      pass: index === 2 ? '' : 'x',
    })),
    'api-listen': true,
    'api-network': true,
    'api-groups': 'A:stats:pools:devs:summary:version',
    'api-allow': 'A:0/0,W:*',
    'bitmain-fan-ctrl': false,
    'bitmain-fan-pwm': '100',
    'bitmain-use-vil': true,
    'bitmain-freq': '485',
    'bitmain-voltage': '1980',
    'bitmain-ccdelay': '0',
    'bitmain-pwth': '4',
    'bitmain-work-mode': '0',
    'bitmain-freq-level': '100',
  };
}

function isAsleep(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping';
}

function read(unit: Unit, command: string): ReplyBody | null {
  const { miner, place } = unit;
  const style = { place, description: 'cgminer 1.0.0' };
  const head = {
    BMMiner: '1.0.0',
    CompileTime: 'Tue Dec  6 16:12:30 CST 2022',
    Miner: '49.0.1.3',
    Type: place.model,
  };
  const ghs = rounded(miner.hashrateThs * 1000, 2);
  const elapsed = Math.floor(miner.uptimeMs / 1000);
  switch (command) {
    case 'version':
      return reply(style, 22, 'CGMiner versions', { VERSION: [{ API: '3.1', ...head }] });
    case 'summary':
      return reply(style, 11, 'Summary', {
        SUMMARY: [{ Elapsed: elapsed, 'GHS 5s': ghs, 'GHS av': ghs, 'GHS 30m': ghs }],
      });
    case 'stats':
      return reply(style, 70, 'CGMiner stats', { STATS: [head, liveStats(unit, ghs, elapsed)] });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(ghs > 0) });
    case 'devs':
      return reply(style, 9, '1 ASC(s)', { DEVS: [{ ASC: 0, Name: 'BTM_SOC', 'MHS 5s': 0, 'MHS av': 0 }] });
    default:
      return null;
  }
}

function liveStats(unit: Unit, ghs: number, elapsed: number): ReplyBody {
  const celsius = chipCelsius(unit.miner);
  const chains: Record<string, unknown> = {};
  for (const chain of [1, 2, 3, 4]) {
    const present = chain < 4;
    chains[`chain_acn${chain}`] = present ? 114 : 0;
    chains[`chain_acs${chain}`] = present ? ' ooo'.repeat(38) : '';
    chains[`chain_rate${chain}`] = present ? (ghs / 3).toFixed(2) : '';
    chains[`chain_hw${chain}`] = 0;
    chains[`temp_chip${chain}`] = present
      ? `${celsius}-${celsius - 28}-${celsius - 9}-${celsius - 8}`
      : '0-0-0-0';
    chains[`temp_pcb${chain}`] = present
      ? `${celsius - 5}-${celsius - 33}-${celsius - 14}-${celsius - 13}`
      : '0-0-0-0';
    chains[`fan${chain}`] = fanRpm(unit.miner);
  }
  return {
    STATS: 0,
    ID: 'BTM_SOC0',
    Elapsed: elapsed,
    'GHS 5s': ghs,
    'GHS av': ghs,
    rate_30m: ghs,
    rate_unit: 'GH',
    total_rateideal: rounded(unit.miner.traits.normalHashrateThs * 1000, 1),
    miner_count: 3,
    fan_num: 4,
    ...chains,
  };
}

function webListener(unit: Unit): RequestListener {
  return (request, response) => {
    if (!isAuthorised(unit, request)) {
      if (request.headers.authorization !== undefined) wrongPassword(unit.faults);
      response.writeHead(401, {
        'www-authenticate': `Digest realm="${REALM}", nonce="${nonceOf(unit)}", qop="auth"`,
      });
      response.end('<html><body>401 - Unauthorized</body></html>');
      return;
    }
    const page = (request.url ?? '').replace(/^\/cgi-bin\//, '');
    if (request.method === 'POST') readBody(request, (text) => write(unit, page, text, response));
    else send(response, show(unit, page));
  };
}

function show(unit: Unit, page: string): ReplyBody | null {
  const { miner, place } = unit;
  const status = { STATUS: 'S', Msg: page.replace('.cgi', ''), api_version: '1.0.0' };
  const info = { miner_version: '49.0.1.3', CompileTime: 'Tue Dec  6 16:12:30 CST 2022', type: place.model };
  const asleep = isAsleep(miner);
  const ghs = rounded(miner.hashrateThs * 1000, 2);
  switch (page) {
    case 'get_system_info.cgi':
      return {
        minertype: place.model,
        nettype: 'DHCP',
        netdevice: 'eth0',
        macaddr: place.macAddress,
        hostname: 'Antminer',
        system_mode: 'GNU/Linux',
        system_filesystem_version: 'FR-1.12(251009)',
        firmware_type: 'Release',
        serinum: place.serialNumber,
      };
    case 'get_miner_conf.cgi':
      return unit.conf;
    case 'get_blink_status.cgi':
      return { blink: unit.faults.blinks === true };
    case 'stats.cgi':
      return { STATUS: status, INFO: info, STATS: asleep ? [] : [webStats(unit, ghs)] };
    case 'summary.cgi':
      return {
        STATUS: status,
        INFO: info,
        SUMMARY: asleep
          ? []
          : [{ elapsed: Math.floor(miner.uptimeMs / 1000), rate_5s: ghs, rate_unit: 'GH/s' }],
      };
    case 'pools.cgi':
      return {
        STATUS: status,
        INFO: info,
        POOLS: poolRecords(!asleep).map((pool) => ({
          index: pool['POOL'],
          url: pool['URL'],
          user: pool['User'],
          status: pool['Status'],
          priority: pool['Priority'],
        })),
      };
    default:
      return null;
  }
}

function webStats(unit: Unit, ghs: number): ReplyBody {
  const celsius = chipCelsius(unit.miner);
  return {
    elapsed: Math.floor(unit.miner.uptimeMs / 1000),
    rate_5s: ghs,
    rate_ideal: rounded(unit.miner.traits.normalHashrateThs * 1000, 1),
    rate_unit: 'GH/s',
    chain_num: 3,
    fan_num: 4,
    fan: [1, 2, 3, 4].map(() => fanRpm(unit.miner)),
    'miner-mode': Number(unit.conf['bitmain-work-mode']),
    chain: [0, 1, 2].map((index) => ({
      index,
      rate_real: rounded(ghs / 3, 2),
      asic_num: 114,
      temp_chip: [celsius, celsius - 9],
      temp_pcb: [celsius - 5, celsius - 14],
    })),
  };
}

function write(unit: Unit, page: string, text: string, response: ServerResponse): void {
  let body: ReplyBody;
  try {
    body = JSON.parse(text) as ReplyBody;
  } catch {
    send(response, { stats: 'error', code: 'M002', msg: 'Invalid JSON!' });
    return;
  }
  if (page === 'blink.cgi') {
    unit.faults.blinks = body['blink'] === true || body['blink'] === 'true';
    send(response, { code: unit.faults.blinks === true ? 'B000' : 'B100' });
    return;
  }
  if (page !== 'set_miner_conf.cgi') {
    send(response, null);
    return;
  }
  if (unit.faults.readOnly === true) {
    send(response, { stats: 'error', code: 'M003', msg: 'Permission denied' });
    return;
  }
  setConf(unit, body);
  if (unit.faults.losesAnswers === true) response.destroy();
  else send(response, { stats: 'success', code: 'M000', msg: 'OK!' });
}

/** As firmware before 2023-07 does: the file is replaced by what was sent, pools and all. */
function setConf(unit: Unit, body: ReplyBody): void {
  const mode = Number(body['miner-mode'] ?? body['bitmain-work-mode'] ?? 0);
  const { 'miner-mode': _mode, 'freq-level': level, ...kept } = body;
  unit.conf = { ...kept, 'bitmain-work-mode': String(mode), 'bitmain-freq-level': String(level ?? '100') };
  const { miner } = unit;
  if (mode === 1) miner.sleep();
  else miner.run(miner.traits.normalWatts * (mode === 3 ? LOW_POWER_SHARE : 1));
}

function nonceOf(unit: Unit): string {
  return `${unit.place.macAddress.replaceAll(':', '')}00`;
}

function isAuthorised(unit: Unit, request: IncomingMessage): boolean {
  const header = request.headers.authorization ?? '';
  const field = (name: string): string => new RegExp(`[ ,]${name}="?([^",]*)"?`).exec(header)?.[1] ?? '';
  const credentials = { user: unit.place.user ?? 'root', password: unit.place.password ?? 'root' };
  const challenge = { realm: REALM, nonce: nonceOf(unit), opaque: null, qop: 'auth' as const, stale: false };
  const asked = { method: request.method ?? 'GET', path: request.url ?? '' };
  return (
    field('username') === credentials.user &&
    field('response') ===
      digestResponse(challenge, credentials, asked, Number.parseInt(field('nc'), 16), field('cnonce'))
  );
}

function send(response: ServerResponse, body: ReplyBody | null): void {
  if (body === null) response.writeHead(404).end();
  else sendJson(response, body);
}
