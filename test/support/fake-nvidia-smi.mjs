#!/usr/bin/env node
// A stand-in for nvidia-smi, run as a real process: it projects the columns of a recorded capture. How it behaves
// stands in the JSON file that FAKE_SMI in its own folder names: {capture, hang, child, half, before, after,
// unknown: [field], lost: row, exit}.
import { spawn } from 'node:child_process';
import { appendFileSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

const folder = dirname(process.argv[1]);
const told = JSON.parse(readFileSync(join(folder, 'behaviour.json'), 'utf8'));
appendFileSync(join(folder, 'calls'), `${process.pid}\n`);
const say = (text) => writeSync(1, text);
if (told.hang) {
  if (told.half) say('index, uuid\n0, GPU-');
  const child = spawn('sleep', ['600'], { stdio: 'inherit' });
  appendFileSync(join(folder, 'calls'), `${child.pid}\n`);
  setInterval(() => undefined, 1000);
} else {
  const query = process.argv.find((word) => word.startsWith('--query-gpu='))?.slice('--query-gpu='.length);
  const [head, ...rows] = readFileSync(told.capture, 'utf8').trim().split('\n');
  const names = head.split(', ').map((cell) => cell.replace(/ \[.*\]$/, ''));
  const fields = query?.split(',') ?? [];
  const wrong = fields.find((field) => told.unknown?.includes(field) || !names.includes(field));
  if (told.before) say(told.before);
  if (query === undefined || wrong !== undefined) {
    say(`Field "${wrong}" is not a valid field to query.\n\n`);
    process.exitCode = 2;
  } else {
    const columns = fields.map((field) => names.indexOf(field));
    const headers = head.split(', ');
    const shown = rows.map((row, index) => {
      const cells = row.split(', ');
      return columns.map((at, n) => {
        const isKnown = ['index', 'uuid', 'name', 'pci.bus_id', 'driver_version'].includes(fields[n]);
        return told.lost === index && !isKnown ? '[GPU is lost]' : cells[at];
      });
    });
    const text = [columns.map((at) => headers[at]), ...shown].map((cells) => cells.join(', ')).join('\n');
    say(told.half ? text.slice(0, Math.floor(text.length * 0.8)) : `${text}\n`);
    if (told.after) say(told.after);
    process.exitCode = told.exit ?? 0;
  }
}
