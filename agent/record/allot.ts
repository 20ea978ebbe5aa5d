import type { LimitId, WattHours } from '../../protocols/units.ts';

/**
 * Whose energy it was: metered energy on the tree of limits, divided among labels (classes, or tenants). What a
 * meter measures for one label alone is that label's, losses included. Where several hang below one meter each has
 * what its own readings sum up to, and the rest is booked as residual; it is never spread. Pure.
 */

export interface EnergyNode {
  readonly id: LimitId;
  readonly parent: LimitId | null;
  /** Watt-hours at the parent per watt-hour here. */
  readonly gain: number;
  /** By its own meter; `null`: it has none, or the meter says nothing. */
  readonly wattHours: WattHours | null;
  /** Labels of what hangs directly on it, with what their readings sum up to. */
  readonly own: Readonly<Record<string, WattHours>>;
}

export interface Allotment {
  /** By the meter of the grid connection; `null`: it said nothing. */
  readonly total: WattHours | null;
  /** As seen at the grid connection. */
  readonly byLabel: Readonly<Record<string, WattHours>>;
  /** What no reading explains; `null` without a total. */
  readonly residual: WattHours | null;
  /** Labels whose figure rests on their own readings, wholly or in part. */
  readonly estimated: readonly string[];
}

interface Part {
  /** Metered energy below, as seen here. */
  seen: number;
  /** Readings that no meter below has settled. */
  readonly zone: Map<string, number>;
  readonly settled: Map<string, number>;
  residual: number;
}

/** Parents may stand anywhere in the list; several roots are summed. */
export function allot(nodes: readonly EnergyNode[]): Allotment {
  const children = new Map<string | null, EnergyNode[]>();
  for (const node of nodes) children.set(node.parent, [...(children.get(node.parent) ?? []), node]);
  const estimated = new Set<string>();
  const visit = (node: EnergyNode): Part => {
    const part: Part = { seen: 0, zone: new Map(), settled: new Map(), residual: 0 };
    for (const child of children.get(node.id) ?? []) {
      const below = visit(child);
      part.seen += below.seen * child.gain;
      part.residual += below.residual * child.gain;
      for (const [label, value] of below.zone) book(part.zone, label, value * child.gain);
      for (const [label, value] of below.settled) book(part.settled, label, value * child.gain);
    }
    for (const [label, value] of Object.entries(node.own)) book(part.zone, label, value);
    if (node.wattHours !== null) settle(part, node.wattHours, estimated);
    return part;
  };
  let total: number | null = 0;
  let residual = 0;
  const byLabel = new Map<string, number>();
  for (const root of children.get(null) ?? []) {
    const part = visit(root);
    if (root.wattHours === null) total = null;
    else if (total !== null) total += root.wattHours;
    residual += part.residual;
    for (const [label, value] of part.settled) book(byLabel, label, value);
    for (const [label, value] of part.zone) {
      book(byLabel, label, value);
      estimated.add(label);
    }
  }
  return {
    total,
    byLabel: Object.fromEntries([...byLabel].sort(([a], [b]) => (a < b ? -1 : 1))),
    residual: total === null ? null : residual,
    estimated: [...estimated].sort(),
  };
}

function book(sums: Map<string, number>, label: string, value: number): void {
  sums.set(label, (sums.get(label) ?? 0) + value);
}

/** Divides what the meter of a node shows beyond the meters below it. */
function settle(part: Part, wattHours: WattHours, estimated: Set<string>): void {
  let rest = wattHours - part.seen;
  const [only] = part.zone.keys();
  if (part.zone.size === 1 && only !== undefined && rest >= 0) {
    book(part.settled, only, rest);
    rest = 0;
  } else if (part.zone.size > 1) {
    for (const [label, value] of part.zone) {
      book(part.settled, label, value);
      estimated.add(label);
      rest -= value;
    }
  }
  // Nothing below to give it to, several that do not add up, or meters that disagree: it stays visible.
  part.residual += rest;
  part.seen = wattHours;
  part.zone.clear();
}
