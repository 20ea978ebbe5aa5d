import { loadConfig } from '../../config/load.ts';
import { profileJsonSchema } from '../../config/meters/profile.ts';
import { meterProfiles } from '../../config/meters/profiles.ts';
import { formatProblem } from '../../config/problem.ts';
import { programText } from '../../config/program-files.ts';
import { formatWatts } from '../../config/quantity.ts';
import { configJsonSchema } from '../../config/schema.ts';
import { buildSiteModel } from '../site/model.ts';
import { asyncApiDocument, messageSchemas } from '../telemetry/asyncapi.ts';
import { type Context, configPath, problemsOf } from './context.ts';
import { deviceChecks } from './doctor-command.ts';
import { EXIT, type Outcome } from './outcome.ts';

/**
 * `check [FILE] [--online]`: syntax, schema, cross-checks, secrets; with `--online` devices are asked as well.
 * Exit 3 when invalid, 1 on warnings only, 5 or 4 when some or all devices do not answer.
 */
export async function checkCommand(
  context: Context,
  file: string | undefined,
  online: boolean,
): Promise<Outcome> {
  const outcome = checkFile(context, file);
  if (!online || outcome.exit === EXIT.configuration) return outcome;
  const result = loadConfig(file ?? configPath(context) ?? '', context.environment);
  if (!result.ok) return outcome;
  const checks = await deviceChecks(context, result.value);
  const bad = checks.filter((one) => one.result === 'fail' || one.result === 'warn');
  const lines = checks.map(
    (one) => `  ${one.result === 'ok' ? 'ok  ' : 'FAIL'} ${one.name}: ${one.evidence}`,
  );
  return {
    exit: bad.length === 0 ? outcome.exit : bad.length === checks.length ? EXIT.unanswered : EXIT.partial,
    data: { ...(outcome.data as object), online: checks },
    text: [outcome.text ?? '', ...lines].join('\n'),
    problems: [
      ...(outcome.problems ?? []),
      ...bad.map((one) => ({
        code: 'device',
        message: `${one.name}: ${one.evidence}`,
        ...(one.nextStep === null ? {} : { hint: one.nextStep }),
      })),
    ],
  };
}

function checkFile(context: Context, file: string | undefined): Outcome {
  const path = file ?? configPath(context);
  if (path === null) {
    return {
      exit: EXIT.configuration,
      problems: [
        {
          code: 'no-configuration',
          message: 'no configuration found.',
          hint: 'Name it: switchyard check FILE.',
        },
      ],
    };
  }
  const result = loadConfig(path, context.environment);
  if (!result.ok) return { exit: EXIT.configuration, problems: problemsOf(result.problems) };
  const { config, miners, warnings } = result.value;
  const model = buildSiteModel(config, miners);
  const lines = [
    `${path} is valid: ${model.limits.length} limits, ${config.meters.length} meters, ${miners.length} miner addresses, ${config.gpuNodes.length} GPU nodes.`,
    ...model.limits.map(
      (limit) =>
        `  ${limit.id}: ${formatWatts(limit.ratingWatts)} (${limit.ratingText}), ${limit.meterId === null ? 'no meter' : `meter ${limit.meterId}`}, authority ${limit.authority}`,
    ),
  ];
  const data = {
    file: path,
    limits: model.limits.map((limit) => ({
      id: limit.id,
      parent: limit.parent,
      ratingWatts: limit.ratingWatts,
      meter: limit.meterId,
      authority: limit.authority,
    })),
    miners: miners.length,
    gpuNodes: config.gpuNodes.length,
    meters: config.meters.length,
  };
  return {
    exit: warnings.length > 0 ? EXIT.problems : EXIT.ok,
    data,
    text: [
      ...lines,
      ...(context.flags.json ? [] : warnings.map((warning) => `warning: ${formatProblem(warning)}`)),
    ].join('\n'),
    problems: context.flags.json ? problemsOf(warnings) : [],
  };
}

/** `schema [config|meter|messages|asyncapi]`: JSON Schemas of the configuration, of a meter profile and of every message, the AsyncAPI document. */
export function schemaCommand(what = 'config'): Outcome {
  const makers: Record<string, () => unknown> = {
    config: configJsonSchema,
    meter: profileJsonSchema,
    messages: messageSchemas,
    asyncapi: asyncApiDocument,
  };
  const make = makers[what];
  if (make === undefined)
    return {
      exit: EXIT.usage,
      problems: [{ code: 'usage', message: `schema is one of ${Object.keys(makers).join(', ')}.` }],
    };
  const schema = make();
  return { exit: EXIT.ok, data: schema, text: JSON.stringify(schema, null, 2) };
}

