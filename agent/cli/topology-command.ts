import { writeFileSync } from 'node:fs';
import type { LoadedConfig, MinerPlace } from '../../config/load.ts';
import { formatWatts, parseDuration, parsePower } from '../../config/quantity.ts';
import { openMiner } from '../../drivers/miners/registry.ts';
import { prove } from '../../drivers/prove.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { LimitId, Watts } from '../../protocols/units.ts';
import type { Round, TopologyBounds, TopologyMiner } from '../commission/topology.ts';
import { planMs, planTopology } from '../commission/topology.ts';
import type { TopologySite } from '../commission/topology-run.ts';
import { runTopology } from '../commission/topology-run.ts';
import type { OrderAnswer } from '../orders/book.ts';
import { buildSiteModel, type LimitModel, pathUp, type SiteModel } from '../site/model.ts';
import type { DeviceState, MeterState } from '../site/snapshot.ts';
import { ask, type Context, needConfig } from './context.ts';
import { usage } from './device-commands.ts';
import { sendOrder } from './order-commands.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';

export interface TopologyOptions {
  readonly group: string;
  readonly round: string;
  readonly longest: string;
  readonly record?: string;
  readonly apply?: boolean;
}

const WHO = 'commissioning';
/** Samples of every meter that make one level. */
const LEVEL_SAMPLES = 4;
const LEVEL_PACE_MS = 1000;
/** Share of what it drew before at which a woken miner counts as back. */
const BACK_SHARE = 0.95;
/** What a drop may be off by: a quarter of the smallest miner. */
const NOISE_SHARE = 0.25;

/**
 * `commission topology LIMIT [--apply]`: which miner below LIMIT hangs on which meter. Without `--apply` it says what
 * it would do. Every group is held through the running agent first, so the agent counts it at its worst and
 * commands nobody of it; only what is held is written, and all of it is woken and released whatever happens.
 */
export async function topologyCommand(
  context: Context,
  limit: string,
  options: TopologyOptions,
): Promise<Outcome> {
  const need = needConfig(context);
  if ('outcome' in need) return need.outcome;
  const { loaded } = need;
  const model = buildSiteModel(loaded.config, loaded.miners);
  const root = model.limits.find((candidate) => candidate.id === limit);
  if (root === undefined) return usage(`there is no limit "${limit}".`);
  const [group, round, longest] = [
    parsePower(options.group),
    parseDuration(options.round),
    parseDuration(options.longest),
  ];
  if (!group.ok || !round.ok || !longest.ok)
    return usage('--group is a power; --round and --longest are durations.');
  const bounds = { groupWattsMost: group.value, roundMs: round.value, runMsMost: longest.value };
  const devices = await devicesOf(context);
  if ('exit' in devices) return devices;
  const miners = minersBelow(model, root.id, devices.devices);
  if (miners.length === 0)
    return usage(`no miner below "${limit}" runs, reports its power and has a metered limit above it.`);
  const tooLarge = miners.find(({ watts }) => watts > bounds.groupWattsMost);
  if (tooLarge !== undefined)
    return usage(`${tooLarge.id} alone gives up ${formatWatts(tooLarge.watts)}: --group is too small.`);
  const rounds = planTopology(miners, bounds, Math.random).length;
  const expectedMs = planMs(rounds, 0, bounds.roundMs);
  const plan = `${miners.length} miners in ${rounds} rounds of at most ${formatWatts(bounds.groupWattsMost)}, about ${Math.ceil(expectedMs / 60_000)} min and one round more for each suspect`;
  if (expectedMs > bounds.runMsMost)
    return usage(
      `${plan}: that is longer than --longest.`,
      'Allow more watts at once with --group, or more time.',
    );
  const data = { kind: 'topology-plan', limit, miners: miners.length, rounds, expectedMs, ...bounds };
  if (options.apply !== true)
    return { exit: EXIT.ok, data: { ...data, applied: false }, text: `${plan}. Add --apply to do it.` };
  if (root.authority !== 'full') {
    const message = `the agent has authority "${root.authority}" over ${limit}: toggling miners needs full.`;
    return { exit: EXIT.refused, problems: [{ code: 'refused', message }] };
  }
  return apply(context, loaded, model, limit, miners, bounds, options.record);
}

