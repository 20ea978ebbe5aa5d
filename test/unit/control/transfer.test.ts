import { describe, expect, it } from 'vitest';
import { applyTransfer, restoreTransfers } from '../../../agent/control/transfer.ts';
import { permitsOf } from '../../../agent/control/transfer-permits.ts';
import {
  type LimitEvidence,
  NO_TRANSFERS,
  type NodeEvidence,
  TRANSFER_RULES,
  type TransferEffect,
  type TransferInput,
  type TransferRequest,
  type TransferSite,
  type TransferState,
} from '../../../agent/control/transfer-state.ts';
import type { ServiceState } from '../../../drivers/gpu/drain.ts';

const SITE: TransferSite = {
  limits: [
    { id: 'grid', parent: null, gain: 1 },
    { id: 'fg', parent: 'grid', gain: 1.1 },
  ],
  nodes: [
    { id: 'g1', limit: 'fg', cappable: true, managed: false, nameplateWatts: 10_000 },
    { id: 'g2', limit: 'fg', cappable: true, managed: false, nameplateWatts: 10_000 },
  ],
  workloads: [
    {
      id: 'job',
      nodes: ['g1', 'g2'],
      firmWatts: 8000,
      flexibleWatts: 12_000,
      noticeMs: 60_000,
      checkpointMs: 30_000,
    },
  ],
};
const LEVELS = [5000, 6000, 7000, 8000, 9000, 10_000];
/** The same with workload managers, and nothing promised for certain. */
const MANAGED: TransferSite = {
  ...SITE,
  nodes: SITE.nodes.map((node) => ({ ...node, managed: true })),
  workloads: SITE.workloads.map((workload) => ({ ...workload, firmWatts: 0, flexibleWatts: 20_000 })),
};
const EPOCH = 1_790_000_000_000;

/** A bench: what the evidence says is set by hand, one tick at a time. */
class Bench {
  state: TransferState = NO_TRANSFERS;
  effects: readonly TransferEffect[] = [];
  now = 0;
  worst: Record<string, number> = { grid: 100_000, fg: 10_000 };
  caps: Record<string, number> = { g1: 5000, g2: 5000 };
  inForce = 100_000;
  minersUp = 5;
  minersWorst = 80_000;
  sampledAt: number | null | 'now' = 'now';
  site = SITE;
  service: Record<string, ServiceState> = {};

  apply(input: TransferInput): this {
    const result = applyTransfer(this.site, TRANSFER_RULES, this.state, input);
    this.state = result.state;
    this.effects = result.effects;
    return this;
  }

  ask(more: Partial<TransferRequest> = {}): this {
    return this.apply({
      kind: 'request',
      request: {
        id: 't1',
        direction: 'mining-to-ai',
        workload: 'job',
        limit: 'grid',
        watts: 4000,
        until: null,
        asker: 'order:t1',
        priority: 0,
        notice: 'flexible',
        onlyNodes: null,
        ...more,
      },
    });
  }

  tick(ms = 1000): this {
    this.now += ms;
    const sampledAt = this.sampledAt === 'now' ? this.now : this.sampledAt;
    const limit = (id: string, capacity: number): LimitEvidence => ({
      id,
      inForceWatts: capacity,
      roomWatts: capacity,
      worstWatts: this.worst[id]!,
      expectedWatts: this.worst[id]!,
      loadsWatts: 0,
      minersWorstWatts: id === 'grid' ? this.minersWorst : 0,
      minersUp: id === 'grid' ? this.minersUp : 0,
      sampledAt,
      conversionWatts: 0,
      lowered: false,
    });
    const nodes = SITE.nodes.map(
      ({ id }): NodeEvidence => ({
        id,
        present: true,
        fresh: true,
        worstWatts: this.caps[id]!,
        levelsWatts: LEVELS,
        sampledAt: this.now,
        service: this.service[id] ? { state: this.service[id], requestedAt: this.now } : null,
      }),
    );
    return this.apply({
      kind: 'tick',
      now: this.now,
      epochMs: EPOCH + this.now,
      limits: [limit('grid', this.inForce), limit('fg', 40_000)],
      nodes,
    });
  }

  ticks(count: number): this {
    for (let n = 0; n < count; n += 1) this.tick();
    return this;
  }

  get phase(): string {
    return this.state.transfers[0]?.phase ?? 'none';
  }

  get permits() {
    return permitsOf(SITE, this.state);
  }
}

/** Granted and taken up: 4 kW on top of 5 kW each. */
function active(more: Partial<TransferRequest> = {}): Bench {
  const bench = new Bench().tick().ask(more).ticks(2);
  bench.worst['grid'] = 95_000;
  bench.ticks(10);
  bench.caps = { g1: 7000, g2: 7000 };
  bench.worst = { grid: 99_400, fg: 14_000 };
  return bench.ticks(4);
}

