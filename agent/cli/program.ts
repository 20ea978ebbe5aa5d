import { Command, CommanderError } from 'commander';
import {
  alarmsCommand,
  backupCommand,
  checkCommand,
  demoCommand,
  doctorCommand,
  explainCommand,
  gpuCommand,
  historyCommand,
  initCommand,
  limitCommand,
  localCommand,
  logCommand,
  meterCommand,
  minerCommand,
  modbusReadCommand,
  orderCommand,
  planCommand,
  reloadCommand,
  replayCommand,
  reportCommand,
  restoreCommand,
  runCommand,
  sampleCommand,
  scanCommand,
  schemaCommand,
  simulateCommand,
  statusCommand,
  supportCommand,
  topCommand,
  topologyCommand,
  transferCommand,
} from './commands.ts';
import type { Context } from './context.ts';
import { globalFlags } from './global-flags.ts';
import type { InitFlags } from './init-command.ts';
import { addMqttCommands } from './mqtt-program.ts';
import { EXIT, type ExitCode, type Outcome, printOutcome, type Streams } from './outcome.ts';
import type { ReportFlags } from './report-command.ts';
import type { TopologyOptions } from './topology-command.ts';
import type { TransferOptions } from './transfer-command.ts';

/** Makes a command out of a function from context to outcome. */
export type ActionMaker = (
  name: string,
  body: (context: Context, ...args: never[]) => Promise<Outcome> | Outcome,
) => (...args: unknown[]) => Promise<void>;

export interface ProgramDeps {
  readonly version: string;
  readonly signal: AbortSignal;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly streams: Streams;
}

