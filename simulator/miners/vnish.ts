import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combinedWith,
  fanRpm,
  type MinerWireFaults,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
} from './api-server.ts';
import { invalidCommand, poolRecords, reply } from './cgminer-form.ts';
import {
  openTokenDesk,
  type PageAnswer,
  type PageRequest,
  recordOf,
  servePages,
  type TokenDesk,
} from './web-form.ts';

const VERSION = '1.2.7';
/** Presets as shares of nominal; every third is listed but was never tuned. */
const SHARES = [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1];

interface Preset {
  readonly name: string;
  readonly watts: number;
  readonly tuned: boolean;
}

interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly tokens: TokenDesk;
  readonly presets: readonly Preset[];
  preset: Preset;
  /** What is written down, and comes into force with the next start. */
  written: Preset;
  switcher: ReplyBody;
}

/** VNish 1.2.7: figures on the API port, everything else on pages that unlock with a password. */
export async function serveVnish(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const presets = SHARES.map((share, index) => {
    const watts = Math.round((miner.traits.normalWatts * share) / 10) * 10;
    return { name: String(watts), watts, tuned: index % 3 !== 1 };
  });
  const top = presets.at(-1)!;
  const unit: Unit = {
    miner,
    place,
    faults,
    tokens: openTokenDesk(faults),
    presets,
    preset: top,
    written: top,
    switcher: {
      enabled: true,
      top_preset: top.name,
      min_preset: presets[0]!.name,
      autochange_top_preset: true,
    },
  };
  const api = await serveApi(miner, place, ({ command }) => {
    // Stopped, the mining program is gone from its port.
    if (miner.state === 'sleeping') return null;
    return JSON.stringify(port(unit, command));
  });
  return combinedWith(
    place,
    api,
    servePages(miner, place, (request) => page(unit, request)),
  );
}

function port(unit: Unit, command: string): ReplyBody {
  const { miner, place } = unit;
  const style = { place, description: 'cgminer 4.11.1' };
  const ghs = rounded(miner.hashrateThs * 1000, 2);
  const elapsed = Math.floor(miner.uptimeMs / 1000);
  switch (command) {
    case 'stats':
      return reply(style, 70, 'CGMiner stats', { STATS: [head(place), live(unit, ghs, elapsed)] });
    case 'summary':
      return reply(style, 11, 'Summary', { SUMMARY: [{ Elapsed: elapsed, 'GHS 5s': ghs, 'GHS av': ghs }] });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', {
        POOLS: [
          ...poolRecords(ghs > 0),
          { POOL: 2, URL: 'DevFee', Status: 'Alive', Priority: 999, User: 'DevFee' },
        ],
      });
    case 'version':
      return {
        STATUS: [{ STATUS: 'E', When: 0, Code: 0, Msg: 'Invalid command', Description: style.description }],
      };
    default:
      return invalidCommand(style);
  }
}

function head(place: SimulatedMinerPlace): ReplyBody {
  return { Cgminer: VERSION, CompileTime: '2025-12-22 19:12:30', Type: `${place.model} (Vnish ${VERSION})` };
}

function live(unit: Unit, ghs: number, elapsed: number): ReplyBody {
  const { miner } = unit;
  const celsius = chipCelsius(miner);
  const stats: Record<string, unknown> = {
    Elapsed: elapsed,
    'GHS 5s': String(ghs),
    'GHS av': ghs,
    total_rateideal: rounded(miner.traits.normalHashrateThs * 1000, 1),
    miner_count: 3,
    fan_num: 4,
  };
  for (const chain of [1, 2, 3]) {
    stats[`chain_acn${chain}`] = 65;
    stats[`chain_acs${chain}`] = ' ooooo'.repeat(13);
    stats[`chain_rate${chain}`] = String(rounded(ghs / 3, 2));
    stats[`chain_consumption${chain}`] = Math.round(miner.claimedWatts / 3);
    stats[`temp_chip${chain}`] = `${celsius - 10}-${celsius}`;
    stats[`temp_pcb${chain}`] = `${celsius - 20}-${celsius - 12}`;
  }
  for (const fan of [1, 2, 3, 4]) stats[`fan${fan}`] = fanRpm(miner);
  return stats;
}

