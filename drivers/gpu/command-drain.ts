import type { Clock } from '../../protocols/clock.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { DrainDriver, DrainOptions, ServiceReading, ServiceState, ServiceWrite } from './drain.ts';
import { beforeDrain, beforeResume } from './drain-rules.ts';
import { Hook, type HookRequest } from './hook.ts';

const STATES: readonly ServiceState[] = ['in-service', 'draining', 'drained', 'down'];

/** A node whose workload manager is spoken to by a program of the site: docs/reference/hook.md. */
export class CommandDrain implements DrainDriver {
  readonly kind = 'command';
  private readonly hook: Hook;
  private readonly clock: Clock;

  constructor(node: string, command: readonly string[], clock: Clock) {
    this.hook = new Hook(node, command, clock);
    this.clock = clock;
  }

  async read(signal: AbortSignal): Promise<Result<ServiceReading>> {
    const requestedAt = this.clock.monotonicMs();
    const said = await this.hook.ask({ verb: 'state' }, signal);
    if (!said.ok) return said;
    const state = STATES.find((known) => known === said.value.state);
    if (state === undefined)
      return fail('malformed', `the hook says "${said.value.state ?? ''}", not one of ${STATES.join(', ')}`);
    return ok({ state, mark: said.value.id, reason: said.value.reason, requestedAt });
  }

  async drain(mark: string, options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    return beforeDrain(now.value) ?? this.write({ verb: 'drain', id: mark }, options, signal);
  }

  async resume(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    const verdict = beforeResume(now.value);
    if (verdict !== null) return verdict;
    const { mark } = now.value;
    return this.write({ verb: 'resume', ...(mark === null ? {} : { id: mark }) }, options, signal);
  }

  private async write(
    request: Omit<HookRequest, 'node'>,
    options: DrainOptions,
    signal: AbortSignal,
  ): Promise<Result<ServiceWrite>> {
    const line = this.hook.line(request);
    if (options.dryRun) return ok({ sent: false, note: `would run: ${line}` });
    const said = await this.hook.ask(request, signal);
    return said.ok ? ok({ sent: true, note: line }) : said;
  }
}
