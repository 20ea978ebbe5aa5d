/** One thing that happens in a demo: when, what it is in words, and what is done. */
export interface DemoStep {
  /** Seconds after the first complete set of readings, at pace 1. */
  readonly atSeconds: number;
  readonly words: string;
  readonly act: DemoAct;
}

export type DemoAct =
  /** An order over the broker, as a central system sends it. `share`: watts as a share of the limit's rating. */
  | {
      readonly kind: 'order';
      readonly type: string;
      readonly args: Readonly<Record<string, unknown>>;
      readonly share?: number;
    }
  /** A request to the simulator: a fault, a load. */
  | { readonly kind: 'simulator'; readonly request: Readonly<Record<string, unknown>> }
  /** The broker goes away for a while. */
  | { readonly kind: 'broker'; readonly up: boolean };

const order = (type: string, args: Record<string, unknown>, share?: number): DemoAct => ({
  kind: 'order',
  type,
  args,
  ...(share === undefined ? {} : { share }),
});
const simulator = (request: Record<string, unknown>): DemoAct => ({ kind: 'simulator', request });

/** What each scenario of the demo tells. Times are kept by the demo; `--pace` runs them faster with the physics. */
export const DEMO_SCENARIOS: Readonly<Record<string, readonly DemoStep[]>> = {
  quiet: [],
  story: [
    {
      atSeconds: 3,
      words: 'The grid operator lowers the limit to 70 % for three minutes, to be met within 30 s.',
      act: order('set_limit', { limit: 'grid', withinMs: 30_000 }, 0.7),
    },
    {
      atSeconds: 20,
      words: 'An AI job arrives on gpu-1 and asks for capacity that mining gives up.',
      act: order('transfer', {
        limit: 'feeder-g',
        watts: 3000,
        direction: 'mining-to-ai',
        workload: 'job-1',
      }),
    },
    {
      atSeconds: 25,
      words: 'The job begins to draw.',
      act: simulator({ op: 'gpu-load', id: 'gpu-1', utilization: 1 }),
    },
    {
      atSeconds: 150,
      words: 'The job ends.',
      act: simulator({ op: 'gpu-load', id: 'gpu-1', utilization: 0.1 }),
    },
    {
      atSeconds: 155,
      words: 'Its capacity goes back to mining.',
      act: order('transfer', {
        limit: 'feeder-g',
        watts: 3000,
        direction: 'ai-to-mining',
        workload: 'job-1',
      }),
    },
    {
      atSeconds: 200,
      words: 'The grid operator restores the limit: power returns by ramp.',
      act: order('restore', { limit: 'grid' }),
    },
  ],
  'grid-emergency': [
    {
      atSeconds: 10,
      words: 'Emergency: the limit falls to 40 % within 20 s.',
      act: order('set_limit', { limit: 'grid', withinMs: 20_000 }, 0.4),
    },
    { atSeconds: 180, words: 'The emergency is over.', act: order('restore', { limit: 'grid' }) },
  ],
  'meter-dies': [
    {
      atSeconds: 10,
      words: 'The meter of feeder-a falls silent.',
      act: simulator({ op: 'meter-fault', id: 'feeder-a-meter', faults: { silent: true } }),
    },
    {
      atSeconds: 90,
      words: 'The meter of feeder-a answers again; that of feeder-b freezes.',
      act: simulator({ op: 'meter-fault', id: 'feeder-a-meter', faults: {} }),
    },
    {
      atSeconds: 91,
      words: 'Frozen: it answers, and its figures stand still.',
      act: simulator({ op: 'meter-fault', id: 'feeder-b-meter', faults: { freeze: true } }),
    },
    {
      atSeconds: 180,
      words: 'All meters are well again.',
      act: simulator({ op: 'meter-fault', id: 'feeder-b-meter', faults: {} }),
    },
  ],
  'miner-lies': [
    {
      atSeconds: 5,
      words: 'hall-a-001 claims a third of its watts; hall-a-002 acknowledges commands and does nothing.',
      act: simulator({ op: 'miner-fault', id: 'hall-a-001', faults: { lies: 0.33 } }),
    },
    {
      atSeconds: 6,
      words: 'The liar and the disobedient are in place.',
      act: simulator({ op: 'miner-fault', id: 'hall-a-002', faults: { disobeys: true } }),
    },
    {
      atSeconds: 15,
      words: 'The limit falls to 50 %.',
      act: order('set_limit', { limit: 'grid', withinMs: 30_000 }, 0.5),
    },
    { atSeconds: 150, words: 'Restored.', act: order('restore', { limit: 'grid' }) },
  ],
  'broker-away': [
    {
      atSeconds: 5,
      words: 'The limit falls to 70 %.',
      act: order('set_limit', { limit: 'grid', withinMs: 30_000 }, 0.7),
    },
    { atSeconds: 30, words: 'The broker goes away. The limit stays.', act: { kind: 'broker', up: false } },
    {
      atSeconds: 90,
      words: 'The broker is back: everything retained is said again.',
      act: { kind: 'broker', up: true },
    },
    { atSeconds: 150, words: 'Restored.', act: order('restore', { limit: 'grid' }) },
  ],
  'ai-job': [
    {
      atSeconds: 10,
      words: 'A job asks for capacity on feeder-g.',
      act: order('transfer', {
        limit: 'feeder-g',
        watts: 3000,
        direction: 'mining-to-ai',
        workload: 'job-1',
      }),
    },
    {
      atSeconds: 15,
      words: 'It begins to draw.',
      act: simulator({ op: 'gpu-load', id: 'gpu-1', utilization: 1 }),
    },
    {
      atSeconds: 120,
      words: 'It ends, and mining takes the watts back.',
      act: simulator({ op: 'gpu-load', id: 'gpu-1', utilization: 0.1 }),
    },
    {
      atSeconds: 122,
      words: 'Handed back.',
      act: order('transfer', {
        limit: 'feeder-g',
        watts: 3000,
        direction: 'ai-to-mining',
        workload: 'job-1',
      }),
    },
  ],
  'dead-tenth': [
    {
      atSeconds: 2,
      words: 'Every tenth miner falls silent. The others are read in time all the same.',
      act: simulator({ op: 'dead-tenth' }),
    },
  ],
  'breaker-trips': [
    {
      atSeconds: 10,
      words: 'The breaker of feeder-a trips: a hundred miners are gone in one moment.',
      act: simulator({ op: 'breaker', id: 'feeder-a', open: true }),
    },
    {
      atSeconds: 90,
      words: 'It is closed again: every miner starts by itself.',
      act: simulator({ op: 'breaker', id: 'feeder-a', open: false }),
    },
  ],
};