const SAMPLES: Readonly<Record<string, string>> = {
  meter: `meters:
  # profile: one of the register maps that ship with the product (\`switchyard sample profiles\` lists them)
  - id: grid-meter
    profile: schneider-pm5560
    transport: { kind: modbus-tcp, host: 10.0.0.5, port: 502, unit: 1 }
    interval: 1s            # how often it is read
    # invert: true          # current transformers mounted the other way round
  - id: feeder-meter
    profile: eastron-sdm630
    transport: { kind: rtu-over-tcp, host: 10.0.0.6, port: 4001, unit: 3 }   # a transparent serial gateway
`,
  miner: `miners:
  - id: hall-a              # devices become hall-a-001, hall-a-002, ... in the order of addresses
    limit: feeder-a         # the limit they hang on
    hosts: [10.1.0.10-10.1.0.250, 10.1.2.0/26, "10.1.3.7:4029"]
    port: 4028
    webPort: 80             # Bitmain firmware is commanded through its web port
    firmware: auto          # or cgminer, bfgminer, bitmain, luxos, whatsminer, ...
    model: auto
    user: root
    password: { file: secrets/miner }     # never in this file itself
    tenant: acme
    tags: [air]
    # nameplate: 3.6 kW     # the most one may draw; otherwise from the model table
`,
  gpu: `gpuNodes:
  - id: dgx-1
    limit: feeder-g
    nameplate: 10.2 kW      # the most the whole node may draw
    # hostWatts: 2 kW       # what it draws beside its GPUs, at most
    reader: { kind: nvidia-smi, command: [ssh, -o, BatchMode=yes, gateway@dgx-1] }     # nvidia-smi runs behind this prefix
    cap: { kind: nvidia-smi, command: [ssh, -o, BatchMode=yes, gateway@dgx-1, sudo], min: 300 W, max: 700 W }
  - id: dgx-2
    limit: feeder-g
    nameplate: 10.2 kW
    reader: { kind: dcgm, url: "http://dgx-2:9400/metrics" }
    # drain: { kind: slurm, node: dgx-2, command: [ssh, head] }     # or kubernetes, command
    # drain: { kind: kubernetes, node: dgx-2, url: "https://10.0.0.1:6443", tokenFile: /etc/switchyard/secrets/kube-token, ca: /etc/switchyard/kube-ca.pem, grace: 2min }
  # - id: dgx-3             # the whole node, by its management controller
  #   limit: feeder-g
  #   nameplate: 10.2 kW
  #   interval: 10s
  #   reader: { kind: redfish, url: "https://10.0.9.3", user: switchyard, passwordFile: /etc/switchyard/secrets/bmc, ca: /etc/switchyard/bmc-ca.pem }
  #   cap: { kind: redfish, min: 4 kW, max: 10 kW }
`,
  mqtt: `mqtt:
  url: mqtts://broker.example:8883
  root: switchyard          # topics are switchyard/v1/<site>/...
  username: black-pearl
  password: { env: MQTT_PASSWORD }
  # ca: /etc/switchyard/ca.pem
  # cert: /etc/switchyard/site.pem
  # key: /etc/switchyard/site.key
# sparkplug:                # the site as Sparkplug B edge nodes too, at the same broker
#   primaryHost: ignition
#   issuer: fleet           # whose orders are what is written to metrics; without it nothing is writable
`,
};

/** `sample [meter|miner|gpu|mqtt|all|profiles]`: commented pieces of configuration, the register maps. */
export function sampleCommand(kind: string): Outcome {
  if (kind === 'profiles') {
    const profiles = [...meterProfiles().values()].map(({ id, vendor, models, transports }) => ({
      id,
      vendor,
      models,
      transports,
    }));
    const text = profiles.map(({ id, vendor, models }) => `${id.padEnd(26)} ${vendor}: ${models.join(', ')}`);
    return { exit: EXIT.ok, data: { kind, profiles }, text: text.join('\n') };
  }
  if (kind === 'all') {
    const text = programText('config/examples/hybrid.yaml');
    return { exit: EXIT.ok, data: { kind, yaml: text }, text };
  }
  const text = SAMPLES[kind];
  if (text === undefined) {
    return {
      exit: EXIT.usage,
      problems: [
        {
          code: 'usage',
          message: `there is no sample "${kind}".`,
          hint: `Known: ${Object.keys(SAMPLES).join(', ')}, all, profiles.`,
        },
      ],
    };
  }
  return { exit: EXIT.ok, data: { kind, yaml: text }, text };
}
