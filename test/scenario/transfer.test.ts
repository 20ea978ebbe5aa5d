import { describe, expect, it } from 'vitest';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/** 300 miners of three families and 56 GPU nodes of 10.2 kW: the grid has no room for both at full power. */
const NODES = 56;
const FIRM = 280_000;
const RATING = 1_390_000;
const ids = Array.from({ length: NODES }, (_, n) => `g${n + 1}`);
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: ${RATING} W, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 330 kW, meter: ma }
  - { id: fb, parent: grid, rating: 400 kW, meter: mb }
  - { id: fc, parent: grid, rating: 400 kW, meter: mc }
  - { id: fg, parent: grid, rating: 600 kW, meter: mg, losses: 1.02 }
loads: [{ id: cooling, limit: grid, worst: 40 kW }]
meters:
${['gm', 'ma', 'mb', 'mc', 'mg'].map((id, n) => `  - { id: ${id}, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: ${n + 1} } }`).join('\n')}
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.100], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: b, limit: fb, hosts: [10.0.1.1-10.0.1.100], firmware: bitmain, model: "Antminer S21" }
  - { id: c, limit: fc, hosts: [10.0.2.1-10.0.2.100], firmware: whatsminer, model: "Whatsminer M60S" }
gpuNodes:
${ids.map((id) => `  - { id: ${id}, limit: fg, nameplate: 10.2 kW, hostWatts: 2.2 kW, reader: { kind: nvidia-smi }, cap: { kind: nvidia-smi } }`).join('\n')}
workloads:
  - { id: train, nodes: [${ids.join(', ')}], firm: ${FIRM} W, flexible: 300 kW, notice: 30s, checkpoint: 30s, dollarsPerGpuHour: 2.3 }
control: { restoreRampPercentPerMinute: 10 }
`;

function faults(_id: string, random: () => number) {
  return random() < 0.05 ? { disobeys: true } : {};
}

/** Caps and host parts of all nodes together: what AI may draw. */
function aiWatts(virtual: VirtualSite): number {
  let sum = 0;
  for (const node of virtual.nodes.values())
    sum += node.hostWatts + node.gpus.reduce((watts, gpu) => watts + gpu.limitWatts, 0);
  return sum;
}

interface Judge {
  limitWatts: number;
  /** The limit before, until the deadline of the new one. */
  graceUntil: number;
  graceWatts: number;
  over: Record<string, number>;
  worst: Record<string, number>;
  leastAiWatts: number;
}

function judge(virtual: VirtualSite): Judge {
  const run: Judge = {
    limitWatts: RATING,
    graceUntil: 0,
    graceWatts: RATING,
    over: {},
    worst: {},
    leastAiWatts: Number.POSITIVE_INFINITY,
  };
  const ratings = { fa: 330_000, fb: 400_000, fc: 400_000, fg: 600_000 };
  virtual.watch = (now) => {
    const grid = now < run.graceUntil ? run.graceWatts : run.limitWatts;
    for (const [id, most] of Object.entries({ grid, ...ratings })) {
      const excess = virtual.site.watts(id) - most;
      if (excess <= 0) continue;
      run.over[id] = (run.over[id] ?? 0) + 0.1;
      run.worst[id] = Math.max(run.worst[id] ?? 0, excess);
    }
    run.leastAiWatts = Math.min(run.leastAiWatts, aiWatts(virtual));
  };
  return run;
}

function limitGrid(virtual: VirtualSite, run: Judge, watts: number): void {
  const withinMs = 60_000;
  run.graceWatts = run.limitWatts;
  run.graceUntil = virtual.clock.monotonicMs() + withinMs;
  run.limitWatts = watts;
  expect(virtual.order('set_limit', { limit: 'grid', watts, withinMs }).status).toBe('accepted');
}

const MINUTE = 60_000;
const SEEDS = [11, 12, 13];

describe('200 kW from mining to AI and back, three times', () => {
  it.each(SEEDS)(
    'no limit is exceeded and firm AI keeps its floor while the grid limit moves and 5 % disobey (seed %i)',
    async (seed) => {
      const virtual = startVirtualSite({
        seed,
        config: CONFIG,
        faults,
        gpu: { minWatts: 200, maxWatts: 1000, foundWatts: 500 },
      });
      for (const node of virtual.nodes.values()) node.setUtilization(1);
      const run = judge(virtual);
      await virtual.run(2 * MINUTE);
      const found = aiWatts(virtual);
      for (let round = 1; round <= 3; round += 1) {
        const there = virtual.order('transfer', {
          limit: 'grid',
          watts: 200_000,
          direction: 'mining-to-ai',
          workload: 'train',
        });
        expect(there.status).toBe('accepted');
        if (round === 2) limitGrid(virtual, run, 1_300_000);
        await virtual.run(8 * MINUTE);
        if (round === 3) limitGrid(virtual, run, 1_250_000);
        await virtual.run(6 * MINUTE);
        const note = () =>
          `seed ${seed} round ${round}: ${JSON.stringify({ run, ai: aiWatts(virtual), transfers: virtual.transfers.list().map(({ id, state, watts, reason }) => ({ id, state, watts, reason })), answers: virtual.answers.slice(-6), books: virtual.transfers.memory.accounts['grid'] })}`;
        expect(aiWatts(virtual) - found, note()).toBeGreaterThanOrEqual(199_000);
        expect(
          virtual.answers.find((answer) => answer.id === there.id && answer.status === 'done'),
          note(),
        ).toBeDefined();
        const back = virtual.order('transfer', {
          limit: 'grid',
          watts: 200_000,
          direction: 'ai-to-mining',
          workload: 'train',
        });
        await virtual.run(3 * MINUTE);
        expect(
          virtual.answers.find((answer) => answer.id === back.id && answer.status === 'done'),
          note(),
        ).toBeDefined();
        expect(aiWatts(virtual), note()).toBe(found);
        if (round > 1) {
          virtual.order('restore', {});
          run.limitWatts = RATING;
        }
        await virtual.run(8 * MINUTE);
        expect(run.over, note()).toEqual({});
        expect(run.leastAiWatts, note()).toBeGreaterThanOrEqual(FIRM);
      }
      // Mining has the power again.
      expect(virtual.site.watts('grid')).toBeGreaterThan(RATING * 0.9);
      virtual.stop();
    },
  );
});