/** The command line: commands, flags, help. Every command is a function from context to outcome. */
export function buildProgram(deps: ProgramDeps): {
  run(args: readonly string[]): Promise<ExitCode>;
  readonly table: Command;
} {
  let exit: ExitCode = EXIT.ok;
  const program = new Command('switchyard');
  program
    .description('Site agent that shares one grid connection between bitcoin mining and AI.')
    .option(
      '-c, --config <path>',
      'configuration (default ./switchyard.yaml, then /etc/switchyard/switchyard.yaml)',
    )
    .option('--json', 'one JSON document on stdout (streams: JSON Lines)')
    .option('-q, --quiet', 'only the answer')
    .option('-v, --verbose', 'more on stderr')
    .option('--no-color', 'no colours')
    .option('--timeout <duration>', 'how long to wait for an answer', '5s')
    .option('--yes', 'answer yes to questions')
    .showHelpAfterError('(see switchyard --help)')
    .exitOverride()
    .configureOutput({ writeOut: deps.streams.out, writeErr: deps.streams.err });

  const action: ActionMaker =
    (name, body) =>
    async (...args: unknown[]) => {
      const flags = globalFlags(program, deps.environment);
      if (flags === null) {
        deps.streams.err('--timeout is a duration, for example 5s.\n');
        exit = EXIT.usage;
        return;
      }
      const context: Context = {
        flags,
        streams: deps.streams,
        signal: deps.signal,
        environment: deps.environment,
        version: deps.version,
      };
      const outcome = await body(context, ...(args as never[]));
      printOutcome(name, outcome, flags, deps.streams);
      exit = outcome.exit;
    };

  program
    .command('run')
    .description('the agent')
    .option('--dry-run', 'decide and report, never command')
    .option('--once', 'read everything once, report, end')
    .action(
      action('run', (context, options: { dryRun?: boolean; once?: boolean }) =>
        runCommand(context, { dryRun: options.dryRun ?? false, once: options.once ?? false }),
      ),
    );
  program
    .command('demo')
    .description('a simulated site, broker, agent and page on this machine')
    .option('--miners <n>', 'simulated miners', '300')
    .option('--gpu-nodes <n>', 'simulated GPU nodes', '4')
    .option('--seed <n>', 'seed of the simulation', '1')
    .option('--page-port <port>', 'port of the page', '7420')
    .option('--mqtt-port <port>', 'port of the broker', '1883')
    .option('--pace <x>', 'simulated physics run this much faster', '1')
    .option(
      '--scenario <name>',
      'story, quiet, grid-emergency, meter-dies, miner-lies, broker-away, ai-job, breaker-trips, dead-tenth',
    )
    .option('--site <file>', 'play this configuration on loopback instead of the demo site')
    .option('--sparkplug', 'publish the demo site as Sparkplug B edge nodes too')
    .action(action('demo', (context, options: Record<string, string>) => demoCommand(context, options)));
  program
    .command('simulate')
    .description('only the simulated devices of a configuration')
    .option('--seed <n>', 'seed', '1')
    .option('--pace <x>', 'faster physics', '1')
    .option('--faults <file>', 'JSON Lines of faults, applied at start')
    .action(
      action('simulate', (context, options: { seed: string; pace: string; faults?: string }) =>
        simulateCommand(context, options),
      ),
    );
  program
    .command('check [file]')
    .description('check a configuration')
    .option('--online', 'ask the devices too')
    .action(
      action('check', (context, file: string | undefined, options: { online?: boolean }) =>
        checkCommand(context, file, options.online ?? false),
      ),
    );
  program
    .command('schema [what]')
    .description(
      'JSON Schema of the configuration; meter: of a meter profile; messages: of every MQTT message; asyncapi: the document',
    )
    .action(action('schema', (_context, what: string | undefined) => schemaCommand(what)));
  program
    .command('sample [kind]')
    .description('commented samples: meter, miner, gpu, mqtt, all; profiles lists the meters')
    .action(action('sample', (_context, kind: string | undefined) => sampleCommand(kind ?? 'all')));
  program
    .command('miner <host> [verb] [value]')
    .description('read one miner now; sleep, wake, power W, locate with --apply')
    .option('--web-port <port>', 'web port', '80')
    .option('--user <name>', 'user')
    .option('--password-file <file>', 'file with the password')
    .option('--firmware <name>', 'firmware family', 'auto')
    .option('--raw', 'show the bytes')
    .option('--apply', 'really write')
    .action(
      action(
        'miner',
        (
          context,
          host: string,
          verb: string | undefined,
          value: string | undefined,
          options: Record<string, string | boolean>,
        ) => minerCommand(context, host, verb, value, options),
      ),
    );
  program
    .command('meter [name]')
    .description('read one meter now')
    .option('--profile <id>', 'register map that ships, or a file of your own')
    .option('--transport <kind>', 'modbus-tcp, rtu-over-tcp or rtu', 'modbus-tcp')
    .option('--host <host>')
    .option('--port <port>')
    .option('--unit <n>', 'unit id', '1')
    .option('--device <path>')
    .option('--baud <n>')
    .option('--parity <p>')
    .option('--repeat [duration]', 'again and again')
    .option('--commission', 'check word order, transformers, direction and refresh before it is trusted')
    .option('--known-load <power>', 'with --commission: a load that you switch on, to check sign and scale')
    .option('--raw', 'show the bytes')
    .action(
      action('meter', (context, name: string | undefined, options: Record<string, string | boolean>) =>
        meterCommand(context, name, options),
      ),
    );
  const commission = program.command('commission').description('prove how the site is wired');
  commission
    .command('topology <limit>')
    .description('which miner hangs on which meter: groups are toggled in coded patterns with --apply')
    .option('--group <power>', 'the most that is toggled at once', '30kW')
    .option('--round <duration>', 'the longest that a group is down and up again', '5min')
    .option('--longest <duration>', 'the longest that the whole run may take', '4h')
    .option('--record <file>', 'where the commissioning record is written')
    .option('--apply', 'really toggle')
    .action(
      action('commission topology', (context, limit: string, options: TopologyOptions) =>
        topologyCommand(context, limit, options),
      ),
    );
  const modbus = program.command('modbus').description('look at registers');
  modbus
    .command('read <host> <unit> <address> <count>')
    .description('read registers, every word order side by side')
    .option('--input', 'input registers (function 4)')
    .option('--as <type>', 'only this type: u16, i16, u32, i32, f32, u64, f64')
    .action(
      action(
        'modbus read',
        (
          context,
          host: string,
          unit: string,
          address: string,
          count: string,
          options: { input?: boolean; as?: string },
        ) => modbusReadCommand(context, { host, unit, address, count, ...options }),
      ),
    );
  program
    .command('gpu [host] [verb] [uuid] [watts]')
    .description('read one GPU node now; cap UUID W with --apply (by Redfish: cap node W)')
    .option('--dcgm <url>')
    .option('--nvidia-smi [path]')
    .option('--redfish <url>', 'its management controller, with --user and --password-file')
    .option('--user <user>')
    .option('--password-file <file>')
    .option('--ca <file>', 'authority that signed its certificate')
    .option('--fingerprint <sha256>', 'its certificate')
    .option('--chassis <path>')
    .option('--apply', 'really write')
    .action(
      action(
        'gpu',
        (
          context,
          host: string | undefined,
          verb: string | undefined,
          uuid: string | undefined,
          watts: string | undefined,
          options: Record<string, string | boolean>,
        ) => gpuCommand(context, { host, verb, uuid, watts }, options),
      ),
    );
  program
    .command('plan')
    .description('what the agent would decide now, or the solution of a problem file')
    .option('--problem <file>')
    .action(action('plan', (context, options: { problem?: string }) => planCommand(context, options)));
  program
    .command('status')
    .description('what the running agent knows')
    .action(action('status', statusCommand));
  program
    .command('reload')
    .description('the agent takes its changed configuration in, and says what waits for a restart')
    .action(action('reload', reloadCommand));
  program
    .command('scan [range...]')
    .description('find miners, meters and GPU nodes; never writes')
    .option('--ip-file <file>', 'more addresses, one a line')
    .option('--rate <n>', 'hosts per second', '200/s')
    .option('--save <file>', 'write what was found for init --from-scan')
    .action(
      action('scan', (context, ranges: string[], options: { ipFile?: string; rate: string; save?: string }) =>
        scanCommand(context, ranges, options),
      ),
    );
  program
    .command('doctor')
    .description('all checks, with causes and next steps')
    .action(action('doctor', (context) => doctorCommand(context)));
  program.command('top').description('the status, live').action(action('top', topCommand));
  program
    .command('explain <target>')
    .alias('why')
    .description('why a device or limit is as it is')
    .action(action('explain', (context, target: string) => explainCommand(context, target)));
  program
    .command('limit [verb] [limit] [watts]')
    .description('show, set or clear a limit of the running agent')
    .option('--within <duration>', 'deadline', '60s')
    .option('--for <duration>', 'lease')
    .action(
      action(
        'limit',
        (
          context,
          verb: string | undefined,
          limit: string | undefined,
          watts: string | undefined,
          options: { within: string; for?: string },
        ) => limitCommand(context, verb, limit, watts, options),
      ),
    );
  program
    .command('transfer [verb] [id]')
    .description('hand-overs of power between mining and AI: list, start, end ID')
    .option('--limit <limit>', 'the limit below which power is handed over')
    .option('--watts <power>', 'how much; without it, all there is')
    .option('--workload <id>', 'whose power; without it, the first workload below the limit')
    .option('--to <side>', 'ai or mining', 'ai')
    .option('--until <time>', 'ISO 8601; without it, until it is ended')
    .action(
      action(
        'transfer',
        (context, verb: string | undefined, id: string | undefined, options: TransferOptions) =>
          transferCommand(context, verb, id, options),
      ),
    );
  program
    .command('hold <target>')
    .description('people are at work there: nothing is commanded')
    .requiredOption('--who <name>')
    .option('--why <text>', 'reason', '')
    .option('--until <time>', 'ISO 8601')
    .action(
      action('hold', (context, target: string, options: { who: string; why: string; until?: string }) =>
        orderCommand(context, 'hold', { target, ...options }),
      ),
    );
  program
    .command('quarantine <device>')
    .description('set a device aside: it counts at its nameplate and nobody commands it')
    .option('--why <text>', 'reason', '')
    .action(
      action('quarantine', (context, device: string, options: { why: string }) =>
        localCommand(context, 'quarantine', device, options.why),
      ),
    );
  program
    .command('replace <device>')
    .description('another machine stands there now; with --removed: nothing does')
    .option('--removed', 'the place is empty')
    .action(
      action('replace', (context, device: string, options: { removed?: boolean }) =>
        localCommand(context, options.removed === true ? 'removed' : 'replace', device, ''),
      ),
    );
  program
    .command('release <target>')
    .description('the hold or quarantine of a device, tag or limit ends')
    .option('--who <name>', 'who', '')
    .action(
      action('release', (context, target: string, options: { who: string }) =>
        orderCommand(context, 'release', { target, ...options }),
      ),
    );
  program
    .command('log')
    .description('what happened, was decided and was commanded')
    .option('-f, --follow', 'go on as it happens')
    .option('--device <id>', 'only this device, limit or meter')
    .option('--from <time>', 'ISO 8601')
    .option('--count <n>', 'at most so many, the newest', '100')
    .action(
      action('log', (context, options: { follow?: boolean; device?: string; from?: string; count: string }) =>
        logCommand(context, options),
      ),
    );
  program
    .command('history [limit]')
    .description('power of every limit, or of one, by the minute')
    .option('--from <time>', 'ISO 8601; default: 24 hours before --to')
    .option('--to <time>', 'ISO 8601; default: now')
    .option('--limit <id>', 'only this limit')
    .option('--csv', 'comma-separated, for a spreadsheet')
    .action(
      action(
        'history',
        (
          context,
          limit: string | undefined,
          options: { from?: string; to?: string; limit?: string; csv?: boolean },
        ) => historyCommand(context, limit === undefined ? options : { ...options, limit }),
      ),
    );
  program
    .command('report [what] [id]')
    .description('energy by class, tenant and interval; report event ID: the evidence of an order; --verify')
    .option('--from <time>', 'local day or ISO 8601 time; default: a day before --to')
    .option('--to <time>', 'local day or ISO 8601 time; default: the end of the record')
    .option('--interval <minutes>', '1, 5, 15, 30 or 60', '15')
    .option('--format <format>', 'csv or json', 'csv')
    .option('--verify', 'check every entry, day and signature of the record')
    .option('--key <file>', 'public key to check with, in place of the one beside the record')
    .action(
      action('report', (context, what: string | undefined, id: string | undefined, options: ReportFlags) =>
        reportCommand(context, what, id, options),
      ),
    );
  program
    .command('replay <journal>')
    .description('decide again from a journal; exit 1 at the first difference')
    .action(action('replay', (_context, journal: string) => replayCommand(journal)));
  addMqttCommands(program, action);
  program
    .command('alarms [verb] [id]')
    .description('the active alarms; acknowledge ID or all: somebody has seen it')
    .option('--who <name>', 'who has seen it', '')
    .action(
      action(
        'alarms',
        (context, verb: string | undefined, id: string | undefined, options: { who: string }) =>
          alarmsCommand(context, verb, id, options.who),
      ),
    );
  program
    .command('init')
    .description('write a commented configuration from these flags; asks nothing, overwrites nothing')
    .option('--site <id>', 'id of the site')
    .option('--rating <power>', 'what the grid connection may carry')
    .option('--meter <host>', 'meter of the grid connection, host or host:port (Modbus TCP)')
    .option('--meter-profile <id>', 'its register map', 'schneider-pm5560')
    .option('--miners <range...>', 'hosts, ranges or CIDRs of miners')
    .option('--from-scan <file>', 'miners out of what scan --save wrote')
    .option('--broker <url>', 'mqtt:// or mqtts:// address of the broker')
    .option('-o, --output <file>', 'where to write', './switchyard.yaml')
    .action(action('init', (context, options: InitFlags) => initCommand(context, options)));
  program
    .command('support')
    .description('one file for whoever helps: configuration, checks, log and decisions, without secrets')
    .option('-o, --output <file>', 'where to write')
    .action(action('support', (context, options: { output?: string }) => supportCommand(context, options)));
  program
    .command('backup <file>')
    .description('state and configuration in one file, while the agent runs or not')
    .action(action('backup', (context, file: string) => backupCommand(context, file)));
  program
    .command('restore <file>')
    .description('check a backup, then put it in place of the state; the agent must not run')
    .action(action('restore', (context, file: string) => restoreCommand(context, file)));
  program
    .command('version')
    .description('version of agent and Node')
    .action(
      action('version', (context) => ({
        exit: EXIT.ok,
        data: { version: context.version, node: process.version },
        text: `switchyard ${context.version} (Node ${process.version})`,
      })),
    );

  return {
    table: program,
    run: async (args) => {
      try {
        await program.parseAsync([...args], { from: 'user' });
      } catch (error) {
        if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
        deps.streams.err(
          `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nThis is a bug in Switchyard: please report it with the lines above.\n`,
        );
        return EXIT.internal;
      }
      return exit;
    },
  };
}

/** The command table alone, for what is made of it: man page, completion. */
export function commandTable(): Command {
  const nowhere = () => undefined;
  return buildProgram({
    version: '',
    signal: new AbortController().signal,
    environment: {},
    streams: { out: nowhere, err: nowhere },
  }).table;
}
