import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { connect } from 'mqtt';
import { loadConfig } from '../../config/load.ts';
import { programCommand, spokenCommand } from '../../config/program-files.ts';
import type { RunningAgent } from '../agent-options.ts';
import { renderStatus } from './agent-commands.ts';
import { type Context, problemsOf } from './context.ts';
import { relocateConfig } from './demo-relocate.ts';
import { DEMO_SCENARIOS, type DemoAct, type DemoStep } from './demo-scenarios.ts';
import { demoConfig, freeNetwork, portOrFree } from './demo-site.ts';
import { aborted } from './lifecycle.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { openAgent } from './run-command.ts';
import { openLog } from './run-log.ts';
import { startSimulator } from './simulator-process.ts';

/** `demo`: a simulated site in a process of its own, an embedded broker, the agent and its page. */
export async function demoCommand(
  context: Context,
  options: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const size = { miners: Number(options['miners']), gpuNodes: Number(options['gpuNodes']) };
  if (
    !Number.isInteger(size.miners) ||
    size.miners < 0 ||
    size.miners > 5000 ||
    !Number.isInteger(size.gpuNodes) ||
    size.gpuNodes < 0 ||
    size.gpuNodes > 100
  ) {
    return {
      exit: EXIT.usage,
      problems: [{ code: 'usage', message: '--miners is 0 to 5000, --gpu-nodes 0 to 100.' }],
    };
  }
  // The story names the devices of the demo's own site.
  const scenario = DEMO_SCENARIOS[options['scenario'] ?? (options['site'] === undefined ? 'story' : 'quiet')];
  const pace = Number(options['pace'] ?? '1');
  if (scenario === undefined || !(pace >= 1 && pace <= 100)) {
    return {
      exit: EXIT.usage,
      problems: [
        {
          code: 'usage',
          message: `--scenario is one of ${Object.keys(DEMO_SCENARIOS).join(', ')}; --pace is 1 to 100.`,
        },
      ],
    };
  }
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-demo-'));
  const file = join(folder, 'switchyard.yaml');
  const [network, mqttPort, pagePort] = await Promise.all([
    freeNetwork(),
    portOrFree(Number(options['mqttPort'])),
    portOrFree(Number(options['pagePort'])),
  ]);
  const places = {
    network,
    mqttPort,
    pagePort,
    stateFolder: join(folder, 'state'),
    smiCommand: (place: string) => [...programCommand('simulator/nvidia-smi'), place],
    sparkplug: 'sparkplug' in options,
  };
  const siteFile = options['site'];
  writeFileSync(
    file,
    siteFile === undefined
      ? demoConfig(size, places)
      : relocateConfig(readFileSync(siteFile, 'utf8'), places),
  );
  let broker = await openBroker(mqttPort);
  let agent: RunningAgent | null = null;
  const ended: (() => Promise<unknown> | unknown)[] = [];
  try {
    const planned = loadConfig(file, context.environment);
    if (!planned.ok) return { exit: EXIT.configuration, problems: problemsOf(planned.problems) };
    const { miners, config } = planned.value;
    context.streams.err(
      `Starting ${miners.length} simulated miners, ${config.gpuNodes.length} GPU nodes and ${config.meters.length} meters on ${network}.0.0/16 ...\n`,
    );
    const simulator = await startSimulator(file, options['seed'] ?? '1', options['pace'] ?? '1');
    ended.push(() => simulator.stop());
    const loaded = loadConfig(file, context.environment);
    if (!loaded.ok) return { exit: EXIT.configuration, problems: problemsOf(loaded.problems) };
    const log = openLog({ ...context, flags: { ...context.flags, quiet: !context.flags.verbose } });
    const startedAt = performance.now();
    agent = await openAgent(loaded.value, context, log, { dryRun: false, anyPort: true, pace });
    await firstPicture(
      context,
      agent,
      { miners: miners.length, gpuNodes: config.gpuNodes.length },
      startedAt,
      { file, mqttPort, sparkplug: places.sparkplug },
    );
    const perform = (act: DemoAct): void => {
      if (act.kind === 'simulator') simulator.send(act.request);
      else if (act.kind === 'order') sendOrder(mqttPort, agent!, act);
      else if (act.up)
        void openBroker(mqttPort).then((opened) => {
          broker = opened;
        });
      else void broker.close();
    };
    tell(context, scenario, pace, perform);
    const end = await Promise.race([
      aborted(context.signal),
      agent.bug.then((error) => ({ error })),
      simulator.ended.then(() => ({ error: new Error('the simulator ended') })),
    ]);
    if (end !== null) throw end.error;
    return { exit: EXIT.interrupted };
  } finally {
    await agent?.stop();
    for (const end of ended) await end();
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Waits for the first complete set of readings, then fills one screen and keeps it up to date. */
async function firstPicture(
  context: Context,
  agent: RunningAgent,
  size: { miners: number; gpuNodes: number },
  startedAt: number,
  places: { file: string; mqttPort: number; sparkplug: boolean },
): Promise<void> {
  const { source } = agent;
  while (!context.signal.aborted) {
    const snapshot = source.snapshot();
    const read = snapshot?.devices.filter((device) => device.reading !== null).length ?? 0;
    const meters = snapshot?.meters.filter((meter) => meter.reading !== null).length ?? 0;
    if (snapshot !== null && read === size.miners + size.gpuNodes && meters === snapshot.meters.length) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const view = source.view();
  if (view === null) return;
  const data = {
    page: agent.pageUrl,
    broker: `mqtt://127.0.0.1:${places.mqttPort}`,
    config: places.file,
    secondsToFirstReadings: Number(seconds),
  };
  if (context.flags.json) {
    context.streams.out(
      `${JSON.stringify({ v: 1, command: 'demo', ok: true, exit: 0, data, problems: [] })}\n`,
    );
    return;
  }
  // By its configuration: then commands that need no agent find their site as well.
  const run = (words: string) => `  ${spokenCommand()} -c ${places.file} ${words}`;
  context.streams.out(
    [
      renderStatus(view),
      '',
      `Everything was read once after ${seconds} s. All of it is simulated; Ctrl-C ends it.`,
      '',
      `  page    ${agent.pageUrl}`,
      `  broker  mqtt://127.0.0.1:${places.mqttPort}   topics switchyard/v1/demo/#${places.sparkplug ? ', spBv1.0/demo/#' : ''}`,
      `  config  ${places.file}`,
      '',
      'Try in another terminal:',
      run('status'),
      run('explain grid'),
      run('doctor'),
      `  ${spokenCommand()} mqtt watch --url mqtt://127.0.0.1:${places.mqttPort}`,
      '',
    ].join('\n'),
  );
}

interface DemoBroker {
  close(): Promise<void>;
}

/** The embedded broker of the demo, on loopback. */
async function openBroker(port: number): Promise<DemoBroker> {
  const broker = await Aedes.createBroker();
  const sockets = new Set<Socket>();
  const listener = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    broker.handle(socket);
  });
  await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve));
  let open = true;
  return {
    close: async () => {
      if (!open) return;
      open = false;
      listener.close();
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => broker.close(() => resolve()));
    },
  };
}

