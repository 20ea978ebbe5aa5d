import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoConfig, freeNetwork, portOrFree } from '../../agent/cli/demo-site.ts';
import { buildPackage } from '../../packaging/build.ts';
import { buildExecutable } from '../../packaging/executable.ts';

const has = (program: string) => spawnSync('which', [program]).status === 0;
const sum = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
/** Short, so that the proof need not wait for the 30 s of the unit. */
const WATCHDOG_SECONDS = 6;
/** The event loop hangs when the process is told to; `%` and quotes as systemd wants them. */
const HANG = `"data:text/javascript,process.on('SIGUSR2',()=>{for(;;);})"`;

/**
 * `npm run proof -- package [FOLDER [boot]]`: builds twice and compares; runs the arm64 program in an emulator; installs,
 * runs, hangs, kills, reloads, upgrades, downgrades and purges the package in a booted Debian. FOLDER: a Debian tree
 * made by debootstrap before (it is copied); `boot`: only the part in the container. What cannot be tried here is named.
 */
export async function provePackage([tree, only]: readonly string[]): Promise<boolean> {
  const work = mkdtempSync(join(tmpdir(), 'switchyard-proof-'));
  const bad: string[] = [];
  const check = (holds: boolean, what: string) => {
    console.log(`  ${holds ? 'ok    ' : 'NOT OK'} ${what}`);
    if (!holds) bad.push(what);
  };
  try {
    const first = await buildPackage('amd64', join(work, 'one'));
    const foreign = await buildPackage('arm64', join(work, 'one'));
    if (only !== 'boot') {
      const second = await buildPackage('amd64', join(work, 'two'));
      check(
        sum(first) === sum(second),
        `two builds of amd64 are the same bytes (${sum(first).slice(0, 16)})`,
      );
      const executable = await buildExecutable('amd64', join(work, 'one'));
      check(
        sum(executable) === sum(await buildExecutable('amd64', join(work, 'two'))),
        `two builds of the amd64 executable are the same bytes (${sum(executable).slice(0, 16)})`,
      );
      const tree = join(work, 'arm64');
      execFileSync('dpkg-deb', ['-x', foreign, tree]);
      const app = join(tree, 'usr/lib/switchyard');
      const sample = join(tree, 'usr/share/doc/switchyard/examples/switchyard.yaml');
      await tryArm('package', [join(app, 'node'), join(app, 'agent/main.js')], sample, work, check);
      await tryArm('executable', [await buildExecutable('arm64', join(work, 'one'))], sample, work, check);
      if (has('lintian')) lintian(first, check);
      else console.log('  not tried: lintian is not here');
    }
    if (process.getuid?.() !== 0 || !has('systemd-nspawn') || !(tree !== undefined || has('debootstrap')))
      console.log('  not tried: a booted Debian needs root, systemd-nspawn and debootstrap');
    else {
      const root = debian(work, tree);
      const box = await Box.boot(root);
      try {
        await live(box, root, { file: first, foreign }, check);
      } finally {
        await box.end();
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(bad.length === 0 ? 'package: everything holds' : `package: ${bad.length} things do not hold`);
  return bad.length === 0;
}

type Check = (holds: boolean, what: string) => void;

/** Runs a program for arm64 in an emulator. `what` is what it came from, `sample` a configuration. */
async function tryArm(
  what: string,
  program: readonly string[],
  sample: string,
  work: string,
  check: Check,
): Promise<void> {
  const library = '/usr/aarch64-linux-gnu';
  if (!has('qemu-aarch64-static') || !existsSync(join(library, 'lib'))) {
    console.log(`  not tried: the arm64 ${what} needs qemu-aarch64-static and the arm64 libraries`);
    return;
  }
  const run = (...args: string[]) =>
    spawnSync('qemu-aarch64-static', ['-L', library, ...program, ...args], {
      encoding: 'utf8',
      timeout: 120_000,
    });
  const version = run('version');
  check(
    version.status === 0 && version.stdout.startsWith('switchyard '),
    `arm64 ${what}, emulated: ${version.stdout.trim()}`,
  );
  const checked = run('check', sample, '--json');
  check(
    checked.status !== null && checked.status <= 3 && checked.stdout.includes('"command":"check"'),
    `arm64 ${what}, emulated: check answers`,
  );
  // Nothing listens there: every device is tried once and counts at its worst.
  const site = join(work, `arm64-${what}.yaml`);
  const state = join(work, `arm64-${what}-state`);
  const places = {
    network: await freeNetwork(),
    mqttPort: 1,
    pagePort: await portOrFree(0),
    stateFolder: state,
  };
  writeFileSync(
    site,
    demoConfig({ miners: 6, gpuNodes: 0 }, { ...places, smiCommand: () => [] }).replace(/^mqtt: .*$/m, ''),
  );
  const once = run('run', '--once', '--dry-run', '--config', site, '--json');
  check(
    once.stdout.includes('"mode":"dry-run"') && existsSync(join(state, 'journal.db')),
    `arm64 ${what}, emulated: a dry-run cycle over 6 miners, journal and all ${once.stdout === '' ? once.stderr.slice(-300) : ''}`,
  );
}

function lintian(file: string, check: Check): void {
  const run = spawnSync('lintian', ['--tag-display-limit', '0', file], {
    encoding: 'utf8',
  });
  const errors = run.stdout.split('\n').filter((line) => /^[EW]: /.test(line));
  check(
    errors.length === 0,
    `lintian: ${errors.length} errors and warnings beside the named exceptions ${errors.slice(0, 5).join('; ')}`,
  );
}

function debian(work: string, tree: string | undefined): string {
  const root = join(work, 'root');
  if (tree !== undefined) cpSync(tree, root, { recursive: true, verbatimSymlinks: true });
  else
    execFileSync(
      'debootstrap',
      [
        '--variant=minbase',
        '--include=systemd,systemd-sysv,dbus,libstdc++6,procps,perl-base',
        'bookworm',
        root,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
  return root;
}

/** A booted container. */
class Box {
  private readonly container: ChildProcess;
  private readonly leader: string;

  private constructor(container: ChildProcess, leader: string) {
    this.container = container;
    this.leader = leader;
  }

  static async boot(root: string): Promise<Box> {
    const container = spawn(
      'systemd-nspawn',
      ['-D', root, '--register=no', '--keep-unit', '-b', '--console=pipe'],
      {
        stdio: 'ignore',
      },
    );
    for (let tries = 0; tries < 100; tries += 1) {
      await sleep(500);
      const found = spawnSync('pgrep', ['-P', String(container.pid)], { encoding: 'utf8' }).stdout.trim();
      if (found === '') continue;
      const box = new Box(container, found.split('\n')[0]!);
      if (/running|degraded/.test(box.sh('systemctl is-system-running || true'))) return box;
    }
    container.kill('SIGKILL');
    throw new Error('the container did not boot');
  }

  sh(command: string): string {
    const args = ['-t', this.leader, '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', 'bash', '-c', command];
    const run = spawnSync('nsenter', args, { encoding: 'utf8', timeout: 300_000 });
    return `${run.stdout}${run.stderr}`;
  }

  start(command: string): void {
    this.sh(`(${command}) >/tmp/started.log 2>&1 </dev/null & disown`);
  }

  /** Seconds until the text of the command fits. */
  async until(command: string, wanted: RegExp, limitSeconds = 60): Promise<number | null> {
    const startedAt = performance.now();
    while (performance.now() - startedAt < limitSeconds * 1000) {
      if (wanted.test(this.sh(command))) return Math.round((performance.now() - startedAt) / 100) / 10;
      await sleep(100);
    }
    return null;
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.container.once('exit', resolve));
    this.container.kill('SIGTERM');
    await Promise.race([ended, sleep(20_000)]);
    this.container.kill('SIGKILL');
  }
}

const PID = 'systemctl show -p MainPID --value switchyard';
const CYCLES = `curl -s --unix-socket /run/switchyard/agent.sock http://agent/api/v1/site || perl -e 'use Socket; socket(S,AF_UNIX,SOCK_STREAM,0); connect(S,pack_sockaddr_un("/run/switchyard/agent.sock")) or exit 1; syswrite S,"GET /api/v1/site HTTP/1.0\\r\\n\\r\\n"; print <S>'`;
const IN_CONTROL = /"cycle":\d/;

async function live(
  box: Box,
  root: string,
  { file, foreign }: { readonly file: string; readonly foreign: string },
  check: Check,
): Promise<void> {
  cpSync(file, join(root, 'opt/one.deb'));
  cpSync(foreign, join(root, 'opt/foreign.deb'));
  const wrong = box.sh('dpkg -i /opt/foreign.deb; echo; ls /usr/lib/switchyard /etc/switchyard');
  check(
    wrong.includes('does not match system') && (wrong.match(/No such file/g) ?? []).length === 2,
    'a package of another architecture is refused with its reason, and nothing is there after it',
  );
  const install = box.sh('dpkg -i /opt/one.deb');
  const status = box.sh('systemctl status switchyard --no-pager');
  check(
    status.includes('active (running)') && status.includes('no configuration'),
    `installed without a configuration: ready, says so ${status.includes('active (running)') ? '' : install}`,
  );
  check(
    /1\.\d OK/.test(box.sh('systemd-analyze security switchyard --no-pager | tail -1')),
    'exposure below 2 as installed',
  );
  await configure(box, root, check);
  await supervise(box, check);
  const rating = () => /"id":"grid"[^}]*?"limitWatts":(\d+)/.exec(box.sh(CYCLES))?.[1] ?? '';
  box.sh(
    "sed -i -E 's/(id: grid, .*rating: )[^,]+/\\112 kW/' /etc/switchyard/switchyard.yaml; systemctl reload switchyard",
  );
  await box.until(CYCLES, /"limitWatts":12000\b/, 10);
  check(rating() === '12000', `reload: the limit is ${rating()} W`);
  check(box.sh('systemctl is-active switchyard').trim() === 'active', 'active after the reload');
  await upgrade(box, root, check);
  box.sh('dpkg -P switchyard');
  check(
    !/journal/.test(box.sh('ls -R /var/lib/private /var/lib/switchyard 2>&1')) &&
      existsSync(join(root, 'etc/switchyard/switchyard.yaml')),
    'purge takes the state and leaves what people wrote',
  );
}

/** A simulated site on the container's loopback, a broker password by LoadCredential. */
async function configure(box: Box, root: string, check: Check): Promise<void> {
  const [network, pagePort] = await Promise.all([freeNetwork(), portOrFree(0)]);
  const text = demoConfig(
    { miners: 20, gpuNodes: 0 },
    { network, mqttPort: 1, pagePort, stateFolder: '/var/lib/switchyard', smiCommand: () => [] },
  ).replace(
    /^mqtt: .*$/m,
    'mqtt: { url: "mqtt://127.0.0.1:1", username: s, password: { credential: secret_mqtt } }',
  );
  writeFileSync(join(root, 'etc/switchyard/switchyard.yaml'), text);
  mkdirSync(join(root, 'etc/switchyard/secrets'), { recursive: true });
  writeFileSync(join(root, 'etc/switchyard/secrets/mqtt'), 'canary-credential\n', { mode: 0o600 });
  const dropIn = join(root, 'etc/systemd/system/switchyard.service.d');
  mkdirSync(dropIn, { recursive: true });
  writeFileSync(
    join(dropIn, 'proof.conf'),
    `[Service]\nWatchdogSec=${WATCHDOG_SECONDS}\nExecStart=\nExecStart=/usr/lib/switchyard/notify-exec /usr/lib/switchyard/node --disable-proto=throw --import ${HANG} /usr/lib/switchyard/agent/main.js run\n`,
  );
  // The simulator reads the configuration too: its copy has no credential.
  writeFileSync(join(root, 'opt/site.yaml'), text.replace(/^mqtt: .*$/m, ''));
  box.start('switchyard simulate --config /opt/site.yaml');
  box.sh('systemctl daemon-reload; systemctl restart switchyard');
  const seconds = await box.until(CYCLES, IN_CONTROL);
  check(
    seconds !== null,
    `started with a configuration and a credential, first cycle ${seconds} s after READY`,
  );
  const log = box.sh('journalctl -u switchyard --no-pager');
  check(log.includes('agent runs') && !log.includes('canary-credential'), 'the log has no credential');
  console.log(
    `         memory: ${box.sh('systemctl show -p MemoryCurrent --value switchyard').trim()} B by systemd`,
  );
}

async function supervise(box: Box, check: Check): Promise<void> {
  await sleep(WATCHDOG_SECONDS * 1500);
  const before = box.sh(PID).trim();
  check(
    /^0\s*$/.test(box.sh('systemctl show -p NRestarts --value switchyard')),
    'cycles feed the watchdog: no restart',
  );
  box.sh(`kill -USR2 ${before}`);
  const hung = await box.until(
    `${PID}; echo; systemctl is-active switchyard; ${CYCLES}`,
    new RegExp(`^(?!${before}\\n)[^]*${IN_CONTROL.source}`),
  );
  check(
    hung !== null,
    `a hung loop is killed and the agent decides again after ${hung} s (watchdog ${WATCHDOG_SECONDS} s)`,
  );
  check(/Watchdog timeout/i.test(box.sh('journalctl -u switchyard --no-pager')), 'it was the watchdog');
  const second = box.sh(PID).trim();
  box.sh(`kill -9 ${second}`);
  const killed = await box.until(
    `${PID}; ${CYCLES}`,
    new RegExp(`^(?!${second}\\n)[^]*${IN_CONTROL.source}`),
  );
  check(
    killed !== null && killed < 5,
    `after kill -9 it decides again after ${killed} s (RestartSec 2; at most 5)`,
  );
}

async function upgrade(box: Box, root: string, check: Check): Promise<void> {
  box.sh(
    "cd /opt && dpkg-deb -R one.deb two && sed -i 's/^Version: .*/Version: 99.0.0/' two/DEBIAN/control && dpkg-deb --root-owner-group -Znone -b two two.deb",
  );
  const lives = () => box.sh('ls -l /var/lib/private/switchyard/journal.db').length > 20;
  for (const [what, command] of [
    ['upgrade', 'dpkg -i /opt/two.deb'],
    ['downgrade', 'dpkg -i /opt/one.deb'],
  ] as const) {
    const before = box.sh(PID).trim();
    box.sh(command);
    const seconds = await box.until(
      `${PID}; ${CYCLES}`,
      new RegExp(`^(?!${before}\\n)[^]*${IN_CONTROL.source}`),
    );
    const kept = readFileSync(join(root, 'etc/switchyard/switchyard.yaml'), 'utf8').includes('12 kW');
    check(
      seconds !== null && lives() && kept,
      `${what}: running again ${seconds} s after dpkg, state and configuration kept`,
    );
  }
  const replay = box.sh(
    'systemctl stop switchyard; switchyard replay /var/lib/private/switchyard/journal.db',
  );
  check(
    /agree|same|no difference|identical/i.test(replay),
    `replay across all lives: ${replay.trim().split('\n').slice(0, 2).join(' ')}`,
  );
}
