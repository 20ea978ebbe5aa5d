import type { DeviceId, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { DeviceInput } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { NodeSums } from './node-sums.ts';
import { currentPoint } from './plan.ts';
import { editionOf, type StepContext, type StepLimit } from './step-context.ts';

/**
 * What meters show beyond everything that the plan knows of is taken off the room: upwards at once, downwards
 * slowly. It is never negative: an error in our favour makes no room. Returns, per limit, what is put down to devices
 * that were never asked yet: taken off as well, for as long as they are not known.
 */
export function correctBias(
  context: StepContext,
  limits: Record<string, LimitMemory>,
  sums: ReadonlyMap<string, NodeSums>,
  inputs: readonly DeviceInput[],
  unseen: ReadonlyMap<DeviceId, Watts>,
  now: MonotonicMs,
): ReadonlyMap<LimitId, Watts> {
  const unaskedWatts = new Map<LimitId, Watts>();
  const below = new Map<string, DeviceInput[]>();
  for (const input of inputs) {
    const list = below.get(input.facts.limit);
    if (list === undefined) below.set(input.facts.limit, [input]);
    else list.push(input);
  }
  const models = new Map<string, NodeModel>();
  const { rules } = context;
  const edition = editionOf(rules);
  const roundMs = edition < 2 ? 0 : rules.pollMs + rules.meterLagMs;
  for (const limit of [...context.limits].reverse()) {
    const model = ownModel(limit, below.get(limit.id) ?? [], unseen, now, context.rules.meterLagMs);
    for (const child of context.limits) {
      if (child.parent !== limit.id) continue;
      const childModel = models.get(child.id)!;
      model.planned += childModel.planned * child.gain;
      model.present += childModel.present * child.gain;
      model.rises += childModel.rises * child.gain;
      model.unasked += childModel.unasked * child.gain;
      model.quiet &&= childModel.quiet;
    }
    const memory = limits[limit.id]!;
    const sum = sums.get(limit.id)!;
    if (sum.measuredWatts === null) {
      model.planned += memory.biasWatts;
      model.present += memory.biasWatts;
      models.set(limit.id, model);
      continue;
    }
    const excess = Math.max(0, sum.measuredWatts - model.present);
    let bias = memory.biasWatts;
    if (excess > bias && model.quiet) bias += (excess - bias) * 0.5;
    if (excess < bias) bias += (excess - bias) * 0.05;
    // The plan believes that it is under the limit, the meter says that it is not, and everything sent has had
    // its effect: whatever it is, it counts at once.
    const beyond = Math.max(0, sum.expectedWatts - model.planned - bias);
    const unasked = edition < 3 ? 0 : Math.min(model.unasked, beyond);
    if (unasked > 0) unaskedWatts.set(limit.id, unasked);
    const planned = model.planned + bias + unasked;
    const over = sum.expectedWatts - Math.max(memory.inForceWatts, planned);
    const settled = now - memory.biasRaisedAt > context.rules.meterLagMs + 1000;
    const { overSince: before, ...kept } = memory;
    const overSince = over > 0 ? (before ?? now) : null;
    // Rises are what devices drew when they were read: where the meter is ahead of them they count twice, for one round.
    const sure = over > model.rises || overSince === null || now - overSince >= roundMs;
    const since = overSince === null || roundMs === 0 ? {} : { overSince };
    if (over > 0 && settled && sure)
      limits[limit.id] = { ...kept, ...since, biasWatts: bias + over, biasRaisedAt: now };
    else limits[limit.id] = { ...kept, ...since, biasWatts: bias < 1 ? 0 : bias };
    // To its parent a metered node is what its meter shows, or what is planned below it where that is less.
    models.set(limit.id, {
      ...model,
      planned,
      present: sum.measuredWatts,
      unasked: model.unasked - unasked,
    });
  }
  return unaskedWatts;
}

interface NodeModel {
  /** By the points that devices are at or on their way to. */
  planned: number;
  /** By what they draw at this moment, as far as known. */
  present: number;
  /** What is still to come of the rises that are under way, by the devices' last readings. */
  rises: number;
  /** What devices may draw that were never seen and not asked yet: the meter has them, the plan has not. */
  unasked: number;
  /** Nothing below is on its way between two points. */
  quiet: boolean;
}

function ownModel(
  limit: StepLimit,
  inputs: readonly DeviceInput[],
  unseen: ReadonlyMap<DeviceId, Watts>,
  now: MonotonicMs,
  lagMs: Milliseconds,
): NodeModel {
  const model: NodeModel = {
    planned: limit.loadWorstWatts,
    present: limit.loadWorstWatts,
    rises: 0,
    unasked: 0,
    quiet: true,
  };
  for (const input of inputs) {
    const { entry, facts, device } = input;
    const { pending } = entry;
    // Not yet asked: what it draws is in the meter and not in the model.
    if (device.requestedAt === null && device.failure === null) {
      model.quiet = false;
      if (device.inventory === 'expected') model.unasked += facts.nameplateWatts;
    }
    if (device.inventory === 'expected' || device.inventory === 'removed') continue;
    const recent = entry.lastDrop !== null && now - entry.lastDrop.at < lagMs * 2;
    const moving = pending !== null || recent || device.activity === 'starting';
    if (moving) model.quiet = false;
    const point = entry.quarantine !== null ? null : currentPoint(input);
    const planned = unseen.get(facts.id) ?? point?.watts ?? facts.nameplateWatts;
    model.planned += planned;
    if (pending !== null && !pending.failed && pending.direction === 'up')
      model.rises += Math.max(0, pending.watts - (device.fresh ? (device.powerWatts ?? 0) : 0));
    const own = device.fresh && device.reported ? device.powerWatts : null;
    model.present += moving ? (own ?? Math.max(planned, pending?.fromWatts ?? 0)) : planned;
  }
  return model;
}
