import { describe, expect, it } from 'vitest';
import { parseRepaired } from '../../../protocols/cgminer-repair.ts';
import { decodeCgminerReply } from '../../../protocols/cgminer-reply.ts';

const cases: readonly (readonly [string, string, unknown, readonly string[]])[] = [
  ['plain', '{"a":1}', { a: 1 }, []],
  [
    'no comma between objects',
    '{"STATS":[{"a":1}{"b":2}]}',
    { STATS: [{ a: 1 }, { b: 2 }] },
    ['object-comma'],
  ],
  ['comma before the first', '{"S":[,{"a":1}]}', { S: [{ a: 1 }] }, ['leading-comma-in-list']],
  ['comma after the last', '{"a":[1,],"b":2,}', { a: [1], b: 2 }, ['trailing-comma']],
  ['raw newline in a string', '{"a":"x\ny"}', { a: 'xy' }, ['control-characters']],
  ['no comma between fields', '{"sn":"7""temp0":"45"}', { sn: '7', temp0: '45' }, ['string-comma']],
  ['nan and inf', '{"a":nan,"b":-nan,"c":inf}', { a: null, b: null, c: null }, ['not-a-number']],
  ['leading comma', ',"id":1}', { id: 1 }, ['leading-comma']],
  [
    'errors as a list of pairs',
    '{"Msg":{"error_code":["604":"2024-01-01","600":"2024-01-02"]}}',
    { Msg: { error_code: { 604: '2024-01-01', 600: '2024-01-02' } } },
    ['list-as-object'],
  ],
  ['cut in a number', '{"a":1,"b":34', { a: 1 }, ['cut-off']],
  ['cut in a string', '{"l":[{"a":1},{"b":"xy', { l: [{ a: 1 }, {}] }, ['cut-off']],
  ['cut after a key', '{"a":1,"b":', { a: 1 }, ['cut-off']],
  ['punctuation inside a string stays', '{"a":"}{ ,} nan",}', { a: '}{ ,} nan' }, ['trailing-comma']],
];

describe('repairs of broken replies', () => {
  it.each(cases)('%s', (_name, text, value, repairs) => {
    expect(parseRepaired(text)).toEqual({ value, repairs });
  });

  it('gives up on what is no reply', () => {
    for (const text of ['', '{', 'x', '"', '{"a" "b" c}']) {
      const repaired = parseRepaired(text);
      if (repaired !== null) expect(repaired.value).toEqual({});
    }
  });

  it('keeps, of a reply cut anywhere, only values of the whole reply', () => {
    const whole =
      '{"STATUS":[{"STATUS":"S","Code":11}],"SUMMARY":[{"Power":3417,"MHS av":67394800.97,"MAC":"C4:08"}]}';
    const numbers = new Set(['11', '3417', '67394800.97']);
    for (let length = 1; length < whole.length; length += 1) {
      const repaired = parseRepaired(whole.slice(0, length));
      for (const number of JSON.stringify(repaired?.value ?? null).match(/(?<=":)[\d.]+/g) ?? [])
        expect(numbers).toContain(number);
    }
  });

  it('replaces a NUL inside, and bytes that are no UTF-8', () => {
    const reply = decodeCgminerReply(
      Buffer.concat([
        Buffer.from('{"STATUS":"S",\0"User":"'),
        Buffer.from([0xb0, 0xa1]),
        Buffer.from('"}\0\0'),
      ]),
    );
    expect(reply).toMatchObject({ ok: true, value: { body: { STATUS: 'S' }, repairs: ['inner-nul'] } });
  });

  it('tells a proxy without its daemon, and HTTP, from a broken reply', () => {
    const kind = (text: string) => {
      const reply = decodeCgminerReply(Buffer.from(text));
      return reply.ok ? 'ok' : reply.error.kind;
    };
    expect(kind('Socket connect failed: Connection refused\n')).toBe('unreachable');
    expect(kind('HTTP/1.1 400 Bad Request\r\n\r\n')).toBe('malformed');
    expect(kind('rubbish')).toBe('malformed');
  });
});
