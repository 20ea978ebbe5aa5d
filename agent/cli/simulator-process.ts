import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { programCommand } from '../../config/program-files.ts';

/** The simulated site as a process of its own: every figure comes over the wire. */
export interface SimulatorProcess {
  readonly pid: number;
  /** Sends one request (a fault, a load, `truth`). */
  send(request: Readonly<Record<string, unknown>>): void;
  /** Called with each answer. */
  onAnswer: (answer: Record<string, unknown>) => void;
  /** Resolves with the exit code when it ends. */
  readonly ended: Promise<number | null>;
  stop(): Promise<void>;
}

/** Starts the simulator on a configuration and waits until every device listens. Rejects with what it said. */
export async function startSimulator(
  configPath: string,
  seed: string,
  pace: string,
): Promise<SimulatorProcess> {
  const [program, ...args] = programCommand('simulator/main');
  const child: ChildProcess = spawn(
    program,
    [...args, '--config', configPath, '--seed', seed, '--pace', pace],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-4000);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code));
  });
  const running: SimulatorProcess = {
    pid: child.pid ?? -1,
    send: (request) => child.stdin?.write(`${JSON.stringify(request)}\n`),
    onAnswer: () => undefined,
    ended,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
  await new Promise<void>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout! });
    lines.on('line', (line) => {
      const answer = JSON.parse(line) as Record<string, unknown>;
      if (answer['ready'] === true) resolve();
      else running.onAnswer(answer);
    });
    ended.then(
      (code) => reject(new Error(`the simulator ended (${code}): ${said.trim() || 'no message'}`)),
      reject,
    );
  });
  return running;
}
