import { describe, expect, it } from 'vitest';
import type { DrainDriver, ServiceReading, ServiceState } from '../../drivers/gpu/drain.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

const RATING = 90_000;
const config = (firm: string) => `
site: { id: t }
limits:
  - { id: grid, rating: ${RATING} W, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.20], firmware: luxos, model: "Antminer S19k Pro" }
gpuNodes:
${['g1', 'g2'].map((id) => `  - { id: ${id}, limit: grid, nameplate: 10.2 kW, hostWatts: 2.2 kW, reader: { kind: nvidia-smi }, cap: { kind: nvidia-smi }, drain: { kind: slurm, node: ${id} } }`).join('\n')}
workloads:
  - { id: train, nodes: [g1, g2], firm: ${firm}, flexible: 16 kW, notice: 2min, checkpoint: 1min, dollarsPerGpuHour: 2.3 }
transfers: { askedByNodes: true }
control: { restoreRampPercentPerMinute: 20 }
`;
const SEED = 21;
const MINUTE = 60_000;

/** A workload manager of one node in virtual time. */
class Manager implements DrainDriver {
  readonly kind = 'command';
  state: ServiceState = 'in-service';
  mark: string | null = null;
  working = true;
  broken = false;
  readonly writes: string[] = [];
  private readonly clock: VirtualClock;
  constructor(clock: VirtualClock) {
    this.clock = clock;
  }
  async read() {
    const requestedAt = this.clock.monotonicMs();
    if (this.broken) return fail('unreachable', 'no controller answers');
    const state = this.state === 'draining' && !this.working ? 'drained' : this.state;
    return ok({ state, mark: this.mark, reason: this.mark, requestedAt } satisfies ServiceReading);
  }
  async drain(mark: string) {
    this.writes.push(`drain ${mark}`);
    this.state = 'draining';
    this.mark = mark;
    return ok({ sent: true, note: 'drain' });
  }
  async resume() {
    this.writes.push('resume');
    this.state = 'in-service';
    this.mark = null;
    return ok({ sent: true, note: 'resume' });
  }
}

function start(firm: string) {
  const managers = new Map<string, Manager>();
  const virtual = startVirtualSite({
    seed: SEED,
    config: config(firm),
    drains: (clock) => {
      for (const id of ['g1', 'g2']) managers.set(id, new Manager(clock));
      return managers;
    },
  });
  let over = 0;
  virtual.watch = () => {
    if (virtual.site.watts('grid') > RATING) over += 1;
  };
  for (const node of virtual.nodes.values()) node.setUtilization(1);
  const caps = (id: string) => virtual.nodes.get(id)!.gpus.reduce((sum, gpu) => sum + gpu.limitWatts, 0);
  const transfer = (direction: string, watts?: number) =>
    virtual.order('transfer', { limit: 'grid', direction, workload: 'train', ...(watts ? { watts } : {}) });
  const [g1, g2] = [managers.get('g1')!, managers.get('g2')!];
  return { virtual, g1, g2, caps, transfer, over: () => over };
}

describe('hand-overs through a workload manager', () => {
  it(`drains, waits for the work, hands over, and resumes when watts are granted (seed ${SEED})`, async () => {
    const { virtual, g1, g2, caps, transfer, over } = start('0 W');
    await virtual.run(2 * MINUTE);
    const found = caps('g1');
    const { id } = transfer('ai-to-mining');
    await virtual.run(30_000);
    expect([g1.writes, g2.writes]).toEqual([[`drain ${id}`], [`drain ${id}`]]);
    expect(virtual.transfers.list()[0]?.state).toBe('shedding');
    g1.working = false;
    await virtual.run(30_000);
    expect([caps('g1'), caps('g2')]).toEqual([found, found]);
    g2.working = false;
    // Notice and checkpoint are 3 minutes: nobody has to wait for them when nothing runs.
    await virtual.run(30_000);
    expect(caps('g1')).toBeLessThan(found * 0.6);
    expect(caps('g2')).toBeLessThan(found * 0.6);
    expect(virtual.answers.find((answer) => answer.id === id && answer.status === 'done')).toBeDefined();
    await virtual.run(5 * MINUTE);
    expect([g1.writes.length, g2.writes.length]).toEqual([1, 1]);
    transfer('mining-to-ai', 5600);
    await virtual.run(5 * MINUTE);
    expect([g1.writes.at(-1), g2.writes.at(-1)]).toEqual(['resume', 'resume']);
    expect(caps('g1')).toBeGreaterThan(found * 0.6);
    expect(over(), 'tenths of a second over the limit').toBe(0);
    virtual.stop();
  });

  it(`takes the watts when the notice is over, and says that the manager does not answer (seed ${SEED})`, async () => {
    const { virtual, g1, caps, transfer } = start('0 W');
    await virtual.run(2 * MINUTE);
    const found = caps('g1');
    g1.broken = true;
    transfer('ai-to-mining');
    await virtual.run(2.5 * MINUTE);
    expect(caps('g1')).toBe(found);
    expect(virtual.conditions()).toContainEqual(
      expect.objectContaining({ code: 'workload-manager', target: 'g1' }),
    );
    await virtual.run(MINUTE);
    expect(caps('g1')).toBeLessThan(found * 0.6);
    virtual.stop();
  });

  it(`a node that leaves its drain by itself is left alone, and asks for capacity (seed ${SEED})`, async () => {
    const { virtual, g1, g2, transfer } = start('0 W');
    await virtual.run(2 * MINUTE);
    g1.working = false;
    g2.working = false;
    transfer('ai-to-mining');
    await virtual.run(3 * MINUTE);
    await g1.resume();
    g1.writes.length = 0;
    await virtual.run(MINUTE);
    expect(g1.writes).toEqual([]);
    expect(g1.state).toBe('in-service');
    expect(virtual.transfers.list().map(({ asker }) => asker)).toContain('node:g1');
    expect(g2.writes).toHaveLength(1);
    virtual.stop();
  });

  it(`what somebody else drained is left out of service (seed ${SEED})`, async () => {
    const { virtual, g1 } = start('0 W');
    g1.state = 'drained';
    await virtual.run(3 * MINUTE);
    expect(g1.writes).toEqual([]);
    virtual.stop();
  });
});

describe('caps that something else raises', () => {
  it(`are set again three times within an hour, and then the node counts at its nameplate (seed ${SEED})`, async () => {
    const { virtual, caps, g1, g2, transfer, over } = start('0 W');
    await virtual.run(2 * MINUTE);
    g1.working = false;
    g2.working = false;
    transfer('ai-to-mining');
    await virtual.run(2 * MINUTE);
    const low = caps('g1');
    const raise = () => {
      for (const gpu of virtual.nodes.get('g1')!.gpus) gpu.limitWatts = gpu.maxLimitWatts;
    };
    const codes = () =>
      virtual
        .conditions()
        .filter(({ target }) => target === 'g1')
        .map(({ code }) => code);
    for (let time = 1; time <= 3; time += 1) {
      raise();
      await virtual.run(MINUTE);
      expect(caps('g1'), `time ${time}`).toBe(low);
      expect(codes()).toContain('rose-by-itself');
      expect(codes()).not.toContain('quarantined');
    }
    raise();
    await virtual.run(2 * MINUTE);
    expect(caps('g1')).toBeGreaterThan(low);
    expect(codes()).toContain('quarantined');
    const result = virtual.controller.lastResult!;
    expect(result.inputs.find(({ facts }) => facts.id === 'g1')?.entry.quarantine?.why).toContain('4 times');
    expect(over(), 'tenths of a second over the limit').toBe(0);
    virtual.stop();
  });
});
