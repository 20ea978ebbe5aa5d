import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HostAlarms, renderHost } from '../../../../agent/telemetry/host-alarms.ts';
import {
  availableBytesOf,
  clockIsPossible,
  diskOfPartition,
  hottestOf,
  interfacesOf,
  partitionOf,
  pressureOf,
  synchronisedOf,
  wearOfSmartctl,
  wearPercentOf,
  writtenBytesOf,
} from '../../../../agent/telemetry/host-figures.ts';
import { type HostHealth, HostHealthReader } from '../../../../agent/telemetry/host-health.ts';

const recorded = (name: string) =>
  readFileSync(join(import.meta.dirname, '../../../golden/linux-host/vm-6.x', name), 'utf8');

describe('figures of the gateway from recorded files', () => {
  it('reads memory, pressure, traffic and what was written', () => {
    expect(availableBytesOf(recorded('meminfo'))).toBe(21_705_392 * 1024);
    expect(pressureOf(recorded('pressure-cpu'))).toEqual({ some10Percent: 98.07, some60Percent: 97.64 });
    expect(pressureOf(recorded('pressure-io'))).toEqual({ some10Percent: 0.01, some60Percent: 0.1 });
    // The loopback and interfaces that never carried anything are left out.
    expect(interfacesOf(recorded('net-dev'))).toEqual([
      { name: 'eth0', receivedBytes: 4_185_016_747, sentBytes: 10_554_927, errors: 0, drops: 0 },
    ]);
    expect(writtenBytesOf(recorded('diskstats'), 'vda')).toBe(61_767_440 * 512);
    expect(writtenBytesOf(recorded('diskstats'), 'mmcblk0')).toBeNull();
  });

  it('says nothing where a file says nothing', () => {
    for (const text of ['', 'garbage\n', '\0\0', 'eth0: 1 2 3', 'MemAvailable: x kB']) {
      expect([
        availableBytesOf(text),
        pressureOf(text),
        writtenBytesOf(text, 'sda'),
        wearPercentOf(text),
      ]).toEqual([null, null, null, null]);
      expect(interfacesOf(text)).toEqual([]);
      expect(hottestOf([text])).toBeNull();
    }
  });

  it('takes the worse type of an eMMC, and the hottest sensor that can be one', () => {
    expect(wearPercentOf('0x02 0x09\n')).toBe(90);
    expect(wearPercentOf('0x0b 0x01')).toBe(110);
    expect(wearPercentOf('0x00 0x00')).toBeNull();
    expect(hottestOf(['48312\n', '-274000', '61500', '255000', ''])).toBe(61.5);
  });

  it('finds the disk of a folder', () => {
    const mounts =
      'sysfs /sys sysfs rw 0 0\n/dev/mmcblk0p2 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/sdb1 /var/lib ext4 rw 0 0\n';
    expect(partitionOf(mounts, '/var/lib/switchyard')).toBe('sdb1');
    expect(partitionOf(mounts, '/var/library')).toBe('mmcblk0p2');
    expect(partitionOf(mounts, '/run/switchyard')).toBeNull();
    expect(['mmcblk0p2', 'sdb1', 'nvme0n1p3', 'vda', 'nvme0n1'].map(diskOfPartition)).toEqual([
      'mmcblk0',
      'sdb',
      'nvme0n1',
      'vda',
      'nvme0n1',
    ]);
  });

  it('tells the wear of NVMe and SATA disks by what smartctl prints, and nothing by anything else', () => {
    const nvme = { device: { type: 'nvme' }, nvme_smart_health_information_log: { percentage_used: 103 } };
    const table = [
      { offset: 8, name: 'Percentage Used Endurance Indicator', size: 1, value: 7 },
      { offset: 16, name: 'Another', size: 1, value: 80 },
    ];
    const sata = { ata_device_statistics: { pages: [{ number: 1, table: [] }, null, { number: 7, table }] } };
    expect(wearOfSmartctl(JSON.stringify(nvme))).toBe(103);
    expect(wearOfSmartctl(JSON.stringify(sata))).toBe(7);
    for (const nothing of [
      '',
      'smartctl: permission denied',
      'null',
      '[]',
      '{"nvme_smart_health_information_log":{"percentage_used":"3"}}',
      '{"nvme_smart_health_information_log":{"percentage_used":300}}',
      '{"ata_device_statistics":{"pages":[{"table":[{"name":"Percentage Used Endurance Indicator"}]}]}}',
      '{"ata_device_statistics":{"pages":{}}}',
    ])
      expect(wearOfSmartctl(nothing), nothing).toBeNull();
  });

  it('knows a clock that cannot be right', () => {
    expect(
      [0, Date.UTC(2026, 9, 31), Date.UTC(2026, 10, 1), Date.UTC(2031, 0, 1)].map(clockIsPossible),
    ).toEqual([false, false, true, true]);
  });

  it('takes yes and no about the clock, and nothing else', () => {
    expect(['yes\n', 'no\n', '', 'n/a'].map(synchronisedOf)).toEqual([true, false, null, null]);
  });
});

