import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type LoopJob, type LoopResult, MIXES, type Mix, type Verdict } from './loop-run.ts';

/** What has been run so far is summed up this often: a long proof may be cut off. */
const SUMMED_UP_EVERY = 50;
const COOLING_SHARE = 0.02;

/**
 * `npm run proof -- loop [RUNS] [MINERS] [FIRST SEED] [MIX ...] [meters] [cooling]`: `runs` seeds of each mix from `firstSeed`,
 * with about `miners` miners, on all cores; whether every promise was kept. `meters`: meters fail as well; `cooling`: beside the
 * miners there is a load that nobody commands.
 */
export async function proveLoop(
  runs: number,
  miners: number,
  firstSeed: number,
  words: readonly string[],
): Promise<boolean> {
  const failingMeters = words.includes('meters');
  const coolingShare = words.includes('cooling') ? COOLING_SHARE : 0;
  const asked = words.filter((word) => word !== 'meters' && word !== 'cooling');
  const unknown = asked.find((word) => !(word in MIXES));
  if (unknown !== undefined) throw new Error(`no mix ${unknown}; there are ${Object.keys(MIXES).join(', ')}`);
  const mixes = (asked.length === 0 ? Object.keys(MIXES) : asked) as Mix[];
  // Three feeders with as many each.
  const count = Math.floor(miners / 3) * 3;
  let kept = true;
  for (const mix of mixes) {
    const jobs = Array.from({ length: runs }, (_, n): LoopJob => {
      return { mix, count, seed: firstSeed + n, failingMeters, coolingShare };
    });
    const results: LoopResult[] = [];
    const head = `${mix}, ${count} miners${failingMeters ? ', meters fail' : ''}${coolingShare > 0 ? ', cooling' : ''}, from seed ${firstSeed}`;
    await onAllCores(jobs, (job, result) => {
      results.push(result);
      const over = overOf(result.ledger);
      if (over > 0) {
        kept = false;
        console.log(told(job, result.ledger));
      }
      if (results.length % SUMMED_UP_EVERY === 0 && results.length < runs) sumUp(head, results);
    });
    sumUp(head, results);
  }
  return kept;
}

/** Hands the jobs to a worker a core, the next to whoever is free. Throws what a worker throws. */
async function onAllCores(
  jobs: readonly LoopJob[],
  done: (job: LoopJob, result: LoopResult) => void,
): Promise<void> {
  const waiting = [...jobs];
  const workers = Array.from({ length: Math.min(jobs.length, availableParallelism()) }, async () => {
    const worker = new Worker(new URL('./loop-worker.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: 64 },
    });
    try {
      for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
        const answered = once(worker, 'message');
        worker.postMessage(job);
        const [result] = (await answered) as [LoopResult];
        done(job, result);
      }
    } finally {
      await worker.terminate();
    }
  });
  await Promise.all(workers);
}

function told({ mix, seed }: LoopJob, verdict: Verdict): string {
  return (
    `${mix} seed ${seed}: over ${verdict.overSeconds.toFixed(1)} s after a deadline, ` +
    `${verdict.againSeconds.toFixed(1)} s once met, ${verdict.feederSeconds.toFixed(1)} s at feeders, ` +
    `by ${(verdict.worstOverWatts / 1000).toFixed(1)} kW`
  );
}

function sumUp(head: string, results: readonly LoopResult[]): void {
  const ours = results.map(({ ledger }) => ledger);
  const reached = results.map(({ ledger, told: best }) => ledger.usedWattSeconds / best.usedWattSeconds);
  const best = median(results.map((result) => usedShare(result.told)));
  const switches = results.map(({ ledger, headroom }) => ledger.switches / Math.max(1, headroom.switches));
  console.log(`${head}: ${results.length} runs`);
  console.log(`  ledger:   ${line(ours)}`);
  console.log(`  headroom: ${line(results.map(({ headroom }) => headroom))}`);
  console.log(
    `  by who knows all: ${percent(best)} of the allowed energy; the ledger uses ${percent(median(reached))} of that`,
  );
  console.log(
    `  switches of headroom control: ${percent(median(switches))} (most ${percent(Math.max(...switches))})`,
  );
}

function usedShare(verdict: Verdict): number {
  return verdict.usedWattSeconds / verdict.allowedWattSeconds;
}

function overOf(verdict: Verdict): number {
  return verdict.overSeconds + verdict.againSeconds + verdict.feederSeconds;
}

function line(verdicts: readonly Verdict[]): string {
  const met = verdicts.flatMap((verdict) => verdict.metMs);
  const used = verdicts.map(usedShare);
  const over = verdicts.map(overOf);
  return (
    `${over.filter((seconds) => seconds > 0).length} runs over, ${median(over).toFixed(1)} s (worst ${Math.max(...over).toFixed(1)}), ` +
    `limit met after ${(median(met) / 1000).toFixed(1)} s (worst ${(Math.max(...met) / 1000).toFixed(1)}), ` +
    `shortfall told ${verdicts.reduce((sum, v) => sum + v.told, 0)} times, ` +
    `${percent(median(used))} of the allowed energy used (least ${percent(Math.min(...used))}), ${median(verdicts.map((v) => v.switches))} switches`
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
