import { existsSync } from 'node:fs';
import { type ConfigResult, type LoadedConfig, loadConfig } from '../../config/load.ts';
import type { ConfigProblem } from '../../config/problem.ts';
import type { Result } from '../../protocols/result.ts';
import { askAgent, localSocketPath } from '../page/local-socket.ts';
import { EXIT, type GlobalFlags, type Outcome, type Problem, type Streams } from './outcome.ts';
import { stateFolders } from './state-folders.ts';

/** What every command gets: flags, streams, the signal of Ctrl-C, the environment. */
export interface Context {
  readonly flags: GlobalFlags;
  readonly streams: Streams;
  readonly signal: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
}

/** Where the configuration is looked for when none is named. */
export const DEFAULT_CONFIGS = ['./switchyard.yaml', '/etc/switchyard/switchyard.yaml'];

/** The configuration file to use, or null where none was named and none of the defaults exists. */
export function configPath(context: Context): string | null {
  if (context.flags.config !== undefined) return context.flags.config;
  return DEFAULT_CONFIGS.find((path) => existsSync(path)) ?? null;
}

/** Problems of a configuration in the form of an outcome. */
export function problemsOf(problems: readonly ConfigProblem[]): Problem[] {
  return problems.map(({ severity: _severity, hint, ...rest }) =>
    hint === undefined ? rest : { ...rest, hint },
  );
}

/** Loads the configuration, or says how the command ends without one. */
export function needConfig(
  context: Context,
): { readonly loaded: LoadedConfig } | { readonly outcome: Outcome } {
  const path = configPath(context);
  if (path === null) {
    return {
      outcome: {
        exit: EXIT.configuration,
        problems: [
          {
            code: 'no-configuration',
            message: `no configuration: none of ${DEFAULT_CONFIGS.join(', ')} exists.`,
            hint: 'Write one from `switchyard sample`, or name it with --config.',
          },
        ],
      },
    };
  }
  const result: ConfigResult = loadConfig(path, context.environment);
  if (!result.ok) return { outcome: { exit: EXIT.configuration, problems: problemsOf(result.problems) } };
  return { loaded: result.value };
}

/** Where the running agent of this configuration listens; `--config` or SWITCHYARD_SOCKET says which. */
export function agentSocket(context: Context): string {
  const named = context.environment['SWITCHYARD_SOCKET'];
  if (named !== undefined && named !== '') return named;
  const path = configPath(context);
  const result = path === null ? null : loadConfig(path, context.environment);
  // With an invalid configuration an agent may well run, on the last good one.
  const [folder] = result?.ok ? [result.value.config.store.path] : stateFolders(path, context.environment);
  return localSocketPath(folder!, context.environment);
}

/** Asks the running agent. */
export function ask(
  context: Context,
  method: 'GET' | 'POST',
  resource: string,
  body?: unknown,
): Promise<Result<{ status: number; body: unknown }>> {
  return askAgent(agentSocket(context), method, resource, body, context.flags.timeoutMs);
}