const WELL: HostHealth = {
  uptimeSeconds: 1000,
  load1: 0.4,
  cpuCount: 4,
  memoryTotalBytes: 4e9,
  memoryAvailableBytes: 3e9,
  temperatureCelsius: 52,
  diskFreeBytes: 20e9,
  diskUsedPercent: 31,
  pressurePercent: { cpu: 1, io: 0, memory: 0 },
  pressure60Percent: { io: 0, memory: 0 },
  diskWrittenBytes: 1e9,
  diskWearPercent: 20,
  interfaces: [{ name: 'eth0', receivedBytes: 1, sentBytes: 1, errors: 3, drops: 2 }],
  clockSynchronised: true,
  process: { residentBytes: 1e8, heapUsedBytes: 3e7, loopDelayP99Ms: 3, openFiles: 40 },
};

describe('alarms of the gateway', () => {
  const said = (alarms: HostAlarms, changes: Partial<HostHealth>) =>
    alarms.conditions({ ...WELL, ...changes }).map(({ code, severity }) => `${code} ${severity}`);

  it('come before it matters, by severity', () => {
    const alarms = new HostAlarms();
    expect(said(alarms, {})).toEqual([]);
    expect(said(alarms, { temperatureCelsius: 83 })).toEqual(['gateway-hot minor']);
    expect(said(alarms, { temperatureCelsius: 91, diskUsedPercent: 98.2, diskWearPercent: 90 })).toEqual([
      'gateway-hot major',
      'gateway-disk major',
      'gateway-disk-worn minor',
    ]);
    expect(said(new HostAlarms(), { memoryAvailableBytes: 1e8, clockSynchronised: false })).toEqual([
      'gateway-memory major',
      'clock-not-synchronised minor',
    ]);
    expect(said(new HostAlarms(), { pressure60Percent: { io: 55, memory: null } })).toEqual([
      'gateway-waits minor',
    ]);
  });

  it('end below where they began, not at it', () => {
    const alarms = new HostAlarms();
    expect(said(alarms, { temperatureCelsius: 79 })).toEqual([]);
    expect(said(alarms, { temperatureCelsius: 80 })).toEqual(['gateway-hot minor']);
    expect(said(alarms, { temperatureCelsius: 79 })).toEqual(['gateway-hot minor']);
    expect(said(alarms, { temperatureCelsius: 75 })).toEqual([]);
    expect(said(alarms, { temperatureCelsius: 79 })).toEqual([]);
  });

  it('are silent about what the box does not say', () => {
    const nothing = {
      temperatureCelsius: null,
      diskUsedPercent: null,
      diskWearPercent: null,
      pressure60Percent: { io: null, memory: null },
      clockSynchronised: null,
    };
    expect(said(new HostAlarms(), nothing)).toEqual([]);
    expect(renderHost({ ...WELL, ...nothing })).toBe(
      '3000 of 4000 MB memory free, load 0.4 on 4 cores, eth0: 3 frames damaged, 2 dropped',
    );
  });
});

describe('the reader on this machine', () => {
  it('says that a clock of 1970 is not synchronised, whatever the host believes', async () => {
    const reader = new HostHealthReader('/', () => 300_000);
    try {
      expect(reader.read().clockSynchronised).toBe(false);
      expect((await reader.readAll()).clockSynchronised).toBe(false);
    } finally {
      reader.close();
    }
  });

  it('gives the same figures to all who ask within seconds', async () => {
    const reader = new HostHealthReader('/');
    try {
      const first = reader.read();
      expect(reader.read()).toBe(first);
      expect((await reader.readAll()).memoryTotalBytes).toBeGreaterThan(0);
    } finally {
      reader.close();
    }
  });
});
