import { describe, expect, it } from 'vitest';
import { onAbort } from '../../../protocols/on-abort.ts';

describe('what waits for one signal', () => {
  it('is called once each, in order, and not when taken back', () => {
    const controller = new AbortController();
    const called: string[] = [];
    onAbort(controller.signal, () => called.push('a'));
    const takeBack = onAbort(controller.signal, () => called.push('b'));
    onAbort(controller.signal, () => called.push('c'));
    takeBack();
    controller.abort();
    expect(called).toEqual(['a', 'c']);
  });

  it('hangs on its own signal alone', () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const called: string[] = [];
    onAbort(other.signal, () => called.push('other'));
    onAbort(one.signal, () => called.push('first'));
    one.abort();
    expect(called).toEqual(['first']);
  });
});
