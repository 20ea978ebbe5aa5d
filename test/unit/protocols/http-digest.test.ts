import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../protocols/clock.ts';
import {
  createDigestSession,
  digestResponse,
  exchangeWithDigest,
  parseDigestChallenge,
} from '../../../protocols/http-digest.ts';
import { seededRandom } from '../../../protocols/random.ts';

const limits = { connectMs: 1000, idleMs: 1000, totalMs: 3000, maximumBytes: 10_000 };
const never = new AbortController().signal;

describe('HTTP Digest with MD5', () => {
  it('computes the example of RFC 7616 section 3.9.1', () => {
    const challenge = parseDigestChallenge(
      'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
    );
    expect(challenge).toMatchObject({ realm: 'http-auth@example.org', qop: 'auth', stale: false });
    const credentials = { user: 'Mufasa', password: 'Circle of Life' };
    const request = { method: 'GET', path: '/dir/index.html' };
    const clientNonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
    expect(digestResponse(challenge!, credentials, request, 1, clientNonce)).toBe(
      '8ca523f5e9506fed4657c9700eebdbec',
    );
  });

  it('computes the older form without qop (RFC 2069 as corrected)', () => {
    const challenge = parseDigestChallenge(
      'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"',
    );
    const response = digestResponse(
      challenge!,
      { user: 'Mufasa', password: 'CircleOfLife' },
      { method: 'GET', path: '/dir/index.html' },
      1,
      '',
    );
    expect(response).toBe('1949323746fe6a43ef61f9606e7febea');
  });

  it('leaves other schemes and algorithms alone', () => {
    expect(parseDigestChallenge('Basic realm="x"')).toBeNull();
    expect(parseDigestChallenge('Digest realm="x", nonce="y", algorithm=SHA-256')).toBeNull();
    expect(parseDigestChallenge('Digest realm="x"')).toBeNull();
  });

  it('asks twice at first, once from then on, and never loops on a wrong password', async () => {
    let asked = 0;
    let accepts = true;
    const server = createServer((request, response) => {
      asked += 1;
      if (accepts && request.headers.authorization !== undefined) response.end('ok');
      else response.writeHead(401, { 'www-authenticate': 'Digest realm="r", nonce="n", qop="auth"' }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const target = { host: '127.0.0.1', port: address.port, clock: systemClock, limits };
    const session = createDigestSession({ user: 'u', password: 'p' }, seededRandom(1));
    const request = { method: 'GET', path: '/' } as const;
    try {
      const first = await exchangeWithDigest(target, request, session, never);
      expect(first.ok && Buffer.from(first.value.body).toString()).toBe('ok');
      expect(asked).toBe(2);
      await exchangeWithDigest(target, request, session, never);
      expect(asked).toBe(3);
      accepts = false;
      const refused = await exchangeWithDigest(target, request, session, never);
      expect(refused).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
      expect(asked).toBe(5);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
