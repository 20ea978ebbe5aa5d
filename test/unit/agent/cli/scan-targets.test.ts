import { describe, expect, it } from 'vitest';
import { progressLine, scanTargets } from '../../../../agent/cli/scan-targets.ts';

const hostsOf = (...words: string[]) => {
  const targets = scanTargets(words);
  return targets.ok ? targets.hosts.map(({ host }) => host) : targets.message;
};

describe('what is scanned', () => {
  it('is every address of every word, in the order written', () => {
    expect(hostsOf('10.1.0.0/30', '10.2.0.7-9', 'rig.example')).toEqual([
      '10.1.0.1',
      '10.1.0.2',
      '10.2.0.7',
      '10.2.0.8',
      '10.2.0.9',
      'rig.example',
    ]);
  });

  it('is loopback only where it is named', () => {
    expect(hostsOf('126.255.255.254-127.0.0.1')).toEqual(['126.255.255.254', '126.255.255.255']);
    expect(hostsOf('127.0.0.1')).toEqual(['127.0.0.1']);
    expect(hostsOf('localhost')).toEqual(['localhost']);
  });

  it.each([
    ['224.0.0.5', '224.0.0.5 is not scanned: it is multicast: it names a group, not a device.'],
    [
      '239.255.0.0/24',
      '239.255.0.0/24 is not scanned: 239.255.0.1 is multicast: it names a group, not a device.',
    ],
    ['169.254.169.254', '169.254.169.254 is not scanned: it hands out the credentials of cloud machines.'],
    [
      '169.254.169.0/24',
      '169.254.169.0/24 is not scanned: 169.254.169.254 hands out the credentials of cloud machines.',
    ],
    ['255.255.255.255', '255.255.255.255 is not scanned: it is reserved, or broadcast.'],
    ['0.0.0.0', '0.0.0.0 is not scanned: it means "this network" and is no host.'],
    ['[ff02::1]', '[ff02::1] is not scanned: ff02::1 is multicast: it names a group, not a device.'],
    ['10.0.0.0/33', '"10.0.0.0/33" is not a network: write for example 10.1.0.0/24.'],
  ])('is not %s', (word, message) => {
    expect(hostsOf('10.1.0.1', word)).toBe(message);
  });

  it('is never more than one network can hold', () => {
    expect(hostsOf('10.1.0.0/16', '10.2.0.0/16')).toBe(
      '131068 addresses are more than 65536: scan in parts.',
    );
  });
});

describe('progress', () => {
  it('says how far, what was found and how long it will take', () => {
    expect(progressLine(0, 100, 0, 0)).toBe(`[${'.'.repeat(24)}] 0 of 100, 0 found`);
    expect(progressLine(25, 100, 3, 5000)).toBe(
      `[${'#'.repeat(6)}${'.'.repeat(18)}] 25 of 100, 3 found, 15 s left`,
    );
    expect(progressLine(100, 100, 9, 20_000)).toBe(`[${'#'.repeat(24)}] 100 of 100, 9 found`);
  });
});
