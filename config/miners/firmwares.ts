/**
 * Every family of miner firmware, as configured and as reported: the one list from which the configuration,
 * the drivers' registry and the simulator's are completed by the compiler.
 */
export const FIRMWARE_FAMILIES = [
  'cgminer',
  'bfgminer',
  'bitmain',
  'braiins',
  'luxos',
  'vnish',
  'whatsminer',
  'whatsminer-v3',
  'avalon',
  'epic',
  'fluxos',
] as const;

/** A family that can be named in a configuration. */
export type FirmwareFamily = (typeof FIRMWARE_FAMILIES)[number];

/** What is reported of a miner: a family, or `unknown` for whatever else answers the same API. */
export type MinerFirmware = FirmwareFamily | 'unknown';

/** The web port that a configuration means by its default. */
const DEFAULT_WEB_PORT = 80;

/**
 * Where a family has its second interface when it is not port 80: FluxOS serves its pages on 8080, Whatsminer
 * API 3 its frames on 4433. Source: the vendors' API manuals.
 */
const SECOND_PORTS: Readonly<Partial<Record<MinerFirmware, number>>> = {
  fluxos: 8080,
  'whatsminer-v3': 4433,
};

/** The port of a family's second interface; `webPort` where the configuration names another than the default. */
export function secondPort(firmware: MinerFirmware, webPort: number): number {
  return webPort === DEFAULT_WEB_PORT ? (SECOND_PORTS[firmware] ?? DEFAULT_WEB_PORT) : webPort;
}
