import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, until } from './live-site.ts';

const run = promisify(execFile);
const PROGRAMS = ['munged', 'slurmctld', 'slurmd', 'scontrol', 'sbatch', 'squeue', 'scancel'];

/** Why real Slurm cannot be run here, or `null`. It needs root, as its daemons do. */
export function whyNoSlurm(): string | null {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const program of PROGRAMS) {
    try {
      execFileSync('which', [program], { stdio: 'ignore', env: { ...process.env, PATH: WIDE_PATH } });
    } catch {
      return `needs ${program}: Debian packages slurm-wlm and munge`;
    }
  }
  return null;
}

/** Daemons live in /usr/sbin. */
const WIDE_PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;

/** Real slurmctld and slurmd with one node `gpu01`, on loopback, with everything they keep in one folder. */
export interface RunningSlurm {
  /** What to configure before `scontrol`. */
  readonly command: readonly string[];
  /** Runs one of its tools; its stdout, trimmed. */
  tool(program: string, ...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** While its daemons live: every job ends, and its slurmstepd reports so and ends too. */
async function endJobs(tool: RunningSlurm['tool']): Promise<void> {
  const jobs = (await tool('squeue', '-h', '-o', '%i')).split('\n').filter(Boolean);
  if (jobs.length > 0) await tool('scancel', ...jobs);
  await until(async () => ((await tool('squeue', '-h', '-o', '%i')) === '' ? true : null));
}

/** Running processes that were started from `folder`, however they came loose: they bear its path. */
function processesOf(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => bears(`/proc/${name}`, folder))
    .map(Number);
}

/** An ended process that nobody has reaped yet has neither environment nor files. */
function bears(place: string, folder: string): boolean {
  try {
    if (readFileSync(`${place}/environ`, 'utf8').includes(folder)) return true;
    return readdirSync(`${place}/fd`).some((fd) => linkOf(`${place}/fd/${fd}`).startsWith(folder));
  } catch {
    return false;
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

/** `saves`: its node is switched off and on by programs, which end its slurmd and start another. */
export async function startSlurm(options: { saves?: boolean } = {}): Promise<RunningSlurm> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-slurm-'));
  const file = (name: string) => join(folder, name);
  for (const name of ['state', 'spool']) mkdirSync(file(name));
  writeFileSync(file('munge.key'), randomBytes(128), { mode: 0o600 });
  const [controller, daemon] = [await freePort(), await freePort()];
  const host = hostname().split('.')[0]!;
  const conf = file('slurm.conf');
  const script = (name: string, body: string): string => {
    writeFileSync(file(name), `#!/bin/sh\nexport SLURM_CONF='${conf}' PATH='${WIDE_PATH}'\n${body}\n`, {
      mode: 0o755,
    });
    return file(name);
  };
  const power = options.saves
    ? `SuspendTime=36000
SuspendTimeout=3
ResumeTimeout=120
SuspendProgram=${script('suspend', `kill "$(cat '${file('slurmd.pid')}')"`)}
ResumeProgram=${script('resume', 'slurmd -N gpu01 -b')}
`
    : '';
  writeFileSync(
    conf,
    `ClusterName=site
SlurmctldHost=${host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=${file('munge.socket')}
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${controller}
SlurmdPort=${daemon}
StateSaveLocation=${file('state')}
SlurmdSpoolDir=${file('spool')}
SlurmctldPidFile=${file('slurmctld.pid')}
SlurmdPidFile=${file('slurmd.pid')}
SlurmctldLogFile=${file('slurmctld.log')}
SlurmdLogFile=${file('slurmd.log')}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
${power}NodeName=gpu01 NodeHostname=${host} NodeAddr=127.0.0.1 Port=${daemon} CPUs=1 RealMemory=100 State=UNKNOWN
PartitionName=flex Nodes=gpu01 Default=YES MaxTime=INFINITE State=UP
`,
  );
  const env = { ...process.env, PATH: WIDE_PATH, SLURM_CONF: conf };
  const children: ChildProcess[] = [];
  const daemonise = (program: string, ...args: string[]) =>
    children.push(spawn(program, args, { env, stdio: 'ignore' }));
  const tool = async (program: string, ...args: string[]) =>
    (await run(program, args, { env, cwd: folder })).stdout.trim();
  const stop = async () => {
    await endJobs(tool).catch(() => undefined);
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const cancel = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(cancel);
    }
    // slurmd starts a slurmstepd per job step that is no child of its own: without slurmd it would wait on.
    await until(() => {
      const left = processesOf(folder);
      for (const pid of left) kill(pid);
      return left.length === 0 ? true : null;
    });
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const munge = (name: string) => file(`munge.${name}`);
    daemonise(
      'munged',
      '--foreground',
      '--force',
      `--socket=${munge('socket')}`,
      `--key-file=${munge('key')}`,
      `--pid-file=${munge('pid')}`,
      `--log-file=${munge('log')}`,
      `--seed-file=${munge('seed')}`,
    );
    const encodes = () => tool('munge', `--socket=${munge('socket')}`, '-n').then(Boolean, () => null);
    await until(encodes);
    daemonise('slurmctld', '-D', '-f', conf);
    daemonise('slurmd', '-D', '-N', 'gpu01', '-f', conf);
    await until(async () => {
      const state = await tool('sinfo', '-h', '-n', 'gpu01', '-o', '%T').catch(() => '');
      return state === 'idle' ? true : null;
    }, 30_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { command: ['env', `SLURM_CONF=${conf}`, 'scontrol'], tool, stop };
}
