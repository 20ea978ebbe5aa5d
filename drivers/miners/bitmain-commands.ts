import { isDeepStrictEqual } from 'node:util';
import { findMinerModel } from '../../config/miners/models.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Applied, LoadCommand } from '../load-driver.ts';
import { lowPowerWatts, modeOf } from './bitmain-decode.ts';
import { mayHaveArrived } from './cgminer.ts';
import type { Sent } from './miner-driver.ts';
import { firstText, type MinerFields } from './reply-fields.ts';

export interface BitmainWebAnswer {
  readonly sentAt: MonotonicMs;
  /** `null` when the page answered nothing, as some do while the miner reloads. */
  readonly body: CgminerBody | null;
}

/** The web pages, behind their login. */
export interface BitmainWeb {
  read(page: string, signal: AbortSignal): Promise<Result<CgminerBody, ExchangeFailure>>;
  write(page: string, body: unknown, signal: AbortSignal): Promise<Result<BitmainWebAnswer, ExchangeFailure>>;
}

export interface BitmainWrite {
  readonly web: BitmainWeb;
  readonly clock: Clock;
  readonly configuredModel: string | null;
}

const MODE_NUMBER = { normal: 0, sleep: 1, 'low-power': 3 } as const;
type WantedMode = keyof typeof MODE_NUMBER;

/**
 * Sets the mode by writing the miner's whole configuration back with only the mode changed: firmware before
 * about 2023-07 replaces its file with what it is sent, pools and all. Nothing is written when the mode
 * already stands, because every write restarts the mining program.
 *
 * Source: set_miner_conf.cgi as the vendor's page uses it; field notes of fleet software.
 */
export async function applyToBitmain(
  write: BitmainWrite,
  command: LoadCommand,
  latest: MinerFields,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind === 'locate') return await blink(write, command.on, signal);
  const conf = await write.web.read('get_miner_conf.cgi', signal);
  if (!conf.ok) return conf;
  const wanted = wantedMode(command, conf.value, latest, write.configuredModel);
  if (!wanted.ok) return wanted;
  const { mode, limitWatts } = wanted.value;
  if (modeOf(conf.value) === mode)
    return ok({
      acknowledged: true,
      sentAt: write.clock.monotonicMs(),
      limitWatts,
      note: `already in ${mode} mode; not written again`,
      stood: true,
    });
  const pools = conf.value['pools'];
  if (!Array.isArray(pools) || pools.length === 0)
    return fail(
      'malformed',
      'the configuration read from the miner lists no pools; writing it back would lose them',
    );
  const sent = await writeMode(write, conf.value, MODE_NUMBER[mode], signal);
  if (!sent.ok) return sent;
  const note = await comparePools(write, conf.value, sent.value.note, signal);
  return ok({ ...sent.value, limitWatts, note });
}

function wantedMode(
  command: LoadCommand,
  conf: CgminerBody,
  latest: MinerFields,
  configuredModel: string | null,
): Result<{ readonly mode: WantedMode; readonly limitWatts: Watts | null }> {
  if (command.kind === 'sleep') return ok({ mode: 'sleep', limitWatts: null });
  if (command.kind !== 'run')
    return fail('unsupported', `stock Bitmain firmware is not commanded to "${command.kind}"`);
  if (command.limitWatts === null)
    return ok({ mode: modeOf(conf) === 'low-power' ? 'low-power' : 'normal', limitWatts: null });
  const model = findMinerModel(latest.model) ?? findMinerModel(configuredModel);
  if (model === null)
    return fail('unsupported', 'the watts of the modes are not known for this model', 'name the model');
  if (command.limitWatts >= model.nominalWatts) return ok({ mode: 'normal', limitWatts: model.nominalWatts });
  if (model.lowPowerMode && command.limitWatts >= lowPowerWatts(model))
    return ok({ mode: 'low-power', limitWatts: lowPowerWatts(model) });
  return fail(
    'refused',
    `no mode of ${model.name} draws ${command.limitWatts} W or less`,
    'put it to sleep instead',
  );
}

/** Posts the configuration; a build that wants the mode as text gets it so, once. */
async function writeMode(
  write: BitmainWrite,
  conf: CgminerBody,
  mode: number,
  signal: AbortSignal,
): Promise<Result<Applied>> {
  for (const form of [mode, String(mode)]) {
    const sentAfter = write.clock.monotonicMs();
    const answer = await write.web.write('set_miner_conf.cgi', withMode(conf, form), signal);
    if (!answer.ok) {
      // The program is reloaded while it answers: silence may be success.
      if (!mayHaveArrived(answer.error)) return answer;
      return ok({
        acknowledged: null,
        sentAt: sentAfter,
        limitWatts: null,
        note: answer.error.message.slice(0, 200),
      });
    }
    const { body, sentAt } = answer.value;
    if (body === null)
      return ok({ acknowledged: null, sentAt, limitWatts: null, note: 'the page answered nothing' });
    const said = `${firstText(body, 'code') ?? ''} ${firstText(body, 'msg') ?? ''}`.trim();
    if (body['stats'] === 'success') return ok({ acknowledged: true, sentAt, limitWatts: null, note: said });
    if (form !== mode || /pool/i.test(said)) return fail('refused', `the miner refused the mode: ${said}`);
  }
  return fail('refused', 'the miner refused the mode');
}

/** Everything as read, under the names that are read and the names that are written. */
export function withMode(conf: CgminerBody, mode: number | string): CgminerBody {
  return {
    ...conf,
    'bitmain-work-mode': String(mode),
    'miner-mode': mode,
    'freq-level': conf['bitmain-freq-level'] ?? conf['freq-level'] ?? '100',
  };
}

/** Reads the configuration back: pools that were lost are written again at once. */
async function comparePools(
  write: BitmainWrite,
  before: CgminerBody,
  note: string | null,
  signal: AbortSignal,
): Promise<string | null> {
  const after = await write.web.read('get_miner_conf.cgi', signal);
  if (!after.ok || isDeepStrictEqual(after.value['pools'], before['pools'])) return note;
  const again = await write.web.write(
    'set_miner_conf.cgi',
    { ...withMode(before, Number(after.value['bitmain-work-mode'] ?? 0)) },
    signal,
  );
  return again.ok
    ? 'the miner had dropped its pools; they were written back'
    : `the miner dropped its pools and they could not be written back: ${again.error.message}`;
}

async function blink(write: BitmainWrite, on: boolean, signal: AbortSignal): Promise<Result<Applied>> {
  const answer = await write.web.write('blink.cgi', { blink: on }, signal);
  if (!answer.ok) return answer;
  const code = answer.value.body === null ? null : firstText(answer.value.body, 'code');
  if (code === 'B001') return fail('refused', 'the miner refused to blink');
  return ok({
    acknowledged: code === null ? null : true,
    sentAt: answer.value.sentAt,
    limitWatts: null,
    note: code,
  });
}
