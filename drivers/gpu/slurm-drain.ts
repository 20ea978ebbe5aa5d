import type { Clock } from '../../protocols/clock.ts';
import type { Argv } from '../../protocols/process.ts';
import { ProcessLane } from '../../protocols/process-lane.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import {
  drainArguments,
  parseSlurmNode,
  resumeArguments,
  SLURM_NODE_NAME,
  showNodeArguments,
  slurmFailure,
  slurmService,
} from '../../protocols/slurm.ts';
import type { Milliseconds } from '../../protocols/units.ts';
import type { DrainDriver, DrainOptions, ServiceReading, ServiceWrite } from './drain.ts';
import { beforeDrain, beforeResume, markIn, reasonOf } from './drain-rules.ts';
import { assertSafe, toolPrefix } from './remote-command.ts';

/** slurmctld answers in milliseconds; its own message time-out is 10 s. Source: slurm.conf(5), MessageTimeout. */
const TIMEOUT_MS: Milliseconds = 15_000;
const OUTPUT_MOST = 200_000;

/** A node of Slurm, by `scontrol` on this machine or through a prefix such as `[ssh, head]`. */
export class SlurmDrain implements DrainDriver {
  readonly kind = 'slurm';
  private readonly node: string;
  private readonly prefix: readonly string[];
  private readonly clock: Clock;
  private readonly lane: ProcessLane;

  constructor(node: string, prefix: readonly string[], clock: Clock) {
    if (!SLURM_NODE_NAME.test(node)) throw new Error(`"${node}" is no name of one Slurm node`);
    this.node = node;
    this.prefix = toolPrefix(prefix, 'scontrol');
    this.clock = clock;
    this.lane = new ProcessLane('scontrol', clock);
  }

  async read(signal: AbortSignal): Promise<Result<ServiceReading>> {
    const requestedAt = this.clock.monotonicMs();
    const said = await this.scontrol(showNodeArguments(this.node), signal);
    if (!said.ok) return said;
    const node = parseSlurmNode(said.value);
    if (!node.ok) return node;
    if (node.value.name !== this.node)
      return fail('wrong-device', `scontrol shows ${node.value.name}, not ${this.node}`);
    const { reason } = node.value;
    return ok({ state: slurmService(node.value), mark: markIn(reason), reason, requestedAt });
  }

  async drain(mark: string, options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    return beforeDrain(now.value) ?? this.write(drainArguments(this.node, reasonOf(mark)), options, signal);
  }

  async resume(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    const verdict = beforeResume(now.value);
    if (verdict !== null) return verdict;
    const written = await this.write(resumeArguments(this.node), options, signal);
    if (written.ok || written.error.kind !== 'refused') return written;
    // Somebody may have been quicker: Slurm refuses to resume what is in service.
    const after = await this.read(signal);
    if (after.ok && after.value.state === 'in-service')
      return ok({ sent: false, note: 'already in service' });
    return written;
  }

  private async write(
    args: readonly string[],
    options: DrainOptions,
    signal: AbortSignal,
  ): Promise<Result<ServiceWrite>> {
    assertSafe(args);
    const line = ['scontrol', ...args].join(' ');
    if (options.dryRun) return ok({ sent: false, note: `would run: ${line}` });
    const said = await this.scontrol(args, signal);
    return said.ok ? ok({ sent: true, note: line }) : said;
  }

  private async scontrol(args: readonly string[], signal: AbortSignal): Promise<Result<string>> {
    assertSafe(args);
    const argv = [...this.prefix, ...args] as unknown as Argv;
    const run = await this.lane.run(argv, { timeoutMs: TIMEOUT_MS, outputMost: OUTPUT_MOST }, signal);
    if (!run.ok) return run;
    const { stdout, stderr, exitCode } = run.value;
    if (exitCode === 0) return ok(stdout);
    const { kind, message, hint } = slurmFailure(`${stderr}\n${stdout}`, exitCode);
    return fail(kind, message, hint);
  }
}
