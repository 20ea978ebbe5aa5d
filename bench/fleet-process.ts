import { createServer } from 'node:net';
import { secondPort } from '../config/miners/firmwares.ts';
import { systemClock } from '../protocols/clock.ts';
import { seededRandom } from '../protocols/random.ts';
import { createListenerHub } from '../simulator/miners/listener-hub.ts';
import { MINER_TWINS } from '../simulator/miners/registry.ts';
import { minerTraits } from '../simulator/miners/traits.ts';
import { SimulatedMiner } from '../simulator/physics.ts';
import { FLEET_PASSWORD, type FleetOptions, fleetMembers, hostAt } from './fleet.ts';

/** The other side of a bench: see `startFleet`. Answers `{op}` with a number; ends with SIGTERM. */
const options = JSON.parse(process.argv[2]!) as FleetOptions;
const hub = options.wildcard ? createListenerHub() : undefined;
const miners: SimulatedMiner[] = [];
for (const [index, member] of fleetMembers(options).entries()) {
  const twin = MINER_TWINS[member.firmware];
  const miner = new SimulatedMiner(member.host, minerTraits(twin.model), seededRandom(index + 1));
  if (member.state === 'dead') miner.faults.dead = true;
  if (member.state === 'dripping') miner.faults.drips = true;
  miners.push(miner);
  const hex = index.toString(16).padStart(6, '0');
  await twin.serve(miner, {
    host: member.host,
    port: 4028,
    webPort: secondPort(member.firmware, 80),
    macAddress: `02:00:00:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4)}`,
    serialNumber: `SIM${String(index).padStart(6, '0')}`,
    model: twin.model.replace(/^Whatsminer /, '').replace(/^Avalon A/, ''),
    user: 'root',
    password: FLEET_PASSWORD,
    ...(hub && { hub }),
  });
}
for (let index = 0; index < options.silent; index += 1) {
  const host = hostAt(options.firstHost, options.devices + index);
  const server = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(4028, host, resolve));
}
const startedAt = systemClock.monotonicMs();
setInterval(() => {
  for (const miner of miners) miner.advance(systemClock.monotonicMs() - startedAt);
}, 500);
process.on('message', ({ op }: { readonly op: string }) => {
  if (op === 'watts') for (const miner of miners) miner.advance(systemClock.monotonicMs() - startedAt);
  const usage = process.cpuUsage();
  process.send!(
    op === 'watts'
      ? miners.reduce((sum, miner) => sum + miner.powerWatts, 0)
      : op === 'connections'
        ? (hub?.connections ?? 0)
        : op === 'exchanges'
          ? (hub?.exchanges ?? 0)
          : (usage.user + usage.system) / 1000,
  );
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
process.send!('ready');
