import { liveTransfers } from './diagram.js';
import { el, fillCells, replaceWhen, syncList, tableRow } from './dom.js';
import { formatAge, formatNumber, formatTime, formatWatts, plural, qualityText, words } from './format.js';
import { setBy } from './verdict.js';

// The lists beside the diagram: limits, alarms, what is in force, decisions.

const SYMBOLS = { critical: '■', major: '▲', minor: '◆', info: '●' };
const ALARMS_SHOWN = 50;

/** The facts of the diagram as a table. */
export function renderLimits(body, limits, selected, lost) {
  const levels = new Map();
  for (const limit of limits)
    levels.set(limit.id, limit.parent === null ? 0 : (levels.get(limit.parent) ?? 0) + 1);
  syncList(
    body,
    limits,
    (limit) => limit.id,
    (limit) => {
      const row = tableRow(8);
      row.firstChild.append(el('a', { href: `#/limit/${encodeURIComponent(limit.id)}` }));
      return row;
    },
    (row, limit) => {
      const over = limit.headroomWatts !== null && limit.headroomWatts < 0;
      const quality = qualityText(limit);
      const old = lost || (quality !== 'measured' && quality !== 'estimated');
      row.className = `${old ? 'old' : ''}${limit.id === selected ? ' selected' : ''}`;
      fillCells(row, [
        [limit.name ?? limit.id, `level-${Math.min(4, levels.get(limit.id))}`],
        [formatWatts(limit.powerWatts), 'number'],
        [formatWatts(limit.limitWatts), 'number'],
        [
          over ? `▲ ${formatWatts(limit.headroomWatts)}` : formatWatts(limit.headroomWatts),
          over ? 'number bad' : 'number',
        ],
        [formatWatts(limit.miningWatts), 'number wide'],
        [formatWatts(limit.aiWatts), 'number wide'],
        [
          limit.source === 'rating'
            ? 'rating'
            : `${setBy(limit.source)}${limit.until === null ? '' : ` until ${formatTime(limit.until)}`}`,
          'wide',
        ],
        [lost ? 'no contact' : quality, old ? 'wide bad' : 'wide'],
      ]);
    },
  );
}

/** Alarms with their next step, worst first. */
export function renderAlarms(list, alarms, count, now) {
  replaceWhen(list.previousElementSibling, `${count}`, () =>
    document.createTextNode(count === 0 ? 'Alarms: none' : `Alarms: ${formatNumber(count)}`),
  );
  syncList(
    list,
    alarms.slice(0, ALARMS_SHOWN),
    (alarm) => alarm.id,
    () => el('li', {}, el('strong'), el('p'), el('p', { class: 'next' }), el('p', { class: 'quiet' })),
    (item, alarm) => {
      item.className = `alarm ${alarm.severity}`;
      const [title, message, next, since] = item.children;
      const put = (target, text) => {
        if (target.textContent !== text) target.textContent = text;
      };
      put(
        title,
        `${SYMBOLS[alarm.severity] ?? '●'} ${alarm.severity}: ${words(alarm.code)}, ${alarm.target}`,
      );
      put(message, alarm.message);
      put(next, alarm.nextStep ? `Next: ${alarm.nextStep}` : '');
      next.hidden = !alarm.nextStep;
      const by = alarm.acknowledgedBy ? `, seen by ${alarm.acknowledgedBy}` : '';
      put(since, `since ${formatTime(alarm.since, now)} (${formatAge(now - alarm.since)})${by}`);
    },
  );
  const more = count - Math.min(alarms.length, ALARMS_SHOWN);
  list.nextElementSibling.hidden = more <= 0;
  list.nextElementSibling.textContent = `and ${plural(more, 'more')}`.replace('mores', 'more');
}

