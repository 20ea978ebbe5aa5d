import { Drawing } from './dom.js';
import { formatTime, formatWatts, isOld, qualityText, shorten, words } from './format.js';
import { layoutDiagram, ribbonPath, wirePath } from './layout.js';

// The single-line diagram: grid, feeders, mining and AI, and the switch between the two.

/** Below this width, in pixels, a wire is drawn as a stroke. */
const THIN = 10;
const NAMES = { mining: 'Mining', ai: 'AI', other: 'Other' };
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
  if (live.length === 0)
    return { closed: false, watts: 0, lines: ['Switch open', 'nothing handed over'], short: ['open'] };
  const granted = live.reduce((sum, each) => sum + (each.grantedWatts ?? 0), 0);
  const asked = live.reduce((sum, each) => sum + (each.watts ?? 0), 0);
  const [first] = live;
  const to = first.direction === 'ai-to-mining' ? 'mining' : 'AI';
  if (granted === 0) {
    const [watts, state] = [formatWatts(asked), words(first.state)];
    return {
      closed: false,
      watts: 0,
      lines: [`${watts} to ${to}`, state],
      short: [watts, shorten(state, 8)],
    };
  }
  const until = live.length === 1 && first.until ? [`until ${formatTime(first.until, now)}`] : [];
  const watts = formatWatts(granted);
  return {
    closed: true,
    watts: granted,
    lines: [watts, `handed to ${to}`, ...until],
    short: [watts, `to ${to}`],
  };
}

/** Draws into `svg` (a `<svg>` in the page) and returns `render(state)`. */
export function createDiagram(svg) {
  const drawing = new Drawing(svg);
  return ({ site, transfers, selected, width, now, lost }) => {
    const layout = layoutDiagram({ limits: site.limits, totals: site.totals, selected, width });
    const { height, nodes, wires, sinks, gate, narrow, whole } = layout;
    drawing.begin();
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.setAttribute('height', height);
    svg.classList.toggle('narrow', narrow);
    hatch(drawing);
    drawing.put('layer-channel', 'g', {});
    drawing.put('layer-wire', 'g', {});
    drawing.put('layer-front', 'g', {});
    const old = new Map(nodes.map((node) => [node.limit.id, lost || isOld(node.limit.quality)]));
    for (const node of nodes) channel(drawing, node, old.get(node.limit.id));
    for (const wire of wires) {
      const layer = drawing.elements.get('layer-wire');
      const state = old.get(wire.from) || old.get(wire.to) ? ' old' : '';
      // A thin wire is a stroke, so that it stays as wide where it is steep.
      const thin = wire.width < THIN;
      drawing.put(
        `wire ${wire.key}`,
        'path',
        {
          class: `wire ${wire.kind}${thin ? ' thin' : ''}${state}`,
          d: thin ? wirePath(wire) : ribbonPath(wire),
          'stroke-width': thin ? wire.width.toFixed(1) : 0.8,
        },
        layer,
      );
      if (wire.width >= THIN && state === '')
        drawing.put(`flow ${wire.key}`, 'path', { class: 'flow', d: wirePath(wire) }, layer);
    }
    for (const node of nodes) limitNode(drawing, node, old.get(node.limit.id), selected, narrow);
    for (const sink of sinks) sinkOf(drawing, sink, site, { narrow, lost, whole });
    if (gate !== null) switchOf(drawing, gate, switchState(transfers, now), narrow);
    drawing.end();
  };
}