function stateOf(miner: SimulatedMiner): string {
  return { hashing: 'mining', starting: 'starting', sleeping: 'stopped', stopping: 'shutting-down' }[
    miner.state
  ];
}

function page(unit: Unit, request: PageRequest): PageAnswer {
  const { place, tokens, faults } = unit;
  const path = request.path.replace(/^api\/v1\//, '');
  if (request.path === '')
    return { text: '<html><head><meta name="firmware" content="AnthillOS"></head></html>' };
  if (path === request.path) return { status: 404, text: 'not found' };
  if (path === 'unlock') {
    const token = tokens.give(recordOf(request.json)['pw'] === (place.password ?? 'admin'));
    return token === null ? { status: 403, json: { err: 'Invalid password' } } : { json: { token } };
  }
  if (request.method === 'GET') {
    const body = show(unit, path);
    return body === null ? { status: 404, json: { err: 'not found' } } : { json: body };
  }
  if (!tokens.holds(request.headers.authorization?.replace(/^Bearer /, '')))
    return { status: 401, json: { err: 'unauthorized' } };
  if (faults.readOnly === true) return { status: 403, json: { err: 'forbidden' } };
  const answer = write(unit, path, request.json);
  return faults.losesAnswers === true ? null : answer;
}

function write(unit: Unit, path: string, body: unknown): PageAnswer {
  const { miner } = unit;
  const done = { json: { success: true } };
  const start = (): void => {
    unit.preset = unit.written;
    miner.run(unit.preset.watts);
  };
  switch (path) {
    case 'mining/stop':
    case 'mining/pause':
      miner.sleep();
      return done;
    case 'mining/start':
    case 'mining/resume':
      start();
      return done;
    case 'mining/restart':
      if (miner.state !== 'sleeping' && miner.state !== 'stopping') start();
      return done;
    case 'find-miner':
      unit.faults.blinks = recordOf(body)['on'] === true;
      return { json: { on: unit.faults.blinks } };
    case 'settings': {
      const overclock = recordOf(recordOf(recordOf(body)['miner'])['overclock']);
      const preset = unit.presets.find(({ name }) => name === overclock['preset']);
      if (preset === undefined) return { status: 500, json: { err: 'unknown preset' } };
      const changed = preset !== unit.preset;
      unit.written = preset;
      if (overclock['preset_switcher'] !== undefined)
        unit.switcher = { ...unit.switcher, ...recordOf(overclock['preset_switcher']) };
      return { json: { restart_required: changed, reboot_required: false } };
    }
    default:
      return { status: 404, json: { err: 'not found' } };
  }
}

function show(unit: Unit, path: string): unknown {
  const { miner, place } = unit;
  const status = ({ tuned }: Preset) => (tuned ? 'tuned' : 'untuned');
  const described = (preset: Preset) => ({
    name: preset.name,
    pretty: `${preset.name} watt`,
    status: status(preset),
    modded_psu_required: false,
  });
  switch (path) {
    case 'info':
      return {
        miner: place.model,
        model: place.model.toLowerCase().replaceAll(' ', ''),
        fw_name: 'Vnish',
        fw_version: VERSION,
        algorithm: 'sha256d',
        system: { network_status: { mac: place.macAddress.toUpperCase(), hostname: 'Antminer' } },
        serial: 'N/A',
      };
    case 'summary':
      return {
        miner: {
          miner_status: { miner_state: stateOf(miner), miner_state_time: 10 },
          hr_realtime: rounded(miner.hashrateThs * 1000, 2),
          instant_hashrate: rounded(miner.hashrateThs, 5),
          power_consumption: Math.round(miner.claimedWatts),
        },
      };
    case 'perf-summary':
      return { current_preset: described(unit.preset), preset_switcher: unit.switcher };
    case 'autotune/presets':
      return [{ name: 'disabled', pretty: 'Disabled', status: 'untuned' }, ...unit.presets.map(described)];
    default:
      return null;
  }
}
