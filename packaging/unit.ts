import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** How the unit of the package runs Node, for benches and proofs that want the same. */
export function unitRun(): {
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
} {
  const unit = readFileSync(join(import.meta.dirname, 'switchyard.service'), 'utf8');
  const flags = /^ExecStart=\S+ \S+\/node (.*) \S+ run$/m.exec(unit)?.[1];
  if (flags === undefined) throw new Error('the unit does not start Node as expected');
  const set = [...unit.matchAll(/^Environment=([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]);
  return { flags: flags.split(' '), environment: Object.fromEntries(set) };
}
