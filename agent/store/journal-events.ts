import type { StepRecord } from '../control/controller.ts';
import type { DecisionRecord } from '../control/decision.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import { BALLAST_BYTES } from './database.ts';

/** What the journal says of cycles and of its disk, in words for people. */

/** One event for each command of a cycle. */
export function commandEvents(record: StepRecord): SiteEvent[] {
  return record.result.decision.commands.map((command) => ({
    epochMs: record.ts,
    kind: 'command',
    target: command.device,
    message: `${command.fromPointId} -> ${command.pointId} (${command.watts} W): ${command.why}`,
  }));
}

/** A decision as an event of the log, whole in its detail. */
export function decisionEvent(record: DecisionRecord): SiteEvent {
  const { ts, why } = record;
  return {
    epochMs: ts,
    kind: 'decision',
    target: 'site',
    message: `${record.devicesDown} down (${record.movedDownWatts} W), ${record.devicesUp} up (${record.movedUpWatts} W)${why[0] === undefined ? '' : `: ${why[0]}`}`,
    detail: { ...record },
  };
}

/** Troubles with the disk beside a journal that cannot be written. */
export function diskConditions(disk: {
  readonly folder: string;
  /** The reserve could not be put on the disk. */
  readonly noBallast: boolean;
  /** Name of a damaged file that was set aside. */
  readonly asideName: string | null;
}): Condition[] {
  const conditions: Condition[] = [];
  if (disk.noBallast) {
    conditions.push({
      code: 'disk-full',
      severity: 'major',
      target: 'site',
      message: `The disk of the gateway has no room for the journal's reserve of ${BALLAST_BYTES / 1e6} MB; the journal keeps to the space it has.`,
      nextStep: `Make room on the disk of ${disk.folder}.`,
    });
  }
  if (disk.asideName !== null) {
    conditions.push({
      code: 'journal-set-aside',
      severity: 'major',
      target: 'site',
      message: `The journal was damaged; it was set aside as ${disk.asideName} and a new one begun.`,
      nextStep: 'Check the disk of the gateway, keep the file for a look at it, then restart the agent.',
    });
  }
  return conditions;
}
