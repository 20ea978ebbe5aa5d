/** What may stand in an argument that a remote shell reads again. */
const SAFE_ARGUMENT = /^[A-Za-z0-9._:,=-]+$/;
/** Never ask for a password, notice a dead peer. Source: ssh_config(5). */
const SSH_OPTIONS = ['BatchMode=yes', 'ConnectTimeout=5', 'ServerAliveInterval=5', 'ServerAliveCountMax=2'];

/** `ssh host` gets the options that keep it from hanging, and a limit of time at the far end. */
export function remotePrefix(prefix: readonly string[]): readonly string[] {
  const [program, ...rest] = prefix;
  if (program === undefined || !/(^|\/)ssh$/.test(program)) return prefix;
  const options = SSH_OPTIONS.flatMap((option) => ['-o', option]);
  return [program, ...options, ...rest, 'timeout', '-k', '2', '10'];
}

/** A prefix such as `ssh host`, and the tool that it ends with, or else `tool`. */
export function toolPrefix(prefix: readonly string[], name: string, tool = name): readonly string[] {
  const last = prefix.at(-1) ?? '';
  const named = last === name || last.endsWith(`/${name}`);
  return [...remotePrefix(named ? prefix.slice(0, -1) : prefix), named ? last : tool];
}

/** Throws where an argument could mean something else to a shell at the far end: that is a bug. */
export function assertSafe(args: readonly string[]): void {
  for (const argument of args) {
    if (!SAFE_ARGUMENT.test(argument)) throw new Error(`${argument} may not stand in a command`);
  }
}
