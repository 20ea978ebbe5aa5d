// Geometry of the single-line diagram. Pure: limits and a width in, rectangles and paths out. One scale holds
// for the whole picture, so a wire is as wide as its watts and a limit line lies where the watts would end.

const CLASSES = ['mining', 'ai', 'other'];

/** How the power of a limit divides into mining, AI and the rest; parts never exceed the measured whole. */
export function sharesOf(limit) {
  const power = Math.max(0, limit.powerWatts ?? 0);
  const mining = Math.max(0, limit.miningWatts ?? 0);
  const ai = Math.max(0, limit.aiWatts ?? 0);
  if (limit.powerWatts === null) return { mining: 0, ai: 0, other: 0 };
  const factor = mining + ai > power ? power / (mining + ai) : 1;
  return { mining: mining * factor, ai: ai * factor, other: Math.max(0, power - mining - ai) };
}

/**
 * The part of the tree to draw: `depth` levels from the top, or from as deep as needed to show `selected` and
 * what is below it.
 * Parents come before children; `hidden` counts what lies below a limit and is not drawn.
 */
export function visibleLimits(limits, selected, depth) {
  const byId = new Map(limits.map((limit) => [limit.id, limit]));
  const levelOf = (limit) => {
    let level = 0;
    for (let at = byId.get(limit.parent); at !== undefined; at = byId.get(at.parent)) level += 1;
    return level;
  };
  let roots = limits.filter((limit) => !byId.has(limit.parent));
  let base = 0;
  let focus = byId.get(selected);
  const leaf = focus !== undefined && !limits.some((limit) => limit.parent === focus.id);
  if (focus !== undefined && levelOf(focus) >= depth - (leaf ? 0 : 1)) {
    if (leaf) focus = byId.get(focus.parent);
    roots = [focus];
    base = levelOf(focus);
  }
  const shown = [];
  const add = (limit, level) => {
    const children = limits.filter((child) => child.parent === limit.id);
    const last = level - base >= depth - 1;
    shown.push({
      ...limit,
      parent: level === base ? null : limit.parent,
      hidden: last ? countBelow(limits, limit.id) : 0,
    });
    if (!last) for (const child of children) add(child, level + 1);
  };
  for (const root of roots) add(root, base);
  return shown;
}

function countBelow(limits, id) {
  return limits
    .filter((limit) => limit.parent === id)
    .reduce((sum, child) => sum + 1 + countBelow(limits, child.id), 0);
}

/** Three levels are drawn while so many limits fit; then two. */
const MOST_SHOWN = 16;

/** Watts that a limit's channel must have room for. */
function room(limit) {
  return Math.max(limit.ratingWatts ?? 0, limit.limitWatts ?? 0, limit.powerWatts ?? 0, 1);
}

/**
 * `{ width, height, narrow, whole, nodes, wires, sinks, gate }`. A node: `{ limit, x0, x1, y, height, power, limitY,
 * ratingY }` (`y` is the top of its channel). A wire: `{ key, kind, width, x0, x1, bend, x2, y0, y2 }`, straight from
 * x0 to x1 at y0, curved to y2 at bend, and on to x2 (all of its centre line). `gate` is where the switch between mining and AI
 * stands.
 */
