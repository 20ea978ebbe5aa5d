import { describe, expect, test } from 'vitest';
import { type Asker, Asks, MAXIMUM_ASK_BYTES } from '../../../../agent/orders/asks.ts';
import type { OrderAnswer } from '../../../../agent/orders/book.ts';
import { Secret } from '../../../../config/secret.ts';

const START = 1_790_000_000_000;
const SLURM: Asker = { id: 'slurm', issuer: 'ai', topic: 'hpc/ask', token: new Secret('tok-1\n') };
const TRAIN: Asker = { id: 'train', issuer: 'ai', workload: 'job', token: new Secret('tok-2') };

function bench() {
  const ordered: { issuer: string; id: string; args: Readonly<Record<string, unknown>> }[] = [];
  const answers: OrderAnswer[] = [];
  const time = { now: START };
  const asks = new Asks([SLURM, TRAIN], 'grid', {
    order: (issuer, id, args) => {
      ordered.push({ issuer, id, args });
      return { v: 1, id, status: 'accepted', at: time.now };
    },
    answer: (answer) => answers.push(answer),
    now: () => time.now,
  });
  const post = (body: unknown, asker = SLURM) => asks.post(asker, Buffer.from(JSON.stringify(body)));
  return { asks, ordered, answers, time, post };
}

describe('asking for watts', () => {
  test('becomes an order for a hand-over in the name of its issuer, at the grid connection', () => {
    const { post, ordered } = bench();
    const until = START + 3_600_000;
    expect(post({ id: 'j1', watts: 4000, until, workload: 'job', more: 1 })).toMatchObject({
      status: 202,
      body: { id: 'slurm.j1', status: 'accepted' },
    });
    expect(ordered).toEqual([
      {
        issuer: 'ai',
        id: 'slurm.j1',
        args: { limit: 'grid', watts: 4000, direction: 'mining-to-ai', workload: 'job', until },
      },
    ]);
  });

  test('for later waits for its time, once', () => {
    const { asks, post, ordered, time } = bench();
    const from = START + 60_000;
    for (let time = 0; time < 2; time += 1)
      expect(post({ id: 'j1', watts: 4000, from }).body).toMatchObject({
        status: 'accepted',
        deadline: from,
      });
    time.now = from - 1;
    asks.cycle();
    expect(ordered).toEqual([]);
    time.now = from;
    asks.cycle();
    asks.cycle();
    expect(ordered.map(({ id }) => id)).toEqual(['slurm.j1']);
  });

  test.each([
    [{ id: 'a', watts: 0 }, 400, 'watts'],
    [{ id: 'a b', watts: 1 }, 400, 'id'],
    [{ watts: 1 }, 400, 'id'],
    ['nothing', 400, 'not an object'],
    [{ id: 'a', watts: 1, until: START - 1 }, 409, 'over before it begins'],
    [{ id: 'a', watts: 1, from: START + 10, until: START + 5 }, 409, 'over before it begins'],
    [{ id: 'a', watts: 1, from: START + 8 * 86_400_000 }, 409, 'more than a week'],
  ])('%j is refused with a reason', (body, status, words) => {
    const { post, ordered } = bench();
    const answer = post(body);
    expect(answer).toMatchObject({ status, body: { status: 'rejected' } });
    expect(answer.body.reason).toContain(words);
    expect(ordered).toEqual([]);
  });

  test('what is too large, and the sixty-fifth that waits, are refused', () => {
    const { asks, post } = bench();
    expect(asks.post(SLURM, Buffer.alloc(MAXIMUM_ASK_BYTES + 1)).status).toBe(400);
    for (let n = 0; n < 64; n += 1) post({ id: `j${n}`, watts: 1, from: START + 1000 });
    expect(post({ id: 'j64', watts: 1, from: START + 1000 })).toMatchObject({ status: 409 });
    expect(post({ id: 'j3', watts: 1, from: START + 1000 })).toMatchObject({ status: 202 });
  });

  test('one workload’s asker asks for that one only', () => {
    const { post, ordered } = bench();
    expect(post({ id: 'a', watts: 5, workload: 'other' }, TRAIN)).toMatchObject({ status: 409 });
    expect(post({ id: 'b', watts: 5 }, TRAIN).status).toBe(202);
    expect(ordered[0]?.args['workload']).toBe('job');
  });

  test('on its own topic only, never retained; what is refused before it is an order is answered here', () => {
    const { asks, ordered, answers } = bench();
    const payload = Buffer.from('{"id":"j1","watts":10}');
    asks.receive('hpc/other', payload, false);
    asks.receive('hpc/ask', payload, true);
    expect(ordered).toEqual([]);
    asks.receive('hpc/ask', payload, false);
    expect(ordered).toHaveLength(1);
    expect(answers).toEqual([]);
    asks.receive('hpc/ask', Buffer.from('{"id":"j2"}'), false);
    expect(answers).toMatchObject([{ status: 'rejected' }]);
  });

  test('a token names its asker; no token, a wrong one and another scheme name nobody', () => {
    const { asks } = bench();
    expect(asks.bearer('Bearer tok-1')?.id).toBe('slurm');
    expect(asks.bearer('bearer tok-2')?.id).toBe('train');
    for (const header of [undefined, '', 'Bearer ', 'Bearer tok-3', 'Basic tok-1', 'tok-1'])
      expect(asks.bearer(header), String(header)).toBeNull();
  });
});
