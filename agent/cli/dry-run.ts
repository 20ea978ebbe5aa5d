import { checkCap } from '../../drivers/gpu/cap.ts';
import type { LoadCommand, LoadReading } from '../../drivers/load-driver.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';

/**
 * What a command would do to a device as it was just read, in words behind "would"; fails where it is known that the
 * device refuses or cannot do it. Pure.
 */
export function foretell(command: LoadCommand, reading: LoadReading): Result<string, Failure> {
  const now = reading.powerWatts === null ? 'power unknown' : `${reading.powerWatts} W`;
  if (reading.kind === 'gpu-node') {
    if (command.kind !== 'cap') return fail('unsupported', 'GPUs take caps and nothing else');
    const gpu = checkCap(reading.gpus, command, {});
    if (!gpu.ok) return gpu;
    const { minLimitWatts, maxLimitWatts, enforcedLimitWatts } = gpu.value;
    const range = `${minLimitWatts} to ${maxLimitWatts} W`;
    return ok(`cap it at ${command.limitWatts} W (in force ${enforcedLimitWatts ?? '?'} W, range ${range})`);
  }
  const { control, state } = reading;
  if (command.kind === 'locate') return ok(`switch its light ${command.on ? 'on' : 'off'}`);
  if (command.kind === 'sleep')
    return control.sleep === false
      ? fail('unsupported', 'its firmware cannot put it to sleep, or does not allow it')
      : ok(`put it to sleep (now ${state}, ${now})`);
  if (command.kind === 'cap') return fail('unsupported', 'a miner has no GPUs to cap');
  if (command.limitWatts === null)
    return control.wake === false
      ? fail('unsupported', 'its firmware cannot wake it, or does not allow it')
      : ok(`wake it (now ${state}, ${now})`);
  const { powerLimit } = control;
  if (powerLimit === null)
    return fail('unsupported', 'its firmware offers no power limit, or does not allow it');
  const { minWatts, maxWatts, kind, presetsWatts } = powerLimit;
  if (command.limitWatts < minWatts || command.limitWatts > maxWatts)
    return fail(
      'refused',
      `${command.limitWatts} W is outside ${minWatts} to ${maxWatts} W, the range of the device`,
    );
  const steps =
    kind === 'watts' || presetsWatts === undefined
      ? ''
      : `, in steps: ${presetsWatts.map((watts) => `${watts} W`).join(', ')}`;
  return ok(
    `limit it to ${command.limitWatts} W (now ${state}, ${now}; range ${minWatts} to ${maxWatts} W${steps})`,
  );
}
