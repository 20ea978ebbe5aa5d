import { readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { sourceFiles } from '../../config/load.ts';

/** State folder of an installed agent. */
const INSTALLED_STATE = '/var/lib/switchyard';

/**
 * Where the state of a configuration may lie that cannot be read as a whole: where it says, as far as it can be
 * understood, then where systemd and the package put it.
 */
export function stateFolders(
  file: string | null,
  environment: Readonly<Record<string, string | undefined>>,
): string[] {
  const folders: string[] = [];
  for (const path of file === null ? [] : sourceFiles(file)) {
    try {
      const said: unknown = parseDocument(readFileSync(path, 'utf8'), { logLevel: 'silent' }).getIn([
        'store',
        'path',
      ]);
      if (typeof said === 'string' && said !== '') folders.push(said);
    } catch {
      // Not readable or not YAML at all.
    }
  }
  const systemd = environment['STATE_DIRECTORY']?.split(':')[0];
  if (systemd !== undefined && systemd !== '') folders.push(systemd);
  return [...new Set([...folders, INSTALLED_STATE])];
}
