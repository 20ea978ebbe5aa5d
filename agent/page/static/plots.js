import { Drawing } from './dom.js';
import { formatNumber, formatTime, formatWatts, UNKNOWN } from './format.js';

// Power over time with the limit drawn in, from zero, so that the distance to the limit is seen as it is.

export const SPANS = [
  ['5m', '5 min', 300],
  ['1h', '1 hour', 3600],
  ['24h', '24 hours', 86_400],
];

const LINES = [
  ['miningWatts', 'mining'],
  ['aiWatts', 'ai'],
  ['powerWatts', 'power'],
];
const MARGIN = { left: 58, right: 8, top: 8, bottom: 22 };
const TICK_SECONDS = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600];

/** The next round step: about `count` of them reach `most`. */
function roundStep(most, count) {
  const raw = most / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= raw);
}

/**
 * Where everything of a plot lies: `{ x(ts), y(watts), paths, limit, ticksX, ticksY }`, paths as SVG path data.
 * Unknown figures and missing stretches are gaps. Pure.
 */
export function plotGeometry(points, { width, height, seconds, now, stepMs, limitWatts = 1 }) {
  const high =
    Math.max(1, limitWatts, ...points.flatMap((point) => [point.limitWatts, point.powerWatts ?? 0])) * 1.1;
  const left = now - seconds * 1000;
  const x = (ts) => MARGIN.left + ((ts - left) / (seconds * 1000)) * (width - MARGIN.left - MARGIN.right);
  const y = (watts) => height - MARGIN.bottom - (watts / high) * (height - MARGIN.top - MARGIN.bottom);
  const inside = points.filter((point) => point.ts >= left && point.ts <= now);
  const line = (key, stepped) => {
    let data = '';
    let before = null;
    for (const point of inside) {
      const watts = point[key];
      const known = typeof watts === 'number';
      if (known) {
        const near = before !== null && point.ts - before <= stepMs * 3;
        const at = `${x(point.ts).toFixed(1)}${stepped && near ? 'V' : ' '}${y(watts).toFixed(1)}`;
        data += near ? `${stepped ? 'H' : 'L'}${at}` : `M${at}h.1`;
      }
      before = known ? point.ts : null;
    }
    return data;
  };
  const stepX = TICK_SECONDS.find((step) => (seconds / step) * 64 <= width - MARGIN.left) * 1000;
  const stepY = roundStep(high, 4);
  const ticksX = [];
  const zone = new Date(now).getTimezoneOffset() * 60_000;
  for (let at = Math.ceil((left - zone) / stepX) * stepX + zone; at <= now; at += stepX) ticksX.push(at);
  const ticksY = [];
  for (let at = 0; at <= high; at += stepY) ticksY.push(at);
  return {
    x,
    y,
    inside,
    paths: LINES.map(([key, kind]) => [kind, line(key, false)]),
    limit: line('limitWatts', true),
    ticksX,
    ticksY,
  };
}

/** What the plot shows, in a sentence for those who do not see it. Pure. */
export function summaryOf(points, span) {
  const known = points.filter((point) => point.powerWatts !== null);
  if (known.length === 0) return `Last ${span}: nothing recorded yet.`;
  const watts = known.map((point) => point.powerWatts);
  const mean = watts.reduce((sum, each) => sum + each, 0) / known.length;
  const over = known.filter((point) => point.powerWatts > point.limitWatts).length;
  const share =
    over === 0
      ? 'never over the limit'
      : `over the limit for ${formatNumber((100 * over) / known.length, 1)} % of it`;
  return `Last ${span}: mean ${formatWatts(mean)}, lowest ${formatWatts(Math.min(...watts))}, highest ${formatWatts(Math.max(...watts))}, ${share}.`;
}

/** One point in words. Pure. */
export function pointText(point) {
  if (point === undefined) return UNKNOWN;
  const { ts, powerWatts, limitWatts, miningWatts, aiWatts } = point;
  return `${formatTime(ts)}: power ${formatWatts(powerWatts)}, limit ${formatWatts(limitWatts)}, mining ${formatWatts(miningWatts)}, AI ${formatWatts(aiWatts)}`;
}

/**
 * Draws into the `<svg>`; a pointer or the arrow keys choose the point that `readout` shows in words. Returns
 * `show(points, { seconds, now, stepMs })`.
 */
export function createPlot(svg, readout) {
  const drawing = new Drawing(svg);
  let state = null;
  let chosen = null;
  const height = 220;
  svg.setAttribute('tabindex', '0');
  const draw = () => {
    const width = Math.floor(svg.clientWidth);
    if (state === null || width < 100) return;
    const geometry = plotGeometry(state.points, { ...state.options, width, height });
    const { x, y, inside, paths, limit, ticksX, ticksY } = geometry;
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    drawing.begin();
    for (const [index, watts] of ticksY.entries()) {
      drawing.put(`y${index}`, 'path', {
        class: 'grid',
        d: `M${MARGIN.left} ${y(watts)}H${width - MARGIN.right}`,
      });
      drawing.put(`yt${index}`, 'text', {
        class: 'end',
        x: MARGIN.left - 6,
        y: y(watts) + 4,
        text: watts === 0 ? '0' : formatWatts(watts),
      });
    }
    for (const [index, ts] of ticksX.entries()) {
      const clock = formatTime(ts).slice(0, ts % 60_000 === 0 ? 5 : 8);
      drawing.put(`x${index}`, 'path', {
        class: 'grid',
        d: `M${x(ts)} ${MARGIN.top}V${height - MARGIN.bottom}`,
      });
      drawing.put(`xt${index}`, 'text', {
        class: x(ts) > width - 30 ? 'end' : 'middle',
        x: Math.min(x(ts), width),
        y: height - 6,
        text: clock,
      });
    }
    for (const [kind, d] of paths) drawing.put(kind, 'path', { class: `line ${kind}`, d });
    drawing.put('limit', 'path', { class: 'line limit', d: limit });
    const at = chosen === null ? undefined : inside.find((point) => point.ts >= chosen);
    if (at !== undefined)
      drawing.put('cursor', 'path', {
        class: 'cursor',
        d: `M${x(at.ts)} ${MARGIN.top}V${height - MARGIN.bottom}`,
      });
    drawing.end();
    const text = pointText(at ?? inside.at(-1));
    if (readout.textContent !== text) readout.textContent = text;
    state.geometry = geometry;
  };
  svg.addEventListener('pointermove', (event) => {
    if (state === null) return;
    const at = event.clientX - svg.getBoundingClientRect().left;
    chosen = state.geometry.inside.find((point) => state.geometry.x(point.ts) >= at)?.ts ?? null;
    draw();
  });
  const leave = () => {
    chosen = null;
    draw();
  };
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
  svg.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    const points = state?.geometry?.inside ?? [];
    if (step === undefined || points.length === 0) return;
    event.preventDefault();
    const index = chosen === null ? points.length - 1 : points.findIndex((point) => point.ts >= chosen);
    chosen = points[Math.min(points.length - 1, Math.max(0, index + step))].ts;
    draw();
  });
  new ResizeObserver(draw).observe(svg);
  return (points, options) => {
    state = { points, options };
    draw();
  };
}
