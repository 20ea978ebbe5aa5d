import type { Logger } from 'pino';
import { type LoadedConfig, loadConfig } from '../../config/load.ts';
import { formatProblem } from '../../config/problem.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { AgentOptions, RunningAgent } from '../agent-options.ts';
import { startAgent } from '../assemble.ts';
import { realDrivers } from '../drivers.ts';
import { type ReloadReport, renderReload } from '../live-config.ts';
import { pageFiles } from '../page/files.ts';
import { keepConfig } from '../store/last-config.ts';
import { openMeterLessons } from '../store/meter-lessons.ts';
import { renderStatus } from './agent-commands.ts';
import type { Context } from './context.ts';
import { aborted, openSupervisor } from './lifecycle.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { chooseConfig, controlledBefore, standInText } from './run-config.ts';
import { openLog } from './run-log.ts';
import { serveUnconfigured } from './unconfigured.ts';

export interface RunFlags {
  readonly dryRun: boolean;
  readonly once: boolean;
}

/** Starts the agent of a loaded configuration with the real drivers. */
export function openAgent(
  loaded: LoadedConfig,
  context: Context,
  log: Logger,
  more: Pick<
    AgentOptions,
    'dryRun' | 'anyPort' | 'pace' | 'onCycle' | 'reread' | 'onReload' | 'standIn' | 'controlled'
  >,
): Promise<RunningAgent> {
  return startAgent({
    loaded,
    version: context.version,
    clock: systemClock,
    random: Math.random,
    log,
    drivers: realDrivers(
      systemClock,
      Math.random,
      loaded.profiles,
      openMeterLessons(loaded.config.store.path),
    ),
    files: pageFiles(),
    ...more,
  });
}

/** `run`: the agent, until SIGTERM or Ctrl-C. Without a configuration it serves a page that says what to do. */
export async function runCommand(context: Context, flags: RunFlags): Promise<Outcome> {
  const supervisor = openSupervisor(process.env, systemClock);
  const chosen = chooseConfig(context, !flags.dryRun && !flags.once);
  if (chosen.kind === 'none') return serveUnconfigured(context, supervisor);
  if (chosen.kind === 'refused') return chosen.outcome;
  const { loaded } = chosen;
  let standIn = chosen.kind === 'stand-in' ? chosen.standIn : null;
  const log = openLog(context);
  const setLevel = (loaded: LoadedConfig) => {
    if (!context.flags.quiet && !context.flags.verbose) log.level = loaded.config.log.level;
  };
  setLevel(loaded);
  if (standIn !== null) log.error(standInText(standIn));
  const keep = (taken: LoadedConfig) => {
    if (flags.dryRun) return;
    const failure = keepConfig(taken, context.version, systemClock.epochMs());
    if (failure !== null)
      log.warn({ reason: failure }, 'the configuration is not kept: an invalid one would stop the agent');
  };
  let agent: RunningAgent;
  try {
    agent = await openAgent(loaded, context, log, {
      ...(standIn === null ? {} : { standIn }),
      controlled: !flags.dryRun && !flags.once && controlledBefore(loaded),
      dryRun: flags.dryRun,
      anyPort: false,
      onCycle: () => supervisor.cycled(),
      reread: () => loadConfig(loaded.file, context.environment),
      onReload: (taken) => {
        standIn = null;
        setLevel(taken);
        keep(taken);
      },
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const hint =
      code === 'EADDRINUSE'
        ? 'Set `page: { listen: ... }` to a free port.'
        : code === 'EACCES' || code === 'EROFS'
          ? 'Set `store: { path: ... }` to a folder that this user may write.'
          : undefined;
    return {
      exit: EXIT.problems,
      problems: [
        {
          code: 'cannot-start',
          message: `the agent cannot start: ${message}.`,
          ...(hint === undefined ? {} : { hint }),
        },
      ],
    };
  }
  const onHangup = () => {
    supervisor.reloading();
    sayReload(agent.reload(), log);
    supervisor.reloaded(`page ${agent.pageUrl}`);
  };
  process.on('SIGHUP', onHangup);
  log.info({ page: agent.pageUrl, socket: agent.socketPath }, 'agent runs');
  if (standIn === null) keep(loaded);
  supervisor.ready(
    `${standIn === null ? '' : `${standInText(standIn)}; `}page ${agent.pageUrl}`,
    loaded.config.control.cycle,
  );
  if (flags.once) return runOnce(agent, context);
  const ended = await Promise.race([aborted(context.signal), agent.bug.then((error) => ({ error }))]);
  process.off('SIGHUP', onHangup);
  supervisor.stopping();
  await agent.stop();
  if (ended !== null) throw ended.error;
  return { exit: standIn === null ? EXIT.ok : EXIT.configuration };
}

function sayReload(report: ReloadReport, log: Logger): void {
  const { ok, problems, ...changes } = report;
  if (ok) log.info(changes, renderReload(report));
  else log.error({ problems: problems.map(formatProblem) }, renderReload(report));
}

/** Waits until everything has been tried once, shows the status, ends. */
async function runOnce(agent: RunningAgent, context: Context): Promise<Outcome> {
  const startedAt = performance.now();
  for (;;) {
    const snapshot = agent.source.snapshot();
    const tried =
      snapshot?.devices.every((device) => device.reading !== null || device.failure !== null) &&
      snapshot.meters.every((meter) => meter.reading !== null || meter.failure !== null);
    if (
      tried ||
      context.signal.aborted ||
      performance.now() - startedAt > Math.max(context.flags.timeoutMs, 15_000)
    )
      break;
    await systemClock.sleep(100, context.signal);
  }
  const view = agent.source.view();
  await agent.stop();
  if (view === null)
    return {
      exit: EXIT.timeout,
      problems: [{ code: 'timeout', message: 'no cycle was completed in time.' }],
    };
  return {
    exit: view.alarms.some((alarm) => alarm.severity === 'critical') ? EXIT.problems : EXIT.ok,
    data: view,
    text: renderStatus(view),
  };
}
