import { describe, expect, it } from 'vitest';
import { renderMiner } from '../../../../agent/cli/render-device.ts';
import { minerReading } from '../../../support/readings.ts';

describe('a miner in a few lines', () => {
  const hashrateOf = (rejectedPercent: number | null) =>
    renderMiner({ ...minerReading(0, { rejectedPercent }), address: '10.0.0.7:4028' })
      .split('\n')
      .find((line) => line.startsWith('  hashrate'));

  it('says how many of its shares were rejected, where it tells', () => {
    expect(hashrateOf(3.26)).toBe(
      '  hashrate     120 TH/s of 120 TH/s, 23 J/TH, 3.3 % of its shares rejected',
    );
    expect(hashrateOf(0)).toBe('  hashrate     120 TH/s of 120 TH/s, 23 J/TH, 0 % of its shares rejected');
    expect(hashrateOf(null)).toBe('  hashrate     120 TH/s of 120 TH/s, 23 J/TH');
  });
});
