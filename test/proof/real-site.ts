import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoConfig, freeNetwork, portOrFree } from '../../agent/cli/demo-site.ts';
import type { SimulatorProcess } from '../../agent/cli/simulator-process.ts';
import { askAgent } from '../../agent/page/local-socket.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
const SAMPLE_MS = 200;

export interface Life {
  readonly startedAt: number;
  endedAt: number;
}

/** True watts of every limit, as the simulator tells them. */
export interface Sample {
  readonly ts: number;
  readonly watts: Readonly<Record<string, number>>;
}

export interface Phase {
  readonly ts: number;
  readonly watts: number | null;
  /** The answer told that it cannot be met in time. */
  readonly toldShort: boolean;
}

/** Writes the demo's site without a broker into `folder`; returns the file's path. */
export async function writeRealSite(folder: string, miners: number, control: string): Promise<string> {
  const [network, pagePort] = await Promise.all([freeNetwork(), portOrFree(0)]);
  const text = demoConfig(
    { miners, gpuNodes: 0 },
    { network, mqttPort: 1, pagePort, stateFolder: join(folder, 'state'), smiCommand: () => [] },
  )
    .split('\n')
    .filter((line) => !line.startsWith('mqtt:'))
    .map((line) => (line.startsWith('control:') ? `control: ${control}` : line))
    .join('\n');
  const file = join(folder, 'switchyard.yaml');
  writeFileSync(file, text);
  return file;
}

/** The agent and the simulator as processes of their own, and everything that was seen of them. */
export class RealSite {
  readonly lives: Life[] = [];
  readonly samples: Sample[] = [];
  readonly phases: Phase[] = [];
  readonly problems: string[] = [];
  readonly state: string;
  /** Ratings by limit, from when the agent was first in normal mode. */
  ratings: Readonly<Record<string, number>> = {};
  private readonly file: string;
  private readonly sampler: NodeJS.Timeout;
  private agent: ChildProcess | null = null;
  private said = '';

  /** `more`: what the simulator is asked beside the true watts, five times a second, and who takes the answers. */
  constructor(
    simulator: SimulatorProcess,
    file: string,
    state: string,
    more?: { readonly op: string; take(answer: Readonly<Record<string, unknown>>): void },
  ) {
    this.file = file;
    this.state = state;
    simulator.onAnswer = (answer) => {
      if (answer['op'] === 'truth')
        this.samples.push({ ts: Date.now(), watts: answer['watts'] as Record<string, number> });
      else if (answer['op'] === more?.op) more?.take(answer);
    };
    this.sampler = setInterval(() => {
      simulator.send({ op: 'truth' });
      if (more !== undefined) simulator.send({ op: more.op });
    }, SAMPLE_MS);
  }

  /** Starts the agent and waits until its socket answers. */
  async start(): Promise<void> {
    const life: Life = { startedAt: Date.now(), endedAt: Number.POSITIVE_INFINITY };
    this.lives.push(life);
    this.said = '';
    const agent = spawn(process.execPath, [MAIN, 'run', '--config', this.file], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, RUNTIME_DIRECTORY: '' },
    });
    agent.stderr?.on('data', (chunk: Buffer) => {
      this.said = (this.said + chunk.toString('utf8')).slice(-4000);
    });
    this.agent = agent;
    for (let tries = 0; tries < 200; tries += 1) {
      const site = await this.get('/api/v1/site');
      if (site !== null) return;
      if (agent.exitCode !== null) break;
      await sleep(50);
    }
    throw new Error(`the agent did not start: ${this.said}`);
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { agent } = this;
    if (agent === null) return;
    this.agent = null;
    const ended = new Promise<number | null>((resolve) => agent.once('exit', resolve));
    if (agent.exitCode !== null) this.problems.push(`the agent ended by itself: ${this.said}`);
    else {
      agent.kill(signal);
      await ended;
    }
    const life = this.lives.at(-1);
    if (life !== undefined) life.endedAt = Date.now();
  }

  async get(resource: string): Promise<Record<string, unknown> | null> {
    const answer = await askAgent(join(this.state, 'agent.sock'), 'GET', resource, undefined, 5000);
    return answer.ok && answer.value.status === 200 ? (answer.value.body as Record<string, unknown>) : null;
  }

  /** Whether every limit was seen by fresh evidence. */
  async isNormal(): Promise<boolean> {
    const site = await this.get('/api/v1/site');
    const limits = (site?.['limits'] ?? []) as { id: string; ratingWatts: number }[];
    this.ratings = Object.fromEntries(limits.map(({ id, ratingWatts }) => [id, ratingWatts]));
    return site?.['mode'] === 'normal';
  }

  get ratingWatts(): number {
    return this.ratings['grid'] ?? 0;
  }

  /** Sets the grid's limit with a deadline, or clears it. */
  async order(watts: number | null, withinMs: number): Promise<void> {
    const order = {
      v: 1,
      id: randomUUID(),
      site: 'demo',
      type: watts === null ? 'restore' : 'set_limit',
      issuer: 'local',
      priority: 100,
      issued: Date.now(),
      seq: 0,
      lease: null,
      args: watts === null ? { limit: 'grid' } : { limit: 'grid', watts, withinMs },
    };
    const answer = await askAgent(join(this.state, 'agent.sock'), 'POST', '/local/order', order, 5000);
    const body = answer.ok ? (answer.value.body as { status?: string; shortfallWatts?: number }) : {};
    const status = answer.ok ? body.status : answer.error.message;
    if (status !== 'accepted' && status !== 'done')
      this.problems.push(`the order of ${watts} W was answered "${status}"`);
    this.phases.push({ ts: Date.now(), watts, toldShort: (body.shortfallWatts ?? 0) > 0 });
  }

  async end(): Promise<void> {
    clearInterval(this.sampler);
    await this.kill('SIGKILL');
  }

  /** The newest truth. */
  get gridWatts(): number {
    return this.samples.at(-1)?.watts['grid'] ?? 0;
  }

  /** Waits until something holds, and says how long that took; a problem where it never did. */
  async until(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<void> {
    const startedAt = Date.now();
    while (!(await holds())) {
      if (Date.now() - startedAt > limitMs) {
        this.problems.push(`${what} did not come within ${limitMs / 1000} s (grid at ${this.gridWatts} W)`);
        return;
      }
      await sleep(SAMPLE_MS);
    }
    console.log(`  ${what}: after ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
  }
}
