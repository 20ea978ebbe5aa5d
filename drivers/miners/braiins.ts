import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { LoadCommand, MinerEndpoint } from '../load-driver.ts';
import {
  type BraiinsGraphqlReplies,
  type BraiinsRestReplies,
  decodeBraiinsGraphql,
  decodeBraiinsRest,
  isPaused,
  powerTargetRange,
} from './braiins-decode.ts';
import { type BraiinsWeb, openBraiinsWeb } from './braiins-web.ts';
import { cgminerFamily, isSilence } from './cgminer.ts';
import type { MinerDeps, MinerFamily, Sent } from './miner-driver.ts';
import type { MinerFields } from './reply-fields.ts';
import { recordAt } from './web-json.ts';

/** Limits of the tuner depend on the model and the supply: they hardly change. */
const CONSTRAINTS_MAXIMUM_AGE_MS: Milliseconds = 600_000;

const REST_READS = [
  ['stats', 'miner/stats'],
  ['tuner', 'performance/tuner-state'],
  ['hashboards', 'miner/hw/hashboards'],
  ['cooling', 'cooling/state'],
  ['pools', 'pools/'],
  ['errors', 'miner/errors'],
] as const;

/** What is asked over GraphQL; one query each, as one unknown name fails a whole query. */
const GRAPHQL_READS = [
  [
    'boards',
    '{bosminer{info{workSolver{childSolvers{name nominalMhs realHashrate{mhs5S} temperatures{name degreesC} hwDetails{chips}}}}}}',
  ],
  ['pools', '{bosminer{info{poolGroups{name pools{active status url user}}}}}'],
  ['model', '{bosminer{info{modelName}}}'],
] as const;
const GRAPHQL_SYSTEM =
  '{bos{hostname faultLight info{version{full}} uptime{durationS}} bosminer{info{fans{name rpm speed} ' +
  'summary{power{approxConsumptionW limitW}} workSolver{nominalMhs realHashrate{mhs5S}}}}}';

/**
 * Braiins OS: REST from 25.07 on, GraphQL before, and what port 4028 tells where neither may be asked.
 * Commands go over REST, with user and password.
 */
export function braiinsFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const web = openBraiinsWeb(endpoint, deps);
  const port = cgminerFamily('braiins', endpoint, deps);
  const controllable = endpoint.user !== null && endpoint.password !== null;
  let constraints: unknown;
  let constraintsAt: MonotonicMs | null = null;

  /** Fails where there is no REST interface, or nobody is let in. */
  const askDetails = async (signal: AbortSignal): Promise<Result<unknown>> => {
    const details = await web.read('miner/details', signal);
    if (!details.ok || 'bos_version' in recordAt(details.value)) return details;
    return fail('unsupported', `${endpoint.host} has no REST interface of Braiins OS`);
  };

  const askConstraints = async (signal: AbortSignal): Promise<void> => {
    const now = deps.clock.monotonicMs();
    if (constraintsAt !== null && now - constraintsAt < CONSTRAINTS_MAXIMUM_AGE_MS) return;
    const answer = await web.read('configuration/constraints', signal);
    if (!answer.ok) return;
    constraints = answer.value;
    constraintsAt = now;
  };

  const pollRest = async (details: unknown, signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [name in keyof BraiinsRestReplies]: unknown } = { details };
    for (const [name, path] of REST_READS) {
      const answer = await web.read(path, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (name === 'stats' || answer.error.kind === 'cancelled') return answer;
      else if (isSilence(answer.error)) break;
    }
    if (controllable) await askConstraints(signal);
    return ok(decodeBraiinsRest({ ...replies, constraints }, controllable));
  };

  const pollGraphql = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const system = await web.query(GRAPHQL_SYSTEM, signal);
    if (!system.ok) return system;
    if (!('info' in recordAt(system.value, 'data', 'bosminer')))
      return fail('unsupported', `${endpoint.host} does not answer GraphQL as Braiins OS`);
    const replies: { -readonly [name in keyof BraiinsGraphqlReplies]: unknown } = { system: system.value };
    for (const [name, query] of GRAPHQL_READS) {
      const answer = await web.query(query, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (isSilence(answer.error)) break;
    }
    return ok(decodeBraiinsGraphql(replies));
  };

  /** True when another interface may still answer. */
  const goesOn = (failure: { readonly kind: string }): boolean =>
    failure.kind !== 'cancelled' && (failure.kind !== 'unauthorised' || !controllable);

  return {
    firmware: 'braiins',
    poll: async (signal) => {
      const details = await askDetails(signal);
      if (details.ok) return await pollRest(details.value, signal);
      if (!goesOn(details.error)) return details;
      if (!isSilence(details.error)) {
        const read = await pollGraphql(signal);
        if (read.ok || !goesOn(read.error)) return read;
      }
      return await port.poll(signal);
    },
    who: async (signal, forWrite) => {
      const details = await askDetails(signal);
      if (details.ok) return ok(decodeBraiinsRest({ details: details.value }, controllable));
      if (forWrite || !goesOn(details.error)) return details;
      return await port.who(signal, forWrite);
    },
    send: async (command, _latest, signal) => {
      if (!controllable)
        return fail(
          'unauthorised',
          `${endpoint.host} takes commands only with user and password`,
          'set user and password of the miner in the configuration',
        );
      const details = await askDetails(signal);
      if (!details.ok) return details;
      await askConstraints(signal);
      const paused = isPaused(details.value);
      return await applyToBraiins({ web, clock: deps.clock, paused, constraints }, command, signal);
    },
  };
}

