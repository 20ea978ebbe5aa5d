import { parentPort } from 'node:worker_threads';
import { type LoopJob, runLoop } from './loop-run.ts';

/** Runs what it is handed, one after another, and hands back what each came to. */
const port = parentPort!;
port.on('message', async (job: LoopJob) => port.postMessage(await runLoop(job)));
