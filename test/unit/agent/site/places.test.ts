import { describe, expect, it } from 'vitest';
import type { Condition } from '../../../../agent/site/alarms.ts';
import { groupByCause, placesOf } from '../../../../agent/site/first-cause.ts';
import { deviceModel, deviceState, limitModel, siteModel, snapshotOf } from '../../../support/site-states.ts';

const condition = (target: string, more: Partial<Condition> = {}): Condition => ({
  code: 'device-silent',
  severity: 'minor',
  target,
  message: `${target} is silent`,
  nextStep: `look at ${target}`,
  ...more,
});
const IDS = ['a', 'b', 'c', 'd', 'e', 'f'];
/** What is told when `ids` are in trouble and share what `shares` says, one device for each of `all`. */
const told = (
  shares: (id: string) => readonly string[],
  ids: readonly string[] = IDS,
  more: (id: string) => Partial<Condition> = () => ({}),
  all: readonly string[] = IDS,
) =>
  groupByCause(
    ids.map((id) => condition(id, more(id))),
    () => all.map((id) => ({ id, shares: shares(id) })),
  );

describe('what devices share', () => {
  const model = siteModel(
    [limitModel('grid'), limitModel('hall', { parent: 'grid' }), limitModel('rack', { parent: 'hall' })],
    [
      deviceModel('m', { limit: 'rack', location: { building: 'north', row: '2', rack: '7', slot: '1' } }),
      deviceModel('half', { limit: 'grid', entry: 'e2', location: { rack: '9' } }),
      deviceModel('row', { location: { row: '3' } }),
      deviceModel('plain'),
    ],
  );
  const shares = (
    id: string,
    address = '10.1.2.3:4028',
    inventory: 'present' | 'expected' | 'removed' = 'present',
  ) =>
    placesOf(
      model,
      snapshotOf({
        devices: [
          deviceState(id, {
            address,
            inventory,
            limit: model.devices.find((one) => one.id === id)?.limit ?? 'grid',
          }),
        ],
      }),
    )[0]?.shares;

  it('is entry, place, network, the limits below the grid connection, and the site', () => {
    expect(shares('m')).toEqual([
      'entry hall',
      'rack north.2.7',
      'row north.2',
      'building north',
      'network 10.1.2.0/24',
      'limit hall',
      'limit rack',
      'site s',
    ]);
    expect(shares('half')).toEqual(['entry e2', 'rack 9', 'network 10.1.2.0/24', 'site s']);
    expect(shares('row')).toEqual(['entry hall', 'row 3', 'network 10.1.2.0/24', 'site s']);
    expect(shares('plain', '192.168.100.200')).toEqual(['entry hall', 'network 192.168.100.0/24', 'site s']);
  });

  it('is no network where the address is none of four numbers', () => {
    for (const address of ['nvidia-smi', '10.1.2', '10.1.2.3.4', 'x10.1.2.3:1', '10.1.2.3x', 'a.b.c.d:1'])
      expect(shares('plain', address), address).toEqual(['entry hall', 'site s']);
  });

  it('is nothing for who was never seen, is removed or not configured', () => {
    expect(shares('m', '10.1.2.3:1', 'expected')).toBeUndefined();
    expect(shares('m', '10.1.2.3:1', 'removed')).toBeUndefined();
    expect(shares('stranger')).toBeUndefined();
  });
});

describe('what is told of a first cause', () => {
  const head = (cause: string) => ({
    count: 6,
    firstCause: cause,
    devices: IDS,
    severity: 'major',
    code: 'group-silent',
  });

  it.each([
    [
      'entry hall-a',
      'hall-a',
      'hall-a',
      'Check the switch and the supply that they share before any single device.',
    ],
    [
      'rack r.1',
      'r.1',
      'rack r.1',
      'Check the switch and the supply that they share before any single device.',
    ],
    ['row r', 'r', 'row r', 'Check the switch and the supply that they share before any single device.'],
    [
      'building b',
      'b',
      'building b',
      'Check the switch and the supply that they share before any single device.',
    ],
    [
      'network 10.1.0.0/24',
      '10.1.0.0/24',
      'network 10.1.0.0/24',
      'Check the switch or router of this network before any single device.',
    ],
    [
      'limit f',
      'f',
      'limit f',
      'Look at the meter and the breaker of this limit, then at the switch behind it.',
    ],
    ['site my site', 'my site', 'my site', "Check the gateway's own network before anything else."],
  ])('%s', (cause, target, where, nextStep) => {
    expect(told(() => [cause])).toEqual([
      {
        ...head(cause),
        target,
        message: `6 devices of ${where} fell silent: most likely one common cause.`,
        nextStep,
      },
    ]);
  });

  it('is, for other troubles, the first of the worst of them', () => {
    const severities = {
      a: 'info',
      b: 'minor',
      c: 'major',
      d: 'major',
      e: 'critical',
      f: 'critical',
    } as const;
    const group = (ids: readonly string[]) =>
      told(
        () => ['rack r'],
        ids,
        (id) => ({ code: 'x', severity: severities[id as 'a'] }),
        ids,
      );
    expect(group(IDS)).toEqual([
      {
        code: 'x',
        severity: 'critical',
        target: 'r',
        count: 6,
        firstCause: 'rack r',
        devices: IDS,
        message: '6 devices of rack r have the same trouble, most likely one cause. The first: e is silent',
        nextStep: 'look at e',
      },
    ]);
    expect(group(['d', 'c', 'b', 'a', 'a2'])[0]).toMatchObject({ severity: 'major', nextStep: 'look at d' });
  });

  it('names two hundred and fifty devices and counts them all', () => {
    const many = Array.from({ length: 300 }, (_, n) => `m${n}`);
    const [alarm] = told(() => ['entry hall'], many, undefined, many);
    expect(alarm).toMatchObject({ count: 300 });
    expect(alarm!.devices).toEqual(many.slice(0, 250));
  });
});