/** What a command needs: the wire, and what the miner said a moment ago. */
export interface BraiinsWrite {
  readonly web: BraiinsWeb;
  readonly clock: Clock;
  readonly paused: boolean;
  readonly constraints: unknown;
}

/**
 * Pauses, resumes, or sets a power target. A target above the greatest becomes the greatest; one below the
 * least is refused. The target is set before the miner is resumed, so that it never works above it.
 *
 * Source: Braiins public API, PUT actions/pause, actions/resume, performance/power-target.
 */
export async function applyToBraiins(
  write: BraiinsWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind === 'sleep') return await put(write, 'actions/pause', undefined, null, signal);
  if (command.kind !== 'run') return fail('unsupported', `Braiins OS is not commanded to "${command.kind}"`);
  let limitWatts: Watts | null = null;
  if (command.limitWatts !== null) {
    const range = powerTargetRange(write.constraints);
    if (range === null) return fail('unsupported', 'this miner tells no range for its power target');
    if (command.limitWatts < range.minWatts)
      return fail(
        'refused',
        `the least power target of this miner is ${range.minWatts} W, not ${command.limitWatts} W`,
        'put it to sleep instead',
      );
    limitWatts = Math.min(range.maxWatts, Math.floor(command.limitWatts));
    const set = await put(write, 'performance/power-target', { watt: limitWatts }, limitWatts, signal);
    // Without an answer nobody knows that the target holds: a paused miner stays paused.
    if (!set.ok || set.value.acknowledged === null || !write.paused) return set;
  }
  if (!write.paused)
    return ok({
      acknowledged: true,
      sentAt: write.clock.monotonicMs(),
      limitWatts: null,
      note: 'already awake; nothing to change',
      stood: true,
    });
  return await put(write, 'actions/resume', undefined, limitWatts, signal);
}

/** One write; a lost answer may have arrived, so it counts as sent. */
async function put(
  { web, clock }: BraiinsWrite,
  path: string,
  body: unknown,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = clock.monotonicMs();
  const answer = await web.write(path, body, signal);
  if (answer.ok) {
    const note = answer.value.json === undefined ? null : JSON.stringify(answer.value.json).slice(0, 200);
    return ok({ acknowledged: true, sentAt: answer.value.sentAt, limitWatts, note });
  }
  const { mayHaveArrived, ...error } = answer.error;
  if (mayHaveArrived)
    return ok({ acknowledged: null, sentAt: before, limitWatts, note: error.message.slice(0, 200) });
  return { ok: false, error };
}
