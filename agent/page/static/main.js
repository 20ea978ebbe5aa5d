import { ROWS_PER_PAGE, renderDevice, renderDeviceRows, renderWhy } from './details.js';
import { createDiagram } from './diagram.js';
import { el, syncList } from './dom.js';
import { formatAge, formatNumber, formatTime, formatWatts, isOld, qualityText, words } from './format.js';
import { renderAlarms, renderDecisions, renderInForce, renderLimits } from './lists.js';
import { createPlot, SPANS, summaryOf } from './plots.js';
import { get, listen } from './stream.js';
import { setBy, verdictOf } from './verdict.js';

// What the page knows, when it asks for more, and who draws what.

const $ = (id) => document.getElementById(id);
const draw = createDiagram($('diagram'));
const showPlot = createPlot($('plot'), $('plot-readout'));

/** Time between two points of each span. */
const STEP_MS = { '5m': 1000, '1h': 10_000, '24h': 120_000 };

const state = {
  site: null,
  alarms: [],
  leases: [],
  holds: [],
  transfers: [],
  decisions: [],
  lostSince: null,
  span: '5m',
  points: [],
  offset: 0,
  device: null,
  said: '',
};

/** `#/limit/ID`, `#/limit/ID/miner`, `#/device/ID`; nothing = the first limit. */
function route() {
  const [, kind, id, more] = location.hash.split('/').map((part) => decodeURIComponent(part));
  if (kind === 'device' && id) return { device: id, limit: state.device?.limit ?? null, kind: null };
  return { device: null, limit: kind === 'limit' && id ? id : null, kind: more ?? null };
}

function selectedLimit() {
  const { limit } = route();
  const limits = state.site?.limits ?? [];
  return limits.find((each) => each.id === limit) ?? limits[0] ?? null;
}

// --- drawing -------------------------------------------------------------------------------------------------

