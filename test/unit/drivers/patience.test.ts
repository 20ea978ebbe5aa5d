import { describe, expect, it } from 'vitest';
import { createPatience } from '../../../drivers/miners/patience.ts';
import type { FailureKind } from '../../../protocols/result.ts';

const failure = (kind: FailureKind, connected = true) => ({ kind, message: kind, connected });

describe('the patience of one reading', () => {
  it('bears one time-out, and is over with the second', () => {
    const patience = createPatience();
    expect(patience.endsAt(failure('timeout'))).toBe(false);
    expect(patience).toMatchObject({ isOver: false, isGone: false });
    expect(patience.endsAt(failure('timeout'))).toBe(true);
    expect(patience).toMatchObject({ isOver: true, isGone: false });
  });

  it.each(['refused', 'unsupported', 'malformed', 'unreachable'] as const)(
    'bears any number of parts that are not there (%s)',
    (kind) => {
      const patience = createPatience();
      for (let part = 0; part < 5; part += 1) expect(patience.endsAt(failure(kind))).toBe(false);
      expect(patience).toMatchObject({ isOver: false, isGone: false });
    },
  );

  it('is over at once where nobody takes the connection', () => {
    const patience = createPatience();
    expect(patience.endsAt(failure('unreachable', false))).toBe(true);
    expect(patience).toMatchObject({ isOver: true, isGone: true });
  });
});
