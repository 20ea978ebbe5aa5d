import type { SimulatedMiner } from '../physics.ts';
import {
  type ApiAnswer,
  chipCelsius,
  combined,
  fanRpm,
  type MinerWireFaults,
  monotonicMs,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
} from './api-server.ts';
import { invalidCommand, joined, poolRecords, reply } from './cgminer-form.ts';

const VERSION = '2025.4.8.220305';
const DESCRIPTION = `LUXminer ${VERSION}-57b389c7`;

/** Steps -16 to 0 of a recorded S19k Pro: watts and TH/s, scaled to the model simulated. */
const STEPS: readonly (readonly [watts: number, ths: number])[] = [
  [784, 39.2],
  [879, 44.4],
  [978, 49.5],
  [1080, 54.7],
  [1188, 59.8],
  [1299, 65.0],
  [1414, 70.2],
  [1533, 75.3],
  [1657, 80.5],
  [1785, 85.7],
  [1916, 90.8],
  [2052, 96.0],
  [2192, 101.1],
  [2336, 106.3],
  [2485, 111.5],
  [2637, 116.6],
  [2794, 121.8],
];

interface Profile {
  readonly name: string;
  readonly step: number;
  readonly frequencyMhz: number;
  readonly watts: number;
  readonly ths: number;
}

interface Session {
  readonly id: string;
  lastUsedMs: number;
}

/** Everything a simulated LuxOS unit remembers beside its physics. */
interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly profiles: readonly Profile[];
  session: Session | null;
  sessions: number;
  managed: boolean;
}

/** A LuxOS unit: profiles, curtailment and one session for writes, on the API port. */
export async function serveLuxos(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const unit: Unit = {
    miner,
    place,
    faults,
    profiles: profilesOf(miner),
    session: null,
    sessions: 0,
    managed: true,
  };
  const api = await serveApi(miner, place, ({ command, parameter }): ApiAnswer => {
    const style = { place, description: DESCRIPTION };
    if (command.includes('+')) return JSON.stringify(joined(style, command, (name) => read(unit, name)));
    const body = read(unit, command) ?? write(unit, command, parameter);
    const isWrite = ['curtail', 'profileset', 'atmset'].includes(command);
    if (isWrite && faults.losesAnswers === true) return null;
    return JSON.stringify(body ?? invalidCommand(style));
  });
  return combined(place, api, null);
}

function profilesOf(miner: SimulatedMiner): readonly Profile[] {
  const { normalWatts, normalHashrateThs } = miner.traits;
  return STEPS.map(([watts, ths], index) => {
    const frequencyMhz = 190 + 25 * index;
    const step = index - 16;
    return {
      name: step === 0 ? 'default' : `${frequencyMhz}MHz`,
      step,
      frequencyMhz,
      watts: Math.round((watts * normalWatts) / 2794),
      ths: rounded((ths * normalHashrateThs) / 121.8, 1),
    };
  });
}

function inForce(unit: Unit): Profile {
  const { profiles, miner } = unit;
  return profiles.findLast(({ watts }) => watts <= miner.limitWatts) ?? profiles[0]!;
}

function isAsleep(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping' || miner.state === 'stopping';
}

function read(unit: Unit, command: string): ReplyBody | null {
  const { miner, place } = unit;
  const style = { place, description: DESCRIPTION };
  const elapsed = Math.floor(miner.uptimeMs / 1000);
  const ghs = rounded(miner.hashrateThs * 1000, 2);
  const celsius = chipCelsius(miner);
  switch (command) {
    case 'version':
      return reply(style, 22, 'LUXminer versions', {
        VERSION: [{ API: '3.7', LUXminer: `${VERSION}-57b389c7`, Miner: VERSION, Type: place.model }],
      });
    case 'config':
      return reply(style, 33, 'LUXminer config', { CONFIG: [config(unit)] });
    case 'power':
      return reply(style, 311, 'Power usage', {
        POWER: [{ PSU: false, Watts: Math.round(miner.claimedWatts) }],
      });
    case 'profiles':
      return reply(style, 319, 'Profiles', {
        PROFILES: unit.profiles.map((profile) => ({
          'Profile Name': profile.name,
          Step: String(profile.step),
          Frequency: profile.frequencyMhz,
          Voltage: 11.88,
          Hashrate: profile.ths,
          Watts: profile.watts,
          IsDynamic: true,
          IsTuned: profile.step === 0,
        })),
      });
    case 'summary':
      return reply(style, 11, 'Summary', {
        SUMMARY: [{ Elapsed: elapsed, 'GHS 5s': ghs, 'GHS 1m': ghs, 'GHS 5m': ghs, 'GHS av': ghs }],
      });
    case 'devs':
      return reply(style, 9, '3 ASC(s)', { DEVS: [0, 1, 2].map((index) => board(unit, index)) });
    case 'stats':
      return reply(style, 70, 'LUXminer stats', {
        STATS: [
          { Miner: VERSION, Type: place.model },
          {
            Elapsed: elapsed,
            'GHS 5s': ghs,
            'GHS av': ghs,
            rate_unit: 'GH',
            total_rateideal: rounded(inForce(unit).ths * 1000, 1),
            ...numbered('chain_acn', 77),
            ...numbered('chain_acs', ' oooooooooo'.repeat(8).slice(0, 85)),
            ...numbered('chain_rate', String(rounded(ghs / 3, 2))),
            ...numbered('temp_chip', `${celsius}-${celsius - 13}-${celsius - 13}-${celsius}`),
            ...numbered('temp_pcb', `${celsius - 9}-${celsius - 20}-${celsius - 20}-${celsius - 9}`),
            fan_num: 4,
            ...numbered('fan', fanRpm(miner), 4),
          },
        ],
      });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(miner.hashrateThs > 0) });
    case 'events':
      return reply(style, 357, 'Miner Events', { EVENTS: [] });
    case 'session':
      return reply(style, 319, 'Session information', {
        SESSION: [{ SessionID: unit.session?.id ?? '' }],
      });
    default:
      return null;
  }
}

