import { afterEach, describe, expect, test } from 'vitest';
import { type Asker, Asks, MAXIMUM_ASK_BYTES } from '../../agent/orders/asks.ts';
import { type RunningPage, servePage } from '../../agent/page/server.ts';
import { Secret } from '../../config/secret.ts';
import { madeUpSource } from '../support/page-source.ts';

let page: RunningPage | null = null;
afterEach(async () => page?.close());

const SLURM: Asker = { id: 'slurm', issuer: 'ai', token: new Secret('tok-1') };

async function serve(askers: readonly Asker[] | null) {
  const ordered: string[] = [];
  const asks = new Asks(askers ?? [], 'grid', {
    order: (_issuer, id) => {
      ordered.push(id);
      return { v: 1, id, status: 'accepted', at: 1 };
    },
    answer: () => undefined,
    now: () => 1,
  });
  const options = { host: '127.0.0.1', port: 0, allowedHosts: [], files: new Map() };
  page = await servePage(madeUpSource(null).source, askers === null ? options : { ...options, asks });
  const { url } = page;
  const post = (body: string, token: string | null, path = 'api/v1/ask', method = 'POST') =>
    fetch(new URL(path, url), {
      method,
      body,
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
    });
  return { post, ordered };
}

describe('POST /api/v1/ask', () => {
  test('is taken from who shows a token of the configuration', async () => {
    const { post, ordered } = await serve([SLURM]);
    const answer = await post('{"id":"j1","watts":500}', 'tok-1');
    expect(answer.status).toBe(202);
    expect(await answer.json()).toMatchObject({ id: 'slurm.j1', status: 'accepted' });
    expect(ordered).toEqual(['slurm.j1']);
  });

  test('from nobody else, nowhere else, and in no other way', async () => {
    const { post, ordered } = await serve([SLURM]);
    const good = '{"id":"j1","watts":500}';
    expect((await post(good, null)).status).toBe(401);
    expect((await post(good, 'tok-2')).status).toBe(401);
    expect((await post(good, 'tok-1', 'api/v1/site')).status).toBe(405);
    expect((await post(good, 'tok-1', 'api/v1/ask', 'PUT')).status).toBe(405);
    expect((await post('x'.repeat(MAXIMUM_ASK_BYTES * 4), 'tok-1')).status).toBe(400);
    expect(ordered).toEqual([]);
  });

  test('where nobody is configured nothing can be written', async () => {
    const { post } = await serve(null);
    expect((await post('{}', 'tok-1')).status).toBe(405);
    await page?.close();
    const none = await serve([]);
    expect((await none.post('{"id":"j1","watts":500}', 'tok-1')).status).toBe(401);
  });
});
