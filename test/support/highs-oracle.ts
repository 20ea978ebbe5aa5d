import highsLoader from 'highs';
import type { Problem } from '../../agent/allocation/problem.ts';
import { usable } from './allocation-problems.ts';

/** What an independent solver says about a problem. */
export interface OracleAnswer {
  readonly status: string;
  readonly dollarsPerHour: number;
  /** Proved bound of a whole-mode solve; the value itself for a relaxed one. */
  readonly boundDollarsPerHour: number;
}

export interface OracleOptions {
  /** A device may be between modes. */
  readonly relaxed: boolean;
  readonly relativeGap?: number;
  readonly timeLimitSeconds?: number;
}

export type Oracle = (problem: Problem, options: OracleOptions) => OracleAnswer;

/** Loads HiGHS (WebAssembly, synchronous once loaded). */
export async function loadOracle(): Promise<Oracle> {
  // The package's types describe its CommonJS form; what is imported is the loader itself.
  const load = highsLoader as unknown as typeof highsLoader.default;
  const highs = await load();
  return (problem, options) => {
    const text = toLpText(problem, options.relaxed);
    const solution = highs.solve(text, {
      output_flag: false,
      random_seed: 1,
      primal_feasibility_tolerance: 1e-9,
      dual_feasibility_tolerance: 1e-9,
      ...(options.relaxed ? {} : { mip_rel_gap: options.relativeGap ?? 1e-9, mip_abs_gap: 1e-9 }),
      ...(options.timeLimitSeconds === undefined ? {} : { time_limit: options.timeLimitSeconds }),
    });
    const value = solution.ObjectiveValue;
    // A solve within a relative gap may be that much under the optimum.
    const bound = options.relaxed ? value : value * (1 + (options.relativeGap ?? 1e-9));
    return { status: solution.Status, dollarsPerHour: value, boundDollarsPerHour: bound };
  };
}

/** The problem as CPLEX LP text, written from the outside form's words alone: watts of a limit are a variable. */
export function toLpText(problem: Problem, relaxed: boolean): string {
  const objective: string[] = [];
  const rows: string[] = [];
  const names: string[] = [];
  const at = new Map<string, string[]>();
  const column = new Map<string, { name: string; watts: number }[]>();
  const push = (limit: string, term: string): void => {
    const list = at.get(limit);
    if (list === undefined) at.set(limit, [term]);
    else list.push(term);
  };
  for (const [d, device] of problem.devices.entries()) {
    const columns: { name: string; watts: number }[] = [];
    for (const [m, mode] of usable(device).entries()) {
      const name = `x${d}_${m}`;
      const cost = mode.id === device.current ? 0 : (device.switchDollarsPerHour[mode.id] ?? 0);
      objective.push(signed(mode.dollarsPerHour - cost, name));
      push(device.limit, signed(mode.watts, name));
      columns.push({ name, watts: mode.watts });
      names.push(name);
    }
    column.set(device.id, columns);
    rows.push(`one${d}: ${columns.map(({ name }) => `+ ${name}`).join(' ')} = 1`);
  }
  const limitName = new Map(problem.limits.map((limit, n) => [limit.id, `t${n}`]));
  for (const limit of problem.limits) {
    if (limit.parent !== null) push(limit.parent, signed(limit.gain, limitName.get(limit.id)!));
  }
  const bounds: string[] = [];
  for (const limit of problem.limits) {
    const name = limitName.get(limit.id)!;
    rows.push(`total_${name}: ${(at.get(limit.id) ?? []).join(' ')} - ${name} = ${-limit.fixedWatts}`);
    bounds.push(` -inf <= ${name} <= ${limit.capacityWatts}`);
  }
  for (const [f, floor] of problem.floors.entries()) {
    const terms = floor.devices.flatMap((id) => column.get(id)!.map((x) => signed(x.watts, x.name)));
    rows.push(`floor${f}: ${terms.join(' ')} >= ${floor.watts}`);
  }
  const wrapped = (terms: readonly string[]): string => terms.join('\n ');
  const body = [
    'Maximize',
    ` value: ${wrapped(objective)}`,
    'Subject To',
    ...rows.map((row) => ` ${row.replaceAll(/ (?=[+-] )/g, '\n ')}`),
    'Bounds',
    ...bounds,
  ];
  if (relaxed) body.push(...names.map((name) => ` 0 <= ${name} <= 1`));
  else body.push('Binary', ` ${wrapped(names)}`);
  body.push('End', '');
  return body.join('\n');
}

function signed(factor: number, name: string): string {
  return `${factor < 0 ? '-' : '+'} ${Math.abs(factor)} ${name}`;
}