describe('mining to AI', () => {
  it('reserves at every limit with its losses, waits for two fresh samples, grants, ramps', () => {
    const bench = new Bench().tick().ask().tick();
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
    expect(bench.permits.reservedWatts).toEqual({ grid: 4400, fg: 4000 });
    expect(bench.phase).toBe('shedding');
    bench.ticks(20);
    expect(bench.phase).toBe('shedding');
    bench.worst['grid'] = 95_600;
    bench.tick();
    expect(bench.phase).toBe('verifying');
    bench.tick();
    expect(bench.effects.map((effect) => effect.kind)).toContain('grant');
    expect(bench.state.transfers[0]).toMatchObject({ phase: 'ramping', shares: { g1: 2000, g2: 2000 } });
    expect(bench.state.accounts['grid']?.holders['t1']).toBe(4400);
    bench.ticks(3);
    expect(bench.permits.ceilings).toEqual({ g1: 7000, g2: 7000 });
    expect(bench.permits.grantedWatts).toEqual({ g1: 2000, g2: 2000 });
    bench.caps = { g1: 7000, g2: 7000 };
    bench.tick();
    expect(bench.phase).toBe('active');
    expect(bench.permits).toMatchObject({ reservedWatts: {}, grantedWatts: {} });
  });

  it('believes no sample from before the reservation, and no sample twice', () => {
    const bench = new Bench().tick();
    bench.worst['grid'] = 90_000;
    bench.ask().tick();
    bench.sampledAt = 2500;
    bench.ticks(20);
    expect(bench.phase).toBe('verifying');
    bench.sampledAt = bench.now;
    bench.ticks(20);
    expect(bench.phase).toBe('verifying');
    bench.sampledAt = 'now';
    bench.tick();
    expect(bench.phase).toBe('ramping');
  });

  it('gives up, and asks again for what donors did not give', () => {
    const bench = new Bench().tick().ask().tick();
    bench.worst['grid'] = 95_600;
    bench.tick();
    bench.worst['grid'] = 96_600;
    bench.ticks(30);
    expect(bench.permits.reservedWatts['grid']).toBeGreaterThan(5000);
    bench.tick(700_000);
    expect(bench.phase).toBe('aborted');
    expect(bench.effects).toContainEqual(expect.objectContaining({ kind: 'answer', status: 'failed' }));
    expect(bench.permits.reservedWatts).toEqual({});
  });

  it('is withdrawn at once when a limit falls below what AI holds, firm watts only when no miner is left', () => {
    const fall = (more: Partial<TransferRequest>) => {
      const bench = active(more);
      bench.inForce = 13_000;
      return bench.tick();
    };
    expect(fall({}).phase).toBe('draining');
    const firm = fall({ notice: 'firm' });
    expect(firm.phase).toBe('active');
    firm.minersUp = 0;
    expect(firm.tick().phase).toBe('draining');
  });

  it('is forfeited by a node that stays above its ceiling', () => {
    const bench = active();
    bench.caps['g1'] = 9000;
    bench.ticks(19);
    expect(bench.phase).toBe('active');
    bench.ticks(3);
    expect(bench.phase).toBe('breached');
    expect(bench.permits.ceilings['g1']).toBe(5000);
    bench.caps = { g1: 5000, g2: 5000 };
    expect(bench.ticks(3).phase).toBe('released');
  });

  it('ends with notice when a technician ends it, at once when the taker does, and not for an old epoch', () => {
    const end = (epoch: number | null) => active().apply({ kind: 'end', id: 't1', epoch, reason: 'done' });
    const slow = end(null).ticks(89);
    expect(slow.permits.ceilings['g1']).toBe(7000);
    expect(slow.ticks(2).permits.ceilings['g1']).toBe(5000);
    expect(end(1).permits.ceilings['g1']).toBe(5000);
    expect(end(7).phase).toBe('active');
  });

  it('lapses when nothing shows any more what its nodes and limits do', () => {
    const bench = active();
    bench.sampledAt = null;
    bench.ticks(290);
    expect(bench.phase).toBe('active');
    bench.ticks(15);
    expect(bench.permits.ceilings['g1']).toBe(5000);
  });

  it('goes on after a restart under a new epoch, with no more than before', () => {
    const bench = active();
    const { state, effects } = restoreTransfers(JSON.parse(JSON.stringify(bench.state)), {
      now: 50,
      epochMs: EPOCH + bench.now + 9000,
    });
    expect(effects).toContainEqual(
      expect.objectContaining({ kind: 'grant', lease: expect.objectContaining({ epoch: 2 }) }),
    );
    expect(permitsOf(SITE, state).ceilings).toEqual(bench.permits.ceilings);
    bench.state = state;
    bench.now = 50;
    expect(bench.ticks(5).phase).toBe('active');
  });
});

