import { spawn } from 'node:child_process';
import type { Clock } from './clock.ts';
import type { Failure, FailureKind, Result } from './result.ts';
import { ok } from './result.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';

/** A program and its arguments, never a shell line. */
export type Argv = readonly [string, ...string[]];

export interface ProcessOutput {
  readonly stdout: string;
  readonly stderr: string;
  /** `null` when a signal ended it. */
  readonly exitCode: number | null;
  readonly startedAt: MonotonicMs;
  readonly endedAt: MonotonicMs;
}

export interface ProcessFailure extends Failure {
  /** Set when the program survived SIGKILL (it waits inside the kernel): nothing more may be started until it is gone. */
  readonly stuck: StuckProcess | null;
  /** Whether the program was started at all: if so, what it does may have happened. */
  readonly started: boolean;
}

export interface StuckProcess {
  readonly pid: number;
  isAlive(): boolean;
}

export interface ProcessLimits {
  readonly timeoutMs: Milliseconds;
  /** Bytes of stdout and of stderr; more kills the program. */
  readonly outputMost: number;
  /** What the program reads on its stdin; absent: nothing. */
  readonly stdin?: string;
}

/** How long a killed or ended program may take to let go of its pipes. */
const GRACE_MS: Milliseconds = 2000;

/**
 * Runs a program in a process group of its own, with its stdin as given and the C locale, and waits for its end.
 * Any exit code is a success here. On timeout, abort or too much output the whole group is killed. Fails
 * `unsupported` when the program does not exist, `unauthorised` when it may not be started, `timeout`,
 * `malformed` (too much output), `cancelled`.
 */
export function runProcess(
  argv: Argv,
  limits: ProcessLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result<ProcessOutput, ProcessFailure>> {
  const [program, ...args] = argv;
  if (signal.aborted) return Promise.resolve(failure('cancelled', `${program} was not started`, null, false));
  return new Promise((resolve) => {
    const startedAt = clock.monotonicMs();
    const child = spawn(program, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environment(),
    });
    // A program that does not read what it is told has its own answer.
    child.stdin.on('error', () => undefined);
    child.stdin.end(limits.stdin ?? '');
    const output = { stdout: collector(limits.outputMost), stderr: collector(limits.outputMost) };
    let verdict: { kind: FailureKind; message: string } | null = null;
    let hasExited = false;
    let cancelGrace: () => void = () => undefined;

    const settle = (result: Result<ProcessOutput, ProcessFailure>) => {
      cancelTimeout();
      cancelGrace();
      signal.removeEventListener('abort', onAbort);
      // Whoever still holds the pipes must not hold this process.
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      resolve(result);
    };
    const finish = () => {
      if (verdict !== null) {
        const { pid } = child;
        const stuck = hasExited || pid === undefined ? null : { pid, isAlive: () => isAlive(pid) };
        settle(failure(verdict.kind, verdict.message, stuck, true));
        return;
      }
      settle(
        ok({
          stdout: output.stdout.text(),
          stderr: output.stderr.text(),
          exitCode: child.exitCode,
          startedAt,
          endedAt: clock.monotonicMs(),
        }),
      );
    };
    const kill = (kind: FailureKind, message: string) => {
      if (verdict !== null) return;
      verdict = { kind, message };
      killGroup(child.pid);
      cancelGrace();
      cancelGrace = clock.after(GRACE_MS, finish);
    };
    const onAbort = () => kill('cancelled', `${program} was given up`);
    const cancelTimeout = clock.after(limits.timeoutMs, () =>
      kill('timeout', `${program} did not end within ${limits.timeoutMs} ms`),
    );
    signal.addEventListener('abort', onAbort, { once: true });
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].on('data', (chunk: Buffer) => {
        if (!output[stream].add(chunk))
          kill('malformed', `${program} wrote more than ${limits.outputMost} bytes`);
      });
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid !== undefined) return;
      const kind: FailureKind =
        error.code === 'ENOENT' ? 'unsupported' : error.code === 'EACCES' ? 'unauthorised' : 'unreachable';
      settle(failure(kind, `${program} cannot be started: ${error.code ?? error.message}`, null, false));
    });
    child.on('exit', () => {
      hasExited = true;
      // A grandchild may keep the pipes open for ever: wait for `close`, but not long.
      cancelGrace();
      cancelGrace = clock.after(GRACE_MS, () => {
        killGroup(child.pid);
        finish();
      });
    });
    child.on('close', finish);
  });
}

/** What a tool needs to find its configuration and to speak a language we can parse; nothing secret of ours. */
export function environment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { LC_ALL: 'C' };
  for (const name of ['PATH', 'HOME', 'USER', 'SSH_AUTH_SOCK', 'LD_LIBRARY_PATH']) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

function collector(most: number) {
  const chunks: Buffer[] = [];
  let size = 0;
  return {
    add(chunk: Buffer): boolean {
      size += chunk.length;
      if (size <= most) chunks.push(chunk);
      return size <= most;
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group is gone already.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function failure(
  kind: FailureKind,
  message: string,
  stuck: StuckProcess | null,
  started: boolean,
): { readonly ok: false; readonly error: ProcessFailure } {
  return { ok: false, error: { kind, message, stuck, started } };
}
