import type { Logger } from 'pino';
import type { ConfigResult, LoadedConfig } from '../config/load.ts';
import type { Clock } from '../protocols/clock.ts';
import type { Random } from '../protocols/random.ts';
import type { DriverFactories } from './drivers.ts';
import type { ReloadReport, StandIn } from './live-config.ts';
import type { StaticFile } from './page/server.ts';
import type { PageSource } from './page/source.ts';

/** What an agent is built out of. */
export interface AgentOptions {
  readonly loaded: LoadedConfig;
  /** `loaded` stands in for a file that is invalid: nothing rises before a valid one is reloaded. */
  readonly standIn?: StandIn;
  readonly version: string;
  readonly dryRun: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly drivers: DriverFactories;
  readonly files: ReadonlyMap<string, StaticFile>;
  /** Take a free port when the page's is busy. */
  readonly anyPort: boolean;
  /** Devices were under control before: a page port that somebody has costs the page, never the site's control. */
  readonly controlled?: boolean;
  /** How many times faster than life the site runs, where it is simulated. */
  readonly pace?: number;
  /** Called after every completed control cycle. */
  readonly onCycle?: () => void;
  /** Reads the configuration again, for `reload`; not given: it cannot change. */
  readonly reread?: () => ConfigResult;
  /** Called with every configuration that a reload put in force. */
  readonly onReload?: (loaded: LoadedConfig) => void;
}

/** An agent at work. */
export interface RunningAgent {
  readonly pageUrl: string | null;
  readonly socketPath: string;
  readonly source: PageSource;
  /** Resolves with the error when a bug ended the loop. */
  readonly bug: Promise<unknown>;
  /** Takes the changed configuration in, as far as that needs no restart; an invalid one changes nothing. */
  reload(): ReloadReport;
  stop(): Promise<void>;
}
