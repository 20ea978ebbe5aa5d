import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { expandHosts, type HostAddress } from '../../config/hosts.ts';

export type ScanTargets =
  | { readonly ok: true; readonly hosts: readonly HostAddress[] }
  | { readonly ok: false; readonly message: string };

const MOST_ADDRESSES = 65_536;

/** Where nothing of a site can stand. Source: IANA special-purpose address registries (RFC 6890, RFC 5771). */
const SENSELESS: readonly (readonly [
  network: string,
  bits: number,
  family: 'ipv4' | 'ipv6',
  reason: string,
])[] = [
  ['0.0.0.0', 8, 'ipv4', 'means "this network" and is no host'],
  ['169.254.169.254', 32, 'ipv4', 'hands out the credentials of cloud machines'],
  ['224.0.0.0', 4, 'ipv4', 'is multicast: it names a group, not a device'],
  ['240.0.0.0', 4, 'ipv4', 'is reserved, or broadcast'],
  ['::', 128, 'ipv6', 'is no host'],
  ['fd00:ec2::254', 128, 'ipv6', 'hands out the credentials of cloud machines'],
  ['ff00::', 8, 'ipv6', 'is multicast: it names a group, not a device'],
];

const BLOCKS = SENSELESS.map(([network, bits, family, reason]) => {
  const list = new BlockList();
  list.addSubnet(network, bits, family);
  return { list, reason };
});

/**
 * Words (CIDRs, ranges, hosts) to addresses. Refuses the whole scan where one of them makes no sense, with its
 * reason; loopback is left out unless the word itself names it. Pure.
 */
export function scanTargets(words: readonly string[]): ScanTargets {
  const hosts: HostAddress[] = [];
  for (const word of words) {
    const expanded = expandHosts(word);
    if (!expanded.ok) return { ok: false, message: `${expanded.message}.` };
    const isNamed = /^(127\.|localhost|\[::1\])/.test(word);
    for (const address of expanded.hosts) {
      const reason = senseless(address.host);
      if (reason !== null)
        return {
          ok: false,
          message: `${word} is not scanned: ${address.host === word ? 'it' : address.host} ${reason}.`,
        };
      if (isNamed || !isLoopback(address.host)) hosts.push(address);
    }
  }
  if (hosts.length > MOST_ADDRESSES)
    return {
      ok: false,
      message: `${hosts.length} addresses are more than ${MOST_ADDRESSES}: scan in parts.`,
    };
  return { ok: true, hosts };
}

function senseless(host: string): string | null {
  const family = isIPv4(host) ? 'ipv4' : isIPv6(host) ? 'ipv6' : null;
  // A name says nothing before it is resolved; whatever answers there is only read.
  if (family === null) return null;
  return BLOCKS.find(({ list }) => list.check(host, family))?.reason ?? null;
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1' || host === 'localhost';
}

const BAR_WIDTH = 24;

/** One line of progress: how far, what was found, how long it will take. */
export function progressLine(scanned: number, total: number, found: number, elapsedMs: number): string {
  const share = total === 0 ? 1 : scanned / total;
  const full = Math.floor(share * BAR_WIDTH);
  const bar = `${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}`;
  const left =
    scanned === 0 ? '' : `, ${Math.ceil(((total - scanned) / scanned) * (elapsedMs / 1000))} s left`;
  return `[${bar}] ${scanned} of ${total}, ${found} found${scanned === total ? '' : left}`;
}