/** One line per thing in force: orders, transfers, holds. Each `{ key, what, watts, who, until, then }`. Pure. */
export function inForce({ leases, holds, transfers }, now) {
  const end = (until) => (until ? `until ${formatTime(until, now)}` : 'until taken back');
  return [
    ...leases.map((lease) => ({
      key: `lease ${lease.orderId}`,
      what: `${lease.limit} limited to ${formatWatts(lease.watts)}`,
      who: `${setBy(lease.issuer)}, priority ${lease.priority}`,
      until: lease.overdue ? `ended ${formatTime(lease.expiresAt, now)}, still held` : end(lease.expiresAt),
      next:
        lease.expiresAt === null ? '' : lease.onExpiry === 'release' ? 'then let go by ramp' : 'then held on',
      warn: lease.overdue === true,
    })),
    ...liveTransfers(transfers).map((transfer) => ({
      key: `transfer ${transfer.id}`,
      what: `${formatWatts(transfer.watts || transfer.askedWatts)} of ${transfer.limit} ${transfer.direction === 'ai-to-mining' ? 'from AI to mining' : 'from mining to AI'}`,
      who: `${setBy(transfer.asker.replace(/^order:/, ''))} for ${transfer.workload}`,
      until: end(transfer.until),
      next: [words(transfer.state), transfer.reason].filter((part) => part).join(': '),
      warn: transfer.state === 'breached',
    })),
    ...holds.map((hold) => ({
      key: `hold ${hold.target}`,
      what: `${hold.target} is held: commanded by nobody`,
      who: `${hold.who}${hold.why ? `: ${hold.why}` : ''}`,
      until: end(hold.until),
      next: '',
      warn: false,
    })),
  ];
}

export function renderInForce(list, state, now) {
  const items = inForce(state, now);
  list.nextElementSibling.hidden = items.length > 0;
  syncList(
    list,
    items,
    (item) => item.key,
    () => el('li', {}, el('strong'), el('p', { class: 'quiet' })),
    (row, { what, who, until, next, warn }) => {
      row.className = warn ? 'alarm major' : '';
      const detail = [`by ${who}`, until, next].filter((part) => part !== '').join(' · ');
      if (row.children[0].textContent !== what) row.children[0].textContent = what;
      if (row.children[1].textContent !== detail) row.children[1].textContent = detail;
    },
  );
}

/** What a decision did, in a sentence. Pure. */
export function decisionText(decision) {
  const parts = [];
  if (decision.devicesDown > 0)
    parts.push(`${plural(decision.devicesDown, 'device')} down by ${formatWatts(decision.movedDownWatts)}`);
  if (decision.devicesUp > 0)
    parts.push(`${plural(decision.devicesUp, 'device')} up by ${formatWatts(decision.movedUpWatts)}`);
  if (parts.length === 0) parts.push('nothing changed');
  const binding = (decision.binding ?? []).map(({ limit }) => limit);
  return `${parts.join(', ')}${binding.length === 0 ? '' : `; ${binding.join(' and ')} binds`}`;
}

function reasons(decision) {
  const lines = [...(decision.why ?? [])];
  for (const { limit, dollarsPerKwh } of decision.binding ?? [])
    lines.push(`one more kWh under ${limit} would be worth $${formatNumber(dollarsPerKwh, 4)}`);
  if (decision.heldBack)
    lines.push(
      `${plural(decision.heldBack.count, 'rise')} of ${formatWatts(decision.heldBack.watts)} held back: ${decision.heldBack.why}`,
    );
  for (const { target, watts } of decision.shortfalls ?? [])
    lines.push(`cannot be met: ${target}, short by ${formatWatts(watts)}`);
  if (decision.gap !== null && decision.gap !== undefined)
    lines.push(
      `earns $${formatNumber(decision.dollarsPerHour, 2)} an hour, proved within ${formatNumber(decision.gap * 100, 2)} % of the best possible`,
    );
  return lines;
}

export function renderDecisions(list, decisions, now) {
  const recent = decisions.slice(0, 20);
  list.nextElementSibling.hidden = recent.length > 0;
  syncList(
    list,
    recent,
    (decision) => `${decision.ts} ${decision.cycle}`,
    (decision) =>
      el(
        'li',
        {},
        el(
          'details',
          {},
          el('summary', {}, el('time', { text: formatTime(decision.ts, now) }), ` ${decisionText(decision)}`),
          el(
            'ul',
            {},
            reasons(decision).map((text) => el('li', { text })),
          ),
        ),
      ),
    () => undefined,
  );
}
