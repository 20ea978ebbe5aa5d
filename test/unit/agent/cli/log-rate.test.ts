import { describe, expect, it } from 'vitest';
import { LogRate } from '../../../../agent/cli/log-rate.ts';
import { boundedLog } from '../../../../agent/cli/run-log.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function watched() {
  const clock = new VirtualClock();
  const told: [string, number][] = [];
  return { clock, told, rate: new LogRate(clock, (text, count) => told.push([text, count])) };
}

describe('the rate of the log', () => {
  it('writes what comes now and then, and counts a flood', async () => {
    const { clock, told, rate } = watched();
    let written = 0;
    for (let index = 0; index < 10_000; index += 1) if (rate.admit('broker lost')) written += 1;
    expect(written).toBe(20);
    expect(rate.admit('decision')).toBe(true);
    expect(told).toEqual([]);
    await clock.advance(60_000);
    expect(told).toEqual([['broker lost', 9980]]);
    expect(rate.admit('broker lost')).toBe(true);
    await clock.advance(120_000);
    expect(told).toHaveLength(1);
  });

  it('holds a flood of texts that all differ, in bounded memory', async () => {
    const { clock, told, rate } = watched();
    let written = 0;
    for (let index = 0; index < 50_000; index += 1) if (rate.admit(`device ${index}`)) written += 1;
    expect(written).toBe(600);
    await clock.advance(60_000);
    expect(told).toEqual([['other lines', 49_400]]);
  });

  it('holds in the log itself: ten thousand warnings are twenty lines and one count', async () => {
    const clock = new VirtualClock();
    const lines: string[] = [];
    const log = boundedLog('info', clock, { write: (line: string) => lines.push(line) });
    for (let index = 0; index < 10_000; index += 1) log.warn({ reason: `${index}` }, 'broker lost');
    log.debug('not at this level');
    await clock.advance(60_000);
    expect(lines).toHaveLength(21);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ level: 40, repeated: 9980, msg: 'broker lost' });
  });
});
