import type { SiteModel } from '../site/model.ts';
import type { Snapshot } from '../site/snapshot.ts';
import type { SiteView } from '../site/view.ts';
import type { HostHealth } from '../telemetry/host-health.ts';
import type { LinkHealth } from '../telemetry/telemetry.ts';

/** What the page, the metrics and the local socket may look at. */
export interface PageSource {
  readonly version: string;
  readonly model: SiteModel;
  /** `null` until the first cycle. */
  view(): SiteView | null;
  snapshot(): Snapshot | null;
  host(): HostHealth;
  link(): LinkHealth | null;
  /** Healthy = a control cycle on fresh readings, or a deliberate safe state, within the last few cycles. */
  healthy(): { readonly ok: boolean; readonly reason: string };
  counters(): AgentCounters;
  /** Answers an API path that other parts of the agent own (`decisions`, `transfers`, `history`, ...), or null. */
  api(name: string, query: URLSearchParams): unknown;
}

export interface AgentCounters {
  readonly cycles: number;
  readonly cyclesSkipped: number;
  readonly lastCycleMs: number;
  readonly reads: number;
  readonly readFailures: number;
  readonly worstReadLatenessMs: number;
  readonly commands: number;
}
