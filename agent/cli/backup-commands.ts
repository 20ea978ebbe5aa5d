import { existsSync } from 'node:fs';
import { loadConfig, sourceFiles } from '../../config/load.ts';
import { BackupError, restoreBackup, writeBackup } from '../store/backup.ts';
import { StateInUseError } from '../store/state-lock.ts';
import { type Context, configPath, needConfig } from './context.ts';
import { EXIT, type ExitCode, type Outcome } from './outcome.ts';

const refused = (exit: ExitCode, code: string, message: string, hint?: string): Outcome => ({
  exit,
  problems: [{ code, message, ...(hint === undefined ? {} : { hint }) }],
});

/** `backup FILE`: state and configuration in one file, while the agent runs or not. Never over an existing file. */
export function backupCommand(context: Context, file: string): Outcome {
  const need = needConfig(context);
  if ('outcome' in need) return need.outcome;
  const { config, file: main } = need.loaded;
  if (existsSync(file))
    return refused(EXIT.refused, 'exists', `${file} exists already.`, 'Name another file.');
  try {
    const manifest = writeBackup(
      file,
      { folder: config.store.path, configs: sourceFiles(main), site: config.site.id, agent: context.version },
      Date.now(),
    );
    const bytes = manifest.files.reduce((sum, one) => sum + one.bytes, 0);
    return {
      exit: EXIT.ok,
      data: manifest,
      text: `${file}: ${manifest.files.length} files, ${(bytes / 1e6).toFixed(1)} MB before packing. Secrets that the configuration names by file, credential or variable are not in it; the signing key of the record is: keep it safe.`,
    };
  } catch (error) {
    return refused(EXIT.problems, 'backup-failed', `no backup was written: ${(error as Error).message}.`);
  }
}

/** `restore FILE`: checks a backup, then puts its state in place of the one that is there. The agent must not run. */
export function restoreCommand(context: Context, file: string): Outcome {
  const path = configPath(context) ?? '/etc/switchyard/switchyard.yaml';
  const result = existsSync(path) ? loadConfig(path, context.environment) : null;
  if (result !== null && !result.ok)
    return refused(
      EXIT.configuration,
      'configuration',
      `${path} is invalid: it says which state to replace.`,
      `switchyard check ${path}`,
    );
  const config = result?.value.config ?? null;
  const folder = config?.store.path ?? '/var/lib/switchyard';
  try {
    const done = restoreBackup(file, { folder, config: path, site: config?.site.id ?? null }, Date.now());
    return {
      exit: EXIT.ok,
      data: done,
      text: `The state of ${done.manifest.createdAt} is in ${folder}; what was there before is in ${done.before}. ${
        done.configWritten
          ? `The configuration is in ${path}: put its secrets back.`
          : `${path} is left as it is.`
      } Nothing rises before every limit has fresh evidence.`,
    };
  } catch (error) {
    if (error instanceof StateInUseError)
      return refused(EXIT.refused, 'in-use', `${error.message}.`, 'systemctl stop switchyard');
    if (error instanceof BackupError)
      return refused(EXIT.problems, 'bad-backup', `${file} was not restored: ${error.message}.`);
    throw error;
  }
}
