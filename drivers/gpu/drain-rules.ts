import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { ServiceReading, ServiceWrite } from './drain.ts';

/** Stands before the id of a hand-over in the reason of a drained node: what bears it is ours to resume. */
const MARK = 'switchyard:';

/** The reason under which this agent drains: nothing in it that a shell would read. */
export function reasonOf(mark: string): string {
  return `${MARK}${mark.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 80)}`;
}

/** The hand-over in a reason, or `null` where it is somebody else's. */
export function markIn(reason: string | null): string | null {
  return reason?.startsWith(MARK) ? reason.slice(MARK.length) : null;
}

/** What to do about a drain, before anything is sent: `null` = send it. */
export function beforeDrain(now: ServiceReading): Result<ServiceWrite> | null {
  if (now.state === 'down') return fail('refused', 'the node is down: there is nothing to drain');
  if (now.state === 'in-service') return null;
  // Draining again would overwrite the reason of whoever did it first.
  const by = now.mark === null ? `by somebody else (${now.reason ?? 'no reason'})` : 'by this agent';
  return ok({ sent: false, note: `already ${now.state} ${by}` });
}

/** The same for a resume. */
export function beforeResume(now: ServiceReading): Result<ServiceWrite> | null {
  if (now.state === 'in-service') return ok({ sent: false, note: 'already in service' });
  if (now.mark !== null) return null;
  if (now.state === 'down')
    return fail('refused', 'the node is down: it is not this agent that can resume it');
  return fail('refused', `somebody else drained it (${now.reason ?? 'no reason'}): it stays so`);
}
