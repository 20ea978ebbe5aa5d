import { isIPv4 } from 'node:net';

/** One address of a device: a name or IP, and the port where the text gave one. */
export interface HostAddress {
  readonly host: string;
  readonly port: number | null;
}

export type HostList =
  | { readonly ok: true; readonly hosts: readonly HostAddress[] }
  | { readonly ok: false; readonly message: string };

/** More addresses than this in one expression is a typing error, not a site. */
export const MAXIMUM_HOSTS = 65_536;

const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\.?$/i;

/**
 * Expands `10.1.0.10-10.1.0.250`, `10.1.0.10-250`, `10.1.0.0/24` (network and broadcast left out),
 * `host.example`, `10.1.0.7:4029` in the order written. IPv6 literals stand in brackets.
 */
export function expandHosts(text: string): HostList {
  const trimmed = text.trim();
  if (trimmed.includes('/')) return expandCidr(trimmed);
  const bracketed = /^\[([0-9a-f:.]+)\](?::(\d{1,5}))?$/i.exec(trimmed);
  if (bracketed !== null) {
    return { ok: true, hosts: [{ host: bracketed[1]!, port: bracketed[2] ? Number(bracketed[2]) : null }] };
  }
  const range = /^(\d+\.\d+\.\d+\.\d+)\s*-\s*(\d+\.\d+\.\d+\.\d+|\d+)(?::(\d{1,5}))?$/.exec(trimmed);
  if (range !== null) return expandRange(range[1]!, range[2]!, range[3] ? Number(range[3]) : null);
  const [host, port, ...rest] = trimmed.split(':');
  if (host === undefined || rest.length > 0 || (port !== undefined && !validPort(port))) {
    return { ok: false, message: `"${text}" is not an address: write a host, host:port, a-b or CIDR` };
  }
  if (/^[\d.]+$/.test(host) && !isIPv4(host)) {
    return { ok: false, message: `"${host}" is not an IPv4 address` };
  }
  if (!isIPv4(host) && !NAME.test(host)) return { ok: false, message: `"${host}" is not a host name` };
  return { ok: true, hosts: [{ host, port: port === undefined ? null : Number(port) }] };
}

function validPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536;
}

function expandRange(from: string, to: string, port: number | null): HostList {
  if (!isIPv4(from)) return { ok: false, message: `"${from}" is not an IPv4 address` };
  const end = to.includes('.') ? to : `${from.slice(0, from.lastIndexOf('.'))}.${to}`;
  if (!isIPv4(end)) return { ok: false, message: `"${end}" is not an IPv4 address` };
  const [first, last] = [toNumber(from), toNumber(end)];
  if (last < first) return { ok: false, message: `the range ends before it begins: ${from} to ${end}` };
  return list(first, last, port);
}

function expandCidr(text: string): HostList {
  const [base, bits] = text.split('/');
  if (
    base === undefined ||
    !isIPv4(base) ||
    bits === undefined ||
    !/^\d{1,2}$/.test(bits) ||
    Number(bits) > 32
  ) {
    return { ok: false, message: `"${text}" is not a network: write for example 10.1.0.0/24` };
  }
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(toNumber(base) / size) * size;
  return size <= 2 ? list(first, first + size - 1, null) : list(first + 1, first + size - 2, null);
}

function list(first: number, last: number, port: number | null): HostList {
  if (last - first + 1 > MAXIMUM_HOSTS) {
    return {
      ok: false,
      message: `${last - first + 1} addresses are more than the ${MAXIMUM_HOSTS} allowed here`,
    };
  }
  const hosts: HostAddress[] = [];
  for (let value = first; value <= last; value += 1) hosts.push({ host: toText(value), port });
  return { ok: true, hosts };
}

function toNumber(ip: string): number {
  return ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