export function layoutDiagram({ limits, totals, selected = null, width }) {
  const narrow = width < 620;
  const deep = visibleLimits(limits, selected, 3);
  const shown = narrow || deep.length > MOST_SHOWN ? visibleLimits(limits, selected, 2) : deep;
  const childrenOf = new Map(
    shown.map((limit) => [limit.id, shown.filter((child) => child.parent === limit.id)]),
  );
  const roots = shown.filter((limit) => limit.parent === null);
  const style = narrow
    ? { label: 50, gap: 12, bend: 24, sink: 76, bar: 8, target: 190 }
    : {
        label: 42,
        gap: 16,
        bend: 72,
        sink: 172,
        bar: 12,
        target: Math.min(300, Math.max(210, width * 0.24)),
      };
  const leaves = shown.filter((limit) => childrenOf.get(limit.id).length === 0);
  const sum = (list) => list.reduce((total, limit) => total + room(limit), 0);
  const scale = style.target / Math.max(sum(leaves), sum(roots), 1);
  const levels = depthOf(roots, childrenOf);
  const column = (width - style.sink - style.bend * levels) / levels;
  const nodes = placeNodes({ roots, childrenOf, style, scale, column });
  const wires = drawWires({ nodes, childrenOf, scale });
  const sinks = placeSinks({ wires, totals, style, x0: width - style.sink, width });
  const treeHeight = Math.max(...nodes.map((node) => node.y + node.height), 0);
  const loads = sinks.filter((sink) => sink.kind !== 'other');
  const loadHeight = loads.length === 0 ? 0 : loads.at(-1).top + loads.at(-1).block;
  shift(loads, Math.max(0, (treeHeight - loadHeight) / 2));
  shift(nodes, Math.max(0, (loadHeight - treeHeight) / 2));
  const other = sinks.find((sink) => sink.kind === 'other');
  // The rest runs below everything, so that its wire crosses no words.
  if (other !== undefined)
    shift([other], Math.max(treeHeight + 12 - other.y, loadHeight + style.gap - other.top));
  const bottom = Math.max(treeHeight, loadHeight, other === undefined ? 0 : other.top + other.block);
  joinWires(wires, nodes, sinks, style.bend);
  return {
    width,
    height: Math.ceil(bottom + 6),
    narrow,
    whole: roots.every((root) => limits.some((limit) => limit.id === root.id && limit.parent === null)),
    nodes,
    wires,
    sinks,
    gate: gateOf(sinks),
  };
}

function depthOf(roots, childrenOf) {
  return roots.reduce((most, limit) => Math.max(most, 1 + depthOf(childrenOf.get(limit.id), childrenOf)), 0);
}

function placeNodes({ roots, childrenOf, style, scale, column }) {
  const nodes = [];
  const slot = (limit) => Math.max(5, room(limit) * scale);
  const block = (limit) => {
    const below = childrenOf.get(limit.id).map(block);
    const stacked =
      below.reduce((total, each) => total + each, 0) + style.gap * Math.max(0, below.length - 1);
    return Math.max(style.label + slot(limit), stacked);
  };
  const place = (limit, level, top) => {
    const height = slot(limit);
    const x0 = level * (column + style.bend);
    const y = top + (block(limit) - style.label - height) / 2 + style.label;
    nodes.push({
      limit,
      x0,
      x1: x0 + column,
      y,
      height,
      power: Math.max(0, limit.powerWatts ?? 0) * scale,
      limitY: (limit.limitWatts ?? 0) * scale,
      ratingY: (limit.ratingWatts ?? 0) * scale,
    });
    let at = top;
    for (const child of childrenOf.get(limit.id)) {
      place(child, level + 1, at);
      at += block(child) + style.gap;
    }
  };
  let top = 0;
  for (const root of roots) {
    place(root, 0, top);
    top += block(root) + style.gap;
  }
  return nodes;
}

/** A part that devices hang on directly: at least this share of the whole, else it is a matter of losses and timing. */
const DIRECT_SHARE = 0.08;

/** What a limit with children carries beside them: mining and AI of devices directly on it, and the rest. */
function besideChildren(limit, children) {
  const beside = { mining: 0, ai: 0, other: 0 };
  for (const kind of ['mining', 'ai']) {
    const own = limit[`${kind}Watts`] ?? 0;
    const below = children.reduce((sum, child) => sum + (child[`${kind}Watts`] ?? 0), 0);
    if (own - below > own * DIRECT_SHARE) beside[kind] = own - below;
  }
  const below = children.reduce((sum, child) => sum + Math.max(0, child.powerWatts ?? 0), 0);
  const rest = Math.max(0, (limit.powerWatts ?? 0) - below);
  const direct = beside.mining + beside.ai;
  const fits = direct > rest ? rest / direct : 1;
  beside.mining *= fits;
  beside.ai *= fits;
  beside.other = Math.max(0, rest - direct);
  return beside;
}

/** Wires in the order in which they lie in a channel: child by child, class by class, then what is beside them. */
function drawWires({ nodes, childrenOf, scale }) {
  const wires = [];
  for (const { limit } of nodes) {
    const children = childrenOf.get(limit.id);
    const add = (to, kind, watts) => {
      if (watts <= 0 || (kind === 'other' && watts * scale < 0.4)) return;
      const width = Math.max(1, watts * scale);
      wires.push({ key: `${limit.id} ${to} ${kind}`, from: limit.id, to, kind, watts, width });
    };
    for (const child of children) {
      const shares = sharesOf(child);
      for (const kind of CLASSES) add(child.id, kind, shares[kind]);
    }
    const own = children.length === 0 ? sharesOf(limit) : besideChildren(limit, children);
    for (const kind of CLASSES) add(`sink:${kind}`, kind, own[kind]);
  }
  return wires;
}

