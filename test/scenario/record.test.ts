import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../agent/cli/context.ts';
import { reportCommand } from '../../agent/cli/report-command.ts';
import type { Evidence } from '../../agent/record/evidence.ts';
import type { EnergyInterval } from '../../agent/record/interval.ts';
import { SiteRecord } from '../../agent/record/site-record.ts';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

const SEED = 11;
/** The end of a UTC day falls into the run. */
const START = Date.parse('2026-11-01T23:15:00Z');

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-record-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const config = () => `
site: { id: t, timezone: America/Chicago }
limits:
  - { id: grid, rating: 300 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 120 kW, meter: ma }
  - { id: fg, parent: grid, rating: 60 kW, losses: 1.05, meter: mg }
  - { id: fm, parent: grid, rating: 100 kW }
loads: [{ id: cooling, limit: grid, worst: 30 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
  - { id: mg, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 3 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.30], firmware: luxos, model: "Antminer S19k Pro", tenant: acme }
  - { id: b, limit: fm, hosts: [10.0.1.1-10.0.1.15], firmware: luxos, model: "Antminer S21", tenant: beta }
gpuNodes:
  - { id: n1, limit: fg, nameplate: 10 kW, hostWatts: 2 kW, reader: { kind: nvidia-smi } }
  - { id: n2, limit: fg, nameplate: 10 kW, hostWatts: 2 kW, reader: { kind: nvidia-smi } }
workloads: [{ id: w, nodes: [n1, n2], firm: 2 kW, flexible: 12 kW }]
tenants: [{ id: acme }, { id: beta }]
control: { restoreRampPercentPerMinute: 20 }
store: { path: ${folder} }
`;

interface Run {
  readonly virtual: VirtualSite;
  readonly record: SiteRecord;
  readonly published: EnergyInterval[];
  context: Context;
}

function start(): Run {
  let record: SiteRecord | null = null;
  const published: EnergyInterval[] = [];
  const virtual = startVirtualSite({
    seed: SEED,
    config: config(),
    epochMs: START,
    meterLagMs: 0,
    record: (loaded, model, clock) => {
      record = new SiteRecord(loaded.config, model, clock, (interval) => published.push(interval));
      return record;
    },
  });
  const file = join(folder, 'switchyard.yaml');
  writeFileSync(file, config());
  const context = {
    flags: { config: file, json: false, quiet: true, verbose: false, timeoutMs: 5000 },
    streams: { out: () => undefined, err: () => undefined },
    environment: {},
    version: '0',
    signal: new AbortController().signal,
  } as unknown as Context;
  return { virtual, record: record!, published, context };
}

