import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { loadConfigText } from '../../config/load.ts';
import { ID_PATTERN } from '../../protocols/units.ts';
import { type Context, problemsOf } from './context.ts';
import { EXIT, type Outcome } from './outcome.ts';

/** Flags of `init`; lists may be given several times. */
export interface InitFlags {
  readonly site?: string;
  readonly rating?: string;
  readonly meter?: string;
  readonly meterProfile: string;
  readonly miners?: readonly string[];
  readonly fromScan?: string;
  readonly broker?: string;
  readonly output: string;
}

/**
 * `init`: writes a commented configuration from its flags or from `scan --save`; asks nothing. The file is checked
 * before it is written, never written over another, and begins with authority `observe`: nothing is commanded.
 */
export function initCommand(context: Context, flags: InitFlags): Outcome {
  const usage = (message: string): Outcome => ({ exit: EXIT.usage, problems: [{ code: 'usage', message }] });
  if (flags.site === undefined || !ID_PATTERN.test(flags.site))
    return usage('--site is the id of the site: lower-case letters, digits and dashes.');
  if (flags.rating === undefined)
    return usage('--rating is what the grid connection may carry, for example "1.2 MW".');
  if (existsSync(flags.output))
    return {
      exit: EXIT.refused,
      problems: [
        { code: 'exists', message: `${flags.output} exists already.`, hint: 'Name another with -o.' },
      ],
    };
  const miners = [...(flags.miners ?? [])];
  if (flags.fromScan !== undefined) {
    const found = scanned(flags.fromScan);
    if (found === null) return usage(`${flags.fromScan} is not what \`scan --save\` writes.`);
    miners.push(...found);
  }
  const text = configText(flags.site, flags.rating, miners, flags);
  const result = loadConfigText(text, flags.output, context.environment);
  if (!result.ok) return { exit: EXIT.usage, problems: problemsOf(result.problems) };
  writeFileSync(`${flags.output}.new`, text, { mode: 0o644 });
  renameSync(`${flags.output}.new`, flags.output);
  return {
    exit: EXIT.ok,
    data: {
      file: flags.output,
      miners: result.value.miners.length,
      meters: result.value.config.meters.length,
    },
    text: `${flags.output} is written: ${result.value.miners.length} miner addresses, ${result.value.config.meters.length} meters. The agent only watches until a limit says \`authority: shed-only\` or \`full\`.\nNext: switchyard check ${flags.output} --online`,
  };
}

/** Addresses of the miners in a saved scan. */
function scanned(file: string): string[] | null {
  try {
    const { found } = JSON.parse(readFileSync(file, 'utf8')) as {
      found: { kind: string; address: string }[];
    };
    return found.filter(({ kind }) => kind === 'miner').map(({ address }) => address);
  } catch {
    return null;
  }
}

function configText(site: string, rating: string, miners: readonly string[], flags: InitFlags): string {
  const part = (value: unknown) => stringify(value, { lineWidth: 0 }).trimEnd();
  const comment = (text: string, sample: string) => `# ${text}\n${sample.replaceAll(/^/gm, '# ')}`;
  const meter =
    flags.meter === undefined
      ? null
      : {
          id: 'grid-meter',
          profile: flags.meterProfile,
          transport: { kind: 'modbus-tcp', ...hostPort(flags.meter) },
        };
  return `${[
    `# Written by \`switchyard init\`. More samples: switchyard sample all. Every key: switchyard schema.`,
    part({ site: { id: site } }),
    '# The tree of limits. authority: observe (look only), advise, shed-only (lower only), full.',
    part({
      limits: [
        { id: 'grid', rating, ...(meter === null ? {} : { meter: 'grid-meter' }), authority: 'observe' },
      ],
    }),
    meter === null
      ? comment(
          'Without a meter at the grid connection every figure is an estimate: `switchyard sample meter`.',
          part({
            meters: [
              {
                id: 'grid-meter',
                profile: 'schneider-pm5560',
                transport: { kind: 'modbus-tcp', host: '10.0.0.5' },
              },
            ],
          }),
        )
      : `# Lists of register maps: switchyard sample profiles. Prove it: switchyard meter grid-meter --commission\n${part({ meters: [meter] })}`,
    miners.length === 0
      ? comment(
          'Miners: hosts, ranges or CIDRs.',
          part({ miners: [{ id: 'hall-a', limit: 'grid', hosts: ['10.1.0.10-10.1.0.250'] }] }),
        )
      : `# Ids become hall-a-001, hall-a-002, ... in this order. Credentials: password: { file: secrets/miner }\n${part({ miners: [{ id: 'hall-a', limit: 'grid', hosts: miners }] })}`,
    flags.broker === undefined
      ? comment('Reports and orders over MQTT.', part({ mqtt: { url: 'mqtts://broker.example:8883' } }))
      : part({ mqtt: { url: flags.broker } }),
  ].join('\n\n')}\n`;
}

function hostPort(text: string): { host: string; port?: number } {
  const match = /^(.*):(\d+)$/.exec(text);
  return match === null ? { host: text } : { host: match[1]!, port: Number(match[2]) };
}
