import type { Controller } from './control/controller.ts';
import type { TransferService } from './control/transfer-service.ts';
import type { OpenLoad } from './poll-targets.ts';
import type { SiteModel } from './site/model.ts';
import type { SiteState } from './site/state.ts';

/** A technician ends a hand-over: `{"id","who"}`. */
export function transferEnd(args: unknown, transfers: TransferService): { status: number; body: unknown } {
  const { id, who = 'technician' } = (args ?? {}) as { id?: unknown; who?: unknown };
  const refused = transfers.end(String(id), String(who).slice(0, 100));
  return refused === null ? { status: 200, body: { ended: id } } : { status: 409, body: { error: refused } };
}

/** The parts that a local word may touch. */
export interface LocalParts {
  readonly model: SiteModel;
  readonly state: SiteState;
  readonly controller: Controller;
  readonly loads: readonly OpenLoad[];
}

/** What only a person on the gateway may say: set a device aside, accept another in its place, call it removed. */
export function localVerb(verb: string, args: unknown, parts: LocalParts): { status: number; body: unknown } {
  const { device, why = '' } = (args ?? {}) as { device?: unknown; why?: unknown };
  const load = parts.loads.find(({ driver }) => driver.deviceId === device);
  if (load === undefined) return { status: 404, body: { error: `there is no device "${String(device)}"` } };
  const id = load.driver.deviceId;
  switch (verb) {
    case 'quarantine':
      parts.controller.intervene({
        kind: 'quarantine',
        device: id,
        why: String(why).slice(0, 200) || 'set aside by a person',
      });
      break;
    case 'replace':
      parts.controller.intervene({ kind: 'forget', device: id, why: 'replaced' });
      parts.state.forgetIdentity(id);
      parts.state.setRemoved(id, false);
      void load.driver.reopen();
      break;
    case 'removed':
      parts.state.setRemoved(id, true);
      break;
    default:
      return { status: 404, body: { error: `nothing known as "${verb}"` } };
  }
  return { status: 200, body: { v: 1, device: id, verb, done: true } };
}