/** Lets the steps of a scenario happen in their time, and says each on stderr. */
function tell(
  context: Context,
  steps: readonly DemoStep[],
  pace: number,
  perform: (act: DemoAct) => void,
): void {
  if (steps.length > 0)
    context.streams.err(
      `What will happen${pace === 1 ? '' : ` (pace ${pace}: ${pace} times faster)`}:\n${steps.map((step) => `  +${Math.round(step.atSeconds / pace)} s  ${step.words}`).join('\n')}\n`,
    );
  for (const step of steps) {
    const timer = setTimeout(
      () => {
        context.streams.err(`[demo] ${step.words}\n`);
        perform(step.act);
      },
      (step.atSeconds / pace) * 1000,
    );
    context.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }
}

/** Sends an order the way a central system does: over the broker. */
function sendOrder(port: number, agent: RunningAgent, act: Extract<DemoAct, { kind: 'order' }>): void {
  const rating = agent.source.model.limits.find((limit) => limit.id === act.args['limit'])?.ratingWatts ?? 0;
  const now = Date.now();
  const id = `demo-${now}`;
  const args = act.share === undefined ? act.args : { ...act.args, watts: Math.round(rating * act.share) };
  const order = {
    v: 1,
    id,
    site: agent.source.model.siteId,
    type: act.type,
    issuer: 'demo',
    priority: 80,
    issued: now,
    expires: now + 30_000,
    seq: now,
    args,
  };
  const client = connect({
    protocol: 'mqtt',
    host: '127.0.0.1',
    port,
    protocolVersion: 4,
    reconnectPeriod: 0,
  });
  client.on('error', () => client.end(true));
  client.on('connect', () =>
    client.publish(
      `switchyard/v1/${agent.source.model.siteId}/cmd/req/${id}`,
      JSON.stringify(order),
      { qos: 1 },
      () => client.end(),
    ),
  );
}
