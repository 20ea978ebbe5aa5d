import type { SparkplugConfig } from '../../../config/schema.ts';
import type { DeviceId } from '../../../protocols/units.ts';
import type { DeviceModel } from '../../site/model.ts';

/** One edge node and the miners and GPU nodes that are its devices. */
export interface NodePlan {
  readonly node: string;
  readonly devices: readonly DeviceId[];
}

const PLACES = ['building', 'row', 'rack'] as const;

/**
 * Puts devices together to edge nodes: those with the same entry (GPU nodes: limit), limit or place, in parts of at most
 * `devicesPerNode` in the order of the configuration. A part is `<group>.<n>`, and so is a group that would have the
 * name of the site's own node. Pure.
 */
export function planNodes(
  devices: readonly DeviceModel[],
  rules: Pick<SparkplugConfig, 'node' | 'by' | 'devicesPerNode'>,
): readonly NodePlan[] {
  const groups = new Map<string, { readonly name: string; readonly devices: DeviceId[] }>();
  for (const device of devices) {
    const name = groupOf(device, rules.by);
    // Names that differ by case only would be one and the same to people.
    const key = name.toLowerCase();
    const group = groups.get(key) ?? { name, devices: [] };
    group.devices.push(device.id);
    groups.set(key, group);
  }
  const taken = rules.node.toLowerCase();
  return [...groups].flatMap(([key, group]) => {
    const parts: NodePlan[] = [];
    const numbered = group.devices.length > rules.devicesPerNode || key === taken;
    for (let first = 0; first < group.devices.length; first += rules.devicesPerNode)
      parts.push({
        node: numbered ? `${group.name}.${parts.length + 1}` : group.name,
        devices: group.devices.slice(first, first + rules.devicesPerNode),
      });
    return parts;
  });
}

function groupOf(device: DeviceModel, by: SparkplugConfig['by']): string {
  // Each GPU node is an entry of its own, and a connection for each would be too many.
  if (by === 'entry') return device.kind === 'miner' ? device.entry : device.limit;
  if (by === 'limit') return device.limit;
  const place = PLACES.slice(0, PLACES.indexOf(by) + 1)
    .map((part) => device.location?.[part])
    .filter((part) => part !== undefined);
  const name = place.join('.').replaceAll(/[^A-Za-z0-9_.-]+/g, '-');
  return device.location?.[by] === undefined || name === '' ? device.entry : name;
}