async function apply(
  context: Context,
  loaded: LoadedConfig,
  model: SiteModel,
  limit: LimitId,
  miners: readonly TopologyMiner[],
  bounds: TopologyBounds,
  recordFile: string | undefined,
): Promise<Outcome> {
  const noiseWatts = NOISE_SHARE * Math.min(...miners.map(({ watts }) => watts));
  const site = liveSite(context, loaded, model, miners, bounds);
  const record = await runTopology(
    miners,
    bounds,
    noiseWatts,
    site,
    Math.random,
    context.signal,
    (done, planned) => context.streams.err(`round ${done} of ${planned}\n`),
  );
  const file =
    recordFile ?? `topology-${limit}-${new Date(record.startedAt).toISOString().slice(0, 10)}.json`;
  writeFileSync(file, `${JSON.stringify({ ...record, limit }, null, 2)}\n`);
  const lines = record.wrong.map(
    ({ id, configured, found }) =>
      `  ${id} hangs on ${found ?? 'no metered limit'}, configured on ${configured}`,
  );
  const rest = record.undetermined.length === 0 ? '' : `, ${record.undetermined.length} undetermined`;
  return {
    exit: context.signal.aborted
      ? EXIT.interrupted
      : record.wrong.length + record.undetermined.length > 0
        ? EXIT.problems
        : EXIT.ok,
    data: { ...record, limit, file },
    text: [
      `${record.miners} miners, ${record.wrong.length} on another limit${rest}; record: ${file}`,
      ...lines,
    ].join('\n'),
    problems:
      record.stopped === null
        ? []
        : [{ code: 'stopped', message: `it ended before it was through: ${record.stopped}.` }],
  };
}

interface SiteDevices {
  readonly devices: readonly DeviceState[];
  readonly meters: readonly MeterState[];
}

async function devicesOf(context: Context): Promise<SiteDevices | Outcome> {
  const answer = await ask(context, 'GET', '/api/v1/devices');
  return answer.ok ? (answer.value.body as SiteDevices) : failureOutcome(answer.error);
}

/** Miners at work below a limit that report their own power, each with the nearest metered limit above it. */
function minersBelow(model: SiteModel, root: LimitId, devices: readonly DeviceState[]): TopologyMiner[] {
  const metered = new Set(model.limits.filter(({ meterId }) => meterId !== null).map(({ id }) => id));
  return devices.flatMap(({ id, kind, limit, inventory, reading }): TopologyMiner[] => {
    const path = pathUp(model, limit);
    const nearest = path.find((candidate) => metered.has(candidate));
    if (kind !== 'miner' || inventory !== 'present' || !path.includes(root) || nearest === undefined)
      return [];
    if (reading?.kind !== 'miner' || reading.state !== 'hashing' || reading.powerSource !== 'reported')
      return [];
    return reading.powerWatts === null ? [] : [{ id, limit: nearest, watts: reading.powerWatts }];
  });
}

/** The running agent and the miners themselves. */
function liveSite(
  context: Context,
  loaded: LoadedConfig,
  model: SiteModel,
  miners: readonly TopologyMiner[],
  bounds: TopologyBounds,
): TopologySite {
  const wattsOf = new Map(miners.map(({ id, watts }) => [id, watts]));
  const order = async (type: 'hold' | 'release', target: string, args: Record<string, unknown>) => {
    const answer = await sendOrder(context, type, { target, who: WHO, ...args });
    if ('exit' in answer) throw new Error(`the agent did not answer: ${type} ${target}`);
    const { status, reason } = answer as OrderAnswer;
    if (status === 'rejected' || status === 'failed')
      throw new Error(`${type} ${target}: ${reason ?? status}`);
  };
  const each = async (round: Round, act: (id: string) => Promise<void>) => {
    const failed = (await Promise.allSettled(round.map(act))).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };
  return {
    hold: (round) =>
      // Should this program die, the hold ends by itself.
      each(round, (id) => order('hold', id, { why: 'topology', until: Date.now() + 3 * bounds.roundMs })),
    release: (round) => each(round, (id) => order('release', id, {})),
    sleep: (round) => each(round, (id) => toggle(loaded, id, null, bounds.roundMs)),
    wake: (round) => each(round, (id) => toggle(loaded, id, wattsOf.get(id) ?? 0, bounds.roundMs)),
    levels: () => levelsOf(context, model),
    monotonicMs: () => systemClock.monotonicMs(),
    epochMs: () => systemClock.epochMs(),
  };
}

