import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyTransfer, restoreTransfers } from '../../agent/control/transfer.ts';
import { hold, imbalance, letGo, pass, settle } from '../../agent/control/transfer-accounts.ts';
import { firmShare } from '../../agent/control/transfer-admission.ts';
import { pathWatts, permitsOf, unusedEntitlement } from '../../agent/control/transfer-permits.ts';
import {
  ended,
  NO_TRANSFERS,
  type TransferEffect,
  type TransferInput,
  type TransferRequest,
  type TransferState,
  total,
} from '../../agent/control/transfer-state.ts';
import { seededRandom } from '../../protocols/random.ts';
import {
  act,
  evidenceOf,
  flows,
  live,
  makeWorld,
  QUICK_RULES,
  type World,
} from '../support/transfer-world.ts';

/** One run of the world: a seed for everything that is drawn, and what is asked when. */
interface Case {
  readonly seed: number;
  readonly asks: readonly Ask[];
  readonly ticks: number;
}

interface Ask {
  readonly at: number;
  readonly toAi: boolean;
  readonly watts: number | null;
  readonly workload: number;
  readonly untilS: number | null;
  readonly endAt: number | null;
  readonly firm: boolean;
}

const ask: fc.Arbitrary<Ask> = fc.record({
  at: fc.nat(12),
  toAi: fc.boolean(),
  watts: fc.option(fc.integer({ min: 1, max: 15_000 }), { freq: 6 }),
  workload: fc.nat(2),
  untilS: fc.option(fc.integer({ min: 10, max: 120 })),
  endAt: fc.option(fc.integer({ min: 3, max: 25 })),
  firm: fc.boolean(),
});
const runs = (asks: number, ticks: number): fc.Arbitrary<Case> =>
  fc.record({
    seed: fc.nat(0x7fff_ffff),
    asks: fc.array(ask, { minLength: 1, maxLength: asks }),
    ticks: fc.constant(ticks),
  });

const EPOCH = 1_790_000_000_000;
const TICK_MS = 5000;

class Run {
  readonly world: World;
  readonly draw: () => number;
  state: TransferState = NO_TRANSFERS;
  effects: TransferEffect[] = [];
  readonly run: Case;
  readonly drops: boolean;
  seen = '';

  constructor(run: Case) {
    this.run = run;
    this.drops = run.seed % 2 === 0;
    this.draw = seededRandom(run.seed);
    this.world = makeWorld(this.draw);
  }

  apply(input: TransferInput): readonly TransferEffect[] {
    const { state, effects } = applyTransfer(this.world.site, QUICK_RULES, this.state, input);
    // The same input again changes nothing.
    if (input.kind !== 'end' && input.kind !== 'renew') {
      const again = applyTransfer(this.world.site, QUICK_RULES, state, input);
      if (again.state !== state || again.effects.some((effect) => effect.kind !== 'refused'))
        throw new Error(`a repeat of ${input.kind} changed something`);
    }
    this.state = state;
    this.effects.push(...effects);
    this.books();
    return effects;
  }

  request(n: number, asked: Ask): void {
    const request: TransferRequest = {
      id: `t${n}`,
      direction: asked.toAi ? 'mining-to-ai' : 'ai-to-mining',
      workload: this.world.site.workloads[asked.workload]?.id ?? null,
      limit: 'grid',
      watts: asked.watts,
      until: asked.untilS === null ? null : EPOCH + this.world.now + asked.untilS * 1000,
      asker: 'order:test',
      priority: n % 3,
      notice: asked.firm ? 'firm' : 'flexible',
      onlyNodes: null,
    };
    this.apply({ kind: 'request', request });
  }

  tickInput(): Extract<TransferInput, { kind: 'tick' }> {
    return {
      kind: 'tick',
      now: this.world.now,
      epochMs: EPOCH + this.world.now,
      ...evidenceOf(this.world, this.draw),
    };
  }

  /** One cycle in the order of life: what is seen, what moves under the old permits, what is decided. */
  cycle(): void {
    const { world, draw } = this;
    world.now += TICK_MS;
    for (const limit of world.site.limits) {
      if (!this.drops || draw() > 0.02) continue;
      const next = Math.floor(world.ratings[limit.id]! * (0.5 + draw() * 0.6));
      const inForce = Math.min(world.ratings[limit.id]!, next);
      if (inForce < world.inForce[limit.id]!) world.droppedAt[limit.id] = world.now;
      world.inForce[limit.id] = inForce;
    }
    const seen = this.tickInput();
    const before = flows(world);
    const seen0 = JSON.stringify({ nodes: world.nodes, mining: world.mining });
    live(world, draw);
    this.seen = seen0;
    this.judge(before);
    const effects = this.apply(seen);
    this.backed(seen, effects);
  }

