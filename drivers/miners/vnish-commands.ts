import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import type { Sent } from './miner-driver.ts';
import { firstNumber, firstText, flagOf } from './reply-fields.ts';
import { sentOf, stoodAlready } from './sent.ts';
import { tunedPresets, type VnishPreset, vnishState } from './vnish-decode.ts';
import type { VnishWeb } from './vnish-web.ts';
import { recordAt } from './web-json.ts';

/** What a command needs: the pages, and the presets that the unit lists. */
export interface VnishWrite {
  readonly web: VnishWeb;
  readonly clock: Clock;
  readonly presets: unknown;
  /** By its latest reading it works: then it is stopped without a further question. */
  readonly works: boolean;
}

/**
 * Stops, starts, or takes a tuned preset. A limit becomes the strongest tuned preset under it: one that is not
 * tuned would tune for an hour at powers of its own. The preset is set before the unit is started.
 *
 * Source: VNish OpenAPI 1.2, mining/stop, mining/start, mining/resume, settings, mining/restart, find-miner.
 */
export async function applyToVnish(
  write: VnishWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const { web, clock } = write;
  if (command.kind === 'locate') return await post(write, 'find-miner', { on: command.on }, null, signal);
  if (command.kind !== 'sleep' && command.kind !== 'run')
    return fail('unsupported', `VNish is not commanded to "${command.kind}"`);
  if (command.kind === 'sleep' && write.works)
    return await post(write, 'mining/stop', undefined, null, signal);
  const summary = await web.read('summary', signal);
  if (!summary.ok) return summary;
  const state = vnishState(summary.value);
  const rests = state === 'stopped' || state === 'paused';
  if (command.kind === 'sleep')
    return rests
      ? ok(stoodAlready(clock, `already ${state}`))
      : await post(write, 'mining/stop', undefined, null, signal);
  const wake = (limitWatts: Watts | null) =>
    post(write, state === 'paused' ? 'mining/resume' : 'mining/start', undefined, limitWatts, signal);
  if (command.limitWatts === null) return rests ? await wake(null) : ok(stoodAlready(clock));
  const preset = tunedPresets(write.presets).findLast(({ watts }) => watts <= command.limitWatts!);
  if (preset === undefined)
    return fail(
      'refused',
      `no tuned preset of this miner draws ${command.limitWatts} W or less`,
      'put it to sleep instead, or tune a weaker preset',
    );
  const set = await setPreset(write, preset, rests, signal);
  // Without an answer nobody knows that the preset holds: a stopped miner stays stopped.
  if (!set.ok || set.value.acknowledged === null || !rests) return set;
  return await wake(preset.watts);
}

/** Sets a preset where another stands; a running miner is restarted when it says that it must be. */
async function setPreset(
  write: VnishWrite,
  preset: VnishPreset,
  rests: boolean,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const { web, clock } = write;
  const performance = await web.read('perf-summary', signal);
  if (!performance.ok) return performance;
  const now = recordAt(performance.value);
  const switcher = recordAt(now, 'preset_switcher');
  const clips = clippedSwitcher(switcher, preset);
  if (firstText(recordAt(now, 'current_preset'), 'name') === preset.name && clips === null)
    return ok(stoodAlready(clock, `preset ${preset.name} stands already`, preset.watts));
  const overclock = { preset: preset.name, ...(clips !== null && { preset_switcher: clips }) };
  const before = clock.monotonicMs();
  const answer = await web.write('settings', { miner: { overclock } }, signal);
  const set = sentOf(answer, before, preset.watts);
  if (!answer.ok || !set.ok || rests) return set;
  if (flagOf(recordAt(answer.value.json)['restart_required']) !== true) return set;
  return await post(write, 'mining/restart', undefined, preset.watts, signal);
}

/** The automatic change of presets held at or under `preset`; `null` where it is off or held already. */
function clippedSwitcher(
  switcher: Readonly<Record<string, unknown>>,
  preset: VnishPreset,
): Readonly<Record<string, unknown>> | null {
  const top = firstNumber(switcher, 'top_preset');
  if (flagOf(switcher['enabled']) !== true || (top !== null && top <= preset.watts)) return null;
  const least = firstNumber(switcher, 'min_preset');
  return {
    ...switcher,
    top_preset: preset.name,
    autochange_top_preset: false,
    ...(least !== null && least > preset.watts && { min_preset: preset.name }),
  };
}

async function post(
  { web, clock }: VnishWrite,
  page: string,
  body: unknown,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = clock.monotonicMs();
  return sentOf(await web.write(page, body, signal), before, limitWatts);
}