/** Puts one miner to sleep (`backWatts` null) or wakes it until it draws `backWatts` again. */
async function toggle(
  loaded: LoadedConfig,
  id: string,
  backWatts: Watts | null,
  withinMs: number,
): Promise<void> {
  const place = loaded.miners.find(({ deviceId }) => deviceId === id);
  if (place === undefined) throw new Error(`${id} is not configured`);
  const driver = openMiner(...minerOf(loaded, place), { clock: systemClock, random: Math.random });
  const limit = AbortSignal.timeout(withinMs);
  try {
    const identity = await driver.identify(limit);
    if (!identity.ok) throw new Error(identity.error.message);
    const before = await driver.read(limit);
    const command =
      backWatts === null ? ({ kind: 'sleep' } as const) : ({ kind: 'run', limitWatts: null } as const);
    const proof = await prove(driver, command, before.ok ? before.value : null, systemClock, limit);
    if (proof.outcome !== 'verified')
      throw new Error(`${id}: ${command.kind} is ${proof.outcome}, ${proof.evidence}`);
    while (backWatts !== null && !limit.aborted) {
      const reading = await driver.read(limit);
      if (reading.ok && (reading.value.powerWatts ?? 0) >= BACK_SHARE * backWatts) return;
      await systemClock.sleep(1000, limit);
    }
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

function minerOf(loaded: LoadedConfig, place: MinerPlace) {
  const { entry } = place;
  const index = loaded.config.miners.indexOf(entry);
  const endpoint = {
    deviceId: place.deviceId,
    host: place.host,
    port: place.port,
    webPort: entry.webPort,
    user: entry.user ?? null,
    password: loaded.secrets.get(`miners[${index}].password`) ?? null,
    model: entry.model === 'auto' ? null : entry.model,
  };
  return [endpoint, entry.firmware] as const;
}

/** The level of every metered limit by itself, from several samples that are good and newer than the call. */
async function levelsOf(context: Context, model: SiteModel): Promise<ReadonlyMap<LimitId, Watts>> {
  const metered = model.limits.filter(({ meterId }) => meterId !== null);
  const sums = new Map<LimitId, number>(metered.map(({ id }) => [id, 0]));
  // The first sample may still be of the time before.
  for (let sample = -1; sample < LEVEL_SAMPLES; sample += 1) {
    await systemClock.sleep(LEVEL_PACE_MS, context.signal);
    const answer = await devicesOf(context);
    if ('exit' in answer) throw new Error('the agent does not answer');
    if (sample < 0) continue;
    for (const { id, meterId } of metered) {
      const meter = answer.meters.find((candidate) => candidate.id === meterId);
      if (meter?.quality !== 'good' || meter.reading?.powerWatts == null)
        throw new Error(`the meter of ${id} is ${meter?.quality ?? 'missing'}`);
      sums.set(id, sums.get(id)! + meter.reading.powerWatts / LEVEL_SAMPLES);
    }
  }
  return new Map(metered.map(({ id }) => [id, sums.get(id)! - below(model, id, metered, sums)]));
}

/** Watts at `id` that pass through metered limits below it. */
function below(
  model: SiteModel,
  id: LimitId,
  metered: readonly LimitModel[],
  sums: ReadonlyMap<LimitId, Watts>,
): Watts {
  let watts = 0;
  for (const child of metered) {
    const path = pathUp(model, child.id);
    const nearest = path.slice(1).find((candidate) => metered.some((one) => one.id === candidate));
    if (nearest !== id) continue;
    const gains = path
      .slice(0, path.indexOf(id))
      .map((step) => model.limits.find((one) => one.id === step)!.gain);
    watts += gains.reduce((product, gain) => product * gain, sums.get(child.id) ?? 0);
  }
  return watts;
}