describe(`the record of a site (seed ${SEED})`, () => {
  it('closes to the counter of the grid meter in every quarter of an hour, and finds a changed byte', async () => {
    const { virtual, record, published, context } = start();
    for (const node of virtual.nodes.values()) node.setUtilization(1);
    // The truth, by the simulated physics.
    const truth = { grid: 0, mining: 0, ai: 0 };
    const truths: { at: number; grid: number; mining: number; ai: number }[] = [];
    let lastMs = 0;
    virtual.watch = (now) => {
      const hours = (now - lastMs) / 3_600_000;
      lastMs = now;
      truth.grid += virtual.site.watts('grid') * hours;
      for (const miner of virtual.miners.values()) truth.mining += miner.powerWatts * hours;
      truth.ai += virtual.site.watts('fg') * 1.05 * hours;
      if (now % 900_000 === 0) truths.push({ at: now, ...truth });
    };
    await virtual.run(20 * 60_000);
    const order = virtual.order('curtail', { limit: 'grid', fraction: 0.4, withinMs: 60_000 });
    await virtual.run(20 * 60_000);
    virtual.order('restore', { limit: 'grid' });
    await virtual.run(36 * 60_000);
    virtual.stop();
    record.close();

    const quarters = published.filter((interval) => interval.seconds === 900);
    expect(quarters.length).toBe(5);
    for (const quarter of quarters) {
      const { classes, totalWattHours, residualWattHours } = quarter;
      // The first minute of a life is not known.
      if (quarter.start === START) {
        expect(quarter.quality).toBe('MISSING');
        continue;
      }
      const [from, to] = [quarter.start - START, quarter.start - START + 900_000].map(
        (at) => truths.find((one) => one.at === at)!,
      );
      expect(['OK', 'ESTIMATED']).toContain(quarter.quality);
      const close = (value: number | null, wanted: number, share: number) =>
        expect(Math.abs(value! - wanted)).toBeLessThan(Math.abs(wanted) * share + 20);
      close(totalWattHours, to!.grid - from!.grid, 0.005);
      close(classes.aiFirmWattHours! + classes.aiFlexibleWattHours!, to!.ai - from!.ai, 0.005);
      close(classes.miningWattHours, to!.mining - from!.mining, 0.02);
      const sum =
        classes.miningWattHours! +
        classes.aiFirmWattHours! +
        classes.aiFlexibleWattHours! +
        classes.coolingWattHours! +
        classes.otherWattHours! +
        residualWattHours!;
      expect(Math.abs(sum - totalWattHours!)).toBeLessThan(totalWattHours! * 0.005);
      expect(quarter.tenants['acme']! + quarter.tenants['beta']!).toBeGreaterThan(
        classes.miningWattHours! * 0.95,
      );
      expect(classes.aiFirmWattHours).toBeGreaterThan(400);
    }
    // The same figures out of the file.
    const report = reportCommand(context, undefined, undefined, {
      from: '2026-11-01T23:15:00Z',
      to: '2026-11-02T00:30:00Z',
      interval: '15',
      format: 'csv',
    });
    const lines = report.text!.split('\n');
    expect(lines[0]).toMatch(/^begin,local,seconds,totalWattHours,quality,miningWattHours/);
    expect(lines).toHaveLength(6);
    expect(lines[2]!.split(',')[3]).toBe(String(quarters[1]!.totalWattHours));
    expect(lines[2]).toContain('2026-11-01T17:30:00-06:00');

    // What the order delivered.
    const evidence = reportCommand(context, 'event', order.id, { interval: '15' }).data as Evidence;
    expect(evidence.answers.map((answer) => answer['status'])).toEqual(['accepted', 'done']);
    expect(evidence.compliance.secondsOverAfterDeadline).toBe(0);
    expect(evidence.endedAt! - evidence.receivedAt).toBe(20 * 60_000);
    expect(evidence.baseline.watts).toBeGreaterThan(0);
    expect(evidence.delivered.minutes).toBeGreaterThan(16);
    const cut = evidence.baseline.watts! - evidence.limitWatts!;
    expect(evidence.delivered.wattHours!).toBeGreaterThan((cut * evidence.delivered.minutes) / 60);
    expect(evidence.delivered.wattHours!).toBeLessThan((cut * 1.5 * evidence.delivered.minutes) / 60);
    expect(evidence.commands.length).toBeGreaterThan(0);
    expect(evidence.trace.points.length).toBeGreaterThan(1150);

    // Untouched it holds; any changed byte of the signed day is found.
    const verify = () => reportCommand(context, undefined, undefined, { interval: '15', verify: true });
    expect(verify()).toMatchObject({ exit: 0, data: { signedDays: 1, problems: [] } });
    const database = new DatabaseSync(join(folder, 'record.db'));
    const id = Number(database.prepare("SELECT id FROM entry WHERE kind = 'energy' LIMIT 1").get()!['id']);
    const change = (sql: string) => database.exec(sql);
    change(`UPDATE entry SET body = replace(body, '"seconds":60', '"seconds":61') WHERE id = ${id}`);
    expect(verify()).toMatchObject({ exit: 1 });
    change(`UPDATE entry SET body = replace(body, '"seconds":61', '"seconds":60') WHERE id = ${id}`);
    expect(verify()).toMatchObject({ exit: 0 });
    change(`DELETE FROM entry WHERE id = ${id}`);
    expect(verify()).toMatchObject({ exit: 1 });
    database.close();
  });

  it('goes on after a restart from the counters where it stopped', async () => {
    const first = start();
    await first.virtual.run(10 * 60_000);
    const before = first.published.length;
    first.record.close();
    let second: SiteRecord | null = null;
    const published: EnergyInterval[] = [];
    first.virtual.stop();
    const virtual = startVirtualSite({
      seed: SEED,
      config: config(),
      epochMs: START + 20 * 60_000,
      meterLagMs: 0,
      record: (loaded, model, clock) => {
        second = new SiteRecord(loaded.config, model, clock, (interval) => published.push(interval));
        return second;
      },
    });
    await virtual.run(5 * 60_000);
    virtual.stop();
    second!.close();
    expect(before).toBeGreaterThan(5);
    // The counters of this second simulation begin anew: the meters say so, nothing is invented.
    const seam = published.find((interval) => interval.seconds === 60)!;
    expect(seam.start).toBe(first.published.filter((one) => one.seconds === 60).at(-1)!.start + 60_000);
    expect(seam.meters['gm']?.flags).toContain('counter-reset');
    const minutes = published.filter((interval) => interval.seconds === 60);
    expect(seam).toMatchObject({ quality: 'MISSING', totalWattHours: null, residualWattHours: null });
    expect(Object.values(seam.classes)).toEqual([null, null, null, null, 0]);
    expect(minutes.at(-1)).toMatchObject({ quality: 'OK' });
    const context = start().context;
    expect(reportCommand(context, undefined, undefined, { interval: '15', verify: true })).toMatchObject({
      exit: 0,
    });
  });
});