/** Room for the switch between mining and AI. */
const GATE = 56;

/** Classes that the site has, whether or not they draw anything now: the picture must not jump. */
function expected(kind, totals) {
  if (kind === 'other') return typeof totals?.otherWatts === 'number';
  return (kind === 'mining' ? totals?.miners : totals?.gpuNodes)?.configured > 0;
}

function placeSinks({ wires, totals, style, x0, width }) {
  const sinks = [];
  let y = 4;
  for (const kind of CLASSES) {
    const incoming = wires.filter((wire) => wire.to === `sink:${kind}`);
    if (incoming.length === 0 && !expected(kind, totals)) continue;
    if (sinks.length > 0) y += kind === 'ai' ? GATE : style.gap;
    const bar = Math.max(
      4,
      incoming.reduce((sum, wire) => sum + wire.width, 0),
    );
    // Its words stand beside the bar, which may be thinner than they are high.
    const height = Math.max(bar, style.label);
    sinks.push({
      kind,
      watts: incoming.reduce((sum, wire) => sum + wire.watts, 0),
      x0,
      x1: width,
      bar: x0 + style.bar,
      top: y,
      block: height,
      y: y + (height - bar) / 2,
      height: bar,
    });
    y += height;
  }
  return sinks;
}

function shift(list, by) {
  for (const each of list) {
    each.y += by;
    if (each.top !== undefined) each.top += by;
  }
}

/** Gives every wire its ends: stacked in the channel it leaves and in the one it enters. */
function joinWires(wires, nodes, sinks, bend) {
  const left = new Map();
  const entered = new Map();
  const nodeOf = new Map(nodes.map((node) => [node.limit.id, node]));
  const sinkOf = new Map(sinks.map((sink) => [`sink:${sink.kind}`, sink]));
  for (const wire of wires) {
    const from = nodeOf.get(wire.from);
    const to = nodeOf.get(wire.to) ?? sinkOf.get(wire.to);
    const start = left.get(wire.from) ?? 0;
    const end = entered.get(wire.to) ?? 0;
    left.set(wire.from, start + wire.width);
    entered.set(wire.to, end + wire.width);
    wire.x0 = from.x0;
    wire.x1 = from.x1;
    wire.x2 = to.x0;
    wire.bend = Math.min(to.x0, from.x1 + bend);
    wire.y0 = from.y + start + wire.width / 2;
    wire.y2 = to.y + end + wire.width / 2;
  }
}

function gateOf(sinks) {
  const mining = sinks.find((sink) => sink.kind === 'mining');
  const ai = sinks.find((sink) => sink.kind === 'ai');
  if (mining === undefined || ai === undefined) return null;
  return {
    x: (mining.x0 + mining.bar) / 2,
    text: mining.bar + 11,
    y0: mining.y + mining.height + 3,
    y1: ai.y - 3,
    middle: ai.top - GATE / 2,
  };
}

const f = (value) => Math.round(value * 10) / 10;

/** The centre line of a wire. */
export function wirePath({ x0, x1, bend, x2, y0, y2 }) {
  const middle = f((x1 + bend) / 2);
  return `M${f(x0)} ${f(y0)}H${f(x1)}C${middle} ${f(y0)} ${middle} ${f(y2)} ${f(bend)} ${f(y2)}H${f(x2)}`;
}

/** A wire as a closed shape that is `width` high everywhere. */
export function ribbonPath({ x0, x1, bend, x2, y0, y2, width }) {
  const middle = f((x1 + bend) / 2);
  const [top, bottom] = [y0 - width / 2, y0 + width / 2];
  const [endTop, endBottom] = [y2 - width / 2, y2 + width / 2];
  const there = `M${f(x0)} ${f(top)}H${f(x1)}C${middle} ${f(top)} ${middle} ${f(endTop)} ${f(bend)} ${f(endTop)}H${f(x2)}`;
  return `${there}V${f(endBottom)}H${f(bend)}C${middle} ${f(endBottom)} ${middle} ${f(bottom)} ${f(x1)} ${f(bottom)}H${f(x0)}Z`;
}
