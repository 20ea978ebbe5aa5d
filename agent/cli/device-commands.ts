import { readFileSync } from 'node:fs';
import { expandHosts } from '../../config/hosts.ts';
import { loadConfig, type MinerPlace } from '../../config/load.ts';
import { nearest } from '../../config/problem.ts';
import { Secret } from '../../config/secret.ts';
import { openGpuNode } from '../../drivers/gpu/gpu-node.ts';
import { RedfishNode } from '../../drivers/gpu/redfish-node.ts';
import type {
  GpuNodeReading,
  LoadCommand,
  LoadDriver,
  LoadReading,
  MinerReading,
} from '../../drivers/load-driver.ts';
import { openMiner } from '../../drivers/miners/registry.ts';
import { prove } from '../../drivers/prove.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { Failure } from '../../protocols/result.ts';
import { ask, type Context, configPath } from './context.ts';
import { foretell } from './dry-run.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderGpu, renderMiner } from './render-device.ts';

/** Options of a command as commander gives them. */
export type Options = Readonly<Record<string, string | boolean | undefined>>;

/** Wrong usage, with what would be right. */
export function usage(message: string, hint?: string): Outcome {
  return {
    exit: EXIT.usage,
    problems: [{ code: 'usage', message, ...(hint === undefined ? {} : { hint }) }],
  };
}

/** A signal that aborts with Ctrl-C or when the time is over. */
export function limited(context: Context, milliseconds: number): AbortSignal {
  return AbortSignal.any([context.signal, AbortSignal.timeout(milliseconds)]);
}

/** How a failed read ends: giving up after --timeout is a time-out, only Ctrl-C is an interruption. */
export function deviceFailure(context: Context, target: string, failure: Failure): Outcome {
  if (failure.kind !== 'cancelled' || context.signal.aborted) return failureOutcome(failure);
  return failureOutcome({
    kind: 'timeout',
    message: `${target} gave no complete answer within ${context.flags.timeoutMs / 1000} s.`,
    hint: 'Something accepts the connection there: check that it is the right device, or wait longer with --timeout 15s.',
  });
}

/** A device id of the configuration, where there is one and it names this. */
function placeOf(context: Context, id: string): { place: MinerPlace; password: Secret | null } | null {
  const path = configPath(context);
  const result = path === null ? null : loadConfig(path, context.environment);
  if (!result?.ok) return null;
  const place = result.value.miners.find(
    (candidate) =>
      candidate.deviceId === id || `${candidate.host}:${candidate.port}` === id || candidate.host === id,
  );
  if (place === undefined) return null;
  const index = result.value.config.miners.indexOf(place.entry);
  return { place, password: result.value.secrets.get(`miners[${index}].password`) ?? null };
}