function config(unit: Unit): ReplyBody {
  const { miner, place } = unit;
  const profile = inForce(unit);
  return {
    'ASC Count': 3,
    CurtailMode: isAsleep(miner) ? 'Sleep' : 'None',
    Hostname: 'luxos',
    IsAtmEnabled: unit.managed,
    IsPowerSupplyOn: !isAsleep(miner),
    IsTuning: false,
    MACAddr: place.macAddress,
    Model: place.model,
    NameplateTHS: miner.traits.normalHashrateThs,
    OS: 'LuxOS',
    Profile: profile.name,
    ProfileStep: String(profile.step),
    SerialNumber: place.serialNumber,
    SystemStatus: 'Normal',
  };
}

function board(unit: Unit, index: number): ReplyBody {
  const mhs = rounded((unit.miner.hashrateThs * 1e6) / 3, 2);
  return {
    ASC: index,
    ID: index,
    Enabled: 'Y',
    Status: 'Alive',
    IsRamping: unit.miner.state === 'starting',
    IsUserShutdown: isAsleep(unit.miner),
    'MHS 5s': mhs,
    'MHS av': mhs,
    'Nominal MHS': rounded((inForce(unit).ths * 1e6) / 3, 1),
    Profile: inForce(unit).name,
    Temperature: chipCelsius(unit.miner) - 9,
  };
}

/** Sessions end 60 s after their last use. */
const SESSION_MS = 60_000;

function write(unit: Unit, command: string, parameter: string): ReplyBody | null {
  const style = { place: unit.place, description: DESCRIPTION };
  const now = monotonicMs(unit.place);
  if (unit.session !== null && now - unit.session.lastUsedMs > SESSION_MS) unit.session = null;
  if (command === 'logon') {
    if (unit.session !== null) return reply(style, 402, 'Another session is active', {}, 'E');
    unit.sessions += 1;
    unit.session = { id: `s${String(unit.sessions).padStart(5, '0')}`, lastUsedMs: now };
    return reply(style, 316, 'Session created', { SESSION: [{ SessionID: unit.session.id }] });
  }
  if (!['logoff', 'curtail', 'profileset', 'atmset', 'ledset'].includes(command)) return null;
  const [sessionId, ...values] = parameter.split(',');
  if (unit.session === null || unit.session.id !== sessionId)
    return reply(style, 402, 'Invalid or expired session', {}, 'E');
  unit.session.lastUsedMs = now;
  if (unit.faults.readOnly === true && command !== 'logoff')
    return reply(style, 45, `Access denied to '${command}' command`, {}, 'E');
  switch (command) {
    case 'logoff':
      unit.session = null;
      return reply(style, 316, 'Session terminated');
    case 'curtail':
      return curtail(unit, values[0] ?? '');
    case 'ledset':
      unit.faults.blinks = values[1] === 'blink';
      return reply(style, 436, 'LED set');
    case 'profileset':
      return setProfile(unit, values[0] ?? '');
    default:
      for (const value of values) if (value.startsWith('enabled=')) unit.managed = value.endsWith('true');
      return reply(style, 340, 'ATM settings updated');
  }
}

function curtail(unit: Unit, action: string): ReplyBody {
  const style = { place: unit.place, description: DESCRIPTION };
  if (action !== 'sleep' && action !== 'wakeup') return reply(style, 402, 'Invalid curtail mode', {}, 'E');
  if (action === 'sleep') unit.miner.sleep();
  else unit.miner.run(null);
  return reply(style, 335, 'Curtailment command sent', {
    CURTAIL: [{ Action: action === 'sleep' ? 'sleep mode' : 'wake up' }],
  });
}

function setProfile(unit: Unit, name: string): ReplyBody {
  const style = { place: unit.place, description: DESCRIPTION };
  if (isAsleep(unit.miner)) return reply(style, 402, 'Miner is curtailed', {}, 'E');
  if (unit.managed) return reply(style, 402, 'ATM is enabled', {}, 'E');
  const profile = unit.profiles.find((candidate) => candidate.name === name);
  if (profile === undefined) return reply(style, 402, `Unknown profile ${name}`, {}, 'E');
  unit.miner.run(profile.watts);
  return reply(style, 321, 'Profile Set', { PROFILE: [{ Profile: profile.name }] });
}

function numbered(name: string, value: unknown, count = 3): ReplyBody {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${name}${index + 1}`, value]));
}
