import { type LoadedConfig, loadConfig, loadKeptConfig } from '../../config/load.ts';
import { type ConfigProblem, formatProblem } from '../../config/problem.ts';
import type { StandIn } from '../live-config.ts';
import { buildSiteModel } from '../site/model.ts';
import { keptConfigs } from '../store/last-config.ts';
import { type Context, configPath, DEFAULT_CONFIGS, problemsOf } from './context.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { stateFolders } from './state-folders.ts';

/** What `run` runs on. */
export type RunConfig =
  | { readonly kind: 'file'; readonly loaded: LoadedConfig }
  /** The file is invalid or gone: what was in force before, shed-only. */
  | { readonly kind: 'stand-in'; readonly loaded: LoadedConfig; readonly standIn: StandIn }
  | { readonly kind: 'none' }
  | { readonly kind: 'refused'; readonly outcome: Outcome };

/**
 * The configuration to run on. An invalid file is refused where nothing is lost by that: at a first start, and where the
 * agent only looks on. Where it had devices under control, refusing would leave the site without any: then the last
 * configuration that was in force stands in, and nothing rises.
 */
export function chooseConfig(context: Context, commands: boolean): RunConfig {
  const path = configPath(context);
  if (path === null) {
    // Nobody removes the configuration of a running site on purpose without stopping the agent.
    for (const file of commands ? DEFAULT_CONFIGS : []) {
      const standIn = standInFor(file, context, [gone(file)]);
      if (standIn !== null) return standIn;
    }
    return { kind: 'none' };
  }
  const result = loadConfig(path, context.environment);
  if (result.ok) return { kind: 'file', loaded: result.value };
  const standIn = commands ? standInFor(path, context, result.problems) : null;
  return (
    standIn ?? {
      kind: 'refused',
      outcome: { exit: EXIT.configuration, problems: problemsOf(result.problems) },
    }
  );
}

function standInFor(
  file: string,
  context: Context,
  problems: readonly ConfigProblem[],
): (RunConfig & { kind: 'stand-in' }) | null {
  for (const folder of stateFolders(file, context.environment)) {
    for (const kept of keptConfigs(folder, file)) {
      const result = loadKeptConfig(file, kept, context.environment);
      if (!result.ok || !controls(result.value)) continue;
      return { kind: 'stand-in', loaded: result.value, standIn: { problems, takenAt: kept.takenAt } };
    }
  }
  return null;
}

/** Whether an agent has commanded devices under this configuration before. */
export function controlledBefore(loaded: LoadedConfig): boolean {
  return controls(loaded) && keptConfigs(loaded.config.store.path, loaded.file).length > 0;
}

/** Whether devices are commanded under this configuration: only then does refusing it leave them alone. */
function controls(loaded: LoadedConfig): boolean {
  return buildSiteModel(loaded.config, loaded.miners).limits.some(
    ({ authority }) => authority === 'full' || authority === 'shed-only',
  );
}

function gone(file: string): ConfigProblem {
  return {
    severity: 'error',
    code: 'unreadable',
    message: 'no such file',
    file,
    line: 1,
    column: 1,
    path: '',
  };
}

/** One sentence for the log and systemd. */
export function standInText({ problems, takenAt }: StandIn): string {
  return `the configuration is invalid (${problems.map(formatProblem)[0] ?? 'unknown'}): shed-only on the one of ${takenAt}`.replaceAll(
    /\s+/g,
    ' ',
  );
}
