import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { until } from './live-site.ts';

/** systemd's side of the notification socket. Node cannot bind one: perl does, and prints a line per datagram. */
const RECEIVER = `use Socket; $| = 1; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die;
while (defined recv($s, my $text, 4096, 0)) { $text =~ s/\\n/ /g; print "$text\\n" }`;

/** A process that stands for systemd; `said` has what it was told, oldest first. */
export async function receiveNotifications(
  path: string,
): Promise<{ readonly said: string[]; readonly process: ChildProcess }> {
  const child = spawn('perl', ['-e', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    said.push(...lines);
  });
  await until(() => (existsSync(path) ? true : null));
  return { said, process: child };
}
