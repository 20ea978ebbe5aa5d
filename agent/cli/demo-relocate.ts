import { parse, stringify } from 'yaml';
import type { DemoPlaces } from './demo-site.ts';

const METER_PORT = 5020;
const WEB_PORT = 8080;
const SMI_PORT = 9500;

/** Any IPv4 address: its last two numbers are kept, its first two become the demo's loopback network. */
const ADDRESS = /\b\d{1,3}\.\d{1,3}\.(\d{1,3}\.\d{1,3})\b/g;

/** What of `sparkplug` says where it goes and who commands it. */
const ELSEWHERE = ['url', 'secondUrl', 'username', 'password', 'ca', 'cert', 'key', 'primaryHost', 'issuer'];

/**
 * A real site's configuration with every address moved to loopback, so that the demo can play it: the limits,
 * devices, workloads and conversions stay as they are. Broker, page and state become the demo's own.
 */
export function relocateConfig(text: string, places: DemoPlaces): string {
  const config = parse(text) as Record<string, unknown>;
  const move = (value: string) => value.replaceAll(ADDRESS, `${places.network}.$1`);
  for (const meter of list(config['meters'])) {
    const transport = meter['transport'] as Record<string, unknown>;
    meter['transport'] = {
      ...transport,
      host: move(String(transport['host'])),
      port: transport['port'] === undefined || transport['port'] === 502 ? METER_PORT : transport['port'],
    };
  }
  for (const miner of list(config['miners'])) {
    miner['hosts'] = (miner['hosts'] as unknown[]).map((host) => move(String(host)));
    miner['webPort'] = WEB_PORT;
    if (miner['firmware'] === 'bitmain') Object.assign(miner, { user: 'root', password: 'root' });
    else if (miner['firmware'] === 'whatsminer') miner['password'] = 'admin';
    else delete miner['password'];
  }
  list(config['gpuNodes']).forEach((node, index) => {
    const command = places.smiCommand(`${places.network}.202.${index + 1}:${SMI_PORT}`);
    const reader = node['reader'] as Record<string, unknown>;
    node['reader'] =
      reader['kind'] === 'dcgm'
        ? { ...reader, url: `http://${places.network}.201.${index + 1}:9400/metrics`, collectInterval: '1s' }
        : { kind: 'nvidia-smi', command };
    node['cap'] = { kind: 'nvidia-smi', command };
    delete node['drain'];
  });
  config['issuers'] = [
    { id: 'demo', maxPriority: 80, orders: 'all', limits: 'all', onExpiry: 'release', unsigned: true },
  ];
  config['mqtt'] = { url: `mqtt://127.0.0.1:${places.mqttPort}`, root: 'switchyard' };
  const { sparkplug } = config as { sparkplug?: Readonly<Record<string, unknown>> };
  if (sparkplug !== undefined)
    // The demo's own broker, without a host that nobody plays.
    config['sparkplug'] = Object.fromEntries([
      ...Object.entries(sparkplug).filter(([key]) => !ELSEWHERE.includes(key)),
      ...('issuer' in sparkplug ? [['issuer', 'demo']] : []),
    ]);
  config['page'] = { listen: `127.0.0.1:${places.pagePort}` };
  config['store'] = { path: places.stateFolder };
  return stringify(config);
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? (value as Record<string, unknown>[]) : [];
}
