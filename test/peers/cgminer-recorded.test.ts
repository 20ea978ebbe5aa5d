import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { askCgminerBytes } from '../../protocols/cgminer-client.ts';
import { accepted, decodeCgminerReply, joinedSections } from '../../protocols/cgminer-reply.ts';
import { encodeCgminerRequest, encodeCgminerTextRequest } from '../../protocols/cgminer-request.ts';
import { systemClock } from '../../protocols/clock.ts';
import { listenOnLoopback } from '../support/recorded-server.ts';

/** Raw bytes of real cgminer 4.11.1 and bfgminer 5.5.0 daemons; see provenance.txt beside them. */
const RECORDINGS = join(import.meta.dirname, '../golden/cgminer');

interface Exchange {
  readonly name: string;
  readonly request: string;
  readonly end: string;
  readonly valid_json_after_nul_strip: boolean;
}

const sets = readdirSync(RECORDINGS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const exchanges = sets.flatMap((set) => {
  const folder = join(RECORDINGS, set.name);
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as Exchange[];
  return index.map((exchange) => ({
    ...exchange,
    set: set.name,
    requestBytes: readFileSync(join(folder, `${exchange.name}.request.bin`)),
    response: readFileSync(join(folder, `${exchange.name}.response.bin`)),
  }));
});
const answered = exchanges.filter(({ response }) => response.length > 0);
const never = new AbortController().signal;

async function ask(response: Buffer, piecewise: boolean) {
  await using server = await listenOnLoopback((socket) => {
    socket.once('data', async () => {
      if (!piecewise) {
        socket.end(response);
        return;
      }
      for (let at = 0; at < response.length && !socket.destroyed; at += 1) {
        socket.write(response.subarray(at, at + 1));
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end();
    });
  });
  const target = { host: server.host, port: server.port, clock: systemClock };
  return await askCgminerBytes(target, encodeCgminerRequest('version'), never);
}

describe('recorded bytes of real cgminer and bfgminer', () => {
  it('has the recordings', () => {
    expect(answered.length).toBeGreaterThan(180);
  });

  it.each(answered)('$set/$name decodes alike whole and byte by byte', async ({ response, ...rest }) => {
    const direct = decodeCgminerReply(response);
    if (!direct.ok) throw new Error(direct.error.message);
    expect(direct.value.form).toBe(rest.valid_json_after_nul_strip ? 'json' : 'text');
    expect(direct.value.repairs).toEqual([]);
    for (const piecewise of [false, true]) {
      const asked = await ask(response, piecewise);
      if (!asked.ok) throw new Error(asked.error.message);
      expect(asked.value.body).toEqual(direct.value.body);
      expect(asked.value.status).toEqual(direct.value.status);
    }
  });

  it.each(exchanges.filter(({ response }) => response.length === 0))(
    '$set/$name: an empty answer is unreachable, not a reading',
    async ({ response }) => {
      const asked = await ask(response, false);
      expect(asked).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
    },
  );

  it('sends what the recording client sent', () => {
    const byName = (name: string) => exchanges.find((exchange) => exchange.name === name)?.requestBytes;
    expect(encodeCgminerRequest('version')).toEqual(byName('version_json'));
    expect(encodeCgminerRequest('disablepool', '1')).toEqual(byName('disablepool_1_json'));
    expect(encodeCgminerRequest('summary+pools')).toEqual(byName('join_summary_pools_json'));
    expect(encodeCgminerTextRequest('asc', '0')).toEqual(byName('asc_0_text'));
    expect(() => encodeCgminerRequest('addpool', 'x'.repeat(4095))).toThrow(RangeError);
  });

  const pairs = answered.flatMap((json) => {
    const text = answered.find(
      (other) => other.set === json.set && other.name === json.name.replace(/_json$/, '_text'),
    );
    return json.name.endsWith('_json') && text !== undefined
      ? [{ set: json.set, name: json.name, json, text }]
      : [];
  });
  // These were taken while the daemon worked: counters moved between the two requests.
  const moved = new Set(['stats_json', 'devs_json', 'pga_0_json', 'lockstats_json', 'dbgstats_json']);

  it.each(pairs.filter(({ name }) => !moved.has(name)))(
    '$set/$name says the same as its text form',
    (pair) => {
      const json = decodeCgminerReply(pair.json.response);
      const text = decodeCgminerReply(pair.text.response);
      if (!json.ok || !text.ok) throw new Error('does not decode');
      expect(text.value.status).toEqual(json.value.status);
      if (joinedSections(json.value).size === 0 && 'SUMMARY' in json.value.body)
        expect(comparable(text.value.body['SUMMARY'])).toEqual(comparable(json.value.body['SUMMARY']));
      if ('POOLS' in json.value.body)
        expect(comparable(text.value.body['POOLS'])).toEqual(comparable(json.value.body['POOLS']));
      expect([...joinedSections(text.value).keys()]).toEqual([...joinedSections(json.value).keys()]);
    },
  );

  it('keeps an escaped user name of the text form whole', () => {
    const pools = answered.find(({ name, set }) => name === 'pools_text' && set.endsWith('W-access'));
    const reply = decodeCgminerReply(pools!.response);
    expect(reply.ok && reply.value.body['POOLS']).toMatchObject([
      { User: 'acct.worker=1|a' },
      { User: 'user2' },
    ]);
  });

  it('answers each member of a joined command on its own', () => {
    const joined = answered.find(({ name }) => name === 'join_with_bad_and_privileged_json');
    const reply = decodeCgminerReply(joined!.response);
    if (!reply.ok) throw new Error(reply.error.message);
    const verdicts = [...joinedSections(reply.value)].map(([command, section]) => {
      const verdict = accepted(section, command);
      return [command, verdict.ok ? 'yes' : verdict.error.kind];
    });
    expect(verdicts).toEqual([
      ['version', 'yes'],
      ['nosuch', 'unsupported'],
      ['addpool', 'unauthorised'],
      ['asc', 'unauthorised'],
    ]);
  });

  it('reads BYE, RESTART and the F of an unnamed message as what they are', () => {
    const read = (name: string) => {
      const reply = decodeCgminerReply(answered.findLast((exchange) => exchange.name === name)!.response);
      if (!reply.ok) throw new Error(reply.error.message);
      return reply.value;
    };
    expect(read('restart_json').status?.letter).toBe('RESTART');
    expect(accepted(read('dbgstats_json'), 'dbgstats').ok).toBe(true);
    expect(accepted(read('badjson_truncated'), 'x')).toMatchObject({ ok: false, error: { kind: 'refused' } });
  });
});

/** Text answers carry strings: compare by spelling, numbers by value. */
function comparable(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((record: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(record).map(([key, field]) => {
        const number = Number(field);
        return [
          key,
          field !== '' && typeof field !== 'boolean' && Number.isFinite(number) ? number : String(field),
        ];
      }),
    ),
  );
}
