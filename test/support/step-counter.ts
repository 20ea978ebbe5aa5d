import { Session } from 'node:inspector';

/** Counts the blocks of our own sources (protocols, drivers, config) that run: work without a clock. */
export interface StepCounter extends Disposable {
  /** Blocks run by `work`, and by anything of ours that ran since the last count. */
  count(work: () => void): number;
}

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly { readonly count: number }[] }[];
  }[];
}

/**
 * A counter for this thread, to be made before the functions to be counted are first called. Precise coverage of V8, so every pass of a loop counts. Regular
 * expressions do not.
 */
export function createStepCounter(): StepCounter {
  const session = new Session();
  session.connect();
  const post = (method: string, params: object = {}): unknown => {
    let answer: unknown;
    session.post(method, params, (error, result) => {
      if (error !== null) throw new Error(`${method}: ${error.message}`);
      answer = result;
    });
    return answer;
  };
  post('Profiler.enable');
  post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const take = (): number => {
    const { result } = post('Profiler.takePreciseCoverage') as Coverage;
    let steps = 0;
    for (const { url, functions } of result) {
      if (!/\/(?:protocols|drivers|config)\//.test(url)) continue;
      for (const { ranges } of functions) for (const { count } of ranges) steps += count;
    }
    return steps;
  };
  take();
  return {
    // Taking the counts sets them back to nothing.
    count: (work) => {
      work();
      return take();
    },
    [Symbol.dispose]: () => {
      post('Profiler.stopPreciseCoverage');
      session.disconnect();
    },
  };
}
