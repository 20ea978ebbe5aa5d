import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { type LoadedConfig, loadConfig } from '../../config/load.ts';
import { findMinerModel } from '../../config/miners/models.ts';
import { formatProblem } from '../../config/problem.ts';
import { formatWatts } from '../../config/quantity.ts';
import { systemClock } from '../../protocols/clock.ts';
import { realDrivers } from '../drivers.ts';
import { buildSiteModel, type SiteModel } from '../site/model.ts';
import type { SiteView } from '../site/view.ts';
import { HostAlarms, renderHost } from '../telemetry/host-alarms.ts';
import { HostHealthReader } from '../telemetry/host-health.ts';
import { ask, type Context, configPath } from './context.ts';
import { mqttTestCommand } from './mqtt-commands.ts';
import { EXIT, type Outcome } from './outcome.ts';

export interface Check {
  readonly name: string;
  readonly result: 'ok' | 'warn' | 'fail' | 'skipped';
  /** What was seen. */
  readonly evidence: string;
  readonly nextStep: string | null;
}

const check = (
  name: string,
  result: Check['result'],
  evidence: string,
  nextStep: string | null = null,
): Check => ({ name, result, evidence, nextStep });

/** Miners asked of each entry: a sample tells whether the network and the credentials are right. */
const SAMPLE = 3;

/** `doctor`: every check with its evidence and the next step; what depends on a failed check is left out. */
export async function doctorCommand(context: Context): Promise<Outcome> {
  const checks: Check[] = [];
  const path = configPath(context);
  const result = path === null ? null : loadConfig(path, context.environment);
  let loaded: LoadedConfig | null = null;
  if (path === null || result === null)
    checks.push(check('configuration', 'fail', 'there is none', 'switchyard sample all > switchyard.yaml'));
  else if (!result.ok)
    checks.push(
      check(
        'configuration',
        'fail',
        result.problems.slice(0, 3).map(formatProblem).join(' | '),
        `switchyard check ${path}`,
      ),
    );
  else {
    loaded = result.value;
    const { warnings } = loaded;
    checks.push(
      check(
        'configuration',
        warnings.length > 0 ? 'warn' : 'ok',
        warnings.length > 0 ? warnings.map(formatProblem).join(' | ') : path,
        warnings.length > 0 ? `switchyard check ${path}` : null,
      ),
    );
  }
  if (loaded !== null) {
    const model = buildSiteModel(loaded.config, loaded.miners);
    checks.push(
      ...hostChecks(loaded),
      ...(await gatewayChecks(loaded.config.store.path)),
      ...pickupChecks(model),
      ...(await deviceChecks(context, loaded)),
      await brokerCheck(context, loaded),
      await agentCheck(context),
    );
  }
  const failed = checks.filter((one) => one.result === 'fail').length;
  const warned = checks.filter((one) => one.result === 'warn').length;
  const verdict =
    failed > 0
      ? `${failed} checks failed, ${warned} with a warning.`
      : warned > 0
        ? `Nothing failed, ${warned} with a warning.`
        : 'Everything is well.';
  const mark = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL', skipped: 'skip' } as const;
  const text = [
    ...checks.map(
      (one) =>
        `${mark[one.result]} ${one.name}: ${one.evidence}${one.nextStep === null ? '' : `\n     -> ${one.nextStep}`}`,
    ),
    verdict,
  ].join('\n');
  return { exit: failed > 0 ? EXIT.problems : EXIT.ok, data: { verdict, checks }, text };
}

/** The gateway's own figures, and what is wrong with them as the agent would say it. */
async function gatewayChecks(folder: string): Promise<Check[]> {
  const reader = new HostHealthReader(folder);
  const host = await reader.readAll();
  reader.close();
  const troubles = new HostAlarms().conditions(host);
  return [
    check('gateway', 'ok', renderHost(host)),
    host.clockSynchronised === null
      ? check('clock', 'skipped', 'this host does not say whether it is synchronised')
      : host.clockSynchronised
        ? check('clock', 'ok', 'synchronised')
        : check(
            'clock',
            'warn',
            'not synchronised',
            'Orders from afar may only lower until it is: check NTP.',
          ),
    ...troubles
      .filter(({ code }) => code !== 'clock-not-synchronised')
      .map(({ code, severity, message, nextStep }) =>
        check(code, severity === 'major' ? 'fail' : 'warn', message, nextStep),
      ),
  ];
}

function hostChecks(loaded: LoadedConfig): Check[] {
  const folder = loaded.config.store.path;
  const checks: Check[] = [];
  const at = existsSync(folder) ? folder : dirname(folder);
  try {
    accessSync(at, constants.W_OK);
    const { bavail, bsize } = statfsSync(at);
    const free = bavail * bsize;
    checks.push(
      free < 200e6
        ? check(
            'state folder',
            'warn',
            `${folder}: ${Math.round(free / 1e6)} MB free`,
            'Free some space: without it the agent only lowers.',
          )
        : check('state folder', 'ok', `${folder}, ${Math.round(free / 1e9)} GB free`),
    );
  } catch (error) {
    checks.push(
      check(
        'state folder',
        'fail',
        `${folder}: ${(error as NodeJS.ErrnoException).code ?? 'not usable'}`,
        'Create it for the user of the agent, or set store.path.',
      ),
    );
  }
  return checks;
}