describe('AI to mining', () => {
  it('leaves the workload its notice, then cuts, verifies and gives the watts to mining', () => {
    const bench = active().ask({ id: 't2', direction: 'ai-to-mining', watts: 3000 }).tick();
    expect(bench.state.transfers[0]?.shares).toEqual({ g2: 1000 });
    expect(bench.effects).toContainEqual(expect.objectContaining({ kind: 'revoke', id: 't2', inMs: 90_000 }));
    expect(bench.permits.ceilings).toEqual({ g1: 7000, g2: 7000 });
    bench.ticks(91);
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 6000 });
    expect(bench.permits.reservedWatts).toEqual({});
    bench.caps = { g1: 5000, g2: 6000 };
    bench.tick();
    // Seen once is not enough: until then nobody may use it.
    expect(bench.permits.reservedWatts).toEqual({ grid: 3300, fg: 3000 });
    bench.ticks(2);
    expect(bench.state.transfers[1]?.phase).toBe('released');
    expect(bench.permits.reservedWatts).toEqual({});
  });

  it('lends what a node had without a grant, keeps the firm floor, and returns it only when mining is seen down', () => {
    const bench = new Bench();
    bench.caps = { g1: 9000, g2: 9000 };
    bench.worst = { grid: 99_800, fg: 18_000 };
    bench
      .tick()
      .ask({ direction: 'ai-to-mining', watts: null, until: EPOCH + 200_000 })
      .ticks(95);
    // The firm share is 4 kW a node; no cap is lower than 5 kW.
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
    bench.caps = { g1: 5000, g2: 5000 };
    bench.worst['fg'] = 10_000;
    expect(bench.ticks(4).phase).toBe('active');
    bench.ticks(110);
    expect(bench.phase).toBe('verifying-release');
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
    expect(bench.permits.reservedWatts).toMatchObject({ grid: expect.any(Number), fg: 8000 });
    bench.worst['grid'] = 90_000;
    expect(bench.ticks(4).phase).toBe('released');
    expect(bench.permits.ceilings).toEqual({ g1: 9000, g2: 9000 });
  });
});

