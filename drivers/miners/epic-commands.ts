import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import type { HttpTarget } from '../../protocols/http-exchange.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import { epicTuning, isEpicIdle } from './epic-decode.ts';
import type { Sent } from './miner-driver.ts';
import { firstNumber, firstText, flagOf } from './reply-fields.ts';
import { sentOf, stoodAlready } from './sent.ts';
import { exchangeJson, recordAt, writtenOf } from './web-json.ts';

/** What a command needs: the wire, and what the unit said a moment ago. */
export interface EpicWrite {
  readonly target: HttpTarget;
  readonly password: { reveal(): string };
  readonly summary: CgminerBody;
  readonly capabilities: CgminerBody;
}

/** What a limit comes to: the tuner, its target in its own unit, and the watts meant. */
interface EpicTarget {
  readonly algorithm: string;
  readonly target: number;
  readonly watts: Watts;
}

/**
 * Stops, starts, or sets the target of a tuner that the unit lists. Where it tunes by hashrate, a limit becomes
 * the strongest of its own presets under it. The target is set before the unit is started.
 *
 * Source: ePIC PowerPlay API, POST /miner, /perpetualtune, /perpetualtune/algo.
 */
export async function applyToEpic(
  write: EpicWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const { clock } = write.target;
  const idle = isEpicIdle(firstText(recordAt(write.summary, 'Status'), 'Operating State'));
  if (command.kind === 'sleep')
    return idle ? ok(stoodAlready(clock, 'already idle')) : await post(write, 'miner', 'Stop', null, signal);
  if (command.kind !== 'run')
    return fail('unsupported', `ePIC PowerPlay is not commanded to "${command.kind}"`);
  if (command.limitWatts === null)
    return idle ? await post(write, 'miner', 'Autostart', null, signal) : ok(stoodAlready(clock));
  const wanted = targetFor(write, command.limitWatts);
  if (!wanted.ok) return wanted;
  const set = await tune(write, wanted.value, signal);
  // Without an answer nobody knows that the target holds: an idle miner stays idle.
  if (!set.ok || set.value.acknowledged === null || !idle) return set;
  return await post(write, 'miner', 'Autostart', wanted.value.watts, signal);
}

function targetFor(write: EpicWrite, limitWatts: Watts): Result<EpicTarget> {
  const tuning = epicTuning(write.capabilities, inForce(write).algorithm);
  if (tuning === null) return fail('unsupported', 'this miner lists nothing that it could be tuned to');
  const tooLow = (least: Watts) =>
    fail(
      'refused',
      `the least that this miner tunes to is ${least} W, not ${limitWatts} W`,
      'put it to sleep instead',
    );
  const { algorithm } = tuning;
  if (tuning.kind === 'watts') {
    if (limitWatts < tuning.minWatts) return tooLow(tuning.minWatts);
    const watts = Math.min(tuning.maxWatts, Math.floor(limitWatts));
    return ok({ algorithm, target: watts, watts });
  }
  const preset = tuning.presets.findLast(({ watts }) => watts <= limitWatts);
  return preset === undefined
    ? tooLow(tuning.presets[0]!.watts)
    : ok({ algorithm, target: Math.floor(preset.hashrateThs), watts: preset.watts });
}

interface InForce {
  readonly algorithm: string | null;
  readonly settings: CgminerBody;
  readonly running: boolean;
}

function inForce({ summary }: EpicWrite): InForce {
  const tune = recordAt(summary, 'PerpetualTune');
  const [algorithm] = Object.keys(recordAt(tune, 'Algorithm'));
  return {
    algorithm: algorithm ?? null,
    settings: algorithm === undefined ? {} : recordAt(tune, 'Algorithm', algorithm),
    running: flagOf(tune['Running']) === true,
  };
}

async function tune(
  write: EpicWrite,
  { algorithm, target, watts }: EpicTarget,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const now = inForce(write);
  const stands = now.algorithm === algorithm && firstNumber(now.settings, 'Target') === target;
  if (stands && now.running)
    return ok(stoodAlready(write.target.clock, `${algorithm} holds ${target} already`, watts));
  const [floor, step] = [
    firstNumber(now.settings, 'Min Throttle Target'),
    firstNumber(now.settings, 'Throttle Step'),
  ];
  const set = await post(
    write,
    'perpetualtune/algo',
    {
      algo: algorithm,
      target,
      // Kept as they stand: they say how far the unit throttles itself when it is hot.
      ...(now.algorithm === algorithm && floor !== null && { min_throttle: Math.min(floor, target) }),
      ...(now.algorithm === algorithm && step !== null && { throttle_step: step }),
    },
    watts,
    signal,
  );
  if (!set.ok || set.value.acknowledged === null || now.running) return set;
  return await post(write, 'perpetualtune', true, watts, signal);
}

/** One write; the answer says yes or no under HTTP 200 as well. */
async function post(
  { target, password }: EpicWrite,
  page: string,
  param: unknown,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = target.clock.monotonicMs();
  const place = `${target.host}:${target.port}/${page}`;
  const body = { param, password: password.reveal() };
  const answer = await exchangeJson(target, { method: 'POST', path: `/${page}`, body }, signal);
  if (!answer.ok) return sentOf(answer, before, limitWatts);
  const written = writtenOf(answer.value, place);
  if (!written.ok) return written;
  const reply = recordAt(written.value.json);
  if (flagOf(reply['result']) === false) {
    const why = firstText(reply, 'error') ?? 'no reason given';
    return /passw|auth|permission/i.test(why)
      ? fail('unauthorised', `${place} rejects the password: ${why}`, 'check the password of the miner')
      : fail('refused', `${place} declines: ${why}`);
  }
  return sentOf(written, before, limitWatts);
}
