import type { Clock } from '../../protocols/clock.ts';
import type { SmiReport } from '../../protocols/nvidia-smi.ts';
import {
  parseSmiCsv,
  refusedField,
  SMI_FIELDS,
  SMI_OPTIONAL_FIELDS,
  smiQueryArguments,
  smiReadFailure,
  smiWriteAnswer,
} from '../../protocols/nvidia-smi.ts';
import { parseSmiXml, SMI_XML_ARGUMENTS } from '../../protocols/nvidia-smi-xml.ts';
import type { Argv, ProcessFailure, ProcessOutput } from '../../protocols/process.ts';
import { ProcessLane } from '../../protocols/process-lane.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { CapPort, CapView, CapWrite } from './cap.ts';
import { remedyFor } from './remedies.ts';
import { assertSafe, toolPrefix } from './remote-command.ts';

export interface SmiRead {
  readonly report: SmiReport;
  readonly requestedAt: MonotonicMs;
  readonly repliedAt: MonotonicMs;
}

const READ_TIMEOUT_MS: Milliseconds = 10_000;
const WRITE_TIMEOUT_MS: Milliseconds = 15_000;
const OUTPUT_MOST = 4_000_000;

/**
 * One node's nvidia-smi, on this machine or through a prefix such as `ssh host`. One process at a time, ever:
 * on a sick GPU it can hang inside the kernel, where not even SIGKILL ends it, and every further one would too.
 */
export class SmiRunner implements CapPort {
  private readonly prefix: readonly string[];
  private readonly clock: Clock;
  private readonly optional = new Set<string>(SMI_OPTIONAL_FIELDS);
  private wantsXml = false;
  private readonly lane: ProcessLane;

  /** `program`: where nvidia-smi lies; a prefix that ends with it already is taken as it is. */
  constructor(prefix: readonly string[], clock: Clock, program = 'nvidia-smi') {
    this.prefix = toolPrefix(prefix, 'nvidia-smi', program);
    this.lane = new ProcessLane('nvidia-smi', clock);
    this.clock = clock;
  }

  /** All GPUs. A field that the driver does not know is given up; without the basic ones the XML is read. */
  async read(signal: AbortSignal): Promise<Result<SmiRead>> {
    for (let attempt = 0; attempt <= SMI_OPTIONAL_FIELDS.length + 1; attempt += 1) {
      const args = this.wantsXml ? SMI_XML_ARGUMENTS : smiQueryArguments([...SMI_FIELDS, ...this.optional]);
      const run = await this.run(args, READ_TIMEOUT_MS, signal);
      if (!run.ok) return fail(run.error.kind, run.error.message, remedyFor(run.error.message));
      const { stdout, stderr, exitCode, startedAt, endedAt } = run.value;
      const report = this.wantsXml ? parseSmiXml(stdout) : parseSmiCsv(stdout);
      if (report.ok) return ok({ report: report.value, requestedAt: startedAt, repliedAt: endedAt });
      const refused = refusedField(`${stdout}\n${stderr}`);
      if (refused === null || this.wantsXml) {
        const said = `${stdout}\n${stderr}`.trim();
        if (exitCode === 0 && said !== '' && !/fail|unable|no devices/i.test(said)) return report;
        const { kind, message } = smiReadFailure(said, exitCode);
        return fail(kind, message, remedyFor(said));
      }
      if (!this.optional.delete(refused)) this.wantsXml = true;
    }
    return fail('unsupported', 'nvidia-smi refuses every list of fields');
  }

  async view(signal: AbortSignal): Promise<Result<readonly CapView[]>> {
    const read = await this.read(signal);
    return read.ok ? ok(read.value.report.gpus) : read;
  }

  /** Caps one GPU. What the tool answers is no proof. */
  async cap(uuid: string, limitWatts: Watts, signal: AbortSignal): Promise<Result<CapWrite>> {
    const watts = Number.isInteger(limitWatts) ? String(limitWatts) : limitWatts.toFixed(2);
    return this.write(['-i', uuid, '-pl', watts], signal);
  }

  /** Keeps the driver loaded: without it the cap is forgotten with the last client. */
  async persist(uuid: string, signal: AbortSignal): Promise<Result<CapWrite>> {
    return this.write(['-i', uuid, '-pm', '1'], signal);
  }

  private async write(args: readonly string[], signal: AbortSignal): Promise<Result<CapWrite>> {
    const sentAt = this.clock.monotonicMs();
    const run = await this.run(args, WRITE_TIMEOUT_MS, signal);
    if (!run.ok) {
      // What was started may have reached the GPU, whatever became of its answer.
      if (!run.error.started) return run;
      return ok({ accepted: null, kind: null, sentAt: this.clock.monotonicMs(), note: run.error.message });
    }
    const { stdout, stderr, exitCode, endedAt } = run.value;
    const said = `${stdout}\n${stderr}`.trim();
    if (exitCode === 255 && stdout.trim() === '')
      return fail('unreachable', `nvidia-smi: ${said || 'exit code 255'}`, remedyFor(said));
    return ok({ ...smiWriteAnswer(said, exitCode), sentAt: Math.max(sentAt, endedAt) });
  }

  private async run(
    args: readonly string[],
    timeoutMs: Milliseconds,
    signal: AbortSignal,
  ): Promise<Result<ProcessOutput, ProcessFailure>> {
    assertSafe(args);
    const argv = [...this.prefix, ...args] as unknown as Argv;
    return this.lane.run(argv, { timeoutMs, outputMost: OUTPUT_MOST }, signal);
  }
}