/** The pattern of what is over a limit. */
function hatch(drawing) {
  const defs = drawing.put('defs', 'defs', {});
  const pattern = drawing.put(
    'hatch',
    'pattern',
    { id: 'hatch', width: 8, height: 8, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    defs,
  );
  drawing.put('hatch-line', 'rect', { class: 'hatch', width: 4.5, height: 8 }, pattern);
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
  if (limit.headroomWatts < 0) return [`▲ ${formatWatts(-limit.headroomWatts)} over`, 'bad'];
  const left = `${formatWatts(limit.headroomWatts)} left`;
  return [limit.basis === 'measured' ? left : `${left}, estimated`, ''];
}

function limitNode(drawing, node, old, selected, narrow) {
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
        [`${formatWatts(limit.powerWatts)} / ${formatWatts(limit.limitWatts)}`, 'figure', -22],
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
        text: kind === 'name' ? shorten(text, space - more.length) + more : text,
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

function sinkOf(drawing, sink, site, { narrow, lost, whole }) {
  const { kind, x0, x1, bar, y, height, top, block } = sink;
  const layer = drawing.elements.get('layer-front');
  const { totals } = site;
  // Below a part of the site only what flows there counts.
  const counts = !whole ? null : kind === 'mining' ? totals.miners : kind === 'ai' ? totals.gpuNodes : null;
  // Nobody answered yet: the sum of nothing is not zero watts.
  const unknown = counts !== null && counts.configured > 0 && counts.present + counts.held === 0;
  const watts = formatWatts(unknown ? null : whole && counts !== null ? totals[`${kind}Watts`] : sink.watts);
  const working = counts === null ? '' : `${counts.working}/${counts.configured}`;
  const detail =
    counts === null
      ? whole
        ? 'not controlled'
        : 'here'
      : `${working} working${counts.asleep > 0 ? `, ${counts.asleep} asleep` : ''}`;
  const attributes = {
    class: `sink ${kind}${lost ? ' old' : ''}`,
    'aria-label': `${NAMES[kind]}: ${watts}, ${detail}`,
  };
  if (counts !== null)
    attributes.href = `#/limit/${encodeURIComponent(site.limits[0].id)}/${kind === 'mining' ? 'miner' : 'gpu-node'}`;
  const link = drawing.put(`sink ${kind}`, counts === null ? 'g' : 'a', attributes, layer);
  const put = (name, tag, more) => drawing.put(`sink-${name} ${kind}`, tag, more, link);
  put('hit', 'rect', { class: 'hit', x: x0, y: top, width: x1 - x0, height: block, rx: 4 });
  put('bar', 'rect', { class: `wire-fill ${kind}`, x: x0, y, width: bar - x0, height, rx: 1 });
  const x = bar + 8;
  const middle = top + block / 2;
  const lines = narrow
    ? [
        [NAMES[kind], 'name'],
        [watts, 'figure'],
        [working, 'status'],
      ]
    : [
        [`${NAMES[kind]} ${watts}`, 'name'],
        [counts === null ? detail : `${working} working`, 'status'],
        ...(counts !== null && counts.asleep > 0 ? [[`${counts.asleep} asleep`, 'status asleep']] : []),
      ];
  const first = middle - (lines.length - 1) * 8 + 4;
  for (const [index, [text, name]] of lines.entries())
    put(`text-${index}`, 'text', { class: name, x, y: first + index * 16, text });
}

/** A knife switch between the mining and the AI bar: its blade closes when capacity has been handed over. */
function switchOf(drawing, { x, text: textX, y0, y1, middle }, { closed, lines, short }, narrow) {
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
  const put = (name, tag, more) => drawing.put(`gate-${name}`, tag, more, group);
  const [top, bottom] = [middle - 13, middle + 13];
  put('wire', 'path', { class: 'gate-wire', d: `M${x} ${y0}V${top}M${x} ${bottom}V${y1}` });
  const blade = closed ? `M${x} ${bottom}V${top}` : `M${x} ${bottom}L${x + 11} ${top + 3}`;
  put('blade', 'path', { class: 'gate-blade', d: blade });
  put('top', 'circle', { class: 'gate-end', cx: x, cy: top, r: 3 });
  put('bottom', 'circle', { class: 'gate-end', cx: x, cy: bottom, r: 3 });
  const words = narrow ? short : lines;
  for (const [index, line] of words.entries()) {
    const y = middle + 4 + (index - (words.length - 1) / 2) * 15;
    put(`text-${index}`, 'text', {
      class: closed && index === 0 ? 'name' : 'status',
      x: textX,
      y,
      text: line,
    });
  }
}
