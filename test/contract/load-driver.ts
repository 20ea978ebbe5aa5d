import { afterEach, describe, expect, it } from 'vitest';
import type { LoadDriver, LoadReading, MinerReading } from '../../drivers/load-driver.ts';
import { prove } from '../../drivers/prove.ts';
import type { MinerWireFaults } from '../../simulator/miners/api-server.ts';
import type { SimulatedMiner } from '../../simulator/physics.ts';
import { BROKEN_JSON, type BrokenJson, type FaultProxy } from '../support/fault-proxy.ts';
import type { PatientClock } from '../support/patient-clock.ts';

/** One driver on one simulated device, with something spiteful between them. */
export interface ContractBench extends AsyncDisposable {
  readonly clock: PatientClock;
  readonly miner: SimulatedMiner;
  /** Faults of the wire and of the firmware. */
  readonly faults: MinerWireFaults;
  readonly proxies: readonly FaultProxy[];
  readonly driver: LoadDriver;
  /** Puts another unit of the same family, with another identity, behind the same address. */
  swap(): Promise<void>;
  /** Puts a plain cgminer behind the same address. */
  replaceWithCgminer(): Promise<void>;
  /** A driver for the same address with a wrong password, `null` where the family has none. */
  withWrongPassword(): LoadDriver | null;
  /** A driver for an address where nobody listens. */
  atClosedPort(): Promise<LoadDriver>;
}

export interface ContractSubject {
  readonly name: string;
  readonly firmware: string;
  /** Knows who it is beyond its address. */
  readonly hasIdentity: boolean;
  readonly commands: boolean;
  /** Has a light that can be made to blink. */
  readonly locates?: boolean;
  /** Keeps a token between requests that may end. */
  readonly hasTokens?: boolean;
  /** A limit that a wide-awake unit can hold, in watts; `null` where it has none. */
  readonly limitWatts: number | null;
  /** What its counters of shares come to; `null` where it has none. */
  readonly rejectedPercent: number | null;
  open(): Promise<ContractBench>;
}

const never = new AbortController().signal;

/** What every load driver must do, whatever firmware it speaks to. */
export function loadDriverContract(subject: ContractSubject): void {
  describe(`load driver contract: ${subject.name}`, () => {
    const benches: ContractBench[] = [];
    const open = async (): Promise<ContractBench> => {
      const bench = await subject.open();
      benches.push(bench);
      return bench;
    };
    afterEach(async () => {
      for (const bench of benches.splice(0)) await bench[Symbol.asyncDispose]();
    });

    readContract(subject, open);
    failureContract(subject, open);
    if (subject.commands) commandContract(subject, open);
    else
      it('takes no commands and says so', async () => {
        const { driver } = await open();
        expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({
          ok: false,
          error: { kind: 'unsupported' },
        });
      });
  });
}

type Open = () => Promise<ContractBench>;

function readContract(subject: ContractSubject, open: Open): void {
  it('identifies and reads what the device does', async () => {
    const { driver, miner, clock } = await open();
    const identity = await driver.identify(never);
    expect(identity).toMatchObject({ ok: true, value: { firmware: subject.firmware } });
    if (identity.ok) expect(identity.value.basis === 'address').toBe(!subject.hasIdentity);
    const before = clock.monotonicMs();
    const reading = await readMiner(driver);
    expect(reading.firmware).toBe(subject.firmware);
    expect(reading.state).toBe('hashing');
    expect(reading.hashrateThs).toBeCloseTo(miner.hashrateThs, 1);
    if (reading.powerSource === 'reported')
      expect(Math.abs((reading.powerWatts ?? 0) - miner.powerWatts)).toBeLessThanOrEqual(1);
    expect(reading.requestedAt).toBeGreaterThanOrEqual(before);
    expect(reading.sampledAt).toBeGreaterThanOrEqual(reading.requestedAt);
    expect(reading.pools.length).toBeGreaterThan(0);
    if (subject.rejectedPercent === null) expect(reading.rejectedPercent).toBeNull();
    else expect(reading.rejectedPercent).toBeCloseTo(subject.rejectedPercent, 9);
  });

  it('keeps to one request in flight', async () => {
    const { driver, proxies } = await open();
    const results = await Promise.all([driver.read(never), driver.read(never), driver.identify(never)]);
    expect(results.every((result) => result.ok)).toBe(true);
    for (const proxy of proxies) expect(proxy.mostAtOnce).toBeLessThanOrEqual(1);
  });

  it('stops at once when told to, and for good when closed', async () => {
    const { driver, proxies } = await open();
    for (const proxy of proxies) proxy.fault = 'hang';
    const controller = new AbortController();
    const first = driver.read(controller.signal);
    const waiting = driver.read(controller.signal);
    setImmediate(() => controller.abort());
    expect(kindOf(await first)).toBe('cancelled');
    expect(['busy', 'cancelled']).toContain(kindOf(await waiting));
    await driver[Symbol.asyncDispose]();
    expect(kindOf(await driver.read(never))).toBe('cancelled');
  });
}

