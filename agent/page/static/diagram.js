import { Drawing } from './dom.js';
import { formatTime, formatWatts, isOld, qualityText, shorten, words } from './format.js';
import { layoutDiagram, wirePath } from './layout.js';

// The single-line diagram: grid, feeders, mining and AI, and the switch between the two.

const NAMES = { mining: 'Mining', ai: 'AI', other: 'Other load' };
/** States of a transfer in which it has ended. */
const ENDED = new Set([
  'done',
  'ended',
  'returned',
  'failed',
  'rejected',
  'expired',
  'cancelled',
  'superseded',
  'refused',
]);

/** Transfers that are under way or in force. */
export function liveTransfers(transfers) {
  return transfers.filter((transfer) => !ENDED.has(transfer.state));
}

/** `{ closed, watts, lines }`: the position of the switch between mining and AI and what is written beside it. */
export function switchState(transfers, now) {
  const live = liveTransfers(transfers);
  if (live.length === 0) return { closed: false, watts: 0, lines: ['switch open', 'nothing handed over'] };
  const granted = live.reduce((sum, each) => sum + (each.grantedWatts ?? 0), 0);
  const asked = live.reduce((sum, each) => sum + (each.watts ?? 0), 0);
  const [first] = live;
  const until = live.length === 1 && first.until ? ` until ${formatTime(first.until, now)}` : '';
  const way = first.direction === 'ai-to-mining' ? 'AI → mining' : 'mining → AI';
  if (granted > 0)
    return { closed: true, watts: granted, lines: [`${formatWatts(granted)} ${way}`, `handed over${until}`] };
  return { closed: false, watts: 0, lines: [`${formatWatts(asked)} ${way}`, words(first.state)] };
}

/** Draws into `svg` (a `<svg>` in the page) and returns `render(state)`. */
export function createDiagram(svg) {
  const drawing = new Drawing(svg);
  return ({ site, transfers, selected, width, now, lost }) => {
    const layout = layoutDiagram({ limits: site.limits, totals: site.totals, selected, width });
    const { height, nodes, wires, sinks, gate, narrow } = layout;
    drawing.begin();
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('height', height);
    svg.classList.toggle('narrow', narrow);
    drawing.put('layer-channel', 'g', {});
    drawing.put('layer-wire', 'g', {});
    drawing.put('layer-front', 'g', {});
    const old = new Map(nodes.map((node) => [node.limit.id, lost || isOld(node.limit.quality)]));
    for (const node of nodes) channel(drawing, node, old.get(node.limit.id));
    for (const wire of wires) {
      const layer = drawing.elements.get('layer-wire');
      const state = old.get(wire.from) || old.get(wire.to) ? ' old' : '';
      const d = wirePath(wire);
      drawing.put(
        `wire ${wire.key}`,
        'path',
        { class: `wire ${wire.kind}${state}`, d, 'stroke-width': wire.width.toFixed(1) },
        layer,
      );
      if (wire.width >= 3 && state === '')
        drawing.put(`flow ${wire.key}`, 'path', { class: 'flow', d }, layer);
    }
    for (const node of nodes) node_(drawing, node, old.get(node.limit.id), selected, narrow);
    for (const sink of sinks) sinkOf(drawing, sink, site, narrow, lost);
    if (gate !== null) switchOf(drawing, gate, switchState(transfers, now), narrow);
    drawing.end();
  };
}

function channel(drawing, node, old) {
  const layer = drawing.elements.get('layer-channel');
  const { limit, x0, x1, y, height } = node;
  drawing.put(
    `channel ${limit.id}`,
    'rect',
    {
      class: `channel${old ? ' old' : ''}`,
      x: x0,
      y,
      width: x1 - x0,
      height,
    },
    layer,
  );
}

function statusOf(limit) {
  if (limit.powerWatts === null || isOld(limit.quality)) return [`? ${qualityText(limit)}`, 'bad'];
  if (limit.headroomWatts < 0) return [`▲ over by ${formatWatts(-limit.headroomWatts)}`, 'bad'];
  const left = `${formatWatts(limit.headroomWatts)} left`;
  return [limit.basis === 'measured' ? left : `${left}, estimated`, ''];
}

