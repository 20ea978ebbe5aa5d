import type { FailureKind, Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Applied, LoadCommand } from '../load-driver.ts';

/** The site's own bounds for a cap; absent means those of the GPU alone. */
export interface CapBounds {
  readonly capMinWatts?: Watts;
  readonly capMaxWatts?: Watts;
}

type CapCommand = Extract<LoadCommand, { kind: 'cap' }>;

/** Which caps a GPU takes; `null` = not shown. */
export interface CapRange {
  readonly uuid: string | null;
  readonly name: string | null;
  readonly minLimitWatts: Watts | null;
  readonly maxLimitWatts: Watts | null;
}

/** What of one GPU matters to a cap; `null` = not shown. */
export interface CapView extends CapRange {
  readonly enforcedLimitWatts: Watts | null;
  readonly persistenceEnabled?: boolean | null;
}

/** What a tool said of a write; `accepted: null`: no answer came, it may have arrived. */
export interface CapWrite {
  readonly accepted: boolean | null;
  readonly kind: FailureKind | null;
  readonly note: string;
  readonly sentAt: MonotonicMs;
}

/** A way to cap the GPUs of one node, and to see what came of it. */
export interface CapPort {
  view(signal: AbortSignal): Promise<Result<readonly CapView[]>>;
  cap(uuid: string, limitWatts: Watts, signal: AbortSignal): Promise<Result<CapWrite>>;
  /** Keeps a cap over the end of the last client, where the tool has such a thing. */
  persist?(uuid: string, signal: AbortSignal): Promise<Result<CapWrite>>;
}

/** Stands for a UUID where one limit covers the whole node. */
export const NODE_UUID = 'node';

/** The enforced limit is printed with two decimals; half a watt is rounding, not disobedience. */
const ROUNDING_WATTS: Watts = 0.5;

/**
 * Caps one GPU: reads its range, writes, and reads the ENFORCED limit back, because the tool also says
 * `All done.` where nothing was done. `acknowledged` is false when the limit in force stays above the one
 * asked for. Fails `refused` outside the range, `unsupported`, `unauthorised`, `unreachable`.
 */
export async function applyCap(
  port: CapPort,
  command: CapCommand,
  bounds: CapBounds,
  signal: AbortSignal,
): Promise<Result<Applied>> {
  const { uuid, limitWatts } = command;
  const wrong = wrongWords(command);
  if (wrong !== null) return wrong;
  const before = await port.view(signal);
  if (!before.ok) return before;
  const checked = checkCap(before.value, command, bounds);
  if (!checked.ok) return checked;
  const gpu = checked.value;
  const notes: string[] = [];
  if (gpu.persistenceEnabled === false && port.persist !== undefined) {
    const persisted = await port.persist(uuid, signal);
    if (!persisted.ok || persisted.value.accepted !== true) {
      notes.push('persistence mode is off: the cap is lost when the driver unloads');
    }
  }
  const written = await port.cap(uuid, limitWatts, signal);
  if (!written.ok) return written;
  const { accepted, kind, note, sentAt } = written.value;
  if (accepted === false) return fail(kind ?? 'refused', `${uuid}: ${note}`);
  notes.unshift(note);
  if (accepted === null) return ok({ acknowledged: null, sentAt, limitWatts: null, note: notes.join('; ') });
  const after = await port.view(signal);
  const now = after.ok ? after.value.find((candidate) => candidate.uuid === uuid) : undefined;
  const enforced = now?.enforcedLimitWatts ?? null;
  if (enforced === null) notes.push('the limit in force could not be read back');
  else if (enforced > limitWatts + ROUNDING_WATTS) notes.push(`the limit in force stays at ${enforced} W`);
  else if (enforced < limitWatts - ROUNDING_WATTS) notes.push(`something else holds it at ${enforced} W`);
  const acknowledged = enforced === null ? null : enforced <= limitWatts + ROUNDING_WATTS;
  return ok({ acknowledged, sentAt, limitWatts: null, note: notes.join('; ') });
}

function wrongWords({ uuid, limitWatts }: CapCommand): ReturnType<typeof fail> | null {
  if (uuid !== NODE_UUID && !/^GPU-[0-9A-Za-z-]+$/.test(uuid)) return fail('refused', `${uuid} is no GPU`);
  return Number.isFinite(limitWatts) ? null : fail('refused', `${limitWatts} W is no limit`);
}

/** The GPU that a cap is for, where it may be set to that: it is there, adjustable, and within both ranges. Pure. */
export function checkCap<Gpu extends CapRange>(
  gpus: readonly Gpu[],
  command: CapCommand,
  bounds: CapBounds,
): Result<Gpu> {
  const { uuid, limitWatts } = command;
  const wrong = wrongWords(command);
  if (wrong !== null) return wrong;
  const gpu = gpus.find((candidate) => candidate.uuid === uuid);
  if (gpu === undefined) return fail('wrong-device', `${uuid} is not in this node`);
  const { minLimitWatts, maxLimitWatts } = gpu;
  if (minLimitWatts === null || maxLimitWatts === null || maxLimitWatts <= minLimitWatts) {
    return fail('unsupported', `${uuid} (${gpu.name}) has no adjustable limit`);
  }
  const low = Math.max(minLimitWatts, bounds.capMinWatts ?? 0);
  const high = Math.min(maxLimitWatts, bounds.capMaxWatts ?? maxLimitWatts);
  if (limitWatts >= low && limitWatts <= high) return ok(gpu);
  const own = `${minLimitWatts} to ${maxLimitWatts} W`;
  const whose =
    low === minLimitWatts && high === maxLimitWatts
      ? 'the range of the device'
      : `the range of the configuration (\`cap.min\`, \`cap.max\`); the device's is ${own}`;
  return fail('refused', `${uuid}: ${limitWatts} W is outside ${low} to ${high} W, ${whose}`);
}
