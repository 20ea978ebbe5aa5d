import type { Failure } from './result.ts';
import type { Watts } from './units.ts';

/**
 * Words of Redfish for the power of a chassis. Pure. Source: DMTF DSP0266 (protocol), the schemas EnvironmentMetrics
 * 1.3 (`PowerWatts`, `PowerLimitWatts` with `SetPoint`) and the older Power 1.7 (`PowerControl`, `PowerLimit`).
 */

export const SERVICE_ROOT = '/redfish/v1';
export const SESSIONS = `${SERVICE_ROOT}/SessionService/Sessions`;
export const CHASSIS = `${SERVICE_ROOT}/Chassis`;

/** Which schema a chassis shows its power in. */
export type PowerForm = 'environment' | 'power';

/** The power of a chassis; `null` = it does not say. */
export interface ChassisPower {
  readonly powerWatts: Watts | null;
  /** It can be limited, whether a limit is set now or not. */
  readonly hasLimit: boolean;
  /** The limit that is set; `null`: none, or its control is off. */
  readonly setPointWatts: Watts | null;
  /** Its control is switched off: a set point alone would do nothing. */
  readonly isOff: boolean;
  readonly minWatts: Watts | null;
  readonly maxWatts: Watts | null;
}

export interface Chassis {
  readonly path: string;
  readonly environment: string | null;
  readonly power: string | null;
  readonly vendor: string | null;
  readonly model: string | null;
  readonly serialNumber: string | null;
}

type Body = Readonly<Record<string, unknown>>;

/** The members of a collection, or `null` where this is none. */
export function parseMembers(json: unknown): readonly string[] | null {
  const { Members } = record(json);
  if (!Array.isArray(Members)) return null;
  return Members.flatMap((member) => linkOf(member) ?? []);
}

export function parseChassis(json: unknown): Chassis | null {
  const body = record(json);
  const path = linkOf(body);
  if (path === null) return null;
  return {
    path,
    environment: linkOf(body['EnvironmentMetrics']),
    power: linkOf(body['Power']),
    vendor: text(body['Manufacturer']),
    model: text(body['Model']),
    serialNumber: text(body['SerialNumber']),
  };
}

/** The power part of either schema; everything may be missing. */
export function parseChassisPower(form: PowerForm, json: unknown): ChassisPower {
  if (form === 'environment') {
    const { PowerWatts, PowerLimitWatts } = record(json);
    const limit = record(PowerLimitWatts);
    const isOff = limit['ControlMode'] === 'Disabled';
    return {
      // Of a control without a sensor of its own: the reading that it controls by.
      powerWatts: watts(record(PowerWatts)['Reading']) ?? watts(limit['Reading']),
      hasLimit: isRecord(PowerLimitWatts),
      setPointWatts: isOff ? null : watts(limit['SetPoint']),
      isOff,
      minWatts: watts(limit['AllowableMin']),
      maxWatts: watts(limit['AllowableMax']),
    };
  }
  const { PowerControl } = record(json);
  // Where there are several, the first one is the whole; the others are parts of it.
  const control = record(Array.isArray(PowerControl) ? PowerControl[0] : null);
  return {
    powerWatts: watts(control['PowerConsumedWatts']),
    hasLimit: isRecord(control['PowerLimit']),
    setPointWatts: watts(record(control['PowerLimit'])['LimitInWatts']),
    isOff: false,
    minWatts: null,
    maxWatts: watts(control['PowerCapacityWatts']),
  };
}

/** The body of a PATCH that sets the limit. */
export function limitPatch(form: PowerForm, limitWatts: Watts, isOff: boolean): Body {
  return form === 'environment'
    ? { PowerLimitWatts: { SetPoint: limitWatts, ...(isOff && { ControlMode: 'Automatic' }) } }
    : { PowerControl: [{ PowerLimit: { LimitInWatts: limitWatts } }] };
}

/** What a task says of itself: `null` while it goes on, or where this is no task. */
export function taskEnd(json: unknown): { readonly done: boolean; readonly note: string } | null {
  const { TaskState, TaskStatus, Messages } = record(json);
  const said = Array.isArray(Messages) ? text(record(Messages.at(-1))['Message']) : null;
  const note = said ?? text(TaskStatus) ?? '';
  if (TaskState === 'Completed') return { done: true, note };
  const failed = ['Exception', 'Killed', 'Cancelled', 'Interrupted'];
  return typeof TaskState === 'string' && failed.includes(TaskState)
    ? { done: false, note: note || TaskState }
    : null;
}

/** What an answer other than a success means. `what`: what was asked, as in "does not let this user ...". */
export function redfishFailure(place: string, status: number, json: unknown, what: string): Failure {
  const error = record(record(json)['error']);
  const list = error['@Message.ExtendedInfo'];
  const message = text(record(Array.isArray(list) ? list[0] : null)['Message']) ?? text(error['message']);
  const said = message === null ? '' : `: ${message.slice(0, 300)}`;
  switch (status) {
    case 401:
      return {
        kind: 'unauthorised',
        message: `${place} does not accept the user or the password${said}`,
        hint: 'See `user` and `passwordFile`; the file is read again at every login.',
      };
    case 403:
      return {
        kind: 'unauthorised',
        message: `${place} does not let this user ${what}${said}`,
        hint: 'Reading needs the role ReadOnly, a power limit Operator, on some controllers Administrator.',
      };
    case 404:
      return {
        kind: 'unsupported',
        message: `${place} has nothing there to ${what}${said}`,
        hint: 'Name its chassis as `reader.chassis`; newer firmware may have it.',
      };
    case 405:
      return {
        kind: 'unsupported',
        message: `${place} cannot ${what}${said}`,
        hint: 'Its firmware or licence has no power limit.',
      };
    case 412:
      return { kind: 'busy', message: `${place}: somebody else changed it at the same time${said}` };
    case 429:
    case 503:
      return { kind: 'busy', message: `${place} says later${said}` };
    default:
      return { kind: 'refused', message: `${place} answers HTTP ${status} to: ${what}${said}` };
  }
}

/** The path of a link, of this server: whatever host an absolute one names is not asked. */
export function pathOf(link: string): string | null {
  if (link.startsWith('/') && !link.startsWith('//')) return link;
  try {
    const { protocol, pathname, search } = new URL(link);
    return protocol === 'https:' || protocol === 'http:' ? pathname + search : null;
  } catch {
    return null;
  }
}

function linkOf(value: unknown): string | null {
  const id = record(value)['@odata.id'];
  return typeof id === 'string' && id.startsWith('/') && !id.startsWith('//') ? id : null;
}

function watts(value: unknown): Watts | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}

function isRecord(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function record(value: unknown): Body {
  return isRecord(value) ? value : {};
}
