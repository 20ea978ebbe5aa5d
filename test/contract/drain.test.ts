import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { DrainDriver } from '../../drivers/gpu/drain.ts';
import { openDrain } from '../../drivers/gpu/drain.ts';
import { Hook } from '../../drivers/gpu/hook.ts';
import { systemClock } from '../../protocols/clock.ts';
import { type FakeNode, fakeManager } from '../support/fake-manager.ts';
import { startKubernetesApi } from '../support/kubernetes-api.ts';
import { AUTHORITY } from '../support/tls-server.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
const live = { dryRun: false };
let folder: string;
let manager: ReturnType<typeof fakeManager>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-drain-'));
  manager = fakeManager(folder);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KINDS = ['slurm', 'kubernetes', 'command'] as const;
type Kind = (typeof KINDS)[number];

function open(kind: 'slurm' | 'command'): DrainDriver {
  return openDrain(
    'dgx-1',
    kind === 'slurm' ? { kind, node: 'n1', command: [manager.scontrol] } : { kind, command: [manager.hook] },
    systemClock,
  );
}

/** A workload manager of one node, and a driver that speaks with it. */
interface World {
  readonly driver: DrainDriver;
  set(node: FakeNode): void;
  node(): FakeNode;
  refuse(said: string): void;
  /** What changed something, since this was last asked. */
  writes(): string[];
}

async function start(kind: Kind): Promise<World> {
  if (kind === 'kubernetes') {
    const api = await startKubernetesApi();
    onTestFinished(api.stop);
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, 'first-token\n');
    const { url } = api;
    const config = { kind, node: 'n1', url, ca: AUTHORITY, tokenFile, grace: 120_000, evict: 'gpu' } as const;
    return { ...api, driver: openDrain('dgx-1', config, systemClock) };
  }
  return { ...manager, driver: open(kind), writes };
}

async function read(driver: DrainDriver) {
  const reading = await driver.read(never);
  if (!reading.ok) throw new Error(reading.error.message);
  return reading.value;
}

/** Calls that change something. */
const writes = () => manager.calls().filter((call) => /^(update|drain|resume)/.test(call));

describe.each(KINDS)('a node drained by %s', (kind) => {
  const marked = kind === 'slurm' ? 'switchyard:h-1' : 'h-1';

  test('drains under its mark while work runs, is drained when it ends, and comes back', async () => {
    const { driver, ...manager } = await start(kind);
    manager.set({ state: 'MIXED', reason: '' });
    expect(await read(driver)).toMatchObject({ state: 'in-service', mark: null });
    expect(await driver.drain('h-1', live, never)).toMatchObject({ ok: true, value: { sent: true } });
    expect(manager.node()).toEqual({ state: 'MIXED+DRAIN', reason: marked });
    expect(await read(driver)).toMatchObject({ state: 'draining', mark: 'h-1' });
    manager.set({ state: 'IDLE+DRAIN', reason: marked });
    expect(await read(driver)).toMatchObject({ state: 'drained', mark: 'h-1' });
    expect(await driver.resume(live, never)).toMatchObject({ ok: true, value: { sent: true } });
    expect(await read(driver)).toMatchObject({ state: 'in-service', mark: null });
  });

  test('what is so already is not sent again', async () => {
    const { driver, ...manager } = await start(kind);
    expect(await driver.resume(live, never)).toMatchObject({ ok: true, value: { sent: false } });
    await driver.drain('h-1', live, never);
    expect(manager.writes()).toHaveLength(1);
    expect(await driver.drain('h-2', live, never)).toMatchObject({ ok: true, value: { sent: false } });
    expect(manager.writes()).toEqual([]);
    expect(manager.node().reason).toBe(marked);
  });

  test('what somebody else drained keeps its reason and is never resumed', async () => {
    const { driver, ...manager } = await start(kind);
    const reason = kind === 'slurm' ? 'bad fan' : '';
    manager.set({ state: 'IDLE+DRAIN', reason });
    expect(await read(driver)).toMatchObject({ state: 'drained', mark: null });
    expect(await driver.drain('h-1', live, never)).toMatchObject({ ok: true, value: { sent: false } });
    expect(await driver.resume(live, never)).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(manager.node()).toEqual({ state: 'IDLE+DRAIN', reason });
    expect(manager.writes()).toEqual([]);
  });

  test('a dry run says what it would do and does nothing', async () => {
    const { driver, ...manager } = await start(kind);
    const dry = await driver.drain('h-1', { dryRun: true }, never);
    expect(dry).toMatchObject({ ok: true, value: { sent: false } });
    expect(dry.ok && dry.value.note).toMatch(/^would run: .*(drain|cordon)/);
    expect(manager.node()).toEqual({ state: 'IDLE', reason: '' });
  });

  test('a node that is down is not drained', async () => {
    const { driver, ...manager } = await start(kind);
    manager.set({ state: 'DOWN', reason: '' });
    expect(await driver.drain('h-1', live, never)).toMatchObject({
      ok: false,
      error: { kind: 'refused' },
    });
    expect(manager.writes()).toEqual([]);
  });

  test('a failure is said in a sentence', async () => {
    const { driver, ...manager } = await start(kind);
    manager.refuse('slurm_load_node error: Unable to contact slurm controller (connect failure)');
    const reading = await driver.read(never);
    expect(reading).toMatchObject({
      ok: false,
      error: { kind: kind === 'slurm' ? 'unreachable' : 'refused' },
    });
  });
});

