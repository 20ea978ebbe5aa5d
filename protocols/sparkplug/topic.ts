/** Topics of Sparkplug B. Source: Eclipse Sparkplug 3.0.0, 4. */
export const NAMESPACE = 'spBv1.0';

const NODE_TYPES = ['NBIRTH', 'NDEATH', 'NDATA', 'NCMD'] as const;
const DEVICE_TYPES = ['DBIRTH', 'DDEATH', 'DDATA', 'DCMD'] as const;

export type SparkplugType = (typeof NODE_TYPES)[number] | (typeof DEVICE_TYPES)[number];

export interface SparkplugTopic {
  readonly group: string;
  readonly type: SparkplugType;
  readonly node: string;
  /** `null` for messages of the edge node itself. */
  readonly device: string | null;
}

/** Writes a topic. */
export function sparkplugTopic({ group, type, node, device }: SparkplugTopic): string {
  return [NAMESPACE, group, type, node, ...(device === null ? [] : [device])].join('/');
}

/** Reads a topic; `null` for any that is none, with or without the device that its type wants. */
export function parseSparkplugTopic(topic: string): SparkplugTopic | null {
  const [namespace, group, type, node, device, ...more] = topic.split('/');
  if (namespace !== NAMESPACE || more.length > 0 || !group || !node) return null;
  if ((NODE_TYPES as readonly string[]).includes(type ?? ''))
    return device === undefined ? { group, type: type as SparkplugType, node, device: null } : null;
  if ((DEVICE_TYPES as readonly string[]).includes(type ?? '') && device)
    return { group, type: type as SparkplugType, node, device };
  return null;
}

/** Where a host application says whether it is there. */
export function stateTopic(hostId: string): string {
  return `${NAMESPACE}/STATE/${hostId}`;
}

export interface HostState {
  readonly online: boolean;
  /** ms since 1970 UTC; birth and will of one session share it. */
  readonly timestamp: number;
}

/** The body of a STATE message; `null` where it is not in the form of version 3. */
export function parseHostState(payload: Uint8Array): HostState | null {
  if (payload.length > 1024) return null;
  try {
    const { online, timestamp } = JSON.parse(Buffer.from(payload).toString('utf8')) as Record<
      string,
      unknown
    >;
    return typeof online === 'boolean' && Number.isSafeInteger(timestamp)
      ? { online, timestamp: timestamp as number }
      : null;
  } catch {
    return null;
  }
}
