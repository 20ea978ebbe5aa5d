import { seededRandom } from '../protocols/random.ts';
import { serveMeter } from '../simulator/meter.ts';

/** The simulated meters of `npm run bench -- meters`, in a process of their own; prints their ports. */
const count = Number(process.argv[2]);
const refreshMs = Number(process.argv[3]);
const ports: number[] = [];
for (let index = 0; index < count; index += 1) {
  const random = seededRandom(index + 1);
  const server = await serveMeter({
    profile: 'schneider-pm5560',
    host: '127.0.0.1',
    port: 0,
    unit: 1,
    refreshMs,
    readings: () => ({ powerWatts: 100_000 * (1 + 0.01 * random()) }),
    random,
  });
  ports.push(server.address.port);
}
console.log(JSON.stringify(ports));
