import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { recognise } from '../../../drivers/miners/recognise.ts';
import { systemClock } from '../../../protocols/clock.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { closedPort, listenOnLoopback } from '../../support/recorded-server.ts';

const GOLDEN = join(import.meta.dirname, '../../golden');
const deps = { clock: systemClock, random: seededRandom(1) };
const never = new AbortController().signal;
const INVALID = '{"STATUS":[{"STATUS":"E","When":1,"Code":14,"Msg":"Invalid command"}],"id":1}\0';

function endpoint(port: number, webPort: number) {
  return { deviceId: 'x', host: '127.0.0.1', port, webPort, user: null, password: null, model: null };
}

/** Answers from a folder of recorded replies; what was not recorded is no command. */
function recorded(folder: string) {
  return listenOnLoopback((socket) =>
    socket.once('data', (bytes) => {
      const { command } = JSON.parse(bytes.toString()) as { command: string };
      const file = ['', 'rpc__']
        .map((prefix) => join(GOLDEN, folder, `${prefix}${command}.json`))
        .find(existsSync);
      socket.end(file === undefined ? INVALID : readFileSync(file));
    }),
  );
}

describe('recognising over the wire', () => {
  const cases = [
    ['luxos/s19kpro-2025.4.8', 'luxos'],
    ['bitmain/s19pro-2022-12', 'bitmain'],
    ['vnish/s21pro-1.2.7', 'vnish'],
    ['fluxos/at1500-2023-12', 'fluxos'],
    ['whatsminer/m20s-20210322', 'whatsminer'],
    ['whatsminer/m50s-vh50-20230803', 'whatsminer'],
    ['avalon/a1246-21072802', 'avalon'],
  ] as const;
  it.each(cases)('%s is %s', async (folder, firmware) => {
    await using api = await recorded(folder);
    const found = await recognise(endpoint(api.port, await closedPort()), deps, never);
    expect(found).toEqual({ ok: true, value: firmware });
  });

  it('tells by the web page what the API port does not', async () => {
    const web = async (answer: string) => {
      await using page = await listenOnLoopback((socket) => socket.once('data', () => socket.end(answer)));
      const found = await recognise(endpoint(await closedPort(), page.port), deps, never);
      return found.ok ? found.value : found.error.kind;
    };
    const digest =
      'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="antMiner Configuration", nonce="x"';
    expect(await web(`${digest}\r\nContent-Length: 0\r\n\r\n`)).toBe('bitmain');
    const body = '<html><title>Miner Web Dashboard</title></html>';
    expect(await web(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)).toBe('epic');
    expect(await web('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')).toBe('unreachable');
  });

  it('does not call a web server on the API port a miner', async () => {
    await using page = await listenOnLoopback((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    const found = await recognise(endpoint(page.port, await closedPort()), deps, never);
    expect(found).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
  });
});
