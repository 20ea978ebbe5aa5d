import {
  type Document,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import type { ConfigProblem } from './problem.ts';
import { formatPath } from './problem.ts';

/** One YAML file, parsed and with its variables filled in, that can say where any value stands. */
export interface SourceFile {
  readonly file: string;
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Line and column (from 1) of the node at `path`, or of its nearest parent; of the key when `key` is given. */
  locate(path: readonly PropertyKey[], key?: string): { line: number; column: number };
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Files larger than this are no configuration. */
const MAXIMUM_BYTES = 4_000_000;

/**
 * Parses YAML text. Variables (`${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `$${` for a literal `${`) are
 * filled in after parsing and in scalar values only, so that a variable can never add keys.
 */
export function parseSource(file: string, text: string, environment: Environment): SourceFile {
  const lines = new LineCounter();
  const problems: ConfigProblem[] = [];
  if (text.length > MAXIMUM_BYTES) {
    problems.push({
      severity: 'error',
      code: 'too-large',
      message: `larger than ${MAXIMUM_BYTES} bytes`,
      file,
      line: 1,
      column: 1,
      path: '',
    });
    return { file, value: {}, problems, locate: () => ({ line: 1, column: 1 }) };
  }
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  for (const error of document.errors) {
    problems.push({
      severity: 'error',
      code: 'yaml',
      message: error.message,
      ...(lineAt(text, error.pos[0]).includes('${')
        ? { hint: 'Inside { } or [ ] a variable stands in quotes.' }
        : {}),
      file,
      ...position(error.pos[0]),
      path: '',
    });
  }
  const locate = (path: readonly PropertyKey[], key?: string) => locateIn(document, position, path, key);
  if (problems.length === 0)
    fillVariables(document, environment, (node, message) => {
      const offset = node.range?.[0] ?? 0;
      problems.push({
        severity: 'error',
        code: 'variable',
        message,
        file,
        ...position(offset),
        path: formatPath(pathOf(document, node)),
      });
    });
  let value: unknown = {};
  if (problems.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: 50 }) ?? {};
    } catch (error) {
      problems.push({
        severity: 'error',
        code: 'yaml',
        message: (error as Error).message,
        file,
        line: 1,
        column: 1,
        path: '',
      });
    }
  }
  return { file, value, problems, locate };
}

function locateIn(
  document: Document,
  position: (offset: number) => { line: number; column: number },
  path: readonly PropertyKey[],
  key?: string,
): { line: number; column: number } {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (key !== undefined && length === path.length && isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
      if (pair !== undefined && isScalar(pair.key) && pair.key.range) return position(pair.key.range[0]);
    }
    const range = (node as Node | null | undefined)?.range;
    if (range) return position(range[0]);
  }
  return { line: 1, column: 1 };
}

function pathOf(document: Document, wanted: Node): PropertyKey[] {
  let found: PropertyKey[] = [];
  visit(document, {
    Scalar(_key, node, ancestors) {
      if (node !== wanted) return undefined;
      found = [];
      ancestors.forEach((ancestor, index) => {
        const child = ancestors[index + 1] ?? node;
        if (isPair(ancestor) && isScalar(ancestor.key)) found.push(String(ancestor.key.value));
        else if (isSeq(ancestor)) found.push(ancestor.items.indexOf(child));
      });
      return visit.BREAK;
    },
  });
  return found;
}

const VARIABLE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)([^}]*))?\}/g;

function fillVariables(
  document: Document,
  environment: Environment,
  report: (node: Node, message: string) => void,
): void {
  visit(document, {
    Scalar(key, node) {
      if (key === 'key' || typeof node.value !== 'string' || !node.value.includes('${')) return;
      const text = node.value;
      const filled = text.replace(VARIABLE, (match, name: string | undefined, operator, rest) => {
        if (match === '$${' || name === undefined) return '${';
        const value = environment[name];
        if (value !== undefined && value !== '') return value;
        if (operator === ':-') return rest ?? '';
        report(
          node,
          operator === ':?' && rest
            ? String(rest)
            : `the environment variable ${name} is not set: set it, or write \${${name}:-default}`,
        );
        return '';
      });
      const single = /^\$\{[A-Za-z_][A-Za-z0-9_]*(?::[-?][^}]*)?\}$/.test(text);
      node.value = single ? retype(filled) : filled;
    },
  });
}

/** A scalar that is one variable becomes a number or boolean where it reads as one (inside `{ }` YAML wants it quoted). */
function retype(text: string): unknown {
  const value: unknown = parseDocument(text).toJS();
  return typeof value === 'number' || typeof value === 'boolean' ? value : text;
}

function lineAt(text: string, offset: number): string {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const end = text.indexOf('\n', offset);
  return text.slice(start, end < 0 ? undefined : end);
}