  /** No limit is exceeded by anything that rose. */
  judge(before: Record<string, number>): void {
    const after = flows(this.world);
    for (const { id } of this.world.site.limits) {
      const most = Math.max(this.world.inForce[id]!, before[id]!) + 1;
      if (after[id]! > most)
        throw new Error(
          `${id} went from ${before[id]} W to ${after[id]} W over ${this.world.inForce[id]} W: ${this.tell()}`,
        );
    }
  }

  /** What matters of a failing run. */
  tell(): string {
    const { nodes, mining, permits, site } = this.world;
    const transfers = this.state.transfers.map(({ id, direction, phase, shares, held }) => ({
      id,
      direction,
      phase,
      shares,
      held,
    }));
    const { bases } = this.state;
    return JSON.stringify({
      before: this.seen,
      nodes,
      mining,
      permits,
      transfers,
      bases,
      places: site.nodes.map((node) => node.limit),
    });
  }

  /** Every grant stands on verified room, and no two on the same. */
  backed(seen: Extract<TransferInput, { kind: 'tick' }>, effects: readonly TransferEffect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'grant') continue;
      const claims = pathWatts(this.world.site, unusedEntitlement(this.state));
      for (const id of Object.keys(pathWatts(this.world.site, effect.shares))) {
        const limit = seen.limits.find((candidate) => candidate.id === id)!;
        if (limit.sampledAt === null) throw new Error(`granted below ${id} without evidence`);
        const verified = limit.roomWatts - limit.worstWatts;
        if ((claims[id] ?? 0) > verified)
          throw new Error(`${claims[id]} W granted below ${id}, ${verified} W are verified`);
      }
    }
  }

  /** Double entry, and every hand-over holds what the book says. */
  books(): void {
    for (const id in this.state.accounts) {
      const account = this.state.accounts[id]!;
      if (imbalance(account) !== 0) throw new Error(`book of ${id} is off by ${imbalance(account)} W`);
      if (account.freeWatts < 0 || account.debtWatts < 0) throw new Error(`book of ${id} is negative`);
      for (const holder in account.holders) {
        const watts = account.holders[holder]!;
        if (watts < 0 || !Number.isInteger(watts)) throw new Error(`${holder} holds ${watts} W at ${id}`);
        if (['loads', 'ai', 'mining', 'conversion'].includes(holder)) continue;
        const transfer = this.state.transfers.find((candidate) => candidate.id === holder);
        if ((transfer?.held[id] ?? 0) !== watts)
          throw new Error(`${holder} holds ${watts} W at ${id} in the book only`);
      }
    }
    for (const transfer of this.state.transfers)
      for (const id in transfer.held)
        if ((this.state.accounts[id]?.holders[transfer.id] ?? 0) !== transfer.held[id]!)
          throw new Error(
            `${transfer.id} (${transfer.phase}) holds ${transfer.held[id]} W at ${id}, the book says otherwise`,
          );
    const { ceilings } = permitsOf(this.world.site, this.state);
    for (const node in ceilings)
      if (ceilings[node]! < firmShare(this.world.site, node))
        throw new Error(`${node} is below its firm share`);
  }

  play(crashes: boolean): void {
    for (let tick = 0; tick < this.run.ticks; tick += 1) {
      for (const [n, asked] of this.run.asks.entries()) {
        if (asked.at === tick) this.request(n, asked);
        if (asked.endAt === tick) this.apply({ kind: 'end', id: `t${n}`, epoch: null, reason: 'test' });
      }
      const durable = this.state;
      this.cycle();
      if (crashes && this.draw() < 0.12) this.crash(durable);
      else act(this.world, this.state);
    }
  }

  /** The process ends: what was written last is the state of this cycle or of the one before. */
  crash(before: TransferState): void {
    const written = this.draw() < 0.5 ? before : this.state;
    const old = permitsOf(this.world.site, written);
    this.world.now += Math.floor(this.draw() * 20_000);
    const read = JSON.parse(JSON.stringify(written)) as TransferState;
    const { state } = restoreTransfers(read, { now: this.world.now, epochMs: EPOCH + this.world.now });
    const next = permitsOf(this.world.site, state);
    for (const node in old.ceilings)
      if ((next.ceilings[node] ?? Number.POSITIVE_INFINITY) > old.ceilings[node]!)
        throw new Error(`${node} may draw more after a restart`);
    const kept = (permits: typeof old, id: string) =>
      (permits.reservedWatts[id] ?? 0) + (pathWatts(this.world.site, permits.grantedWatts)[id] ?? 0);
    for (const { id } of this.world.site.limits)
      if (kept(next, id) < kept(old, id)) throw new Error(`less is kept free below ${id} after a restart`);
    if (state.epoch !== read.epoch + 1) throw new Error('the epoch did not change');
    this.state = state;
    this.books();
    act(this.world, this.state);
  }
}

