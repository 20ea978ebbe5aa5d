import { z } from 'zod';

/**
 * The allocation problem file (`plan --problem`). Semantics: choose exactly one allowed mode per device to
 * maximise the sum of `dollarsPerHour - switchDollarsPerHour[mode]` (0 where not given; `current` costs
 * nothing), such that `total(n) <= capacityWatts(n)` for every limit and every floor is reached, where
 * `total(n) = fixedWatts(n) + devices directly on n + sum over child limits c of gain(c) * total(c)`.
 */

const id = z.string().min(1).max(200);
const finite = z.number();
const watts = z.number().min(0);

const limitSchema = z.object({
  id,
  parent: id.nullable().default(null),
  capacityWatts: finite,
  fixedWatts: finite.default(0),
  gain: z.number().gt(0).default(1),
});

const modeSchema = z.object({ id, watts, dollarsPerHour: finite });

const deviceSchema = z.object({
  id,
  limit: id,
  current: id.nullable().default(null),
  modes: z.array(modeSchema).min(1),
  switchDollarsPerHour: z.record(z.string(), finite).default({}),
  allowed: z.array(id).min(1).nullable().default(null),
});

const floorSchema = z.object({ id, devices: z.array(id).min(1), watts });

const shape = z.object({
  v: z.literal(1),
  limits: z.array(limitSchema).min(1),
  devices: z.array(deviceSchema),
  floors: z.array(floorSchema).default([]),
});

type Parsed = z.output<typeof shape>;
type Complain = (path: readonly (string | number)[], message: string) => void;

/** The problem file, checked for shape and for everything that refers to something else. */
export const problemFileSchema = shape.superRefine((problem, context) => {
  const complain: Complain = (path, message) => {
    context.addIssue({ code: 'custom', path: [...path], message });
  };
  checkLimits(problem, complain);
  checkDevices(problem, complain);
  checkFloors(problem, complain);
});

/** A problem file as written (defaults may be left out) and as read. */

function checkLimits(problem: Parsed, complain: Complain): void {
  const parentOf = new Map<string, string | null>();
  for (const [n, limit] of problem.limits.entries()) {
    if (parentOf.has(limit.id)) complain(['limits', n, 'id'], `limit "${limit.id}" is named twice`);
    else parentOf.set(limit.id, limit.parent);
  }
  // Each limit is walked once: a walk ends at a root or at one that was walked before.
  const seenIn = new Map<string, number>();
  for (const [n, limit] of problem.limits.entries()) {
    if (limit.parent !== null && !parentOf.has(limit.parent)) {
      complain(['limits', n, 'parent'], `limit "${limit.id}": no limit has the id "${limit.parent}"`);
    }
    let at: string | null | undefined = limit.id;
    while (at !== null && at !== undefined && !seenIn.has(at)) {
      seenIn.set(at, n);
      at = parentOf.get(at);
    }
    // Back at a limit of this very walk: the walk went in a circle.
    if (at !== null && at !== undefined && seenIn.get(at) === n) {
      complain(['limits', n, 'parent'], `limit "${at}" is its own ancestor`);
    }
  }
}

function checkDevices(problem: Parsed, complain: Complain): void {
  const limits = new Set(problem.limits.map((limit) => limit.id));
  const seen = new Set<string>();
  for (const [d, device] of problem.devices.entries()) {
    const at = ['devices', d] as const;
    const named = `device "${device.id}"`;
    if (seen.has(device.id)) complain([...at, 'id'], `${named} is named twice`);
    seen.add(device.id);
    if (!limits.has(device.limit))
      complain([...at, 'limit'], `${named}: no limit has the id "${device.limit}"`);
    const modes = new Set<string>();
    for (const [m, mode] of device.modes.entries()) {
      if (modes.has(mode.id))
        complain([...at, 'modes', m, 'id'], `${named}: mode "${mode.id}" is named twice`);
      modes.add(mode.id);
    }
    const known = [...modes].join(', ');
    if (device.current !== null && !modes.has(device.current)) {
      complain([...at, 'current'], `${named}: "${device.current}" is none of its modes (${known})`);
    }
    for (const mode of Object.keys(device.switchDollarsPerHour)) {
      if (modes.has(mode)) continue;
      complain([...at, 'switchDollarsPerHour', mode], `${named}: "${mode}" is none of its modes (${known})`);
    }
    for (const [a, mode] of (device.allowed ?? []).entries()) {
      if (!modes.has(mode)) {
        complain([...at, 'allowed', a], `${named}: "${mode}" is none of its modes (${known})`);
      }
    }
  }
}

function checkFloors(problem: Parsed, complain: Complain): void {
  const devices = new Set(problem.devices.map((device) => device.id));
  const floorOf = new Map<string, string>();
  const seen = new Set<string>();
  for (const [f, floor] of problem.floors.entries()) {
    if (seen.has(floor.id)) complain(['floors', f, 'id'], `floor "${floor.id}" is named twice`);
    seen.add(floor.id);
    for (const [d, device] of floor.devices.entries()) {
      const at = ['floors', f, 'devices', d] as const;
      if (!devices.has(device)) complain(at, `floor "${floor.id}": no device has the id "${device}"`);
      const other = floorOf.get(device);
      if (other !== undefined) {
        complain(at, `floor "${floor.id}": device "${device}" is already in floor "${other}"`);
      }
      floorOf.set(device, floor.id);
    }
  }
}
