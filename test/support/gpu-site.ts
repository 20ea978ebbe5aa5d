import type { VirtualSite } from './virtual-site.ts';

export const GPU_SITE_WATTS = 125_000;
export const GPU_SITE_NODES = ['g1', 'g2', 'g3', 'g4'];

/**
 * The configuration of a site of 125 kW: 30 miners (83 kW) and four nodes of one training job, each behind a meter. A node is
 * 2 kW and eight GPUs of 700 W each. `firm` and `flexible`: what the job was promised.
 */
export function gpuSiteConfig(firm: string, flexible: string): string {
  const meters = ['gm', 'hm', ...GPU_SITE_NODES.map((id) => `m-${id}`)];
  return [
    'site: { id: t }',
    'limits:',
    `  - { id: grid, rating: ${GPU_SITE_WATTS} W, meter: gm, authority: full }`,
    '  - { id: hall, parent: grid, rating: 95 kW, meter: hm }',
    ...GPU_SITE_NODES.map((id) => `  - { id: rack-${id}, parent: grid, rating: 11 kW, meter: m-${id} }`),
    'meters:',
    ...meters.map(
      (id, index) =>
        `  - { id: ${id}, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: ${index + 1} } }`,
    ),
    'miners:',
    '  - { id: a, limit: hall, hosts: [10.0.0.1-10.0.0.30], firmware: luxos, model: "Antminer S19k Pro" }',
    'gpuNodes:',
    ...GPU_SITE_NODES.map(
      (id) =>
        `  - { id: ${id}, limit: rack-${id}, nameplate: 10.2 kW, hostWatts: 2 kW, reader: { kind: nvidia-smi }, cap: { kind: nvidia-smi } }`,
    ),
    'workloads:',
    `  - { id: train, nodes: [${GPU_SITE_NODES.join(', ')}], firm: ${firm}, flexible: ${flexible}, dollarsPerGpuHour: 2.3 }`,
    'control: { restoreRampPercentPerMinute: 20 }',
  ].join('\n');
}

/** What the caps of a node allow, its host part included. */
export function allowedWatts(virtual: VirtualSite, id: string): number {
  return virtual.nodes.get(id)!.gpus.reduce((sum, gpu) => sum + gpu.limitWatts, 2000);
}

export function allAllowedWatts(virtual: VirtualSite): number {
  return GPU_SITE_NODES.reduce((sum, id) => sum + allowedWatts(virtual, id), 0);
}
