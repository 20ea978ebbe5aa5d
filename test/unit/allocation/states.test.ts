import { describe, expect, test } from 'vitest';
import {
  clearStates,
  createStates,
  readBack,
  reserveStates,
  type States,
} from '../../../agent/allocation/states.ts';

function append(
  states: States,
  one: { watts?: number; left: number; right: number; device: number; sums?: readonly number[] },
): number {
  reserveStates(states, 1);
  const at = states.size;
  states.watts[at] = one.watts ?? 0;
  states.value[at] = (one.watts ?? 0) * 2;
  states.loss[at] = (one.watts ?? 0) * 3;
  for (const [k, sum] of (one.sums ?? []).entries()) states.sums[at * states.sumCount + k] = sum;
  states.left[at] = one.left;
  states.right[at] = one.right;
  states.device[at] = one.device;
  states.size += 1;
  return at;
}

describe('the store of partial choices', () => {
  test('keeps all that is in it while it grows, several sums each', () => {
    const states = createStates(2);
    expect(states.size).toBe(0);
    const before = states.capacity;
    const count = 2 * before + 5;
    for (let n = 0; n < count; n += 1)
      append(states, { watts: n, left: n + 1, right: n + 2, device: n + 3, sums: [n + 4, n + 5] });
    expect(states.capacity).toBeGreaterThanOrEqual(count);
    for (const list of [states.watts, states.value, states.loss, states.left, states.right, states.device])
      expect(list).toHaveLength(states.capacity);
    expect(states.sums).toHaveLength(2 * states.capacity);
    for (const n of [0, 1, before - 1, before, 2 * before, count - 1]) {
      expect([states.watts[n], states.value[n], states.loss[n]]).toEqual([n, 2 * n, 3 * n]);
      expect([states.left[n], states.right[n], states.device[n]]).toEqual([n + 1, n + 2, n + 3]);
      expect([states.sums[2 * n], states.sums[2 * n + 1]]).toEqual([n + 4, n + 5]);
    }
  });

  test('does not grow while there is room, grows at once to what is asked for', () => {
    const states = createStates(1);
    const { capacity, watts } = states;
    reserveStates(states, capacity);
    expect(states.watts).toBe(watts);
    states.size = 3;
    reserveStates(states, capacity - 2);
    expect(states.capacity).toBe(2 * capacity);
    reserveStates(states, 10 * capacity);
    expect(states.capacity).toBe(3 + 10 * capacity);
    expect(states.watts).toHaveLength(3 + 10 * capacity);
  });

  test('forgets its states and keeps the room', () => {
    const states = createStates(0);
    reserveStates(states, 5000);
    states.size = 5000;
    const { watts } = states;
    clearStates(states);
    expect(states.size).toBe(0);
    expect(states.watts).toBe(watts);
  });

  test('says which modes led to a state, through devices and merged limits', () => {
    const states = createStates(0);
    const start = append(states, { left: -1, right: -1, device: -1 });
    const first = append(states, { left: start, right: 2, device: 0 });
    const second = append(states, { left: first, right: 1, device: 3 });
    const otherStart = append(states, { left: -1, right: -1, device: -1 });
    const other = append(states, { left: otherStart, right: 4, device: 1 });
    const merged = append(states, { left: second, right: other, device: -1 });
    const mode = new Int32Array(5).fill(9);
    readBack(states, merged, mode);
    expect([...mode]).toEqual([2, 4, 9, 1, 9]);
    mode.fill(9);
    readBack(states, first, mode);
    expect([...mode]).toEqual([2, 9, 9, 9, 9]);
    mode.fill(9);
    readBack(states, start, mode);
    expect([...mode]).toEqual([9, 9, 9, 9, 9]);
  });
});
