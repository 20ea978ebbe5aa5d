import { LINE_KINDS } from '../support/fault-line.ts';
import { soak } from '../support/modbus-soak.ts';

/**
 * One million Modbus reads over Modbus TCP, RTU over TCP and a serial line, in virtual time, against a peer whose
 * data encode their address and that breaks every rule at random. True when not one wrong value was accepted and
 * every request settled.
 */
export async function proveMeters(requests = 1_000_000, firstSeed = 1): Promise<boolean> {
  const share = Math.ceil(requests / LINE_KINDS.length);
  const eachSeed = 50_000;
  let holds = true;
  for (const kind of LINE_KINDS) {
    const startedAt = performance.now();
    const total = { requests: 0, good: 0, failed: 0, wrong: 0, unsettled: 0 };
    const faults: Record<string, number> = {};
    let seed = firstSeed;
    for (; total.requests < share; seed += 1) {
      const verdict = await soak(kind, Math.min(eachSeed, share - total.requests), seed);
      for (const key of ['requests', 'good', 'failed', 'wrong', 'unsettled'] as const)
        total[key] += verdict[key];
      for (const [name, count] of Object.entries(verdict.faults)) faults[name] = (faults[name] ?? 0) + count;
      if (verdict.wrong + verdict.unsettled > 0) console.log(`${kind}: seed ${seed} broke the promise`);
    }
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    console.log(
      `${kind} (seeds ${firstSeed} to ${seed - 1}): ${total.requests} requests in ${seconds} s, ${total.good} good, ` +
        `${total.failed} failed, ${total.wrong} wrong, ${total.unsettled} never settled`,
    );
    console.log(
      `  faults: ${Object.entries(faults)
        .map(([name, count]) => `${name} ${count}`)
        .join(', ')}`,
    );
    // A soak in which hardly anything comes through would prove nothing.
    holds &&= total.wrong === 0 && total.unsettled === 0 && total.good > total.requests * 0.2;
  }
  return holds;
}