function render() {
  const { site, lostSince, leases, transfers, decisions } = state;
  const now = Date.now();
  const verdict = verdictOf({ site: site && { ...site, alarms: state.alarms }, lostSince, leases, now });
  $('verdict').className = `verdict ${verdict.level}`;
  setText($('verdict-word'), verdict.word);
  setText($('verdict-text'), verdict.text);
  if (verdict.key !== state.said) {
    state.said = verdict.key;
    setText($('say'), `${verdict.word}. ${verdict.text}`);
  }
  document.body.classList.toggle('lost', lostSince !== null);
  const ready = site !== null && site.limits.length > 0 && site.totals !== null;
  $('content').hidden = !ready;
  if (!ready) return;
  setText($('site-name'), site.name ?? site.site);
  document.title = `${verdict.word}: ${site.name ?? site.site}`;
  setText(
    $('clock'),
    lostSince === null ? `live, ${formatTime(site.ts)}` : `last news ${formatTime(lostSince)}`,
  );
  setText($('mode'), `mode ${words(site.mode)}`);
  const pace = site.pace ?? site.simulation?.pace ?? null;
  $('pace').hidden = pace === null;
  setText($('pace'), `simulated, ${formatNumber(pace, pace % 1 === 0 ? 0 : 1)}× real time`);
  const selected = selectedLimit();
  const width = Math.floor($('diagram-box').clientWidth);
  // Before the first layout there is no width; the observer draws as soon as there is.
  if (width >= 200) draw({ site, transfers, selected: route().limit, width, now, lost: lostSince !== null });
  renderLimits($('limits'), site.limits, selected.id, lostSince !== null);
  renderAlarms($('alarms'), state.alarms, site.alarmCount ?? state.alarms.length, now);
  renderInForce($('in-force'), state, now);
  renderDecisions($('decisions'), decisions, now);
  renderFocus(selected);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function renderFocus(limit) {
  const at = route();
  $('limit-view').hidden = at.device !== null;
  $('device-view').hidden = at.device === null;
  renderCrumbs(limit, at.device);
  setText($('focus-title'), at.device ?? limit.name ?? limit.id);
  if (at.device !== null) return;
  const facts = [
    ['Power', formatWatts(limit.powerWatts)],
    ['Limit', formatWatts(limit.limitWatts)],
    ['Set by', limit.source === 'rating' ? 'rating' : setBy(limit.source)],
    ['Rating', formatWatts(limit.ratingWatts)],
    ['Left', formatWatts(limit.headroomWatts)],
    ['Worst case', formatWatts(limit.worstWatts)],
    ['Mining', formatWatts(limit.miningWatts)],
    ['AI', formatWatts(limit.aiWatts)],
    [
      'Reading',
      isOld(limit.quality) ? qualityText(limit) : `${qualityText(limit)}, ${formatAge(limit.ageMs)} ago`,
    ],
    ['Authority', words(limit.authority)],
  ];
  syncList(
    $('limit-facts'),
    facts,
    ([name]) => name,
    ([name]) => el('div', {}, el('dt', { text: name }), el('dd')),
    (pair, [, text]) => setText(pair.lastChild, text),
  );
}

function renderCrumbs(limit, device) {
  const limits = new Map(state.site.limits.map((each) => [each.id, each]));
  const path = [];
  for (let each = limit; each !== undefined; each = limits.get(each.parent))
    path.unshift({ text: each.name ?? each.id, href: `#/limit/${encodeURIComponent(each.id)}` });
  if (device !== null) path.push({ text: device, href: null });
  syncList(
    $('crumbs'),
    path,
    (crumb) => `${crumb.href} ${crumb.text}`,
    (crumb) =>
      el(
        'li',
        {},
        crumb.href === null
          ? el('span', { text: crumb.text })
          : el('a', { href: crumb.href, text: crumb.text }),
      ),
    (item, crumb) => {
      if (crumb === path.at(-1)) item.firstChild.setAttribute('aria-current', 'page');
      else item.firstChild.removeAttribute('aria-current');
    },
  );
}

function renderPlot() {
  const limit = selectedLimit();
  if (limit === null) return;
  const [, label, seconds] = SPANS.find(([id]) => id === state.span);
  showPlot(state.points, {
    seconds,
    now: state.site.ts,
    stepMs: STEP_MS[state.span],
    limitWatts: limit.limitWatts,
  });
  const summary = summaryOf(state.points, label);
  setText($('plot-summary'), summary);
  $('plot').setAttribute(
    'aria-label',
    `Power of ${limit.name ?? limit.id}. ${summary} Arrow keys read single points.`,
  );
}

// --- asking --------------------------------------------------------------------------------------------------

const busy = new Set();

/** Asks for each thing once at a time, and not while nobody answers. */
function ask(path, query, use) {
  const key = `${path} ${JSON.stringify(query)}`;
  if (busy.has(key) || state.lostSince !== null) return;
  busy.add(key);
  void get(path, query).then((answer) => {
    busy.delete(key);
    if (answer !== null) use(answer);
  });
}

function askSite() {
  ask('site', {}, (site) => {
    const first = state.site === null;
    state.site = { ...state.site, ...site, alarmCount: site.alarms.length };
    state.alarms = site.alarms;
    if (first) onRoute();
    else render();
  });
}

function askOrders() {
  ask('orders', {}, (orders) => {
    state.leases = orders.leases ?? [];
    state.holds = orders.holds ?? [];
  });
  ask('transfers', {}, ({ transfers }) => {
    state.transfers = transfers ?? [];
  });
}

function askDecisions() {
  ask('decisions', {}, ({ decisions }) => {
    state.decisions = decisions ?? [];
  });
}

function askHistory() {
  const limit = selectedLimit();
  if (limit === null) return;
  const query = { limit: limit.id, span: state.span };
  ask('history', query, ({ points }) => {
    if (selectedLimit()?.id !== query.limit || state.span !== query.span) return;
    const last = points.at(-1)?.ts ?? 0;
    // What came live since the answer was made stays.
    state.points = [...points, ...state.points.filter((point) => point.ts > last + STEP_MS[state.span])];
    renderPlot();
  });
}

function askDevices() {
  const at = route();
  const limit = selectedLimit();
  if (at.device !== null || limit === null) return;
  const query = {
    limit: limit.id,
    kind: at.kind,
    rows: ROWS_PER_PAGE,
    offset: state.offset,
    q: $('find').value.trim(),
    show: $('show').value,
    sort: $('sort').value,
  };
  ask('devices', query, ({ rows, total, offset }) => {
    if (selectedLimit()?.id !== query.limit || route().kind !== query.kind) return;
    if (state.offset >= total && state.offset > 0) state.offset = 0;
    renderDeviceRows($('devices'), rows);
    const last = offset + rows.length;
    const kind = at.kind === 'miner' ? 'miners' : at.kind === 'gpu-node' ? 'GPU nodes' : 'devices';
    setText(
      $('device-count'),
      total === 0
        ? `No ${kind} here${query.q !== '' || query.show !== 'all' ? ' that fit' : ''}.`
        : `${formatNumber(offset + 1)}–${formatNumber(last)} of ${formatNumber(total)} ${kind}`,
    );
    $('previous').disabled = offset === 0;
    $('next').disabled = last >= total;
  });
}

/** Why the chosen limit is as it is. */
function askWhy() {
  const limit = selectedLimit();
  if (limit === null || route().device !== null) return;
  ask('explain', { target: limit.id }, (explained) => {
    if (selectedLimit()?.id === limit.id) renderWhy($('limit-why'), explained);
  });
}

function askDevice() {
  const { device: id } = route();
  if (id === null) return;
  ask('devices', { id }, ({ devices }) => {
    void Promise.all([get('commands', { id }), get('explain', { target: id })]).then(
      ([commands, explained]) => {
        if (route().device !== id) return;
        state.device = devices[0] ?? null;
        renderDevice($('device'), state.device, commands?.commands ?? [], explained);
        render();
      },
    );
  });
}

// --- events --------------------------------------------------------------------------------------------------

function onEvent(event) {
  const { site } = state;
  const before = new Map((site?.limits ?? []).map((limit) => [limit.id, limit]));
  if (site === null || event.limits.some((limit) => !before.has(limit.id))) {
    askSite();
    if (site === null) return;
  }
  const ordered = event.limits.some((limit) => before.get(limit.id)?.limitWatts !== limit.limitWatts);
  const fresh = new Map(event.limits.map((limit) => [limit.id, limit]));
  const limits = site.limits.map((limit) => ({ ...limit, ...fresh.get(limit.id) }));
  const { ts, cycle, mode, totals, alarmCount } = event;
  state.site = { ...site, ts, cycle, mode, totals, limits, alarmCount: alarmCount ?? event.alarms.length };
  if (ordered || event.mode !== site.mode) askOrders();
  mergeAlarms(event);
  if ((event.limitCount ?? 0) > event.limits.length && cycle % 5 === 0) askSite();
  const limit = selectedLimit();
  if (state.span === '5m' && ts - (state.points.at(-1)?.ts ?? 0) > 900) {
    const { limitWatts, miningWatts, aiWatts } = limit;
    const powerWatts = isOld(limit.quality) ? null : limit.powerWatts;
    state.points = [...state.points.slice(-300), { ts, powerWatts, limitWatts, miningWatts, aiWatts }];
  }
  render();
  renderPlot();
}

/** Events carry alarms without their next step: what is new is asked for. */
function mergeAlarms(event) {
  const known = new Map(state.alarms.map((alarm) => [alarm.id, alarm]));
  const complete = event.alarms.every(
    (alarm) => known.get(alarm.id)?.acknowledgedBy === alarm.acknowledgedBy,
  );
  if (complete && (event.alarmCount ?? event.alarms.length) === state.alarms.length) {
    const messages = new Map(event.alarms.map((alarm) => [alarm.id, alarm.message]));
    state.alarms = state.alarms.map((alarm) => ({
      ...alarm,
      message: messages.get(alarm.id) ?? alarm.message,
    }));
    return;
  }
  ask('alarms', {}, ({ alarms }) => {
    state.alarms = alarms ?? [];
  });
}

let seconds = 0;
function onTick(lostSince) {
  state.lostSince = lostSince;
  seconds += 1;
  const every = (count) => seconds % count === 0 && document.visibilityState === 'visible';
  if (state.site === null || state.site.limits.length === 0) askSite();
  if (every(2)) askDevice();
  if (every(3)) askWhy();
  if (every(3)) askDevices();
  if (every(3)) askDecisions();
  if (every(5)) askOrders();
  if (every(state.span === '5m' ? 30 : state.span === '1h' ? 10 : 60)) askHistory();
  if (lostSince !== null || state.site === null) render();
}

function onRoute() {
  state.offset = 0;
  if (route().device === null) state.device = null;
  state.points = [];
  // What belongs to another limit must not stand under this one.
  if (route().device === null) renderDeviceRows($('devices'), []);
  if (state.site === null) return;
  render();
  renderPlot();
  askHistory();
  askDevices();
  askDevice();
  askWhy();
  if (location.hash.length > 2) {
    $('focus-title').focus({ preventScroll: true });
    $('focus').scrollIntoView({ block: 'start' });
  }
}

function goUp() {
  const at = route();
  const limit = selectedLimit();
  if (at.device !== null) location.hash = `#/limit/${encodeURIComponent(limit.id)}`;
  else if (at.kind !== null) location.hash = `#/limit/${encodeURIComponent(limit.id)}`;
  else if (limit?.parent) location.hash = `#/limit/${encodeURIComponent(limit.parent)}`;
}

function wire() {
  for (const [id, label] of SPANS) {
    const button = el('button', { type: 'button', text: label, 'aria-pressed': String(id === state.span) });
    button.addEventListener('click', () => {
      state.span = id;
      state.points = [];
      for (const other of $('spans').children) other.setAttribute('aria-pressed', String(other === button));
      askHistory();
    });
    $('spans').append(button);
  }
  const again = () => {
    state.offset = 0;
    askDevices();
  };
  for (const id of ['find', 'show', 'sort']) $(id).addEventListener('input', again);
  const turn = (by) => () => {
    state.offset = Math.max(0, state.offset + by);
    askDevices();
  };
  $('previous').addEventListener('click', turn(-ROWS_PER_PAGE));
  $('next').addEventListener('click', turn(ROWS_PER_PAGE));
  addEventListener('hashchange', onRoute);
  addEventListener('keydown', (event) => {
    const typing = event.target.matches('input, select');
    if (event.key === 'Escape') typing ? event.target.blur() : goUp();
    else if (event.key === '/' && !typing && !$('limit-view').hidden) {
      event.preventDefault();
      $('find').focus();
    }
  });
  new ResizeObserver(render).observe($('diagram-box'));
}

wire();
askSite();
askOrders();
askDecisions();
listen({ onEvent, onTick, onOpen: askSite });
