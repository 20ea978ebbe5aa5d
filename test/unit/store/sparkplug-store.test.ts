import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSparkplugStore } from '../../../agent/store/sparkplug-store.ts';
import type { KeptData } from '../../../agent/telemetry/sparkplug/edge-node.ts';
import { HistoryLane, keptText } from '../../../agent/telemetry/sparkplug/history.ts';
import { EPOCH, imageOf, metric } from '../../support/sparkplug-node.ts';

let folder = '';
const open = (maximumBytes = 1_000_000) => openSparkplugStore({ folder, maximumBytes, now: () => EPOCH });
const watts = (device: string | null, value: number): KeptData => ({
  device,
  metrics: [metric('powerWatts', value, EPOCH + value)],
});
const batch = (...data: KeptData[]) => ({ node: 'n', at: EPOCH, body: keptText(data) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-sparkplug-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the store of edge nodes', () => {
  it('keeps numbers and data over a restart', () => {
    const before = open();
    expect(before.lastNumber('n')).toBeNull();
    before.keepNumber('n', 255);
    before.keepNumber('n', 0);
    before.add([batch(watts('m1', 5))]);
    before.close();
    const after = open();
    expect(after.lastNumber('n')).toBe(0);
    expect(after.lastNumber('other')).toBeNull();
    expect(after.read('n', 0, 10).map(({ body }) => body)).toEqual([keptText([watts('m1', 5)])]);
    expect(after.counts().bytes).toBeGreaterThan(0);
    after.close();
  });

  it('stays within its size: the oldest goes first', () => {
    const store = open(20_000);
    for (let round = 1; round <= 1000; round += 1) store.add([batch(watts('m1', round))]);
    const { batches, bytes } = store.counts();
    expect(bytes).toBeLessThanOrEqual(20_000);
    expect(batches).toBeGreaterThan(50);
    expect(store.read('n', 0, 10_000).at(-1)!.body).toBe(keptText([watts('m1', 1000)]));
    store.close();
  });

  it('sets a damaged file aside and goes on', () => {
    open().close();
    writeFileSync(join(folder, 'sparkplug.db'), Buffer.alloc(20_000, 7));
    const store = open();
    store.keepNumber('n', 3);
    expect(store.lastNumber('n')).toBe(3);
    expect(readdirSync(folder).some((name) => name.includes('damaged'))).toBe(true);
    store.close();
  });

  it('without a disk counts on in memory, and says so', () => {
    const store = openSparkplugStore({
      folder,
      maximumBytes: 1_000_000,
      now: () => EPOCH,
      open: () => {
        throw new Error('read-only');
      },
    });
    store.keepNumber('n', 7);
    store.add([batch(watts('m1', 5))]);
    expect(store.lastNumber('n')).toBe(7);
    expect(store.read('n', 0, 10)).toEqual([]);
    expect(store.conditions().map(({ code }) => code)).toEqual(['sparkplug-unwritable']);
  });
});

describe('history on its way', () => {
  const image = imageOf({ m1: 0, m2: 0 }, 0, EPOCH);
  const values = (data: readonly KeptData[]) =>
    data.map(({ device, metrics }) => `${device} ${metrics.map(({ value }) => value).join(' ')}`);

  it('goes oldest first, one message a device, and is deleted only when it is safe', () => {
    const store = open();
    const lane = new HistoryLane(store, 'n', 30_000);
    store.add([batch(watts('m1', 1), watts('m2', 2)), batch(watts('m1', 3)), batch(watts(null, 4))]);
    expect(values(lane.next(0, image, () => true))).toEqual(['m1 1 3', 'm2 2', 'null 4']);
    expect(lane.next(1, image, () => true)).toEqual([]);
    lane.settle(29_999, EPOCH);
    expect(store.counts().batches).toBe(3);
    lane.settle(30_000, EPOCH);
    expect(store.counts().batches).toBe(0);
    store.close();
  });

  it('goes again after a loss', () => {
    const store = open();
    const lane = new HistoryLane(store, 'n', 30_000);
    store.add([batch(watts('m1', 1))]);
    lane.next(0, image, () => true);
    lane.rewind();
    lane.settle(60_000, EPOCH);
    expect(values(lane.next(60_000, image, () => true))).toEqual(['m1 1']);
    store.close();
  });

  it('of a device that is not there waits for it', () => {
    const store = open();
    const lane = new HistoryLane(store, 'n', 30_000);
    store.add([batch(watts('m1', 1), watts('m2', 2)), batch(watts('m2', 3))]);
    const without = (device: string | null) => device !== 'm2';
    expect(values(lane.next(0, image, without))).toEqual(['m1 1']);
    expect(lane.next(1, image, without)).toEqual([]);
    lane.settle(30_000, EPOCH);
    expect(store.counts().batches).toBe(2);
    lane.lookAgain();
    expect(values(lane.next(40_000, image, () => true))).toEqual(['m2 3 2']);
    lane.settle(70_000, EPOCH);
    expect(store.counts().batches).toBe(0);
    store.close();
  });

  it('of what the site has no more is given up', () => {
    const store = open();
    const lane = new HistoryLane(store, 'n', 30_000);
    store.add([batch(watts('gone', 1)), { node: 'n', at: EPOCH, body: '{}' }]);
    expect(lane.next(0, image, () => true)).toEqual([]);
    lane.settle(30_000, EPOCH);
    expect(store.counts().batches).toBe(0);
    store.close();
  });
});