describe('a cause', () => {
  const codes = (conditions: readonly Condition[]) =>
    conditions.map(({ code, target }) => `${code} ${target}`);

  it('takes five, and half of those that share it', () => {
    const shares = () => ['entry h'];
    expect(told(shares, IDS.slice(0, 4))).toHaveLength(4);
    expect(codes(told(shares, IDS.slice(0, 5)))).toEqual(['group-silent h']);
    const ten = Array.from({ length: 10 }, (_, n) => `m${n}`);
    expect(codes(told(shares, ten.slice(0, 5), undefined, ten))).toEqual(['group-silent h']);
    expect(told(shares, ten.slice(0, 5), undefined, [...ten, 'm10'])).toHaveLength(5);
  });

  it('that explains as much as another is the narrower one, then the first by name', () => {
    expect(
      codes(told(() => ['site s', 'limit l', 'network n', 'building b', 'row r', 'rack k', 'entry e'])),
    ).toEqual(['group-silent e']);
    expect(codes(told(() => ['site s', 'limit l', 'network n', 'building b', 'row r', 'rack k']))).toEqual([
      'group-silent k',
    ]);
    expect(codes(told(() => ['site s', 'limit l', 'network n', 'building b', 'row r']))).toEqual([
      'group-silent r',
    ]);
    expect(codes(told(() => ['site s', 'limit l', 'network n', 'building b']))).toEqual(['group-silent b']);
    expect(codes(told(() => ['site s', 'limit l', 'network n']))).toEqual(['group-silent n']);
    expect(codes(told(() => ['site s', 'limit l']))).toEqual(['group-silent l']);
    expect(codes(told(() => ['limit z', 'limit l']))).toEqual(['group-silent l']);
    expect(codes(told(() => ['limit l', 'limit z']))).toEqual(['group-silent l']);
  });

  it('that contradicts fewer is better than a narrower one', () => {
    const all = [...IDS, 'g', 'h'];
    const shares = (id: string) => [
      ...(IDS.includes(id) || id === 'g' ? ['entry e'] : []),
      ...(IDS.includes(id) ? ['limit l'] : []),
    ];
    expect(codes(told(shares, IDS, undefined, all))).toEqual(['group-silent l']);
  });

  it('of which some are fresh says all of them, and who is fresh and alone waits', () => {
    const fresh = (id: string) => (id === 'a' ? { fresh: true as const } : {});
    expect(codes(told(() => ['entry h'], IDS, fresh))).toEqual(['group-silent h']);
    expect(codes(told(() => [], IDS, fresh))).toEqual(IDS.slice(1).map((id) => `device-silent ${id}`));
    expect(codes(told(() => [], ['a', 'b'], fresh))).toEqual(['device-silent b']);
  });

  it('of silence takes along what follows from it and nothing else', () => {
    const place = () => [...IDS, 'z'].map((id) => ({ id, shares: ['entry h'] }));
    const others = ['does-not-obey', 'quarantined', 'rose-by-itself', 'miner-fault'].map((code) =>
      condition('a', { code }),
    );
    const silent = IDS.map((id) => condition(id));
    expect(
      codes(groupByCause([...others, ...silent, condition('z', { code: 'quarantined' })], place)),
    ).toEqual(['miner-fault a', 'group-silent h', 'quarantined z']);
  });

  it('has a name of its own for each kind of trouble', () => {
    const both = IDS.flatMap((id) => [condition(id, { code: 'x' }), condition(id, { code: 'y' })]);
    expect(codes(groupByCause(both, () => IDS.map((id) => ({ id, shares: ['entry h'] }))))).toEqual([
      'x h',
      'y h',
    ]);
  });
});
