import type { DeviceId } from '../../protocols/units.ts';
import type { Condition, Severity } from './alarms.ts';
import { pathUp, type SiteModel } from './model.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Many devices with the same trouble have one cause: the switch, the supply, the password that they share. What they
 * have in common is found here, and told once. Pure.
 */

/** What a device shares with others, narrowest first where two fit equally. */
type CauseKind = 'entry' | 'rack' | 'row' | 'building' | 'network' | 'limit' | 'site';

/** A device and everything that it shares, as `kind id`. */
export interface DevicePlace {
  readonly id: DeviceId;
  readonly shares: readonly string[];
}

/** Fewer than this are told one by one. */
const GROUP_AT_LEAST = 5;
/** So many devices are named in an alarm: it is a message of its own. */
const NAMED_AT_MOST = 250;
/** At least this part of what shares a cause must be in trouble. */
const GROUP_SHARE = 0.5;
const ORDER: readonly CauseKind[] = ['entry', 'rack', 'row', 'building', 'network', 'limit', 'site'];
const RANK: Readonly<Record<Severity, number>> = { critical: 0, major: 1, minor: 2, info: 3 };
/** A device that does not answer is told as that: what it did not do meanwhile follows from it. */
const FOLLOWS_FROM_SILENCE: readonly string[] = ['does-not-obey', 'quarantined', 'rose-by-itself'];
const SILENT = 'device-silent';

/** Where the devices of a site stand that were ever seen and are not removed. */
export function placesOf(model: SiteModel, snapshot: Snapshot): DevicePlace[] {
  const models = new Map(model.devices.map((device) => [device.id, device]));
  return snapshot.devices.flatMap((device): DevicePlace[] => {
    const known = models.get(device.id);
    if (known === undefined || device.inventory === 'expected' || device.inventory === 'removed') return [];
    const { building, row, rack } = known.location ?? {};
    const [, ...limits] = [...pathUp(model, device.limit)].reverse();
    const network = /^(\d+\.\d+\.\d+)\.\d+(:|$)/.exec(device.address)?.[1];
    return [
      {
        id: device.id,
        shares: [
          `entry ${known.entry}`,
          ...(rack === undefined ? [] : [`rack ${[building, row, rack].filter(Boolean).join('.')}`]),
          ...(row === undefined ? [] : [`row ${[building, row].filter(Boolean).join('.')}`]),
          ...(building === undefined ? [] : [`building ${building}`]),
          ...(network === undefined ? [] : [`network ${network}.0/24`]),
          ...limits.map((limit) => `limit ${limit}`),
          `site ${model.siteId}`,
        ],
      },
    ];
  });
}

/**
 * The conditions with those of the same code that many devices of one place have put together: one condition with
 * their `count`, the `devices` and what they share as `firstCause`. Everything else stays as it is, but for what is
 * `fresh`: that waits until it has company or is old.
 */
export function groupByCause(
  conditions: readonly Condition[],
  places: () => readonly DevicePlace[],
): Condition[] {
  const byCode = new Map<string, Condition[]>();
  for (const condition of conditions) {
    const same = byCode.get(condition.code);
    if (same === undefined) byCode.set(condition.code, [condition]);
    else same.push(condition);
  }
  if ([...byCode.values()].every((same) => same.length < GROUP_AT_LEAST))
    return conditions.filter(({ fresh }) => fresh === undefined);
  const all = countPlaces(places());
  const gone = new Set<Condition>();
  const grouped = new Map<Condition, Condition>();
  const silent = new Set<DeviceId>();
  // Silence first: other troubles may follow from it.
  for (const code of [SILENT, ...[...byCode.keys()].filter((other) => other !== SILENT)]) {
    const follows = FOLLOWS_FROM_SILENCE.includes(code);
    const open = new Map<DeviceId, Condition>();
    for (const condition of byCode.get(code) ?? []) {
      if (follows && silent.has(condition.target)) gone.add(condition);
      else if (all.of.has(condition.target)) open.set(condition.target, condition);
    }
    const named = new Set<string>();
    for (const { cause, ids } of causesOf(open, all)) {
      const members = ids.map((id) => open.get(id)!);
      for (const member of members) gone.add(member);
      grouped.set(members[0]!, joined(code, cause, members, ids, named));
      if (code === SILENT) for (const id of ids) silent.add(id);
    }
  }
  return conditions.flatMap((condition) => {
    const group = grouped.get(condition);
    if (group !== undefined) return [group];
    return gone.has(condition) || condition.fresh === true ? [] : [condition];
  });
}

