import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.ts';
import { formatProblem } from '../config/problem.ts';
import { systemClock } from '../protocols/clock.ts';
import type { SimulatedMiner } from './physics.ts';
import { serveSite } from './serve-site.ts';

/**
 * `node simulator/main.ts --config F [--seed S] [--pace X]`: plays every device of a configuration on the
 * addresses it names. Says `{"ready":true}` on stdout when all listen; takes JSON lines on stdin:
 * `{"op":"meter-fault","id","faults"}`, `{"op":"miner-fault","id","faults"}`, `{"op":"gpu-load","id","utilization"}`,
 * `{"op":"breaker","id","open"}`, `{"op":"supply","id","on"}` (of one miner), `{"op":"pool","away"}` (of all miners),
 * `{"op":"dead-tenth"}` (every tenth miner falls silent),
 * `{"op":"truth"}` (answers with the true watts of every limit), `{"op":"commands"}` (every command that reached a
 * miner since the last such request). Ends with SIGTERM or the end of stdin.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string' },
      seed: { type: 'string', default: '1' },
      pace: { type: 'string', default: '1' },
    },
  });
  const loaded = loadConfig(values.config ?? 'switchyard.yaml');
  if (!loaded.ok) {
    for (const problem of loaded.problems) console.error(formatProblem(problem));
    process.exitCode = 3;
    return;
  }
  const served = await serveSite(loaded.value, {
    clock: systemClock,
    seed: Number(values.seed),
    pace: Number(values.pace),
  });
  const timer = setInterval(() => served.advance(), 100);
  const commands = listen(served.miners.values());
  const stop = () => {
    clearInterval(timer);
    lines.close();
    void served.close().then(() => process.exit(0));
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const reply = carryOut(served, commands, line);
    if (reply !== null) process.stdout.write(`${JSON.stringify(reply)}\n`);
  });
  lines.on('close', stop);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.stdout.write(
    `${JSON.stringify({ ready: true, miners: served.miners.size, gpuNodes: served.gpuNodes.size })}\n`,
  );
}

/** A command as it reached a miner, whoever sent it. */
interface HeardCommand {
  readonly ts: number;
  readonly device: string;
  readonly command: 'sleep' | 'run' | 'restart';
  /** The state that it found. */
  readonly state: string;
}

const COMMANDS_KEPT = 100_000;

/** Writes down what the miners are told from now on. */
function listen(miners: Iterable<SimulatedMiner>): HeardCommand[] {
  const heard: HeardCommand[] = [];
  for (const miner of miners) {
    const note = (command: HeardCommand['command']) => {
      heard.push({ ts: Date.now(), device: miner.id, command, state: miner.state });
      if (heard.length > COMMANDS_KEPT) heard.shift();
    };
    const sleep = miner.sleep.bind(miner);
    const run = miner.run.bind(miner);
    const restart = miner.restart.bind(miner);
    miner.sleep = () => {
      note('sleep');
      sleep();
    };
    miner.run = (limitWatts) => {
      note('run');
      run(limitWatts);
    };
    miner.restart = () => {
      note('restart');
      restart();
    };
  }
  return heard;
}

function carryOut(
  served: Awaited<ReturnType<typeof serveSite>>,
  commands: HeardCommand[],
  line: string,
): unknown {
  let request: {
    op?: string;
    id?: string;
    faults?: Record<string, never>;
    utilization?: number;
    open?: boolean;
    on?: boolean;
    away?: boolean;
  };
  try {
    request = JSON.parse(line);
  } catch {
    return { error: 'not JSON' };
  }
  const { op, id = '', faults = {} } = request;
  switch (op) {
    case 'meter-fault':
      return { op, id, ok: served.meterFault(id, faults) };
    case 'miner-fault':
      return { op, id, ok: served.minerFault(id, faults) };
    case 'wire-fault':
      return { op, id, ok: served.wireFault(id, faults) };
    case 'gpu-load': {
      const node = served.gpuNodes.get(id);
      node?.setUtilization(request.utilization ?? 0);
      return { op, id, ok: node !== undefined };
    }
    case 'dead-tenth': {
      [...served.miners.keys()].forEach((miner, index) => {
        if (index % 10 === 3) served.minerFault(miner, { dead: true } as never);
      });
      return { op, ok: true };
    }
    case 'breaker':
      return { op, id, ok: served.breaker(id, request.open ?? true) };
    case 'supply': {
      const miner = served.miners.get(id);
      miner?.supply(request.on ?? true);
      return { op, id, ok: miner !== undefined };
    }
    case 'pool':
      for (const miner of served.miners.values()) miner.starve(request.away ?? true);
      return { op, ok: true };
    case 'truth':
      served.advance();
      return {
        op,
        watts: Object.fromEntries(
          served.site.limits.map((limit) => [limit.id, Math.round(served.site.watts(limit.id))]),
        ),
      };
    case 'commands':
      return { op, commands: commands.splice(0) };
    default:
      return { error: `unknown op ${op}` };
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
