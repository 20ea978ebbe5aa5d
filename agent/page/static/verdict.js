import { formatAge, formatTime, formatWatts, isOld, plural, words } from './format.js';

// The one sentence on top of the page. Pure: `state` in, words out.

const SET_BY = {
  rating: 'its rating',
  local: 'the local operator',
  phases: 'its fullest phase',
  average: 'its average',
  thermal: 'its heat',
};
/** Nobody's order: the limit's own meter says so. */
const BY_METER = ['phases', 'average', 'thermal'];

/** Who set a limit, in words. */
export function setBy(source) {
  return SET_BY[source] ?? String(source);
}

/**
 * `{ level, word, text, key }`: `level` is `ok`, `attention`, `alarm` or `unknown`; `word` says the same in text;
 * `key` changes when the meaning does, not with every figure (it decides what a screen reader says).
 *
 * `state`: `{ site, lostSince, leases, now }`; `lostSince` is when the last event came, `null` while live.
 */
export function verdictOf({ site, lostSince, leases, now }) {
  if (lostSince !== null) {
    return verdict(
      'alarm',
      'No contact',
      `Nothing has come from the agent since ${formatTime(lostSince, now)} (${formatAge(now - lostSince)}). The figures below are old.`,
      'lost',
    );
  }
  if (site === null) return verdict('unknown', 'Loading', 'Asking the agent.', 'loading');
  if (site.mode === 'unconfigured') {
    return verdict(
      'unknown',
      'Not configured',
      'The agent runs, reads nothing and commands nothing. Write a configuration with “switchyard sample all > switchyard.yaml”, then “switchyard run”.',
      'unconfigured',
    );
  }
  if (site.limits.length === 0 || site.totals === null) {
    return verdict('unknown', 'Starting', 'No control cycle has been completed yet.', 'starting');
  }
  return overVerdict(site, leases, now) ?? blindVerdict(site) ?? calmVerdict(site);
}

function verdict(level, word, text, key) {
  return { level, word, text, key: `${level}:${key}` };
}

/** A measured limit that carries more than it may: on its way down in time, or over. */
function overVerdict(site, leases, now) {
  const over = site.limits
    .filter((limit) => limit.headroomWatts !== null && limit.headroomWatts < 0 && !isOld(limit.quality))
    .sort((a, b) => a.headroomWatts - b.headroomWatts)[0];
  if (over === undefined) return null;
  const excess = formatWatts(-over.headroomWatts);
  const isBeyond = site.alarms.some(({ code, target }) => code === 'cannot-be-met' && target === over.id);
  const lease = leases.find((each) => each.limit === over.id && each.watts === over.limitWatts);
  const left = lease === undefined ? 0 : lease.createdAt + lease.withinMs - now;
  if (left > 0 && !isBeyond) {
    return verdict(
      'attention',
      'Coming down',
      `${over.id} draws ${formatWatts(over.powerWatts)}, ${excess} above the ${formatWatts(over.limitWatts)} that ${setBy(over.source)} ordered; ${formatAge(Math.max(1000, Math.ceil(left / 1000) * 1000))} left.`,
      `down:${over.id}`,
    );
  }
  return verdict(
    'alarm',
    'Over the limit',
    `${over.id} draws ${formatWatts(over.powerWatts)}, ${excess} above its limit of ${formatWatts(over.limitWatts)} (set by ${setBy(over.source)}).${isBeyond ? ' The agent alone cannot bring it under.' : ''}`,
    `over:${over.id}:${isBeyond}`,
  );
}

/** The grid connection cannot be seen. */
function blindVerdict(site) {
  const blind = site.limits.find(
    (limit) => limit.parent === null && (limit.powerWatts === null || isOld(limit.quality)),
  );
  if (blind === undefined) return null;
  const age = blind.ageMs === null ? 'has not been read' : `is ${formatAge(blind.ageMs)} old`;
  return verdict(
    'alarm',
    'Blind',
    `The draw of ${blind.id} ${age}; the agent is in ${words(site.mode)} mode.`,
    `blind:${blind.id}:${site.mode}`,
  );
}

function calmVerdict(site) {
  const roots = site.limits.filter((limit) => limit.parent === null);
  const root = roots.reduce((least, limit) => (limit.headroomWatts < least.headroomWatts ? limit : least));
  const room = `${formatWatts(root.headroomWatts)} below the ${formatWatts(root.limitWatts)} limit of ${root.id}`;
  const verb = BY_METER.includes(root.source) ? 'held' : 'ordered';
  const by = root.source === 'rating' ? '' : ` (${verb} by ${setBy(root.source)})`;
  const alarms = site.alarmCount ?? site.alarms.length;
  const worst = site.alarms[0]?.severity;
  const text = `${room}${by}. ${answering(site.totals)}${alarms === 0 ? '' : ` ${plural(alarms, 'alarm')}, worst ${worst}.`}`;
  const grave = worst === 'critical' || worst === 'major';
  if (grave) return verdict('attention', 'Attention', text, `alarms:${alarms}:${worst}`);
  if (site.mode === 'normal') return verdict('ok', 'OK', text, `ok:${alarms}`);
  if (site.mode === 'curtailed')
    return verdict('ok', 'Curtailed', text, `curtailed:${root.limitWatts}:${alarms}`);
  return verdict('attention', `Mode ${words(site.mode)}`, text, `mode:${site.mode}:${alarms}`);
}

function answering({ miners, gpuNodes }) {
  const parts = [];
  if (miners.configured > 0)
    parts.push(`${miners.present} of ${plural(miners.configured, 'miner')}${asleep(miners)}`);
  if (gpuNodes.configured > 0)
    parts.push(`${gpuNodes.present} of ${plural(gpuNodes.configured, 'GPU node')}`);
  return parts.length === 0 ? 'No device is configured.' : `${parts.join(' and ')} answer.`;
}

function asleep({ asleep: count }) {
  return count > 0 ? ` (${count} asleep)` : '';
}
