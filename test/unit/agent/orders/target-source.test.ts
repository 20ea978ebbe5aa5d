import { describe, expect, it } from 'vitest';
import { TargetSource } from '../../../../agent/orders/target-source.ts';

const EPOCH = 1_790_000_000_000;
const LOWER = { type: 'set_limit', args: { limit: 'grid', watts: 100, withinMs: 30_000 } };
const RESTORE = { type: 'restore', args: { limit: 'grid' } };

function source(silence: 'hold' | 'off' = 'hold') {
  const made = new TargetSource(
    { limit: 'grid', offWatts: 100, silence, silenceAfterMs: 60_000, withinMs: 30_000 },
    0,
  );
  return {
    made,
    say: (
      target: unknown,
      ms: number,
      more: { timestamp?: number; retained?: boolean; text?: string } = {},
    ) =>
      made.receive(
        Buffer.from(
          more.text ?? JSON.stringify({ target, timestamp: more.timestamp ?? (EPOCH + ms) / 1000 }),
        ),
        more.retained ?? false,
        ms,
        EPOCH + ms,
      ),
  };
}

describe('a level that is repeated as a heartbeat', () => {
  it('lowers at once, and again at most every 30 seconds', () => {
    const { say } = source();
    expect(say(0, 1000)).toEqual(LOWER);
    expect(say(0, 11_000)).toBeNull();
    expect(say(0, 32_000)).toEqual(LOWER);
  });

  it('raises after five seconds of nothing else', () => {
    const { made, say } = source();
    say(0, 1000);
    expect(say(100, 10_000)).toBeNull();
    expect(made.cycle(14_000)).toBeNull();
    expect(say(0, 14_500)).toBeNull();
    expect(made.cycle(20_000)).toBeNull();
    say(100, 21_000);
    expect(made.cycle(26_000)).toEqual(RESTORE);
    expect(made.cycle(27_000)).toBeNull();
    expect(say(100, 30_000)).toBeNull();
    expect(made.cycle(40_000)).toBeNull();
  });

  it.each([
    ['hold', null],
    ['off', LOWER],
  ] as const)('silence is %s, also when nothing ever came; it never raises', (silence, wanted) => {
    const never = source(silence);
    expect(never.made.cycle(60_000)).toBeNull();
    expect(never.made.cycle(61_000)).toEqual(wanted);
    expect(never.made.isSilent).toBe(true);
    expect(never.made.cycle(62_000)).toBeNull();
    const about = source(silence);
    about.say(0, 1000);
    about.say(100, 2000);
    expect(about.made.cycle(70_000)).toBeNull();
    expect(about.made.cycle(80_000)).toBeNull();
  });

  it('ignores what is retained, repeated, older, far off or malformed', () => {
    const { say } = source();
    expect(say(0, 1000, { retained: true })).toBeNull();
    expect(say(0, 1000, { timestamp: EPOCH / 1000 - 90_000 })).toBeNull();
    expect(say(0, 1000, { text: '{"target":0' })).toBeNull();
    expect(say(50, 1000)).toBeNull();
    expect(say('0', 1000)).toBeNull();
    expect(
      say(0, 1000, { text: JSON.stringify({ target: 0, timestamp: EPOCH / 1000, x: 'y'.repeat(1024) }) }),
    ).toBeNull();
    expect(say(0, 2000, { timestamp: EPOCH / 1000 + 2 })).toEqual(LOWER);
    expect(say(0, 60_000, { timestamp: EPOCH / 1000 + 2 })).toBeNull();
    expect(say(0, 61_000, { timestamp: EPOCH / 1000 + 1 })).toBeNull();
  });
});
