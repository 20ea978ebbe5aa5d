import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { relocateConfig } from '../../../../agent/cli/demo-relocate.ts';
import { DEMO_SCENARIOS } from '../../../../agent/cli/demo-scenarios.ts';
import { demoConfig } from '../../../../agent/cli/demo-site.ts';
import { loadConfigText } from '../../../../config/load.ts';
import { formatProblem } from '../../../../config/problem.ts';

const places = {
  network: '127.99',
  mqttPort: 1883,
  pagePort: 7420,
  stateFolder: '/tmp/state',
  smiCommand: (place: string) => ['node', 'nvidia-smi.ts', place],
};

function loaded(text: string) {
  const result = loadConfigText(text);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.value;
}

describe('the demo', () => {
  it.each([
    [300, 4],
    [0, 0],
    [1, 0],
    [5000, 16],
  ])('makes a valid site of %i miners and %i GPU nodes', (miners, gpuNodes) => {
    const site = loaded(demoConfig({ miners, gpuNodes }, places));
    expect(site.miners).toHaveLength(miners);
    expect(site.config.gpuNodes).toHaveLength(gpuNodes);
    expect(site.miners.every((place) => place.host.startsWith('127.99.'))).toBe(true);
  });

  it.each(readdirSync('config/examples'))('plays the example %s with every address on loopback', (name) => {
    const text = readFileSync(join('config/examples', name), 'utf8');
    const [before, after] = [loaded(text), loaded(relocateConfig(text, places))];
    expect(after.miners.map((place) => place.deviceId)).toEqual(before.miners.map((place) => place.deviceId));
    expect(after.config.limits).toEqual(before.config.limits);
    expect(after.config.conversions).toEqual(before.config.conversions);
    const hosts = [
      ...after.miners.map((place) => place.host),
      ...after.config.meters.map((meter) => (meter.transport.kind === 'rtu' ? '' : meter.transport.host)),
      ...after.config.gpuNodes.map((node) =>
        node.reader.kind === 'dcgm' ? new URL(node.reader.url).hostname : '127.',
      ),
    ];
    expect(hosts.filter((host) => !host.startsWith('127.'))).toEqual([]);
    expect(after.config.mqtt?.url).toBe('mqtt://127.0.0.1:1883');
  });

  it('tells its scenarios in the order of time, the story within six minutes', () => {
    for (const [name, steps] of Object.entries(DEMO_SCENARIOS)) {
      const times = steps.map((step) => step.atSeconds);
      expect(times, name).toEqual([...times].sort((a, b) => a - b));
    }
    const story = DEMO_SCENARIOS['story']!;
    expect(story[0]!.atSeconds).toBeLessThan(30);
    expect(story.at(-1)!.atSeconds).toBeLessThanOrEqual(300);
  });
});