describe('nodes with a workload manager', () => {
  /** Nodes found at 9 kW each, asked to give all they can. */
  function asked(site: TransferSite, more: Partial<TransferRequest> = {}): Bench {
    const bench = new Bench();
    bench.site = site;
    bench.service = { g1: 'in-service', g2: 'in-service' };
    bench.caps = { g1: 9000, g2: 9000 };
    bench.worst = { grid: 99_800, fg: 18_000 };
    return bench.tick().ask({ direction: 'ai-to-mining', watts: null, ...more });
  }
  const fall = (bench: Bench) => {
    bench.caps = { g1: 5000, g2: 5000 };
    bench.worst['fg'] = 10_000;
    return bench;
  };

  it('are drained at the notice, and give their watts as soon as all work has left', () => {
    const bench = asked(MANAGED).ticks(2);
    expect(bench.phase).toBe('shedding');
    expect(bench.state.withdrawn).toEqual({ g1: 't1', g2: 't1' });
    bench.service = { g1: 'drained', g2: 'draining' };
    bench.ticks(30);
    expect(bench.permits.ceilings).toEqual({ g1: 9000, g2: 9000 });
    bench.service['g2'] = 'drained';
    bench.tick();
    expect(bench.state.transfers[0]).toMatchObject({
      phase: 'verifying',
      reason: 'all work has left: caps fall',
    });
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
    expect(fall(bench).ticks(4).phase).toBe('released');
    // Nothing is left to work with: they stay out until a grant.
    expect(bench.state.withdrawn).toEqual({ g1: 't1', g2: 't1' });
  });

  it('give them when the notice is over, whatever still runs, and whatever a node that is down may do', () => {
    const bench = asked(MANAGED).tick();
    bench.service = { g1: 'down', g2: 'draining' };
    bench.ticks(89);
    expect(bench.permits.ceilings).toEqual({ g1: 9000, g2: 9000 });
    bench.ticks(2);
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
    expect(bench.state.transfers[0]?.reason).toBe('notice is over, caps fall with work still on g1, g2');
  });

  it('are believed only by what was asked after the notice', () => {
    const bench = asked(MANAGED);
    bench.service = { g1: 'drained', g2: 'drained' };
    bench.tick();
    expect(bench.phase).toBe('shedding');
    expect(bench.tick().phase).toBe('verifying');
  });

  it('go back to work as soon as watts are granted', () => {
    const bench = fall(asked(MANAGED).ticks(95)).ticks(4);
    expect(bench.state.withdrawn).toEqual({ g1: 't1', g2: 't1' });
    bench.worst['grid'] = 80_000;
    bench.ask({ id: 't2', watts: 1000, onlyNodes: ['g2'] }).ticks(8);
    expect(bench.state.transfers[1]?.phase).toBe('ramping');
    expect(bench.state.withdrawn).toEqual({ g1: 't1' });
  });

  it('go on at lower caps where something is promised or left to them', () => {
    const firm = { ...MANAGED, workloads: SITE.workloads };
    const promised = fall(asked(firm).ticks(93)).ticks(4);
    expect(promised.phase).toBe('released');
    expect(promised.state.withdrawn).toEqual({});
    const part = asked(MANAGED, { watts: 2000, onlyNodes: ['g1'] }).ticks(93);
    expect(part.state.withdrawn).toEqual({ g1: 't1' });
    part.caps['g1'] = 7000;
    expect(part.ticks(4).phase).toBe('released');
    expect(part.state.withdrawn).toEqual({});
  });

  it('go back when nothing was taken, when what was lent is proved theirs again, and when somebody resumed them', () => {
    const ended = asked(MANAGED).ticks(3).apply({ kind: 'end', id: 't1', epoch: null, reason: 'no' });
    expect(ended.phase).toBe('aborted');
    expect(ended.state.withdrawn).toEqual({});
    const lent = fall(asked(MANAGED, { until: EPOCH + 200_000 }).ticks(95)).ticks(4);
    expect(lent.phase).toBe('active');
    expect(Object.keys(lent.state.withdrawn)).toEqual(['g1', 'g2']);
    lent.worst['grid'] = 80_000;
    expect(lent.ticks(120).phase).toBe('released');
    expect(lent.state.withdrawn).toEqual({});
    const kept = fall(asked(MANAGED, { until: EPOCH + 200_000 }).ticks(95)).ticks(4);
    const before = kept.permits.ceilings;
    kept.ticks(800);
    expect(kept.state.transfers[0]).toMatchObject({
      phase: 'released',
      reason: 'not seen given up by mining: AI stays without it',
    });
    expect(kept.permits.ceilings).toEqual(before);
    expect(Object.keys(kept.state.withdrawn)).toEqual(['g1', 'g2']);
    const resumed = asked(MANAGED).ticks(3).apply({ kind: 'node', node: 'g1', event: 'resumed', id: 'n' });
    expect(resumed.state.withdrawn).toEqual({ g2: 't1' });
  });

  it('stay out over a restart, also by a state from before there was such a thing', () => {
    const bench = asked(MANAGED).ticks(3);
    const at = { now: 50, epochMs: EPOCH + bench.now };
    const kept = JSON.parse(JSON.stringify(bench.state));
    expect(restoreTransfers(kept, at).state.withdrawn).toEqual({ g1: 't1', g2: 't1' });
    delete kept.withdrawn;
    expect(restoreTransfers(kept, at).state.withdrawn).toEqual({});
  });
});

describe('who may ask', () => {
  it('a GPU node that wants to draw asks for itself, and gives back when it is idle', () => {
    const bench = new Bench().tick().apply({ kind: 'node', node: 'g2', event: 'wants', id: 'node-g2-1' });
    bench.worst['grid'] = 90_000;
    bench.ticks(16);
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 10_000 });
    bench.caps['g2'] = 10_000;
    bench.tick().apply({ kind: 'node', node: 'g2', event: 'idle', id: 'node-g2-2' });
    expect(bench.permits.ceilings).toEqual({ g1: 5000, g2: 5000 });
  });

  it('refuses at once what can never be', () => {
    const bench = new Bench().tick();
    expect(bench.ask({ workload: 'nobody' }).effects).toEqual([
      { kind: 'refused', id: 't1', reason: 'unknown workload "nobody"' },
    ]);
    expect(bench.ask({ limit: 'moon' }).effects[0]).toMatchObject({ kind: 'refused' });
    expect(bench.state.transfers).toEqual([]);
  });

  it('never promises a workload more than its firm and flexible watts', () => {
    const bench = new Bench().tick().ask({ watts: 90_000 });
    bench.worst['grid'] = 80_000;
    bench.ticks(2);
    expect(bench.state.transfers[0]?.shares).toEqual({ g1: 5000, g2: 5000 });
    expect(bench.ask({ id: 't2', watts: 1000 }).tick().state.transfers[1]?.phase).toBe('aborted');
  });
});
