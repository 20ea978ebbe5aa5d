import { formatWatts } from '../../config/quantity.ts';
import type { LimitId } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import type { InForce } from '../site/view.ts';
import { floorsBelow } from './firm-power.ts';
import { worstOf } from './ledger.ts';
import type { Observation } from './observation.ts';
import type { StepResult } from './step.ts';
import { pathOf, type StepContext } from './step-context.ts';

/** A device that woke by itself is worth a look for this long. */
const ROSE_SHOWN_MS = 15 * 60_000;

/** Unexplained load above this share of a limit is worth a person's look. */
const BIAS_SHARE = 0.05;

/** A phase that is full below this share of the rating is worth a person's work. */
const UNEQUAL_SHARE = 0.9;

/** What control itself finds worth an alarm. Pure. */
export function controlConditions(
  context: StepContext,
  result: StepResult,
  observation: Observation,
  inForce: ReadonlyMap<LimitId, InForce>,
  journalFailure: string | null,
): Condition[] {
  const conditions: Condition[] = [];
  for (const entry of Object.values(result.state.entries)) {
    if (entry.quarantine !== null) {
      conditions.push({
        code: 'quarantined',
        severity: 'major',
        target: entry.id,
        message: `${entry.id} does not do what it is told (${entry.quarantine.why}); it counts at its nameplate.`,
        nextStep: `Look at it on site, then run \`switchyard release ${entry.id}\`.`,
      });
    }
    if (entry.quarantine === null && entry.disobeyed > 0) {
      conditions.push({
        code: 'does-not-obey',
        severity: 'minor',
        target: entry.id,
        message: `${entry.id} showed no effect of its last ${entry.disobeyed === 1 ? 'command' : `${entry.disobeyed} commands`}; other devices made up for it.`,
        nextStep: `Run \`switchyard explain ${entry.id}\`; check its credentials and whether its API may write.`,
      });
    }
    if (entry.roseAt !== null && result.decision.at - entry.roseAt < ROSE_SHOWN_MS) {
      conditions.push({
        code: 'rose-by-itself',
        severity: 'minor',
        target: entry.id,
        ...(result.facts.get(entry.id)?.kind === 'gpu-node'
          ? {
              message: `Something else raised the caps of ${entry.id}; they are set again where a limit needs it.`,
              nextStep:
                'The events `cap-changed` say which GPUs and when. Look for a job prolog, DCGM policy or driver reload.',
            }
          : {
              message: `${entry.id} went back to work although it was put to sleep.`,
              nextStep: 'If it happens again, look for another controller or a watchdog that restarts it.',
            }),
      });
    }
  }
  for (const device of observation.devices) {
    if (!device.implausible) continue;
    conditions.push({
      code: 'implausible-power',
      severity: 'minor',
      target: device.id,
      message: `${device.id} claims far fewer watts than its hash rate can be had for; its figure is not used.`,
      nextStep: 'Compare with a clamp meter; look for a firmware that misreports.',
    });
  }
  for (const limit of context.limits) {
    const memory = result.state.limits[limit.id];
    const sums = result.decision.sums.find((candidate) => candidate.limit === limit.id);
    if (memory === undefined || sums === undefined) continue;
    const watts = inForce.get(limit.id)?.watts ?? limit.ratingWatts;
    if (sums.measuredWatts !== null && sums.measuredWatts > watts && memory.drop === null) {
      conditions.push({
        code: 'over-limit',
        severity: 'critical',
        target: limit.id,
        message: `${limit.id} carries ${Math.round(sums.measuredWatts)} W, its limit is ${watts} W.`,
        nextStep:
          limit.authority === 'observe' || limit.authority === 'advise'
            ? 'The agent only observes this limit: reduce load below it.'
            : 'The agent is shedding; see `switchyard explain` for what it waits for.',
      });
    }
    if (memory.heldBy === 'phases' && watts < limit.ratingWatts * UNEQUAL_SHARE) {
      conditions.push({
        code: 'phases-unequal',
        severity: 'minor',
        target: limit.id,
        message: `One phase of ${limit.id} is full at ${watts} W of ${limit.ratingWatts} W: its phases are loaded unequally, or voltage and power factor are lower than its rating assumes.`,
        nextStep:
          'Compare the three currents of its meter, and move machines to the phase that carries least.',
      });
    }
    if (memory.biasWatts > watts * BIAS_SHARE) {
      conditions.push({
        code: 'unexplained-load',
        severity: 'minor',
        target: limit.id,
        message: `The meter of ${limit.id} shows ${Math.round(memory.biasWatts)} W more than everything configured below it.`,
        nextStep: 'Name the load under `loads:`, or look for devices that are not configured.',
      });
    }
  }
  conditions.push(...unprovedSleep(context, result, inForce));
  conditions.push(...shortfallConditions(context, result));
  if (journalFailure !== null) {
    conditions.push({
      code: 'journal-failed',
      severity: 'critical',
      target: 'site',
      message: `The journal does not hold (${journalFailure}): the agent only lowers until it does.`,
      nextStep:
        'Check the disk of the gateway: space, whether it is mounted read-only, and what `switchyard log` says.',
    });
  }
  return conditions;
}

