import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../protocols/clock.ts';
import {
  askWhatsminerV3,
  decodeWhatsminerFrame,
  encodeWhatsminerFrame,
  watchForWhatsminerFrame,
  whatsminerV3Token,
} from '../../../protocols/whatsminer-v3.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';

const { v3 } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../golden/whatsminer/auth-vectors.json'), 'utf8'),
) as {
  v3: {
    password: string;
    salt: string;
    ts: number;
    cmd: string;
    token: string;
    json: string;
    frame_hex_prefix: string;
  };
};
const never = new AbortController().signal;

describe('Whatsminer API 3 on the wire', () => {
  it('makes the token and the frame of the vectors', () => {
    expect(whatsminerV3Token(v3.cmd, v3.password, v3.salt, v3.ts)).toBe(v3.token);
    const frame = Buffer.from(encodeWhatsminerFrame(v3.json));
    expect(frame.subarray(0, 4).toString('hex')).toBe(v3.frame_hex_prefix);
    expect(frame.subarray(4).toString()).toBe(v3.json);
  });

  it('sees the end of a frame at every split, and gives up on a senseless length', () => {
    const frame = encodeWhatsminerFrame('{"code":0,"when":1,"msg":"ok"}');
    for (let split = 0; split <= frame.length; split += 1) {
      const isWhole = watchForWhatsminerFrame();
      const first = isWhole(frame.subarray(0, split));
      expect(first).toBe(split === frame.length);
      if (!first) expect(isWhole(frame.subarray(split))).toBe(true);
    }
    expect(watchForWhatsminerFrame()(Buffer.from('HTTP/1.1 200 OK'))).toBe(true);
    expect(decodeWhatsminerFrame(Buffer.from('HTTP/1.1 200 OK')).ok).toBe(false);
  });

  it.each([
    [0, 'ok'],
    [-1, 'refused'],
    [-2, 'unsupported'],
    [-4, 'unauthorised'],
  ])('code %i is %s', async (code, kind) => {
    await using unit = await listenOnLoopback((socket) =>
      socket.once('data', () =>
        socket.end(encodeWhatsminerFrame(JSON.stringify({ code, when: 7, msg: 'm', desc: 'd' }))),
      ),
    );
    const target = {
      host: unit.host,
      port: unit.port,
      clock: systemClock,
      limits: { connectMs: 1000, idleMs: 1000, totalMs: 1000, maximumBytes: 1000 },
    };
    const answer = await askWhatsminerV3(target, { cmd: 'get.device.info' }, never);
    expect(answer.ok ? 'ok' : answer.error.kind).toBe(kind);
    if (answer.ok) expect(answer.value).toMatchObject({ code: 0, when: 7, message: 'm' });
  });

  it('half a frame is malformed, not a value', () => {
    const frame = encodeWhatsminerFrame('{"code":0,"msg":{"summary":{"power-realtime":3156}}}');
    for (let end = 0; end < frame.length; end += 1)
      expect(decodeWhatsminerFrame(frame.subarray(0, end))).toMatchObject({ error: { kind: 'malformed' } });
  });
});