function node_(drawing, node, old, selected, narrow) {
  const { limit, x0, x1, y, height } = node;
  const id = limit.id;
  const layer = drawing.elements.get('layer-front');
  const [status, tone] = statusOf(limit);
  const figures = `${formatWatts(limit.powerWatts)} of ${formatWatts(limit.limitWatts)}`;
  const link = drawing.put(
    `node ${id}`,
    'a',
    {
      class: `node${old ? ' old' : ''}${id === selected ? ' selected' : ''}`,
      href: `#/limit/${encodeURIComponent(id)}`,
      'aria-label': `${id}: ${figures}, ${status}, ${qualityText(limit)}`,
      'aria-current': id === selected ? 'true' : null,
    },
    layer,
  );
  const label = narrow ? 50 : 42;
  drawing.put(
    `hit ${id}`,
    'rect',
    { class: 'hit', x: x0, y: y - label + 3, width: x1 - x0, height: height + label - 1, rx: 4 },
    link,
  );
  const space = Math.floor((x1 - x0) / (narrow ? 6.9 : 7.4));
  const more = limit.hidden > 0 ? ` +${limit.hidden}` : '';
  const wide = x1 - x0 > 260;
  const lines = narrow
    ? [
        [limit.name ?? id, 'name', -37],
        [figures.replace(/\s\SW(?= of)/, ''), 'figure', -22],
        [status, `status ${tone}`, -7],
      ]
    : [
        [limit.name ?? id, 'name', -24],
        [figures, 'figure', -7],
      ];
  for (const [text, kind, dy] of lines)
    drawing.put(
      `${kind.split(' ')[0]} ${id}`,
      'text',
      {
        class: kind,
        x: x0 + 2,
        y: y + dy,
        text: shorten(text, space - more.length) + (kind === 'name' ? more : ''),
      },
      link,
    );
  if (!narrow)
    drawing.put(
      `status ${id}`,
      'text',
      {
        class: `status end ${tone}`,
        x: x1 - 2,
        y: y + (wide ? -7 : -24),
        text: shorten(status, Math.floor(space * 0.55)),
      },
      link,
    );
  drawing.put(`title ${id}`, 'title', { text: `${limit.name ?? id}: ${figures}, ${status}` }, link);
  limitLines(drawing, node, link);
}

/** The limit in force as a line along the channel, the rating dashed where it is higher, what is over hatched. */
function limitLines(drawing, { limit, x0, x1, y, power, limitY, ratingY }, link) {
  const { id } = limit;
  if (power > limitY + 0.5)
    drawing.put(
      `over ${id}`,
      'rect',
      { class: 'over', x: x0, y: y + limitY, width: x1 - x0, height: power - limitY },
      link,
    );
  if (ratingY > limitY + 1)
    drawing.put(
      `rating ${id}`,
      'line',
      { class: 'rating', x1: x0, x2: x1, y1: y + ratingY, y2: y + ratingY },
      link,
    );
  drawing.put(
    `limit ${id}`,
    'path',
    { class: 'limit', d: `M${x0} ${y + limitY - 4}v8m0 -4H${x1}m0 -4v8` },
    link,
  );
}

