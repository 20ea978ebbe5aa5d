import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  decryptWhatsminerText,
  encryptWhatsminerCommand,
  encryptWhatsminerText,
  md5Crypt,
  openWhatsminerSession,
} from '../../../protocols/whatsminer-crypto.ts';

const { v2 } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../golden/whatsminer/auth-vectors.json'), 'utf8'),
) as {
  v2: {
    password: string;
    get_token_reply: { Msg: { time: string; salt: string; newsalt: string } };
    key: string;
    host_sign: string;
    aes_key_hex: string;
    request: { data: string };
    plain_reply: string;
    reply: { enc: string };
  };
};

describe('Whatsminer token and encryption', () => {
  const session = openWhatsminerSession(v2.password, v2.get_token_reply.Msg);

  it('computes md5crypt like crypt(3)', () => {
    expect(md5Crypt(v2.password, v2.get_token_reply.Msg.salt)).toBe(v2.key);
    // The same from `openssl passwd -1`.
    expect(md5Crypt('', 'x')).toBe('fwjfZtMwarkdetsjiQreU1');
    expect(md5Crypt('a password longer than one block', 'saltsalt')).toBe('c/8ZVyL6OosKWv1hYghbU1');
  });

  it('makes the key, the signature and the request of the vectors', () => {
    expect(session.sign).toBe(v2.host_sign);
    expect(Buffer.from(session.aesKey).toString('hex')).toBe(v2.aes_key_hex);
    const request = encryptWhatsminerCommand(session, 'adjust_power_limit', { power_limit: '3000' });
    expect(JSON.parse(Buffer.from(request).toString())).toEqual({ enc: 1, data: v2.request.data });
  });

  it('reads the reply of the vectors, and nothing with another key', () => {
    expect(decryptWhatsminerText(session.aesKey, v2.reply.enc)).toBe(v2.plain_reply);
    const other = openWhatsminerSession('another', v2.get_token_reply.Msg);
    expect(decryptWhatsminerText(other.aesKey, v2.reply.enc)).toBeNull();
    expect(decryptWhatsminerText(session.aesKey, 'AAA')).toBeNull();
    expect(decryptWhatsminerText(session.aesKey, '')).toBeNull();
  });

  it('reads back what it wrote, whatever the length', () => {
    for (let length = 0; length < 40; length += 1) {
      const text = `{"a":"${'x'.repeat(length)}"}`;
      expect(decryptWhatsminerText(session.aesKey, encryptWhatsminerText(session.aesKey, text))).toBe(text);
    }
  });
});
