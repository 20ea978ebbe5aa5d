// Building elements. Text is always set as text: names of devices are hostile input.

const SVG = 'http://www.w3.org/2000/svg';

function apply(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') {
      if (element.textContent !== String(value)) element.textContent = value;
    } else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else {
      const text = value === true ? '' : String(value);
      if (element.getAttribute(name) !== text) element.setAttribute(name, text);
    }
  }
}

/** An HTML element with attributes (`text`, `on...` included) and children; `null` children are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  apply(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * Keeps the children of `parent` in step with `items`, each made once by `create(item)` and brought up to date by
 * `update(element, item)`, so that focus and selection survive.
 */
export function syncList(parent, items, keyOf, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = before.get(key);
    if (child === undefined) {
      child = create(item);
      child.dataset.key = key;
    } else before.delete(key);
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of before.values()) child.remove();
}

/** A row of a table whose cells are `[text, class?]`, `null` cells stay; the first cell heads the row. */
export function tableRow(count) {
  const row = el('tr', {}, el('th', { scope: 'row' }));
  for (let index = 1; index < count; index += 1) row.append(el('td'));
  return row;
}

/** Sets text and class of each cell where they differ. A cell may be a string or `[text, class]`. */
export function fillCells(row, cells) {
  for (const [index, cell] of cells.entries()) {
    const [text, name = ''] = Array.isArray(cell) ? cell : [cell];
    const target = row.children[index];
    const inner = target.querySelector('a, button') ?? target;
    if (inner.textContent !== text) inner.textContent = text;
    if (target.className !== name) target.className = name;
  }
}

/** Replaces the children of an element only when `key` differs from what they were made from. */
export function replaceWhen(element, key, make) {
  if (element.dataset.made === key) return;
  element.dataset.made = key;
  element.replaceChildren(...[make()].flat().filter((child) => child !== null));
}

/** Draws an SVG by keys: elements that are asked for again are kept, the others go. */
export class Drawing {
  constructor(root) {
    this.root = root;
    this.elements = new Map();
    this.used = new Set();
  }

  begin() {
    this.used.clear();
  }

  /** The element of a key below `parent`, made when missing, with these attributes. */
  put(key, tag, attributes, parent = this.root) {
    let element = this.elements.get(key);
    if (element === undefined) {
      element = document.createElementNS(SVG, tag);
      this.elements.set(key, element);
      parent.append(element);
    }
    this.used.add(key);
    apply(element, attributes);
    return element;
  }

  end() {
    for (const [key, element] of this.elements) {
      if (this.used.has(key)) continue;
      element.remove();
      this.elements.delete(key);
    }
  }
}
