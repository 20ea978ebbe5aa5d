import type { Condition } from '../site/alarms.ts';
import type { HostHealth } from './host-health.ts';

interface Rule {
  readonly code: string;
  /** The figure that rises towards trouble; `null`: not known, no alarm. */
  readonly figure: (host: HostHealth) => number | null;
  readonly minorAt: number;
  readonly majorAt: number;
  readonly says: (figure: number) => string;
  readonly nextStep: string;
}

/** An alarm ends when its figure is this much of the threshold: it does not come and go with every reading. */
const ENDS_AT = 0.95;

/** Each before it matters: the box works at all of these, and will not for long beyond them. */
const RULES: readonly Rule[] = [
  {
    code: 'gateway-hot',
    figure: (host) => host.temperatureCelsius,
    minorAt: 80,
    majorAt: 90,
    says: (figure) =>
      `The gateway is at ${Math.round(figure)} °C; most boards slow down at 85 and stop above 100.`,
    nextStep: 'Look at its fan, its filter and the temperature of its cabinet.',
  },
  {
    code: 'gateway-disk',
    figure: (host) => host.diskUsedPercent,
    minorAt: 90,
    majorAt: 97,
    says: (figure) => `The disk with the state is ${figure} % full.`,
    nextStep:
      'Free some space: without it the agent only lowers. What it keeps itself is bounded by `store.maximum`.',
  },
  {
    code: 'gateway-disk-worn',
    figure: (host) => host.diskWearPercent,
    minorAt: 80,
    majorAt: 100,
    says: (figure) => `The disk of the gateway has used ${figure} % of its life.`,
    nextStep: 'Make a backup (`switchyard backup FILE`) and plan its exchange.',
  },
  {
    code: 'gateway-memory',
    figure: (host) => 100 * (1 - host.memoryAvailableBytes / Math.max(1, host.memoryTotalBytes)),
    minorAt: 92,
    majorAt: 97,
    says: (figure) =>
      `${Math.round(figure)} % of the gateway's memory is in use: what takes the rest may end the agent.`,
    nextStep: 'Find who holds it (`ps aux --sort=-rss`).',
  },
  {
    code: 'gateway-waits',
    figure: (host) => worst(host.pressure60Percent.io, host.pressure60Percent.memory),
    minorAt: 40,
    majorAt: 80,
    says: (figure) =>
      `Programs on the gateway waited for its disk or its memory ${Math.round(figure)} % of the last minute.`,
    nextStep: 'Find who writes (`iotop`), and look for disk errors in the kernel log.',
  },
  {
    code: 'gateway-late',
    figure: (host) => host.process.loopDelayP99Ms,
    minorAt: 500,
    majorAt: 2000,
    says: (figure) => `One turn in a hundred of the agent's loop is ${Math.round(figure)} ms late.`,
    nextStep: 'Look for other programs that use the processor (`top`), and at its temperature.',
  },
];

function worst(...figures: readonly (number | null)[]): number | null {
  const known = figures.filter((figure) => figure !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** The gateway's own troubles. Remembers which stand, so that an alarm has a beginning and an end. */
export class HostAlarms {
  private standing: ReadonlyMap<string, Condition['severity']> = new Map();

  conditions(host: HostHealth): readonly Condition[] {
    const found: Condition[] = [];
    for (const rule of RULES) {
      const figure = rule.figure(host);
      if (figure === null) continue;
      const before = this.standing.get(rule.code);
      const beyond = (threshold: number, stands: boolean) => figure >= threshold * (stands ? ENDS_AT : 1);
      const severity = beyond(rule.majorAt, before === 'major')
        ? 'major'
        : beyond(rule.minorAt, before !== undefined)
          ? 'minor'
          : null;
      if (severity === null) continue;
      found.push({
        code: rule.code,
        severity,
        target: 'site',
        message: rule.says(figure),
        nextStep: rule.nextStep,
      });
    }
    this.standing = new Map(found.map(({ code, severity }) => [code, severity]));
    if (host.clockSynchronised === false)
      found.push({
        code: 'clock-not-synchronised',
        severity: 'minor',
        target: 'site',
        message:
          'The clock of the gateway is not synchronised, or cannot be right: orders from afar may only lower until it is.',
        nextStep: 'Check NTP: `timedatectl`, and whether the gateway reaches its time server.',
      });
    return found;
  }
}

/** The gateway in one line for people. Pure. */
export function renderHost(host: HostHealth): string {
  const parts = [
    host.temperatureCelsius === null ? null : `${Math.round(host.temperatureCelsius)} °C`,
    host.diskUsedPercent === null ? null : `disk ${host.diskUsedPercent} % used`,
    host.diskWearPercent === null ? null : `disk ${host.diskWearPercent} % worn`,
    `${Math.round(host.memoryAvailableBytes / 1e6)} of ${Math.round(host.memoryTotalBytes / 1e6)} MB memory free`,
    `load ${host.load1.toFixed(1)} on ${host.cpuCount} cores`,
    host.pressure60Percent.io === null
      ? null
      : `waits for its disk ${Math.round(host.pressure60Percent.io)} %`,
    host.clockSynchronised === null
      ? null
      : host.clockSynchronised
        ? 'clock synchronised'
        : 'clock NOT synchronised',
    ...host.interfaces
      .filter(({ errors, drops }) => errors + drops > 0)
      .map(({ name, errors, drops }) => `${name}: ${errors} frames damaged, ${drops} dropped`),
  ];
  return parts.filter((part) => part !== null).join(', ');
}