const KINDS_BY_FAULT = {
  hang: ['timeout'],
  drip: ['timeout'],
  reset: ['unreachable'],
  endless: ['malformed', 'wrong-device'],
  garbage: ['malformed', 'wrong-device'],
  html: ['malformed', 'wrong-device', 'unsupported'],
} as const;

function failureContract(subject: ContractSubject, open: Open): void {
  it('is unreachable where nobody listens', async () => {
    const bench = await open();
    const driver = await bench.atClosedPort();
    expect(kindOf(await bench.clock.expire(driver.read(never)))).toBe('unreachable');
    expect(kindOf(await bench.clock.expire(driver.identify(never)))).toBe('unreachable');
  });

  it.each(Object.entries(KINDS_BY_FAULT))('%s: fails as what it is, and recovers', async (fault, kinds) => {
    const { driver, proxies, clock } = await open();
    for (const proxy of proxies) proxy.fault = fault as keyof typeof KINDS_BY_FAULT;
    expect(kinds).toContain(kindOf(await clock.expire(driver.read(never))));
    expect(kinds).toContain(kindOf(await clock.expire(driver.identify(never))));
    for (const proxy of proxies) proxy.fault = null;
    await clock.pass(31_000);
    expect((await driver.read(never)).ok).toBe(true);
  });

  it('an answer cut in the middle yields nothing that the whole one does not say', async () => {
    const { driver, proxies, clock } = await open();
    const whole = await readMiner(driver);
    for (const proxy of proxies) proxy.fault = 'cut';
    const cut = await clock.expire(driver.read(never));
    if (!cut.ok) {
      expect(['malformed', 'unreachable', 'timeout']).toContain(cut.error.kind);
      return;
    }
    const said = numbersOf(whole);
    for (const number of numbersOf(cut.value)) expect(said).toContain(number);
  });

  it.each(Object.keys(BROKEN_JSON))('broken JSON (%s): read as what it says, or not at all', async (kind) => {
    const { driver, proxies, clock } = await open();
    const whole = await readMiner(driver);
    for (const proxy of proxies) proxy.fault = kind as BrokenJson;
    const read = await clock.expire(driver.read(never));
    for (const proxy of proxies) proxy.fault = null;
    await clock.pass(31_000);
    expect((await driver.read(never)).ok).toBe(true);
    if (!read.ok) {
      expect(['malformed', 'unreachable', 'timeout', 'wrong-device', 'unsupported']).toContain(
        read.error.kind,
      );
      return;
    }
    const said = numbersOf(whole);
    for (const number of numbersOf(read.value)) expect(said).toContain(number);
  });

  if (!subject.hasIdentity) return;
  it('another unit at the address is a wrong device, for reading and for writing', async () => {
    const bench = await open();
    const { driver, miner } = bench;
    await readMiner(driver);
    await bench.swap();
    expect(kindOf(await driver.read(never))).toBe('wrong-device');
    expect(kindOf(await driver.identify(never))).toBe('wrong-device');
    const written = await driver.apply({ kind: 'sleep' }, never);
    expect(kindOf(written)).toBe('wrong-device');
    expect(miner.state).toBe('hashing');
  });

  it('another firmware at the address is no reading of this device', async () => {
    const bench = await open();
    await readMiner(bench.driver);
    await bench.replaceWithCgminer();
    expect(kindOf(await bench.clock.expire(bench.driver.read(never)))).toBe('wrong-device');
    expect((await bench.clock.expire(bench.driver.apply({ kind: 'sleep' }, never))).ok).toBe(false);
  });
}

