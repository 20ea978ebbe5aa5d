import { existsSync, writeFileSync } from 'node:fs';
import type { LoadedConfig } from '../../config/load.ts';
import { HostHealthReader } from '../telemetry/host-health.ts';
import { readInventory } from '../telemetry/inventory.ts';
import { holdsSecret, redact } from '../telemetry/redact.ts';
import { ask, type Context, configPath, needConfig, problemsOf } from './context.ts';
import { doctorCommand } from './doctor-command.ts';
import { EXIT, type Outcome } from './outcome.ts';

/** What the running agent is asked for. Orders and readings of single devices stay at the site. */
const ASKED = {
  status: '/api/v1/site',
  log: '/api/v1/log?count=1000',
  decisions: '/api/v1/decisions',
  plan: '/api/v1/plan',
} as const;

/**
 * `support [-o FILE]`: one JSON file for whoever helps: configuration, checks, host, log and decisions, without any
 * secret. Says what it holds; writes nothing when a secret is left in it or the file exists.
 */
export async function supportCommand(context: Context, options: { output?: string }): Promise<Outcome> {
  const now = new Date();
  const file =
    options.output ?? `switchyard-support-${now.toISOString().slice(0, 19).replaceAll(':', '')}.json`;
  if (existsSync(file))
    return {
      exit: EXIT.refused,
      problems: [{ code: 'exists', message: `${file} exists already.`, hint: 'Name another with -o.' }],
    };
  const need = needConfig(context);
  const loaded: LoadedConfig | null = 'loaded' in need ? need.loaded : null;
  const answers = await Promise.all(
    Object.entries(ASKED).map(async ([name, resource]) => {
      const answer = await ask(context, 'GET', resource);
      return [name, answer.ok ? answer.value.body : { error: answer.error.message }] as const;
    }),
  );
  const host = new HostHealthReader(loaded?.config.store.path ?? '/');
  const bundle = {
    v: 1,
    createdAt: now.toISOString(),
    versions: { agent: context.version, ...process.versions },
    configuration:
      loaded === null
        ? { file: configPath(context), problems: 'outcome' in need ? need.outcome.problems : [] }
        : { file: loaded.file, inForce: withoutSecrets(loaded), warnings: problemsOf(loaded.warnings) },
    checks: (await doctorCommand(context)).data,
    host: host.read(),
    inventory: await readInventory().catch(() => null),
    agent: Object.fromEntries(answers),
  };
  host.close();
  const secrets = [...(loaded?.secrets.values() ?? [])];
  const text = redact(`${JSON.stringify(bundle, null, 2)}\n`, secrets);
  if (holdsSecret(text, secrets))
    return {
      exit: EXIT.internal,
      problems: [{ code: 'secret-left', message: 'a secret was left in the bundle: nothing was written.' }],
    };
  writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
  const holds = Object.keys(bundle).join(', ');
  return {
    exit: EXIT.ok,
    data: { file, bytes: Buffer.byteLength(text), holds: Object.keys(bundle) },
    text: `${file}: ${holds}. Secrets are left out; addresses and names of the site are in it: read it before you pass it on.`,
  };
}

/** The configuration with every place of a secret blanked, whatever stands there. */
function withoutSecrets({ config }: LoadedConfig): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) =>
      (key === 'password' || key === 'key') && typeof value === 'string' ? '[secret]' : value,
    ),
  );
}