describe('Slurm', () => {
  test('a mark that a shell could read is made harmless', async () => {
    await open('slurm').drain("x';reboot $(id) `y`", live, never);
    expect(manager.node().reason).toBe('switchyard:x--reboot---id---y-');
  });

  test('an unknown node is the wrong one; a list of nodes is no node', async () => {
    const driver = openDrain('g', { kind: 'slurm', node: 'n2', command: [manager.scontrol] }, systemClock);
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(() => openDrain('g', { kind: 'slurm', node: 'n[1-9]' }, systemClock)).toThrow('one Slurm node');
  });
});

describe('the hook', () => {
  test('gets its request on stdin and the verb as its last argument', async () => {
    const hook = new Hook('dgx-1', [manager.hook], systemClock);
    await hook.ask({ verb: 'cap', uuid: 'GPU-1', limitWatts: 450 }, never);
    expect(JSON.parse(readFileSync(join(folder, 'capped'), 'utf8'))).toEqual({
      v: 1,
      node: 'dgx-1',
      verb: 'cap',
      uuid: 'GPU-1',
      limitWatts: 450,
    });
  });

  test.each([
    ['{"ok":false,"error":"maintenance"}', 0, 'refused', 'maintenance'],
    ['{"error":"later"}', 75, 'busy', 'later'],
    ['{"ok":true', 0, 'malformed', 'one JSON object'],
    ['[]', 0, 'malformed', 'one JSON object'],
    ['', 3, 'refused', 'exit code 3'],
  ])('%s with exit code %i', async (said, code, kind, words) => {
    manager.refuse(said, code);
    const answer = await new Hook('dgx-1', [manager.hook], systemClock).ask({ verb: 'state' }, never);
    expect(answer).toMatchObject({ ok: false, error: { kind } });
    expect(answer.ok || answer.error.message).toContain(words);
  });

  test('a state that is none of the four is malformed', async () => {
    manager.refuse('{"ok":true,"state":"resting"}', 0);
    expect(await open('command').read(never)).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test('a program that others may write is not run', async () => {
    chmodSync(manager.hook, 0o777);
    expect(await open('command').read(never)).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(manager.calls()).toEqual([]);
  });

  test('one that hangs is killed at its limit with all that it started', async () => {
    const clock = new VirtualClock();
    const pids = join(folder, 'pids');
    const hanging = manager.script(
      'hang',
      `sleep 600 & echo $! > '${pids}'; mkfifo "$D/up"; : > "$D/up"; wait`,
    );
    const asked = new Hook('dgx-1', [hanging], clock).ask({ verb: 'state' }, never);
    await new Promise<void>((resolve) => {
      const look = () => {
        try {
          readFileSync(join(folder, 'up'));
          resolve();
        } catch {
          setImmediate(look);
        }
      };
      look();
    });
    await clock.advance(30_000);
    expect(await asked).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    const child = Number(readFileSync(pids, 'utf8'));
    await expect.poll(() => isRunning(child)).toBe(false);
  });
});

/** Neither running nor waiting to be: a zombie has ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
