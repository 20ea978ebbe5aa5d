import type { ConfigProblem } from '../problem.ts';
import { formatPath, nearest } from '../problem.ts';
import { parseSource } from '../source.ts';
import type { MeterProfile } from './profile.ts';
import { meterProfileSchema, profileFaults } from './profile.ts';

export type ProfileResult =
  | { readonly ok: true; readonly value: MeterProfile }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Whether `profile:` of a configuration names a file and not one of the maps that ship. */
export function isProfileFile(profile: string): boolean {
  return /[/\\]|\.(json|ya?ml)$/.test(profile);
}

/**
 * A register map in JSON or YAML. Every breach of the schema or of a law of profiles is a problem with its line
 * and reason: a block that overlaps, is odd or too long, an unknown type, a missing unit.
 */
export function parseProfile(file: string, text: string): ProfileResult {
  const source = parseSource(file, text, {});
  if (source.problems.length > 0) return { ok: false, problems: source.problems };
  const problem = (path: readonly PropertyKey[], message: string, key?: string): ConfigProblem => ({
    severity: 'error',
    code: 'profile',
    message: `${message}.`,
    file,
    ...source.locate(path, key),
    path: formatPath(key === undefined ? path : [...path, key]),
  });
  const parsed = meterProfileSchema.safeParse(source.value);
  if (parsed.success) {
    const faults = profileFaults(parsed.data);
    if (faults.length === 0) return { ok: true, value: parsed.data };
    return { ok: false, problems: inOrder(faults.map(({ path, message }) => problem(path, message))) };
  }
  const problems = parsed.error.issues.flatMap((issue): ConfigProblem[] => {
    const { path } = issue;
    const key = String(path.at(-1) ?? '');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((unknown) => problem(path, `unknown key "${unknown}"`, unknown));
    }
    const value = valueAt(source.value, path);
    if (value === undefined) return [problem(path.slice(0, -1), `"${key}" is missing`)];
    if (issue.code === 'invalid_value' && typeof value === 'string') {
      const known = issue.values.map(String);
      const near = nearest(value, known);
      const hint = near === null ? `known are ${known.join(', ')}` : `did you mean "${near}"?`;
      return [problem(path, `"${value}" is no ${key}: ${hint}`)];
    }
    return [problem(path, `${key}: ${issue.message.replace(/\.$/, '')}`)];
  });
  return { ok: false, problems: inOrder(problems) };
}

function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}