/** Every device with its number in the site's order, and how many devices share each cause. */
interface Places {
  readonly of: ReadonlyMap<DeviceId, { readonly at: number; readonly shares: readonly string[] }>;
  readonly totals: ReadonlyMap<string, number>;
}

function countPlaces(places: readonly DevicePlace[]): Places {
  const totals = new Map<string, number>();
  for (const { shares } of places)
    for (const cause of shares) totals.set(cause, (totals.get(cause) ?? 0) + 1);
  return { of: new Map(places.map(({ id, shares }, at) => [id, { at, shares }])), totals };
}

/** What explains the most devices in trouble and contradicts the fewest that are not; then the next. */
function causesOf(
  troubled: ReadonlyMap<DeviceId, unknown>,
  { of, totals }: Places,
): { readonly cause: string; readonly ids: readonly DeviceId[] }[] {
  if (troubled.size < GROUP_AT_LEAST) return [];
  const idsBy = new Map<string, Set<DeviceId>>();
  // In the site's order: the first of a group is quoted.
  const inOrder = [...troubled.keys()].sort((a, b) => of.get(a)!.at - of.get(b)!.at);
  for (const id of inOrder)
    for (const cause of of.get(id)!.shares) {
      const ids = idsBy.get(cause);
      if (ids === undefined) idsBy.set(cause, new Set([id]));
      else ids.add(id);
    }
  const tally = [...idsBy].map(([cause, ids]) => ({ cause, ids, others: totals.get(cause)! - ids.size }));
  const found: { cause: string; ids: DeviceId[] }[] = [];
  for (;;) {
    const [best] = tally
      .filter(
        ({ ids, others }) => ids.size >= GROUP_AT_LEAST && ids.size >= GROUP_SHARE * (ids.size + others),
      )
      .sort(
        (left, right) =>
          right.ids.size - right.others - (left.ids.size - left.others) ||
          orderOf(left.cause) - orderOf(right.cause) ||
          (left.cause < right.cause ? -1 : 1),
      );
    if (best === undefined) return found;
    const ids = [...best.ids];
    found.push({ cause: best.cause, ids });
    // What is explained is neither for nor against any other cause.
    for (const id of ids) for (const cause of of.get(id)!.shares) idsBy.get(cause)!.delete(id);
  }
}

function orderOf(cause: string): number {
  return ORDER.indexOf(cause.split(' ')[0] as CauseKind);
}

function joined(
  code: string,
  cause: string,
  members: readonly Condition[],
  ids: readonly DeviceId[],
  named: Set<string>,
): Condition {
  const [kind, ...rest] = cause.split(' ');
  const name = rest.join(' ');
  // An entry and a limit may have the same id.
  const target = named.has(name) ? cause : name;
  named.add(target);
  const where = kind === 'entry' || kind === 'site' ? name : cause;
  const worst = members.reduce((a, b) => (RANK[b.severity] < RANK[a.severity] ? b : a));
  const head = { target, count: members.length, firstCause: cause, devices: ids.slice(0, NAMED_AT_MOST) };
  if (code === SILENT)
    return {
      ...head,
      code: 'group-silent',
      severity: 'major',
      message: `${members.length} devices of ${where} fell silent: most likely one common cause.`,
      nextStep: SILENT_STEPS[kind as CauseKind],
    };
  return {
    ...head,
    code,
    severity: worst.severity,
    message: `${members.length} devices of ${where} have the same trouble, most likely one cause. The first: ${worst.message}`,
    nextStep: worst.nextStep,
  };
}

const SHARED = 'Check the switch and the supply that they share before any single device.';
const SILENT_STEPS: Readonly<Record<CauseKind, string>> = {
  entry: SHARED,
  rack: SHARED,
  row: SHARED,
  building: SHARED,
  network: 'Check the switch or router of this network before any single device.',
  limit: 'Look at the meter and the breaker of this limit, then at the switch behind it.',
  site: "Check the gateway's own network before anything else.",
};
