import type { ConfigResult, LoadedConfig } from '../config/load.ts';
import { type ConfigProblem, formatProblem } from '../config/problem.ts';
import type { Config, MeterConfig } from '../config/schema.ts';
import type { EpochMs } from '../protocols/units.ts';
import { type Change, type ChangeKind, mergeConfig } from './config-changes.ts';
import { stepContext } from './control/rules.ts';
import type { StepContext } from './control/step-context.ts';
import { type TransferFacts, transferFacts } from './control/transfer-evidence.ts';
import type { Condition } from './site/alarms.ts';
import { buildSiteModel, type SiteModel } from './site/model.ts';
import type { SiteEvent } from './site/snapshot.ts';
import { type ReportRules, reportRules } from './telemetry/reporter.ts';

/** What a reload did, for the log, `switchyard reload` and the local socket. */
export interface ReloadReport {
  readonly v: 1;
  /** The file is valid; what could be applied is in force. */
  readonly ok: boolean;
  readonly live: readonly string[];
  readonly reconnect: readonly string[];
  /** Changed in the file, and not in force before a restart. */
  readonly restart: readonly string[];
  readonly problems: readonly ConfigProblem[];
}

/** Why an earlier configuration is in force in place of the file. */
export interface StandIn {
  /** What is wrong with the file. */
  readonly problems: readonly ConfigProblem[];
  /** ISO 8601: when the configuration in force was taken. */
  readonly takenAt: string;
}

/**
 * The configuration in force, and what is built out of it. The parts of the agent hold the objects below for ever:
 * their fields follow the configuration. Only the context of control is another object after each change that
 * concerns it, because the journal tells contexts apart by that.
 */
export class LiveConfig {
  readonly model: SiteModel;
  readonly transfers: TransferFacts;
  readonly reports: ReportRules;
  private current: LoadedConfig;
  private built: {
    readonly model: SiteModel;
    readonly context: StepContext;
    readonly transfers: TransferFacts;
    readonly reports: ReportRules;
  };
  private refused: readonly ConfigProblem[] = [];
  private waiting: readonly string[] = [];
  private standIn: StandIn | null;
  private events: SiteEvent[] = [];

  constructor(loaded: LoadedConfig, standIn: StandIn | null = null) {
    this.current = loaded;
    this.standIn = standIn;
    this.built = build(loaded, null);
    this.model = following(() => this.built.model);
    this.transfers = following(() => this.built.transfers);
    this.reports = following(() => this.built.reports);
  }

  get loaded(): LoadedConfig {
    return this.current;
  }

  get config(): Config {
    return this.current.config;
  }

  get context(): StepContext {
    return this.built.context;
  }

  /** Nothing may rise: what is in force is not what the site's people wrote last. A valid file ends that. */
  get shedOnly(): boolean {
    return this.standIn !== null;
  }

  /** Takes a file that was read again. An invalid one changes nothing, and is told until a valid one comes. */
  take(result: ConfigResult, now: EpochMs): ReloadReport {
    if (!result.ok) {
      if (this.standIn === null) this.refused = result.problems;
      else this.standIn = { ...this.standIn, problems: result.problems };
      this.note(now, 'reload-refused', formatProblem(result.problems[0]!));
      return { v: 1, ok: false, live: [], reconnect: [], restart: [], problems: result.problems };
    }
    const { loaded, changes } = mergeConfig(this.current, result.value);
    this.current = loaded;
    this.built = build(loaded, this.built.context);
    this.refused = [];
    this.standIn = null;
    const paths = (kind: ChangeKind) => changes.filter((change) => change.kind === kind).map(pathOf);
    const report = {
      v: 1,
      ok: true,
      live: paths('live'),
      reconnect: paths('reconnect'),
      restart: paths('restart'),
      problems: result.value.warnings,
    } as const;
    this.waiting = report.restart;
    this.note(now, 'reload', renderReload(report));
    return report;
  }

  conditions(): Condition[] {
    const conditions: Condition[] = [];
    if (this.standIn !== null) {
      const { problems, takenAt } = this.standIn;
      conditions.push({
        code: 'configuration-invalid',
        severity: 'critical',
        target: 'site',
        message: `The configuration is invalid; the one taken on ${takenAt} stands in for it and nothing rises: ${formatProblem(problems[0]!)}`,
        nextStep: 'Correct it (`switchyard check`), then `switchyard reload`.',
        count: problems.length,
      });
    }
    if (this.refused.length > 0) {
      conditions.push({
        code: 'reload-refused',
        severity: 'major',
        target: 'site',
        message: `The changed configuration is invalid and was not taken; the one before stays in force: ${formatProblem(this.refused[0]!)}`,
        nextStep: 'Correct it (`switchyard check`), then `switchyard reload`.',
        count: this.refused.length,
      });
    }
    if (this.waiting.length > 0) {
      conditions.push({
        code: 'restart-needed',
        severity: 'minor',
        target: 'site',
        message: `Changed in the configuration and not in force before a restart: ${few(this.waiting)}.`,
        nextStep: 'Restart the agent when it suits: `systemctl restart switchyard`.',
        count: this.waiting.length,
      });
    }
    return conditions;
  }

  drainEvents(): SiteEvent[] {
    return this.events.splice(0);
  }

  private note(epochMs: EpochMs, kind: string, message: string): void {
    this.events.push({ epochMs, kind, target: 'site', message });
  }
}

/** A reload in one sentence for people. Pure. */
export function renderReload(report: ReloadReport): string {
  if (!report.ok) return 'The configuration is invalid: nothing was changed, the one before stays in force.';
  const parts = [
    report.live.length > 0 ? `in force: ${few(report.live)}` : '',
    report.reconnect.length > 0 ? `in force, with its device opened again: ${few(report.reconnect)}` : '',
    report.restart.length > 0 ? `not before a restart: ${few(report.restart)}` : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'Nothing has changed.' : `Reloaded; ${parts.join('; ')}.`;
}

const NAMED_AT_MOST = 20;

function few(paths: readonly string[]): string {
  const more = paths.length - NAMED_AT_MOST;
  return `${paths.slice(0, NAMED_AT_MOST).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function pathOf(change: Change): string {
  return change.path;
}

function build(loaded: LoadedConfig, before: StepContext | null) {
  const { config } = loaded;
  const model = buildSiteModel(config, loaded.miners);
  const made = stepContext(config, model);
  // The same context stays the same object: prices alone begin no segment of the journal.
  const context = before !== null && JSON.stringify(before) === JSON.stringify(made) ? before : made;
  return {
    model,
    context,
    transfers: transferFacts(config, model, context),
    reports: reportRules(config.mqtt),
  };
}

/** An object whose fields are at every look those of `current()`. Which fields there are does not change. */
function following<T extends object>(current: () => T): T {
  const view = {};
  for (const key of Object.keys(current()) as (keyof T)[])
    Object.defineProperty(view, key, { enumerable: true, get: () => current()[key] });
  return view as T;
}

/** A meter of the configuration whose interval follows it. */
export function meterNow(live: LiveConfig, meter: MeterConfig): MeterConfig {
  return {
    ...meter,
    get interval() {
      return live.config.meters.find((candidate) => candidate.id === meter.id)?.interval ?? meter.interval;
    },
  };
}
