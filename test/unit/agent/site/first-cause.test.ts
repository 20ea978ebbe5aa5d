import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Condition } from '../../../../agent/site/alarms.ts';
import { type DevicePlace, groupByCause } from '../../../../agent/site/first-cause.ts';

const id = (hall: string, index: number) => `${hall}-${String(index + 1).padStart(3, '0')}`;

/** Halls of 240 miners: each an entry and a limit, two racks of 120, one network for both halls' first racks. */
const places: DevicePlace[] = ['a', 'b'].flatMap((hall) =>
  Array.from({ length: 240 }, (_, index) => ({
    id: id(hall, index),
    shares: [
      `entry ${hall}`,
      `rack ${hall}.${index < 120 ? 1 : 2}`,
      `network 10.${index < 120 ? 0 : 1}.${hall === 'a' ? 0 : 1}.0/24`,
      `limit feeder-${hall}`,
      'site s',
    ],
  })),
);
const condition = (target: string, code = 'device-silent', severity: Condition['severity'] = 'minor') =>
  ({ code, severity, target, message: `${target} ${code}`, nextStep: 'look' }) as const;
const silentIn = (hall: string, from: number, to: number, code?: string) =>
  Array.from({ length: to - from }, (_, index) => condition(id(hall, from + index), code));
const group = (conditions: readonly Condition[]) => groupByCause(conditions, () => places);
const told = (conditions: readonly Condition[]) =>
  group(conditions).map(({ code, target, count }) => `${code} ${target} ${count ?? 1}`);

describe('first causes', () => {
  it('make one dead switch one alarm, not 240', () => {
    const [alarm, ...more] = group(silentIn('a', 0, 240));
    expect(more).toEqual([]);
    expect(alarm).toMatchObject({
      code: 'group-silent',
      target: 'a',
      severity: 'major',
      count: 240,
      firstCause: 'entry a',
    });
    expect(alarm!.devices).toHaveLength(240);
  });

  it('are as narrow as what is silent', () => {
    expect(told(silentIn('a', 0, 120))).toEqual(['group-silent a.1 120']);
    expect(told([...silentIn('a', 0, 120), condition('b-003')])).toEqual([
      'group-silent a.1 120',
      'device-silent b-003 1',
    ]);
  });

  it('tell none of a hall one by one while it falls silent', () => {
    const falling = (count: number) =>
      silentIn('a', 0, count).map((one) => ({ ...one, fresh: true as const }));
    for (const count of [1, 4, 30, 59]) expect(group(falling(count))).toEqual([]);
    expect(told(falling(70))).toEqual(['group-silent a.1 70']);
    expect(told(falling(239))).toEqual(['group-silent a 239']);
    expect(told([...falling(3), condition('b-001')])).toEqual(['device-silent b-001 1']);
  });

  it('are two where two places are silent, and one where everything is', () => {
    expect(told([...silentIn('a', 0, 120), ...silentIn('b', 120, 240)])).toEqual([
      'group-silent a.1 120',
      'group-silent b.2 120',
    ]);
    expect(told([...silentIn('a', 0, 240), ...silentIn('b', 0, 240)])).toEqual(['group-silent s 480']);
  });

  it('keep their names apart where an entry and a limit have the same id', () => {
    const same = places.slice(0, 12).map(
      ({ id: device }, index): DevicePlace => ({
        id: device,
        shares: index < 6 ? ['entry a', 'limit c'] : ['entry z', 'limit a'],
      }),
    );
    const halves = [...same.slice(0, 6), ...same.slice(6)].map(({ id: device }) => condition(device));
    const twins = [
      ...same.slice(0, 6),
      ...same.slice(6).map(({ id: device }) => ({ id: device, shares: ['limit a'] })),
    ];
    expect(groupByCause(halves, () => same).map(({ target }) => target)).toEqual(['a', 'z']);
    expect(groupByCause(halves, () => twins).map(({ target }) => target)).toEqual(['a', 'limit a']);
  });

  it('are none for a few here and there', () => {
    const few = [condition('a-001'), condition('a-090'), condition('b-001'), condition('b-200')];
    expect(group(few)).toEqual(few);
    const scattered = Array.from({ length: 40 }, (_, index) => condition(id('a', index * 6)));
    expect(group(scattered)).toEqual(scattered);
  });

  it('take along what follows from silence, and leave what does not', () => {
    expect(
      told([
        ...silentIn('a', 0, 240),
        ...silentIn('a', 0, 240, 'does-not-obey'),
        ...silentIn('a', 3, 5, 'quarantined'),
        condition('a-007', 'wrong-device'),
        condition('b-001', 'quarantined'),
      ]),
    ).toEqual(['group-silent a 240', 'wrong-device a-007 1', 'quarantined b-001 1']);
  });

  it('also join other troubles that many devices share', () => {
    expect(group(silentIn('a', 0, 240, 'does-not-obey'))).toMatchObject([
      { code: 'does-not-obey', target: 'a', count: 240, severity: 'minor', firstCause: 'entry a' },
    ]);
  });

  it('leave conditions of limits and meters alone, in their order', () => {
    const others = Array.from({ length: 9 }, (_, index) =>
      condition(`meter-${index}`, 'meter-silent', 'critical'),
    );
    expect(group(others)).toEqual(others);
    expect(told([others[0]!, ...silentIn('a', 0, 240), others[1]!])).toEqual([
      'meter-silent meter-0 1',
      'group-silent a 240',
      'meter-silent meter-1 1',
    ]);
  });

  it('look at no place while there is nothing to group', () => {
    const few = [condition('a-001')];
    expect(
      groupByCause(few, () => {
        throw new Error('not needed');
      }),
    ).toEqual(few);
  });

  it('lose no device and name none twice', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: places.length - 1 })), (indexes) => {
        const ids = indexes.map((index) => places[index]!.id);
        const conditions = group(ids.map((one) => condition(one)));
        const total = conditions.reduce((sum, { count = 1 }) => sum + count, 0);
        expect(total).toBe(ids.length);
        expect(new Set(conditions.map(({ code, target }) => `${code}:${target}`)).size).toBe(
          conditions.length,
        );
      }),
    );
  });
});