/** `miner HOST[:PORT] [sleep|wake|power W|locate]`: identify and read one miner now, or write with --apply. */
export async function minerCommand(
  context: Context,
  target: string,
  verb: string | undefined,
  value: string | undefined,
  options: Options,
): Promise<Outcome> {
  const configured = placeOf(context, target);
  const address = configured === null ? expandHosts(target) : null;
  if (address !== null && !address.ok) return usage(`${address.message}.`);
  const host = configured?.place.host ?? (address?.ok ? address.hosts[0]!.host : target);
  const port = configured?.place.port ?? (address?.ok ? (address.hosts[0]!.port ?? 4028) : 4028);
  const password =
    typeof options['passwordFile'] === 'string'
      ? new Secret(readFileSync(options['passwordFile'], 'utf8').trim())
      : (configured?.password ?? null);
  const driver = openMiner(
    {
      deviceId: configured?.place.deviceId ?? 'miner',
      host,
      port,
      webPort: configured?.place.entry.webPort ?? Number(options['webPort'] ?? 80),
      user: typeof options['user'] === 'string' ? options['user'] : (configured?.place.entry.user ?? null),
      password,
      model:
        configured === null || configured.place.entry.model === 'auto' ? null : configured.place.entry.model,
    },
    (options['firmware'] as 'auto' | undefined) ?? 'auto',
    { clock: systemClock, random: Math.random },
  );
  try {
    const identity = await driver.identify(limited(context, context.flags.timeoutMs));
    if (!identity.ok) return deviceFailure(context, target, identity.error);
    // Some firmwares want a second between requests: unless a time was asked for, a whole reading may take longer.
    const readingMs = context.flags.timeoutGiven
      ? context.flags.timeoutMs
      : Math.max(context.flags.timeoutMs, 15_000);
    const reading = await driver.read(limited(context, readingMs));
    if (!reading.ok) return deviceFailure(context, target, reading.error);
    if (reading.value.kind !== 'miner')
      return failureOutcome({ kind: 'wrong-device', message: `${target} is no miner.` });
    if (verb !== undefined)
      return await writeMiner(
        context,
        driver,
        `${host}:${port}`,
        reading.value,
        verb,
        value,
        options['apply'] === true,
        configured?.place.deviceId ?? null,
      );
    const data = { ...minerData(reading.value), address: `${host}:${port}` };
    return { exit: EXIT.ok, data, text: renderMiner(data) };
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

function minerData(reading: MinerReading) {
  const { sampledAt: _sampled, requestedAt: _requested, roundTripMs, control, ...rest } = reading;
  return {
    ...rest,
    roundTripMs: Math.round(roundTripMs * 10) / 10,
    control: { sleep: control.sleep, wake: control.wake, powerLimit: control.powerLimit },
  };
}

async function writeMiner(
  context: Context,
  driver: LoadDriver,
  address: string,
  before: MinerReading,
  verb: string,
  value: string | undefined,
  apply: boolean,
  deviceId: string | null,
): Promise<Outcome> {
  const command = minerVerb(verb, value);
  if (typeof command === 'string') return usage(command);
  if (apply && deviceId !== null) {
    const refusal = await agentOwns(context, deviceId);
    if (refusal !== null) return refusal;
  }
  return write(context, driver, address, verb, command, before, apply);
}

function minerVerb(verb: string, value: string | undefined): LoadCommand | string {
  switch (verb) {
    case 'sleep':
      return { kind: 'sleep' };
    case 'wake':
      return { kind: 'run', limitWatts: null };
    case 'power': {
      const watts = Number(value);
      return value === undefined || !Number.isFinite(watts) || watts <= 0
        ? 'power needs watts, for example: power 2800'
        : { kind: 'run', limitWatts: watts };
    }
    case 'locate':
      return { kind: 'locate', on: value !== 'off' };
    default: {
      const near = nearest(verb, ['sleep', 'wake', 'power', 'locate']);
      return `"${verb}" is no verb of miner${near === null ? '' : `: did you mean "${near}"?`}`;
    }
  }
}

/** A device that a running agent commands is written by that agent only, unless it is held. */
async function agentOwns(context: Context, deviceId: string): Promise<Outcome | null> {
  const answer = await ask(context, 'GET', `/api/v1/devices?id=${encodeURIComponent(deviceId)}`);
  if (!answer.ok) return null;
  const { devices } = answer.value.body as { devices: readonly { inventory: string }[] };
  if (devices[0] === undefined || devices[0].inventory === 'held') return null;
  return {
    exit: EXIT.refused,
    problems: [
      {
        code: 'refused',
        message: `${deviceId} belongs to the agent that runs here.`,
        hint: `Hold it first: switchyard hold ${deviceId} --who YOU`,
      },
    ],
  };
}

async function write(
  context: Context,
  driver: LoadDriver,
  target: string,
  name: string,
  command: LoadCommand,
  before: LoadReading,
  apply: boolean,
): Promise<Outcome> {
  const shown = { state: before.kind === 'miner' ? before.state : null, powerWatts: before.powerWatts };
  const foretold = foretell(command, before);
  if (!foretold.ok) {
    const { kind, message } = foretold.error;
    return failureOutcome({ kind, message: message.startsWith(target) ? message : `${target}: ${message}` });
  }
  if (!apply) {
    return {
      exit: EXIT.ok,
      data: {
        kind: 'write',
        target,
        command: name,
        applied: false,
        acknowledged: null,
        outcome: 'not-applied',
        before: shown,
        after: null,
        evidence: null,
        waitedMs: 0,
      },
      text: `${target}: would ${foretold.value}. Add --apply to do it.`,
    };
  }
  context.streams.err(`${target}: ${name} sent, waiting for a reading that shows it...\n`);
  const wait = context.flags.timeoutMs > 5000 ? context.flags.timeoutMs : 120_000;
  const proof = await prove(driver, command, before, systemClock, limited(context, wait));
  const after =
    proof.after === null
      ? null
      : {
          state: proof.after.kind === 'miner' ? proof.after.state : null,
          powerWatts: proof.after.powerWatts,
        };
  const data = {
    kind: 'write',
    target,
    command: name,
    applied: proof.applied !== null,
    acknowledged: proof.applied?.acknowledged ?? null,
    outcome: proof.outcome,
    before: shown,
    after,
    evidence: proof.evidence,
    waitedMs: Math.round(proof.waitedMs),
  };
  // A light is seen, not read: the device's yes is all there is to wait for.
  const seen = command.kind === 'locate' && proof.outcome === 'pending';
  const exit =
    proof.outcome === 'verified' || seen
      ? EXIT.ok
      : proof.outcome === 'refused'
        ? EXIT.refused
        : proof.outcome === 'pending'
          ? EXIT.timeout
          : proof.outcome === 'unknown'
            ? EXIT.unanswered
            : EXIT.problems;
  return { exit, data, text: `${target}: ${name} ${proof.outcome}: ${proof.evidence}` };
}

/** `gpu HOST`, `gpu --dcgm URL`, `gpu --nvidia-smi [PATH]`: read one GPU node now; `cap UUID W` with --apply. */
export async function gpuCommand(
  context: Context,
  args: {
    host: string | undefined;
    verb: string | undefined;
    uuid: string | undefined;
    watts: string | undefined;
  },
  options: Options,
): Promise<Outcome> {
  const smi = options['nvidiaSmi'];
  let { host, verb, uuid, watts } = args;
  // `gpu --nvidia-smi cap UUID W`: no host was given, the words move up.
  if (host === 'cap') [host, verb, uuid, watts] = [undefined, 'cap', args.verb, args.uuid];
  const opened =
    typeof options['redfish'] === 'string'
      ? openByRedfish(options['redfish'], options)
      : openByGpus(host, smi, options['dcgm']);
  if ('exit' in opened) return opened;
  const driver = opened;
  try {
    const reading = await driver.read(limited(context, Math.max(context.flags.timeoutMs, 15_000)));
    if (!reading.ok) return deviceFailure(context, host ?? 'the GPU node', reading.error);
    if (reading.value.kind !== 'gpu-node')
      return failureOutcome({ kind: 'wrong-device', message: 'this is no GPU node.' });
    if (verb === 'cap') {
      const limitWatts = Number(watts);
      if (uuid === undefined || !Number.isFinite(limitWatts) || limitWatts <= 0)
        return usage('cap needs a UUID and watts.');
      return await write(
        context,
        driver,
        uuid,
        'cap',
        { kind: 'cap', uuid, limitWatts },
        reading.value,
        options['apply'] === true,
      );
    }
    if (verb !== undefined) return usage(`"${verb}" is no verb of gpu.`, 'Known: cap UUID W.');
    const data = gpuData(reading.value);
    return {
      exit: data.gpus.some((gpu) => gpu.state !== 'ok') ? EXIT.problems : EXIT.ok,
      data,
      text: renderGpu(data),
    };
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

function openByGpus(
  host: string | undefined,
  smi: Options[string],
  dcgm: Options[string],
): LoadDriver | Outcome {
  const reader =
    typeof dcgm === 'string'
      ? ({ kind: 'dcgm', url: dcgm } as const)
      : smiReader(typeof smi === 'string' ? smi : null, host);
  if (reader.kind === 'nvidia-smi' && host === undefined && smi === undefined)
    return usage('name a host, --dcgm URL, --redfish URL or --nvidia-smi [PATH].');
  const cap = { kind: reader.kind === 'nvidia-smi' ? 'nvidia-smi' : 'none' } as const;
  return openGpuNode({ id: 'gpu', reader, cap, nameplateWatts: 0 }, { clock: systemClock });
}

function openByRedfish(url: string, options: Options): LoadDriver | Outcome {
  const { user, passwordFile, ca, fingerprint, chassis } = options;
  if (typeof user !== 'string' || typeof passwordFile !== 'string')
    return usage('--redfish needs --user U and --password-file F.');
  if (!/^https:\/\/[^/]+\/?$/.test(url)) return usage('write --redfish https://host or https://host:port.');
  return new RedfishNode(
    {
      id: 'gpu',
      url,
      user,
      passwordFile,
      canCap: true,
      ...(typeof ca === 'string' && { ca }),
      ...(typeof fingerprint === 'string' && { fingerprint }),
      ...(typeof chassis === 'string' && { chassis }),
    },
    systemClock,
  );
}

/** `--nvidia-smi PATH` names the program, or (with words in it) the command to put before it; a host is asked by ssh. */
function smiReader(smi: string | null, host: string | undefined) {
  if (smi === null) return { kind: 'nvidia-smi', command: host === undefined ? [] : ['ssh', host] } as const;
  const words = smi.split(' ').filter((part) => part !== '');
  if (words.length > 1) return { kind: 'nvidia-smi', command: words } as const;
  return { kind: 'nvidia-smi', command: [], program: smi } as const;
}

function gpuData(reading: GpuNodeReading) {
  const { sampledAt: _sampled, requestedAt: _requested, roundTripMs, control: _control, ...rest } = reading;
  return { ...rest, roundTripMs: Math.round(roundTripMs * 10) / 10 };
}
