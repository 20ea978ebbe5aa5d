import { statSync } from 'node:fs';
import type { Clock } from '../../protocols/clock.ts';
import type { Argv } from '../../protocols/process.ts';
import { ProcessLane } from '../../protocols/process-lane.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { Milliseconds, Watts } from '../../protocols/units.ts';

/** What a hook is asked: docs/reference/hook.md. One JSON object on its stdin. */
export interface HookRequest {
  readonly verb: 'state' | 'drain' | 'resume' | 'cap';
  /** The node's id in the configuration. */
  readonly node: string;
  /** The hand-over that a drain is for. */
  readonly id?: string;
  /** The GPU and the cap it shall have. */
  readonly uuid?: string;
  readonly limitWatts?: Watts;
}

/** What it answers: one JSON object on its stdout; what it says beside these is not looked at. */
export interface HookAnswer {
  readonly state: string | null;
  readonly id: string | null;
  readonly reason: string | null;
}

const OUTPUT_MOST = 64_000;
const TIMEOUT_MS: Milliseconds = 30_000;
/** "Try later". Source: sysexits(3), EX_TEMPFAIL. */
const TRY_LATER = 75;

/** A program of the site that does for one node what no driver of ours does. */
export class Hook {
  private readonly node: string;
  private readonly command: Argv;
  private readonly lane: ProcessLane;

  constructor(node: string, command: readonly string[], clock: Clock) {
    this.node = node;
    this.command = command as unknown as Argv;
    this.lane = new ProcessLane(command[0] ?? 'hook', clock);
  }

  /** What would be run. */
  line(request: Omit<HookRequest, 'node'>): string {
    return [...this.command, request.verb].join(' ');
  }

  /**
   * Runs the program once. Fails `unauthorised` when others could have written it, `busy` when it says later,
   * `refused` when it says no, `malformed` when it does not answer in one JSON object, and as `runProcess` does.
   */
  async ask(request: Omit<HookRequest, 'node'>, signal: AbortSignal): Promise<Result<HookAnswer>> {
    const [program] = this.command;
    const unsafe = whyUnsafe(program);
    if (unsafe !== null) return fail('unauthorised', unsafe, 'chown it to root, chmod go-w.');
    const argv = [...this.command, request.verb] as unknown as Argv;
    const stdin = `${JSON.stringify({ v: 1, node: this.node, ...request })}\n`;
    const run = await this.lane.run(argv, { timeoutMs: TIMEOUT_MS, outputMost: OUTPUT_MOST, stdin }, signal);
    if (!run.ok) return run;
    const { stdout, stderr, exitCode } = run.value;
    const said = objectIn(stdout);
    if (exitCode !== 0) {
      const error = said?.['error'];
      const why = typeof error === 'string' ? error : lastLine(stderr) || `exit code ${exitCode}`;
      const kind: Failure['kind'] = exitCode === TRY_LATER ? 'busy' : 'refused';
      return fail(kind, `${program} ${request.verb}: ${why}`);
    }
    if (said === null)
      return fail('malformed', `${program} ${request.verb} did not answer with one JSON object`);
    if (said['ok'] === false)
      return fail('refused', `${program} ${request.verb}: ${text(said['error']) ?? 'it says no'}`);
    return ok({ state: text(said['state']), id: text(said['id']), reason: text(said['reason']) });
  }
}

/** A program that anybody may write runs as the agent: refused. A bare name is found by PATH and trusted with it. */
function whyUnsafe(program: string): string | null {
  if (!program.includes('/')) return null;
  try {
    const { mode, uid } = statSync(program);
    if ((mode & 0o022) !== 0) return `${program} may be written by others`;
    const own = process.getuid?.() ?? 0;
    return uid === 0 || uid === own ? null : `${program} belongs neither to root nor to this agent`;
  } catch {
    // It is not there: the attempt to start it says so.
    return null;
  }
}

function objectIn(stdout: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(stdout);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value.slice(0, 300) : null;
}

function lastLine(stderr: string): string {
  return stderr.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}
