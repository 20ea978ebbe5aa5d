import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;

const PAGES: Readonly<Record<string, object>> = {
  '/summary': { Status: { 'Operating State': 'Mining' }, Session: { Uptime: 5 }, HBStatus: [] },
  '/network': { dhcp: { mac_address: '02:00:00:00:00:01' } },
  '/capabilities': { Model: 'S19' },
};

/** A unit with pages that closes no connection by itself; `turn` counts the requests of a connection. */
async function openUnit(answers: (path: string, turn: number) => boolean = () => true) {
  const open = new Set<Socket>();
  const asked: string[] = [];
  const peer = await listenOnLoopback((socket) => {
    let turn = 0;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('data', (piece) => {
      const [method = '', path = ''] = piece.toString('latin1').split(' ');
      asked.push(`${method} ${path} ${peer.connections}.${turn}`);
      if (answers(path, turn)) {
        const body = method === 'GET' ? JSON.stringify(PAGES[path]) : '{"result":true,"error":null}';
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      }
      turn += 1;
    });
  });
  const endpoint = {
    deviceId: 'unit',
    host: peer.host,
    port: peer.port,
    webPort: 80,
    user: 'root',
    password: { reveal: () => 'letmein' },
    model: null,
  };
  const clock = new VirtualClock();
  const driver = openMiner(endpoint, 'epic', { clock, random: () => 0.5 });
  return { driver, clock, asked, open, [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose]() };
}

/** Lets I/O of this process run until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

describe('the pages of one unit', () => {
  it('come over one connection in a reading, which is closed behind it', async () => {
    await using unit = await openUnit();
    expect((await unit.driver.read(never)).ok).toBe(true);
    await until(() => unit.open.size === 0);
    expect((await unit.driver.read(never)).ok).toBe(true);
    await until(() => unit.open.size === 0);
    expect(unit.asked).toEqual([
      'GET /summary 1.0',
      'GET /network 1.1',
      'GET /capabilities 1.2',
      'GET /summary 2.0',
      'GET /network 2.1',
    ]);
  });

  it('are left at once when the reading is given up', async () => {
    await using unit = await openUnit((path) => path !== '/network');
    const controller = new AbortController();
    const reading = unit.driver.read(controller.signal);
    await until(() => unit.asked.length === 2);
    controller.abort();
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    await until(() => unit.open.size === 0);
  });

  it('do not carry a command: it has a connection of its own', async () => {
    await using unit = await openUnit();
    const applied = await unit.driver.apply({ kind: 'sleep' }, never);
    expect(applied.ok).toBe(true);
    await until(() => unit.open.size === 0);
    expect(unit.asked.at(-1)).toBe('POST /miner 2.0');
  });

  it('of a server that answers once a connection are lost once, and then come one by one', async () => {
    await using unit = await openUnit((_path, turn) => turn === 0);
    const first = unit.driver.read(never);
    await until(() => unit.asked.length === 2);
    await unit.clock.advance(3000);
    // The reading goes on without that page, on a connection of its own.
    expect((await first).ok).toBe(true);
    expect((await unit.driver.read(never)).ok).toBe(true);
    await until(() => unit.open.size === 0);
    expect(unit.asked).toEqual([
      'GET /summary 1.0',
      'GET /network 1.1',
      'GET /capabilities 2.0',
      'GET /summary 3.0',
      'GET /network 4.0',
    ]);
  });
});