function sinkOf(drawing, { kind, x0, x1, y, height }, site, narrow, lost) {
  const layer = drawing.elements.get('layer-front');
  const { totals } = site;
  const counts = kind === 'mining' ? totals.miners : kind === 'ai' ? totals.gpuNodes : null;
  // Nobody answered yet: the sum of nothing is not zero watts.
  const unknown = counts !== null && counts.configured > 0 && counts.present + counts.held === 0;
  const watts = unknown ? null : totals[`${kind}Watts`];
  const detail =
    counts === null
      ? 'not controlled'
      : `${counts.working}/${counts.configured} ${narrow ? 'work' : 'working'}${counts.asleep > 0 && !narrow ? `, ${counts.asleep} asleep` : ''}`;
  const attributes = {
    class: `sink ${kind}${lost ? ' old' : ''}`,
    'aria-label': `${NAMES[kind]}: ${formatWatts(watts)}, ${detail}`,
  };
  if (counts !== null)
    attributes.href = `#/limit/${encodeURIComponent(site.limits[0].id)}/${kind === 'mining' ? 'miner' : 'gpu-node'}`;
  const link = drawing.put(`sink ${kind}`, counts === null ? 'g' : 'a', attributes, layer);
  const label = narrow ? 50 : 42;
  drawing.put(
    `sink-hit ${kind}`,
    'rect',
    { class: 'hit', x: x0, y: y - label + 3, width: x1 - x0, height: height + label - 1, rx: 4 },
    link,
  );
  drawing.put(
    `sink-bar ${kind}`,
    'rect',
    { class: `wire-fill ${kind}`, x: x0, y, width: x1 - x0, height, rx: 1 },
    link,
  );
  if (narrow) {
    drawing.put(
      `sink-name ${kind}`,
      'text',
      { class: 'name', x: x0 + 2, y: y - 37, text: kind === 'other' ? 'Other' : NAMES[kind] },
      link,
    );
    drawing.put(
      `sink-figure ${kind}`,
      'text',
      { class: 'figure', x: x0 + 2, y: y - 22, text: formatWatts(watts) },
      link,
    );
    drawing.put(
      `sink-detail ${kind}`,
      'text',
      { class: 'status', x: x0 + 2, y: y - 7, text: shorten(detail, 14) },
      link,
    );
  } else {
    drawing.put(
      `sink-name ${kind}`,
      'text',
      { class: 'name', x: x0 + 2, y: y - 24, text: NAMES[kind] },
      link,
    );
    drawing.put(
      `sink-figure ${kind}`,
      'text',
      { class: 'figure end strong', x: x1 - 2, y: y - 24, text: formatWatts(watts) },
      link,
    );
    drawing.put(`sink-detail ${kind}`, 'text', { class: 'status', x: x0 + 2, y: y - 7, text: detail }, link);
  }
}

/** A knife switch between the mining and the AI bar: its blade closes when capacity has been handed over. */
function switchOf(drawing, { x, y0, y1 }, { closed, lines }, narrow) {
  const layer = drawing.elements.get('layer-front');
  const group = drawing.put(
    'gate',
    'g',
    {
      class: closed ? 'gate closed' : 'gate',
      role: 'img',
      'aria-label': `Switch between mining and AI: ${lines.join(', ')}`,
    },
    layer,
  );
  const top = y0 + 8;
  const bottom = y1 - 8;
  drawing.put(
    'gate-wire',
    'path',
    { class: 'gate-wire', d: `M${x} ${y0}V${top}M${x} ${bottom}V${y1}` },
    group,
  );
  drawing.put(
    'gate-blade',
    'path',
    { class: 'gate-blade', d: closed ? `M${x} ${bottom}V${top}` : `M${x} ${bottom}L${x + 13} ${top + 3}` },
    group,
  );
  drawing.put('gate-top', 'circle', { class: 'gate-end', cx: x, cy: top, r: 3 }, group);
  drawing.put('gate-bottom', 'circle', { class: 'gate-end', cx: x, cy: bottom, r: 3 }, group);
  const middle = (y0 + y1) / 2;
  const text = narrow
    ? lines.map((line) => line.replace('switch open', 'open').replace('nothing handed over', 'no hand-over'))
    : lines;
  for (const [index, line] of text.entries())
    drawing.put(
      `gate-text-${index}`,
      'text',
      {
        class: index === 0 ? 'figure' : 'status',
        x: x + (narrow ? 16 : 22),
        y: middle - 3 + index * 14,
        text: shorten(line, narrow ? 11 : 24),
      },
      group,
    );
}
