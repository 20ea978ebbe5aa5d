import { readFileSync } from 'node:fs';
import { type Context, needConfig } from './context.ts';
import { aborted } from './lifecycle.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { startSimulator } from './simulator-process.ts';

/** `simulate --config F`: only the simulated devices that a configuration names, until interrupted. */
export async function simulateCommand(
  context: Context,
  options: { seed: string; pace: string; faults?: string },
): Promise<Outcome> {
  const need = needConfig(context);
  if ('outcome' in need) return need.outcome;
  try {
    const simulator = await startSimulator(need.loaded.file, options.seed, options.pace);
    if (options.faults !== undefined) {
      for (const line of readFileSync(options.faults, 'utf8').split('\n'))
        if (line.trim() !== '') simulator.send(JSON.parse(line));
    }
    context.streams.err(
      `Simulated: ${need.loaded.miners.length} miners, ${need.loaded.config.meters.length} meters, ${need.loaded.config.gpuNodes.length} GPU nodes. Ctrl-C ends it.\n`,
    );
    await Promise.race([aborted(context.signal), simulator.ended]);
    await simulator.stop();
    return { exit: EXIT.ok };
  } catch (error) {
    return {
      exit: EXIT.problems,
      problems: [
        {
          code: 'cannot-simulate',
          message: (error as Error).message,
          hint: 'Use loopback addresses and free ports, as `switchyard demo` does.',
        },
      ],
    };
  }
}
