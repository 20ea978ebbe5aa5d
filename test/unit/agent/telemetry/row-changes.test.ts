import { describe, expect, it } from 'vitest';
import { changesOf } from '../../../../agent/telemetry/row-changes.ts';

const sent = {
  id: 'm1',
  state: 'hashing',
  powerWatts: 3000,
  quality: 'good',
  hashrateThs: 100,
  voltageVolts: { l1: 230, l2: 231 },
};

describe('report by exception', () => {
  it.each([
    [
      'nothing moved out of its band',
      { powerWatts: 3025, hashrateThs: 101.5, voltageVolts: { l1: 231, l2: 230 } },
      null,
    ],
    ['power', { powerWatts: 3040 }, { powerWatts: 3040 }],
    ['a word', { state: 'sleeping' }, { state: 'sleeping' }],
    ['a figure that is no longer known', { hashrateThs: null }, { hashrateThs: null }],
    ['one phase', { voltageVolts: { l1: 230, l2: 240 } }, { voltageVolts: { l1: 230, l2: 240 } }],
  ])('%s', (_name, change, wanted) => {
    expect(changesOf(sent, { ...sent, ...change })).toEqual(
      wanted === null ? null : { id: 'm1', powerWatts: 3000, quality: 'good', ...wanted },
    );
  });

  it('sends a row whole that was never sent', () => {
    expect(changesOf(null, sent)).toBe(sent);
  });
});
