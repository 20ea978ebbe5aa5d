import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { until } from './live-site.ts';

export function available(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A mosquitto on a loopback port; the caller ends it. Resolves when it listens. */
export async function startMosquitto(
  folder: string,
  port: number,
  lines: readonly string[] = ['allow_anonymous true'],
  persistence = false,
): Promise<ChildProcess> {
  const file = join(folder, `mosquitto-${port}.conf`);
  writeFileSync(
    file,
    [
      'set_tcp_nodelay true',
      ...(process.getuid?.() === 0 ? ['user root'] : []),
      persistence ? `persistence true\npersistence_location ${folder}/` : 'persistence false',
      ...(persistence ? ['autosave_interval 1', 'autosave_on_changes true'] : []),
      'max_queued_messages 0',
      `listener ${port} 127.0.0.1`,
      ...lines,
      '',
    ].join('\n'),
  );
  const child = spawn('mosquitto', ['-c', file], { stdio: 'ignore' });
  await until(
    () =>
      new Promise<true | null>((resolve) => {
        const socket = connect({ port, host: '127.0.0.1' });
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
        socket.once('error', () => resolve(null));
      }),
  );
  return child;
}

/** Ends a process by a signal and waits until it is gone. */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}