/** What the decision could not meet: limits that stay over, floors that are missed. */
function shortfallConditions(context: StepContext, result: StepResult): Condition[] {
  return result.decision.shortfalls.map(({ target, watts }): Condition => {
    const floor = context.floors.find(({ id }) => id === target);
    const limit = floor === undefined ? null : firmYieldsTo(context, result, floor.devices);
    if (limit !== null)
      return {
        code: 'cannot-be-met',
        severity: 'critical',
        target,
        message: `The firm power of ${target} gives way to ${limit}: ${watts} W are missing, and everything else below ${limit} is down.`,
        nextStep: `Raise ${limit}, or move the work of ${target} elsewhere: what it was promised does not fit.`,
      };
    if (floor !== undefined)
      return {
        code: 'cannot-be-met',
        severity: 'critical',
        target,
        message: `The firm power of ${target} cannot be met by its nodes: ${watts} W are missing.`,
        nextStep: `Look at the nodes of ${target} that are away or set aside, or lower its \`firm\`.`,
      };
    const keepsFirm = result.state.limits[target]?.firm?.yields !== true;
    if (keepsFirm && floorsBelow(context, new Set([target])).length > 0)
      return {
        code: 'firm-above-limit',
        severity: 'major',
        target,
        message: `${target} does not hold the firm power below it: ${watts} W too many.`,
        nextStep: `Firm power gives way once everything else below ${target} is down and it still carries too much; raise ${target}, or move work elsewhere.`,
      };
    return {
      code: 'cannot-be-met',
      severity: 'critical',
      target,
      message: `${target} cannot be met by anything the agent may command: ${watts} W too many.`,
      nextStep: 'Switch something off by hand, or give the agent authority over more of it.',
    };
  });
}

/** The limit that takes from the firm power of these nodes, the lowest first; `null`: none does. */
function firmYieldsTo(context: StepContext, result: StepResult, devices: readonly string[]): LimitId | null {
  const limitOf = new Map(context.devices.map(({ model }) => [model.id, model.limit]));
  for (const device of devices) {
    const path = pathOf(context.limits, limitOf.get(device) ?? '');
    const found = path.find((id) => result.state.limits[id]?.firm?.yields === true);
    if (found !== undefined) return found;
  }
  return null;
}

/** Limits without a meter where nothing may wake as long as nobody can tell that the sleepers sleep. */
function unprovedSleep(
  context: StepContext,
  result: StepResult,
  inForce: ReadonlyMap<LimitId, InForce>,
): Condition[] {
  const unmetered = new Map(
    context.limits.filter(({ metered }) => !metered).map((limit) => [limit.id, limit]),
  );
  if (unmetered.size === 0) return [];
  const unproved = new Map<LimitId, { count: number; watts: number }>();
  for (const { entry, facts, device } of result.inputs) {
    if (device.reported || device.activity !== 'asleep' || entry.pointId !== 'sleep') continue;
    const watts = worstOf(entry, facts, device) - (device.powerWatts ?? 0);
    for (let at = unmetered.get(facts.limit); at !== undefined; at = unmetered.get(at.parent ?? '')) {
      const { count, watts: before } = unproved.get(at.id) ?? { count: 0, watts: 0 };
      unproved.set(at.id, { count: count + 1, watts: before + watts });
    }
  }
  return result.decision.sums.flatMap(({ limit: id, sumWorstWatts }): Condition[] => {
    const found = unproved.get(id);
    const watts = inForce.get(id)?.watts ?? unmetered.get(id)?.ratingWatts ?? 0;
    const over = sumWorstWatts - watts;
    if (found === undefined || over <= 0 || found.watts < over) return [];
    return [
      {
        code: 'sleep-unproved',
        severity: 'minor',
        target: id,
        message: `${id} has no meter and ${found.count} of its sleeping miners tell no watts: they count as ${formatWatts(found.watts)}, so nothing below ${id} may wake.`,
        nextStep: `Put a meter at ${id}, or a firmware that tells its watts on those miners.`,
      },
    ];
  });
}
