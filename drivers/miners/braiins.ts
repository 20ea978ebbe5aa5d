import { BRAIINS_TIMING } from '../../config/miners/timing.ts';
import { readCgminer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { applyToBraiins, applyToBraiinsPort } from './braiins-commands.ts';
import {
  type BraiinsGraphqlReplies,
  type BraiinsRestReplies,
  decodeBraiinsGraphql,
  decodeBraiinsRest,
  isPaused,
} from './braiins-decode.ts';
import { openBraiinsWeb } from './braiins-web.ts';
import { cgminerFamily, cgminerTarget, decodeCgminer, isSilence } from './cgminer.ts';
import { createJustAsked } from './just-asked.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { recogniseMiner } from './recognise.ts';
import type { MinerFields } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';
import { recordAt } from './web-json.ts';

/** Limits of the tuner depend on the model and the supply: they hardly change. */
const CONSTRAINTS_MAXIMUM_AGE_MS: Milliseconds = 600_000;

const REST_READS = [
  ['stats', 'miner/stats'],
  ['tuner', 'performance/tuner-state'],
] as const;

/** Asked now and then. */
const REST_SLOW_READS = [
  ['cooling', 'cooling/state'],
  ['hashboards', 'miner/hw/hashboards'],
  ['pools', 'pools/'],
  ['errors', 'miner/errors'],
] as const;

/** What those say, and nothing else does. */
type SlowFields = Pick<
  MinerFields,
  'chipTemperatureCelsius' | 'boardTemperatureCelsius' | 'fanRpm' | 'boards' | 'pools' | 'errors'
>;

function slowFieldsOf(fields: MinerFields): SlowFields {
  const { chipTemperatureCelsius, boardTemperatureCelsius, fanRpm, boards, pools, errors } = fields;
  return { chipTemperatureCelsius, boardTemperatureCelsius, fanRpm, boards, pools, errors };
}

/** What is asked over GraphQL now and then; one query each, as one unknown name fails a whole query. */
const GRAPHQL_SLOW_READS = [
  [
    'boards',
    '{bosminer{info{workSolver{childSolvers{name nominalMhs realHashrate{mhs5S} temperatures{name degreesC} hwDetails{chips}}}}}}',
  ],
  [
    'pools',
    '{bosminer{info{poolGroups{name pools{active status url user shares{acceptedSolutions rejectedSolutions}}}}}}',
  ],
  ['model', '{bosminer{info{modelName}}}'],
] as const;
const GRAPHQL_SYSTEM =
  '{bos{hostname faultLight info{version{full}} uptime{durationS}} bosminer{info{fans{name rpm speed} ' +
  'summary{power{approxConsumptionW limitW}} workSolver{nominalMhs realHashrate{mhs5S}}}}}';

/**
 * Braiins OS: REST from 25.07 on, GraphQL before, and what port 4028 tells where neither may be asked.
 * Commands go over REST with user and password; where there is no REST, pause and resume over port 4028.
 */
export function braiinsFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const web = openBraiinsWeb(endpoint, deps);
  const port = cgminerFamily('braiins', endpoint, deps);
  const controllable = endpoint.user !== null && endpoint.password !== null;
  const target = cgminerTarget(endpoint, deps);
  /** The web interface that answered well. */
  let speaks: 'rest' | 'graphql' | null = null;
  const asked = createJustAsked<object>(deps.clock);
  const slow = createSlowPart<SlowFields>(deps.clock);
  const slowGraphql = createSlowPart<BraiinsGraphqlReplies>(deps.clock);
  let pausable: boolean | null = null;
  let pausedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  let constraints: unknown;
  let constraintsAt: MonotonicMs | null = null;
  /** Where they do not come, readings do not ask for them each time. */
  const constraintsLost = createSlowPart<true>(deps.clock);
  const portLost = createSlowPart<true>(deps.clock);

  /** Fails where there is no REST interface, or nobody is let in. */
  const askDetails = async (signal: AbortSignal): Promise<Result<CgminerBody>> => {
    const details = await web.read('miner/details', signal);
    if (!details.ok) return details;
    if ('bos_version' in recordAt(details.value)) return ok(recordAt(details.value));
    return fail('unsupported', `${endpoint.host} has no REST interface of Braiins OS`);
  };

  const askConstraints = async (signal: AbortSignal): Promise<Result<null>> => {
    const now = deps.clock.monotonicMs();
    if (constraintsAt !== null && now - constraintsAt < CONSTRAINTS_MAXIMUM_AGE_MS) return ok(null);
    const answer = await web.read('configuration/constraints', signal);
    if (!answer.ok) {
      constraintsLost.keep(true);
      return answer;
    }
    constraints = answer.value;
    constraintsAt = now;
    return ok(null);
  };

  const pollRest = async (details: unknown, signal: AbortSignal): Promise<Result<MinerFields>> => {
    const kept = slow.fresh();
    const replies: { -readonly [name in keyof BraiinsRestReplies]: unknown } = { details };
    const patience = createPatience();
    for (const [name, path] of [...REST_READS, ...(kept === null ? REST_SLOW_READS : [])]) {
      const answer = await web.read(path, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (name === 'stats' || answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    if (controllable && !patience.isOver && constraintsLost.fresh() === null) {
      const asked = await askConstraints(signal);
      if (!asked.ok && asked.error.kind === 'cancelled') return asked;
    }
    speaks = 'rest';
    const fields = decodeBraiinsRest({ ...replies, constraints }, controllable);
    if (kept !== null) return ok({ ...fields, ...kept });
    // A page that is not there, or does not come, is not asked for at every reading either.
    if (!patience.isGone) slow.keep(slowFieldsOf(fields));
    return ok(fields);
  };

  const pollGraphql = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const system = await web.query(GRAPHQL_SYSTEM, signal);
    if (!system.ok) return system;
    if (!('info' in recordAt(system.value, 'data', 'bosminer')))
      return fail('unsupported', `${endpoint.host} does not answer GraphQL as Braiins OS`);
    const kept = slowGraphql.fresh();
    const replies: { -readonly [name in keyof BraiinsGraphqlReplies]: unknown } = { ...kept };
    const patience = createPatience();
    for (const [name, query] of kept === null ? GRAPHQL_SLOW_READS : []) {
      const answer = await web.query(query, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    if (kept === null && !patience.isGone) slowGraphql.keep({ ...replies });
    speaks = 'graphql';
    return ok(decodeBraiinsGraphql({ ...replies, system: system.value }));
  };

  /** True when another interface may still answer; half an answer of the one that is known is no reason. */
  const goesOn = (failure: { readonly kind: string }): boolean =>
    failure.kind !== 'cancelled' &&
    (failure.kind !== 'unauthorised' || !controllable) &&
    (failure.kind !== 'malformed' || speaks === null);

  /** Every release takes pause and resume on port 4028, if that port is open and Braiins OS stands there. */
  const askPort = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const version = await readCgminer(target, 'version', undefined, signal);
    if (!version.ok) return version;
    if (recogniseMiner({ version: version.value }) !== 'braiins')
      return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as Braiins OS`);
    return ok(decodeCgminer('braiins', { version: version.value.body }, endpoint.model));
  };

  /** What port 4028 makes possible, where REST does not. A pause is remembered: nothing there tells of it. */
  const withPort = async (fields: MinerFields, signal: AbortSignal): Promise<MinerFields> => {
    if (pausable === null && portLost.fresh() === null) {
      const answer = await askPort(signal);
      if (answer.ok) pausable = true;
      else if (isSilence(answer.error)) portLost.keep(true);
      else pausable = false;
    }
    if (pausable !== true) return fields;
    const { sleepMs, wakeMs } = BRAIINS_TIMING;
    const rests = fields.hashrateThs === 0;
    if (!rests && deps.clock.monotonicMs() > pausedAt + sleepMs) pausedAt = Number.NEGATIVE_INFINITY;
    return {
      ...fields,
      state: rests && pausedAt > Number.NEGATIVE_INFINITY ? 'sleeping' : fields.state,
      control: { ...fields.control, sleep: true, wake: true, sleepMs, wakeMs },
    };
  };

  return {
    firmware: 'braiins',
    poll: async (signal) => {
      const details = await askDetails(signal);
      if (details.ok) return await pollRest(details.value, signal);
      if (!goesOn(details.error)) return details;
      if (!isSilence(details.error)) {
        const read = await pollGraphql(signal);
        if (read.ok) return ok(await withPort(read.value, signal));
        if (!goesOn(read.error)) return read;
      }
      const version = await askPort(signal);
      if (!version.ok) return version;
      const read = await port.poll(signal);
      if (!read.ok) return read;
      // Boards and pools are numbered otherwise there: they would pass for other ones.
      const pools = read.value.pools.map((pool) => ({ ...pool, priority: null }));
      return ok(await withPort({ ...read.value, boards: [], pools }, signal));
    },
    who: async (signal, forWrite) => {
      const details = await askDetails(signal);
      if (details.ok) {
        asked.keep(details.value);
        return ok(decodeBraiinsRest({ details: details.value }, controllable));
      }
      if (!goesOn(details.error) || (forWrite && isSilence(details.error))) return details;
      return await askPort(signal);
    },
    send: async (command, latest, signal) => {
      const known = asked.take();
      const details = known === null ? await askDetails(signal) : ok(known);
      if (!details.ok && goesOn(details.error) && !isSilence(details.error)) {
        const sent = await applyToBraiinsPort(target, latest.hashrateThs === 0, command, signal);
        if (sent.ok && sent.value.stood !== true)
          pausedAt = command.kind === 'sleep' ? sent.value.sentAt : Number.NEGATIVE_INFINITY;
        return sent;
      }
      if (!details.ok) return details;
      if (!controllable)
        return fail(
          'unauthorised',
          `${endpoint.host} takes commands only with user and password`,
          'set user and password of the miner in the configuration',
        );
      if (command.kind === 'run') await askConstraints(signal);
      const paused = isPaused(details.value);
      return await applyToBraiins({ web, clock: deps.clock, paused, constraints }, command, signal);
    },
  };
}
