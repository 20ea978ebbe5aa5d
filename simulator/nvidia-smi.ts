import { createConnection } from 'node:net';

/**
 * A stand-in for nvidia-smi: `node nvidia-smi.ts HOST:PORT nvidia-smi ARGUMENTS...` asks the simulator at
 * HOST:PORT what the tool would print, prints it and ends with its exit code. It hangs as long as the
 * simulator does.
 */
const [where = '', ...rest] = process.argv.slice(2);
const args = rest[0] === 'nvidia-smi' ? rest.slice(1) : rest;
const [host = '127.0.0.1', port = ''] = where.split(':');

const socket = createConnection({ host, port: Number(port) }, () =>
  socket.write(`${JSON.stringify(args)}\n`),
);
let text = '';
socket.on('data', (chunk: Buffer) => {
  text += chunk.toString('utf8');
});
socket.on('error', (error: NodeJS.ErrnoException) => {
  process.stderr.write(`simulator at ${where}: ${error.code ?? error.message}\n`);
  process.exitCode = 9;
});
socket.on('end', () => {
  if (text === '') {
    process.exitCode = 9;
    return;
  }
  const reply = JSON.parse(text) as { stdout: string; exitCode: number };
  process.stdout.write(reply.stdout);
  process.exitCode = reply.exitCode;
});