const SEED = Number(process.env['TRANSFER_SEED'] ?? 20261121);
function check(name: string, cases: number, arbitrary: fc.Arbitrary<Case>, body: (run: Run) => void) {
  it(`${name} (${cases} cases, seed ${SEED})`, () => {
    fc.assert(
      fc.property(arbitrary, (run) => body(new Run(run))),
      { numRuns: cases, seed: SEED, verbose: 1 },
    );
  });
}

describe('hand-overs between mining and AI', () => {
  check('ten at once, any interleaving: backed, balanced, no limit exceeded', 3500, runs(10, 30), (run) =>
    run.play(false),
  );
  check('crashes anywhere: no more than before, nothing exceeded', 3500, runs(6, 30), (run) =>
    run.play(true),
  );
  check('short runs of both directions, with crashes', 15_000, runs(3, 10), (run) => run.play(true));
  check('every hand-over ends when nobody answers', 1500, runs(6, 12), (run) => {
    run.play(false);
    for (let tick = 0; tick < 60; tick += 1) {
      run.world.now += 20_000;
      const seen = run.tickInput();
      run.apply({
        ...seen,
        limits: seen.limits.map((limit) => ({ ...limit, sampledAt: null })),
        nodes: seen.nodes.map((node) => ({ ...node, fresh: false })),
      });
    }
    const alive = run.state.transfers.filter((transfer) => !ended(transfer));
    if (alive.length > 0)
      throw new Error(`${alive.map(({ id, phase }) => `${id} ${phase}`).join(', ')} lives on`);
  });
  check('a lease of an earlier epoch ends and renews nothing', 4000, runs(2, 6), (run) => {
    run.play(false);
    const epoch = run.state.epoch;
    const { site } = run.world;
    const now = run.world.now + 1000;
    const { state } = restoreTransfers(run.state, { now, epochMs: EPOCH + now });
    for (const { id } of state.transfers.filter((transfer) => !ended(transfer))) {
      for (const kind of ['end', 'renew'] as const) {
        const input: TransferInput =
          kind === 'end' ? { kind, id, epoch, reason: 'old' } : { kind, id, epoch };
        const result = applyTransfer(site, QUICK_RULES, state, input);
        if (result.state !== state) throw new Error(`${kind} of epoch ${epoch} changed ${id}`);
        if (result.effects[0]?.kind !== 'refused')
          throw new Error(`${kind} of epoch ${epoch} was not refused`);
      }
    }
  });

  it('every phase of both directions is reached in these runs', () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 250; seed += 1) {
      const played = new Run(fc.sample(runs(6, 30), { numRuns: 1, seed })[0]!);
      played.play(true);
      const directions = new Map(
        played.run.asks.map((asked, n) => [`t${n}`, asked.toAi ? 'to AI' : 'to mining']),
      );
      for (const effect of played.effects)
        if (effect.kind === 'phase') seen.add(`${directions.get(effect.id)} ${effect.to}`);
    }
    const phases = 'requested admitted reserved shedding verifying freed granted active draining'.split(' ');
    phases.push('verifying-release', 'released', 'aborted', 'breached');
    const expected = ['to AI', 'to mining'].flatMap((way) => phases.map((phase) => `${way} ${phase}`));
    expect(expected.filter((phase) => !seen.has(phase))).toEqual([]);
    expect(seen.has('to AI ramping')).toBe(true);
  });
});

describe('double entry', () => {
  const cases = 22_500;
  it(`stays exact whatever is booked (${cases} cases, seed ${SEED})`, () => {
    const watts = fc.nat(1_000_000);
    const evidence = fc.record({
      capacityWatts: watts,
      loadsWatts: watts,
      aiWatts: watts,
      conversionWatts: watts,
      minersWatts: watts,
    });
    const op = fc.record({
      kind: fc.constantFrom('hold', 'let-go', 'pass', 'settle'),
      id: fc.nat(3),
      watts,
      evidence,
    });
    fc.assert(
      fc.property(evidence, fc.array(op, { maxLength: 12 }), (first, ops) => {
        let account = settle(undefined, first);
        for (const { kind, id, watts: amount, evidence: next } of ops) {
          const before = total(account.holders) + account.freeWatts - account.debtWatts;
          if (kind === 'hold') hold(account, `t${id}`, amount);
          if (kind === 'let-go') letGo(account, `t${id}`);
          if (kind === 'pass')
            pass(account, `t${id}`, `t${(id + 1) % 4}`, Math.min(amount, account.holders[`t${id}`] ?? 0));
          if (kind === 'settle') account = settle(account, next);
          else expect(total(account.holders) + account.freeWatts - account.debtWatts).toBe(before);
          expect(imbalance(account)).toBe(0);
          expect(
            Math.min(account.freeWatts, account.debtWatts, ...Object.values(account.holders)),
          ).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: cases, seed: SEED },
    );
  });
});