/** After a black start every stock miner starts by itself: what would each limit carry with no agent? */
function pickupChecks(model: SiteModel): Check[] {
  const totals = new Map<string, number>();
  for (const load of model.loads) totals.set(load.limit, (totals.get(load.limit) ?? 0) + load.worstWatts);
  for (const device of model.devices) {
    const table = findMinerModel(device.modelName);
    const watts = device.nameplateWatts ?? (table === null ? 3600 : table.nominalWatts) * 1.1;
    totals.set(device.limit, (totals.get(device.limit) ?? 0) + watts);
  }
  for (const limit of [...model.limits].reverse()) {
    if (limit.parent !== null)
      totals.set(limit.parent, (totals.get(limit.parent) ?? 0) + (totals.get(limit.id) ?? 0) * limit.gain);
  }
  const over = model.limits.filter((limit) => (totals.get(limit.id) ?? 0) > limit.ratingWatts);
  if (over.length === 0)
    return [
      check(
        'black-start pickup',
        'ok',
        'with every device at its nameplate and no agent, no limit is exceeded',
      ),
    ];
  return over.map((limit) =>
    check(
      `black-start pickup of ${limit.id}`,
      'fail',
      `${formatWatts(totals.get(limit.id) ?? 0)} if everything starts by itself, rating ${formatWatts(limit.ratingWatts)}`,
      'Set some devices to a lower mode as their own default, or stagger their supplies.',
    ),
  );
}

/** Asks every meter, every GPU node and a sample of each miner entry once. Reads only. */
export async function deviceChecks(context: Context, loaded: LoadedConfig): Promise<Check[]> {
  const drivers = realDrivers(systemClock, Math.random, loaded.profiles);
  const limited = () =>
    AbortSignal.any([context.signal, AbortSignal.timeout(Math.max(context.flags.timeoutMs, 8000))]);
  const meters = loaded.config.meters.map(async (config): Promise<Check> => {
    const driver = drivers.meter(config);
    try {
      const reading = await driver.read(limited());
      if (!reading.ok)
        return check(
          `meter ${config.id}`,
          'fail',
          reading.error.message,
          reading.error.hint ?? `switchyard meter ${config.id} --raw`,
        );
      const { powerWatts, quality, doubts } = reading.value;
      if (quality === 'good')
        return check(
          `meter ${config.id}`,
          'ok',
          `${formatWatts(powerWatts)}, ${Math.round(reading.value.roundTripMs)} ms`,
        );
      return check(
        `meter ${config.id}`,
        'fail',
        `quality ${quality}: ${doubts.join('; ') || 'no total power'}`,
        'Compare with its display; check the profile, current transformers and wiring.',
      );
    } finally {
      await driver[Symbol.asyncDispose]();
    }
  });
  const entries = loaded.config.miners.map(async (entry, index): Promise<Check> => {
    const places = loaded.miners.filter((place) => place.entry === entry);
    const step = Math.max(1, Math.floor(places.length / SAMPLE));
    const sample = places.filter((_, position) => position % step === 0).slice(0, SAMPLE);
    const failures: string[] = [];
    for (const place of sample) {
      const driver = drivers.miner(place, loaded.secrets.get(`miners[${index}].password`) ?? null, null);
      const identity = await driver.identify(limited());
      if (!identity.ok) failures.push(identity.error.message);
      await driver[Symbol.asyncDispose]();
    }
    const name = `miners ${entry.id}`;
    if (failures.length === 0)
      return check(name, 'ok', `${sample.length} of ${places.length} asked, all answer`);
    return check(
      name,
      failures.length === sample.length ? 'fail' : 'warn',
      `${failures.length} of ${sample.length} asked did not answer: ${failures[0]}`,
      `switchyard scan ${entry.hosts.join(' ')}`,
    );
  });
  const nodes = loaded.config.gpuNodes.map(async (config): Promise<Check> => {
    const driver = drivers.gpuNode(config);
    try {
      const reading = await driver.read(limited());
      return reading.ok
        ? check(
            `GPU node ${config.id}`,
            reading.value.powerWatts === null ? 'warn' : 'ok',
            formatWatts(reading.value.powerWatts),
          )
        : check(`GPU node ${config.id}`, 'fail', reading.error.message, reading.error.hint ?? null);
    } finally {
      await driver[Symbol.asyncDispose]();
    }
  });
  return Promise.all([...meters, ...entries, ...nodes]);
}

async function brokerCheck(context: Context, loaded: LoadedConfig): Promise<Check> {
  if (loaded.config.mqtt === undefined) return check('broker', 'skipped', 'none is configured');
  const outcome = await mqttTestCommand(context, {});
  const [problem] = outcome.problems ?? [];
  return problem === undefined
    ? check('broker', 'ok', outcome.text ?? 'connected')
    : check(
        'broker',
        'fail',
        problem.message,
        problem.hint ?? 'Check mqtt.url, its credentials and the network.',
      );
}

async function agentCheck(context: Context): Promise<Check> {
  const answer = await ask(context, 'GET', '/api/v1/site');
  if (!answer.ok)
    return check('agent', 'warn', answer.error.message, 'systemctl status switchyard, or: switchyard run');
  const view = answer.value.body as SiteView;
  const critical = view.alarms.filter((alarm) => alarm.severity === 'critical');
  if (critical.length > 0)
    return check('agent', 'fail', `mode ${view.mode}: ${critical[0]!.message}`, critical[0]!.nextStep);
  return check('agent', 'ok', `mode ${view.mode}, ${view.alarms.length} alarms`);
}
