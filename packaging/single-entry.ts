import { PROGRAM_FLAG } from '../config/program-files.ts';

/** Where a single executable starts: it is the command line, or a program that the command line starts. */
const PROGRAMS: Readonly<Record<string, () => Promise<unknown>>> = {
  'simulator/main': () => import('../simulator/main.ts'),
  'simulator/nvidia-smi': () => import('../simulator/nvidia-smi.ts'),
  'agent/telemetry/inventory-process': () => import('../agent/telemetry/inventory-process.ts'),
};

const first = process.argv[2] ?? '';
const program = first.startsWith(PROGRAM_FLAG) ? PROGRAMS[first.slice(PROGRAM_FLAG.length)] : undefined;
// A program finds its own arguments where it would find them as a file.
if (program !== undefined) process.argv.splice(2, 1);
void (program ?? (() => import('../agent/main.ts')))();
