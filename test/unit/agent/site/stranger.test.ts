import { describe, expect, it } from 'vitest';
import { type KnownDevice, whoIs } from '../../../../agent/site/stranger.ts';
import type { Identity } from '../../../../drivers/load-driver.ts';

const identity = (value: string, basis: Identity['basis'] = 'mac'): Identity => ({
  basis,
  value,
  vendor: null,
  model: null,
  firmware: 'luxos',
  firmwareVersion: null,
  macAddress: null,
  serialNumber: null,
});
const known: KnownDevice[] = [
  { id: 'a-1', entry: 'a', identity: identity('aa'), lost: false },
  { id: 'a-2', entry: 'a', identity: identity('bb'), lost: true },
  { id: 'a-3', entry: 'a', identity: identity('cc'), lost: false },
  { id: 'b-1', entry: 'b', identity: identity('dd'), lost: true },
  { id: 'b-2', entry: 'b', identity: null, lost: true },
];

describe('who answers at the address of a-1', () => {
  it.each([
    [
      'another of its entry that is lost at its own place: moved',
      identity('bb'),
      { kind: 'moved', device: 'a-2' },
    ],
    ['one of another entry: elsewhere', identity('dd'), { kind: 'elsewhere', device: 'b-1' }],
    ['one that answers at its own place as well: a twin', identity('cc'), { kind: 'twin', device: 'a-3' }],
    ['a machine that was never seen: unknown', identity('ee'), { kind: 'unknown' }],
    ['itself: no other is known as that', identity('aa'), { kind: 'unknown' }],
    ['somebody whom only the address names: unknown', identity('bb', 'address'), { kind: 'unknown' }],
  ])('%s', (_name, who, expected) => {
    expect(whoIs(who, 'a-1', known)).toEqual(expected);
  });

  it('is elsewhere where the place itself is not known', () => {
    expect(whoIs(identity('bb'), 'z-9', known)).toEqual({ kind: 'elsewhere', device: 'a-2' });
  });
});
