#!/usr/bin/env node
import { programText } from '../config/program-files.ts';
import { EXIT } from './cli/outcome.ts';
import { buildProgram } from './cli/program.ts';

/** The only entry: builds the command line and lets one command run. Everything real is made below here. */
const { version } = JSON.parse(programText('package.json')) as { version: string };
const interrupt = new AbortController();
let interrupted: 'SIGINT' | 'SIGTERM' | null = null;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // A second Ctrl-C does not wait.
    if (interrupted !== null) process.exit(EXIT.interrupted);
    interrupted = name;
    interrupt.abort();
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `switchyard ... | head` closes the pipe: that is no fault.
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
});

const running = buildProgram({
  version,
  signal: interrupt.signal,
  environment: process.env,
  streams: {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
  },
}).run(process.argv.slice(2));
void running.then((exit) => {
  process.exitCode = interrupted === 'SIGINT' && exit === EXIT.ok ? EXIT.interrupted : exit;
  // Open handles of a command that is done (a timer of a library, a keep-alive) must not keep the process.
  setTimeout(() => process.exit(), 500).unref();
});