function commandContract(subject: ContractSubject, open: Open): void {
  it('sleeps and wakes, proved by later readings', async () => {
    const { driver, miner, clock } = await open();
    const before = await readMiner(driver);
    const slept = await prove(driver, { kind: 'sleep' }, before, clock, never);
    expect(slept).toMatchObject({ outcome: 'verified', applied: { acknowledged: true } });
    expect(slept.after!.requestedAt).toBeGreaterThanOrEqual(slept.applied!.sentAt);
    expect(slept.waitedMs).toBeLessThanOrEqual(before.control.sleepMs! + 20_000);
    expect(miner.powerWatts).toBeLessThan(200);
    await clock.pass(10_000);
    const asleep = await readMiner(driver);
    const woken = await prove(driver, { kind: 'run', limitWatts: null }, asleep, clock, never);
    expect(woken).toMatchObject({
      outcome: 'verified',
      after: { state: expect.stringMatching(/hashing|tuning/) },
    });
    expect(miner.powerWatts).toBeGreaterThan(miner.traits.normalWatts * 0.2);
  });

  it('an acknowledgement without effect is contradicted', async () => {
    const { driver, miner, clock } = await open();
    const before = await readMiner(driver);
    miner.faults.disobeys = true;
    const proof = await prove(driver, { kind: 'sleep' }, before, clock, never);
    expect(proof).toMatchObject({ outcome: 'contradicted', applied: { acknowledged: true } });
    expect(miner.powerWatts).toBeGreaterThan(1000);
  });

  it('a lost answer is no answer, and the reading still proves it', async () => {
    const { driver, faults, clock } = await open();
    const before = await readMiner(driver);
    faults.losesAnswers = true;
    const proof = await clock.expire(prove(driver, { kind: 'sleep' }, before, clock, never));
    expect(proof).toMatchObject({ outcome: 'verified', applied: { acknowledged: null } });
  });

  it('a refusal is a refusal', async () => {
    const { driver, faults, clock, miner } = await open();
    const before = await readMiner(driver);
    faults.readOnly = true;
    const proof = await prove(driver, { kind: 'sleep' }, before, clock, never);
    expect(proof.outcome).toBe('refused');
    expect(['refused', 'unauthorised']).toContain(proof.failure?.kind);
    expect(miner.state).toBe('hashing');
  });

  it('does not repeat a command that is still at work, and lets less power through', async () => {
    const { driver, clock, miner } = await open();
    await readMiner(driver);
    const wake = { kind: 'run', limitWatts: null } as const;
    expect((await driver.apply({ kind: 'sleep' }, never)).ok).toBe(true);
    expect(kindOf(await driver.apply({ kind: 'sleep' }, never))).toBe('busy');
    expect(kindOf(await driver.apply(wake, never))).toBe('busy');
    await clock.pass(20_000);
    await readMiner(driver);
    expect((await driver.apply(wake, never)).ok).toBe(true);
    expect(kindOf(await driver.apply(wake, never))).toBe('busy');
    expect((await driver.apply({ kind: 'sleep' }, never)).ok).toBe(true);
    await clock.pass(20_000);
    expect(miner.state).toBe('sleeping');
  });

  it('gives up waiting with the command pending, not failed', async () => {
    const { driver, clock } = await open();
    const before = await readMiner(driver);
    const controller = new AbortController();
    await prove(driver, { kind: 'sleep' }, before, clock, never);
    await clock.pass(60_000);
    const asleep = await readMiner(driver);
    clock.after(12_000, () => controller.abort());
    const woken = await prove(driver, { kind: 'run', limitWatts: null }, asleep, clock, controller.signal);
    expect(woken.outcome).toBe('pending');
  });

  it('a wrong password writes nothing', async () => {
    const bench = await open();
    const driver = bench.withWrongPassword();
    if (driver === null) return;
    expect(kindOf(await driver.apply({ kind: 'sleep' }, never))).toBe('unauthorised');
    expect(bench.miner.state).toBe('hashing');
  });

  it('a wrong password is shown to the device once, not again and again', async () => {
    const bench = await open();
    const driver = bench.withWrongPassword();
    if (driver === null) return;
    for (let attempt = 0; attempt < 6; attempt += 1) {
      await bench.clock.pass(1000);
      await driver.read(never);
      expect(kindOf(await driver.apply({ kind: 'sleep' }, never))).toBe('unauthorised');
    }
    expect(bench.faults.wrongPasswords ?? 0).toBeGreaterThanOrEqual(1);
    expect(bench.faults.wrongPasswords ?? 0).toBeLessThanOrEqual(2);
    expect(bench.miner.state).toBe('hashing');
  });

  it('knows its pools after every command as before', async () => {
    const { driver, clock } = await open();
    const before = await readMiner(driver);
    await prove(driver, { kind: 'sleep' }, before, clock, never);
    await clock.pass(60_000);
    await prove(driver, { kind: 'run', limitWatts: subject.limitWatts }, null, clock, never);
    await clock.pass(1_800_000);
    expect((await readMiner(driver)).pools).toEqual(before.pools);
  });

  if (subject.locates === true)
    it('blinks and stops, at work or not', async () => {
      const { driver, faults, clock, miner } = await open();
      const before = await readMiner(driver);
      expect(await prove(driver, { kind: 'locate', on: true }, before, clock, never)).toMatchObject({
        outcome: 'pending',
        applied: { acknowledged: true },
      });
      expect(faults.blinks).toBe(true);
      expect((await driver.apply({ kind: 'locate', on: false }, never)).ok).toBe(true);
      expect(faults.blinks).toBe(false);
      expect(miner.state).toBe('hashing');
      // It is no work that another command would have to wait for.
      expect((await driver.apply({ kind: 'sleep' }, never)).ok).toBe(true);
    });

  if (subject.hasTokens === true)
    it('a token that ended is renewed, and the command lands once', async () => {
      const { driver, faults, miner, clock } = await open();
      const before = await readMiner(driver);
      const slept = await prove(driver, { kind: 'sleep' }, before, clock, never);
      expect(slept.outcome).toBe('verified');
      await clock.pass(60_000);
      faults.tokensEnded = true;
      const asleep = await clock.expire(driver.read(never));
      expect(asleep.ok).toBe(true);
      faults.tokensEnded = true;
      const woken = await driver.apply({ kind: 'run', limitWatts: null }, never);
      expect(woken).toMatchObject({ ok: true, value: { acknowledged: true } });
      await clock.pass(1000);
      expect(miner.state).toBe('starting');
      expect(faults.wrongPasswords ?? 0).toBe(0);
    });

  const { limitWatts } = subject;
  if (limitWatts === null) return;
  it('holds a limit, awake and on waking', async () => {
    const { driver, miner, clock } = await open();
    const before = await readMiner(driver);
    expect(before.control.powerLimit).not.toBeNull();
    const limited = await prove(driver, { kind: 'run', limitWatts }, before, clock, never);
    expect(limited.outcome).toBe('verified');
    await clock.pass(120_000);
    expect(miner.powerWatts).toBeLessThanOrEqual(limitWatts);
    expect(miner.powerWatts).toBeGreaterThan(limitWatts * 0.8);
    const working = await readMiner(driver);
    expect((await prove(driver, { kind: 'sleep' }, working, clock, never)).outcome).toBe('verified');
    await clock.pass(60_000);
    const asleep = await readMiner(driver);
    const woken = await prove(driver, { kind: 'run', limitWatts }, asleep, clock, never);
    expect(woken.outcome).toBe('verified');
    await clock.pass(1_800_000);
    expect(miner.powerWatts).toBeLessThanOrEqual(limitWatts);
    expect(miner.powerWatts).toBeGreaterThan(limitWatts * 0.8);
  });

  it('refuses a limit under its least', async () => {
    const { driver, miner } = await open();
    await readMiner(driver);
    expect(kindOf(await driver.apply({ kind: 'run', limitWatts: 100 }, never))).toBe('refused');
    expect(miner.limitWatts).toBe(miner.traits.normalWatts);
  });
}

function kindOf(result: { ok: true } | { ok: false; error: { kind: string } }): string {
  return result.ok ? 'ok' : result.error.kind;
}

async function readMiner(driver: LoadDriver): Promise<MinerReading> {
  const result = await driver.read(never);
  if (!result.ok) throw new Error(`${result.error.kind}: ${result.error.message}`);
  if (result.value.kind !== 'miner') throw new Error('not a miner');
  return result.value;
}

/** Every measured number of a reading, wherever it stands; times and control facts apart. */
function numbersOf(reading: LoadReading): readonly number[] {
  const { sampledAt, requestedAt, roundTripMs, control, ...rest } = reading;
  const numbers: number[] = [];
  JSON.stringify({ ...rest, uptimeSeconds: null }, (_key, value: unknown) => {
    if (typeof value === 'number') numbers.push(value);
    return value;
  });
  return numbers;
}
