import type { Command } from 'commander';
import { parseDuration } from '../../config/quantity.ts';
import type { GlobalFlags } from './outcome.ts';

/** The global flags as they were written; `null`: `--timeout` is no duration. Colours only for a terminal that wants them. */
export function globalFlags(
  program: Command,
  environment: Readonly<Record<string, string | undefined>>,
): GlobalFlags | null {
  const options = program.opts<{
    config?: string;
    json?: boolean;
    quiet?: boolean;
    verbose?: boolean;
    color: boolean;
    timeout: string;
    yes?: boolean;
  }>();
  const timeout = parseDuration(options.timeout);
  if (!timeout.ok) return null;
  const plain =
    environment['NO_COLOR'] !== undefined || environment['TERM'] === 'dumb' || !process.stdout.isTTY;
  return {
    ...(options.config === undefined ? {} : { config: options.config }),
    json: options.json ?? false,
    quiet: options.quiet ?? false,
    verbose: options.verbose ?? false,
    color: options.color && !plain,
    timeoutMs: timeout.value,
    timeoutGiven: program.getOptionValueSource('timeout') !== 'default',
    yes: options.yes ?? false,
  };
}
