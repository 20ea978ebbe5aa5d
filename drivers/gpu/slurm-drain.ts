import type { Clock } from '../../protocols/clock.ts';
import type { Argv } from '../../protocols/process.ts';
import { ProcessLane } from '../../protocols/process-lane.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import {
  drainArguments,
  isSlurmClosed,
  parseSlurmNode,
  powerArguments,
  resumeArguments,
  SLURM_NODE_NAME,
  showNodeArguments,
  slurmFailure,
  slurmPower,
  slurmService,
} from '../../protocols/slurm.ts';
import type { Milliseconds } from '../../protocols/units.ts';
import type { DrainDriver, DrainOptions, ServiceReading, ServiceWrite } from './drain.ts';
import { beforeDrain, beforeResume, markIn, reasonOf } from './drain-rules.ts';
import { assertSafe, toolPrefix } from './remote-command.ts';

/** slurmctld answers in milliseconds; its own message time-out is 10 s. Source: slurm.conf(5), MessageTimeout. */
const TIMEOUT_MS: Milliseconds = 15_000;
const OUTPUT_MOST = 200_000;

export interface SlurmConfig {
  readonly kind: 'slurm';
  readonly node: string;
  readonly command?: readonly string[] | undefined;
  readonly powerDownAfter?: Milliseconds | undefined;
}

/** A node of Slurm, by `scontrol` on this machine or through a prefix such as `[ssh, head]`. */
export class SlurmDrain implements DrainDriver {
  readonly kind = 'slurm';
  private readonly node: string;
  private readonly prefix: readonly string[];
  private readonly clock: Clock;
  private readonly lane: ProcessLane;

  readonly powerDownAfterMs: Milliseconds | undefined;

  constructor({ node, command = [], powerDownAfter }: SlurmConfig, clock: Clock) {
    if (!SLURM_NODE_NAME.test(node)) throw new Error(`"${node}" is no name of one Slurm node`);
    this.node = node;
    this.prefix = toolPrefix(command, 'scontrol');
    this.powerDownAfterMs = powerDownAfter;
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
    return ok({
      state: slurmService(node.value),
      mark: markIn(reason),
      reason,
      power: slurmPower(node.value),
      closed: isSlurmClosed(node.value),
      requestedAt,
    });
  }

  async drain(mark: string, options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    // Going down takes the drain away; a node that is off is drained again, or the queue would wake it.
    const isOpenAndOff = now.value.power !== 'on' && now.value.closed === false;
    const verdict = isOpenAndOff ? null : beforeDrain(now.value);
    return verdict ?? this.write(drainArguments(this.node, reasonOf(mark)), options, signal);
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

  async powerDown(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    const { state, mark, power } = now.value;
    if (power !== 'on') return ok({ sent: false, note: `already ${power}` });
    if (state !== 'drained' || mark === null)
      return fail('refused', `${this.node} is ${state}: only what this agent drained is switched off`);
    const written = await this.write(powerArguments(this.node, 'power_down'), options, signal);
    if (written.ok || written.error.kind !== 'refused') return written;
    return fail(
      'refused',
      written.error.message,
      'slurm.conf needs SuspendTime of 0 or more, SuspendProgram and ResumeProgram.',
    );
  }

  async powerUp(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    const { power, closed, mark } = now.value;
    if (power === 'on' || power === 'coming-on') return ok({ sent: false, note: `already ${power}` });
    if (power === 'going-off') return fail('busy', `${this.node} is going down: Slurm would lose a power_up`);
    if (closed === true) {
      if (mark === null) return fail('refused', 'somebody else drained it: it stays so');
      // First, while its mark is there: power_up would take it away and leave the drain.
      const resumed = await this.write(resumeArguments(this.node), options, signal);
      if (!resumed.ok) return resumed;
    }
    return this.write(powerArguments(this.node, 'power_up'), options, signal);
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
