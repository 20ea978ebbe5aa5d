import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { formatPath, type Report } from './problem.ts';
import type { Config, SecretSource } from './schema.ts';
import { Secret } from './secret.ts';
import type { Environment } from './source.ts';

/**
 * The secrets that a configuration names, by the path of their key. One that cannot be had is a problem; `lenient`
 * makes it a warning, for a configuration that runs in place of an invalid one.
 */
export function readSecrets(
  config: Config,
  folder: string,
  environment: Environment,
  report: Report,
  lenient = false,
): Map<string, Secret> {
  const secrets = new Map<string, Secret>();
  const take = (path: PropertyKey[], source: SecretSource | undefined, isPrivate = true) => {
    if (source === undefined) return;
    const read = readSecret(source, folder, environment, isPrivate);
    if ('message' in read) {
      report(lenient ? 'warning' : read.severity, 'secret', path, read.message, read.hint);
      if (read.severity === 'error') return;
    }
    if (read.value !== undefined) secrets.set(formatPath(path), new Secret(read.value));
  };
  config.miners.forEach((miner, index) => {
    take(['miners', index, 'password'], miner.password);
  });
  config.issuers.forEach((issuer, index) => {
    take(['issuers', index, 'key'], issuer.key, false);
  });
  config.transfers.askers.forEach((asker, index) => {
    take(['transfers', 'askers', index, 'token'], asker.token);
  });
  take(['mqtt', 'password'], config.mqtt?.password);
  take(['sparkplug', 'password'], config.sparkplug?.password);
  return secrets;
}

/** `LoadCredential=secret:` of the packaged unit: NAME in there is the credential `secret_NAME`. */
const KEPT_SECRETS = '/etc/switchyard/secrets';

type SecretRead =
  | { value: string }
  | { severity: 'error' | 'warning'; message: string; hint?: string; value?: string };

function readSecret(
  source: SecretSource,
  folder: string,
  environment: Environment,
  isPrivate: boolean,
): SecretRead {
  if (typeof source === 'string') {
    return isPrivate
      ? {
          severity: 'warning',
          message: 'a secret stands in the configuration itself.',
          hint: 'Put it into a file and write {file: PATH}.',
          value: source,
        }
      : { value: source };
  }
  if ('env' in source) {
    const value = environment[source.env];
    return value === undefined
      ? { severity: 'error', message: `the environment variable ${source.env} is not set.` }
      : { value };
  }
  let path: string;
  if ('credential' in source) {
    const credentials = environment['CREDENTIALS_DIRECTORY'];
    // A person on the gateway reads it where the unit of the package takes it from.
    const kept = join(KEPT_SECRETS, basename(source.credential).replace(/^secret_/, ''));
    if (credentials === undefined && !existsSync(kept)) {
      return {
        severity: 'error',
        message: `the credential "${source.credential}" is there only when systemd starts the agent.`,
        hint: 'Add LoadCredential= to the unit, or use {file: PATH}.',
      };
    }
    path = credentials === undefined ? kept : join(credentials, basename(source.credential));
  } else path = resolve(folder, source.file);
  try {
    const value = readFileSync(path, 'utf8').trim();
    if (isPrivate && 'file' in source && (statSync(path).mode & 0o077) !== 0) {
      return {
        severity: 'warning',
        message: `${path} can be read by others.`,
        hint: `chmod 600 ${path}`,
        value,
      };
    }
    return { value };
  } catch (error) {
    return {
      severity: 'error',
      message: `${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'error'}.`,
    };
  }
}
