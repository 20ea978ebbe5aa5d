import { decodeAvalon } from '../../drivers/miners/avalon-decode.ts';
import { decodeBitmain } from '../../drivers/miners/bitmain-decode.ts';
import { decodeBraiinsGraphql, decodeBraiinsRest } from '../../drivers/miners/braiins-decode.ts';
import { decodeCgminer } from '../../drivers/miners/cgminer.ts';
import { decodeEpic } from '../../drivers/miners/epic-decode.ts';
import { decodeFluxos } from '../../drivers/miners/fluxos-decode.ts';
import { decodeLuxos } from '../../drivers/miners/luxos-decode.ts';
import type { MinerFields } from '../../drivers/miners/reply-fields.ts';
import { decodeVnish } from '../../drivers/miners/vnish-decode.ts';
import { decodeWhatsminer } from '../../drivers/miners/whatsminer-decode.ts';

/** A reply; from a web page it may be any JSON value, which is told to nobody here. */
export type Body = Readonly<Record<string, unknown>>;
export type FamilyDecoder = (body: Body) => MinerFields;

const context = { configuredModel: 'Antminer S21', controllable: true };

/** Decoders of what is said on the cgminer port, each given one reply as the answer to everything that it asks. */
export const PORT_DECODERS = {
  cgminer: (body) =>
    decodeCgminer('cgminer', { version: body, summary: body, devs: body, stats: body, pools: body }, 'S19'),
  luxos: (body) =>
    decodeLuxos({
      version: body,
      config: body,
      power: body,
      summary: body,
      stats: body,
      devs: body,
      pools: body,
      events: body,
      profiles: body,
    }),
  bitmain: (body) =>
    decodeBitmain(
      { version: body, summary: body, stats: body, pools: body, systemInfo: body, minerConf: body },
      context,
    ),
  whatsminer: (body) =>
    decodeWhatsminer(
      {
        summary: body,
        status: body,
        devs: body,
        pools: body,
        devdetails: body,
        get_version: body,
        get_miner_info: body,
        get_error_code: body,
      },
      { ...context, firmware: 'whatsminer' },
    ),
  avalon: (body) => decodeAvalon({ version: body, stats: body, summary: body, pools: body }),
  vnish: (body) =>
    decodeVnish(
      {
        version: body,
        summary: body,
        devs: body,
        stats: body,
        pools: body,
        info: body,
        webSummary: body,
        performance: body,
        presets: body,
      },
      'S19',
      true,
    ),
  fluxos: (body) =>
    decodeFluxos(
      {
        version: body,
        summary: body,
        devs: body,
        stats: body,
        pools: body,
        ipreport: body,
        psu: body,
        mode: body,
        temperature: body,
        fan: body,
      },
      'S19',
      { greatestWatts: 3000 },
    ),
} satisfies Readonly<Record<string, FamilyDecoder>>;

/** The same for web pages that answer JSON. */
export const WEB_DECODERS = {
  'braiins REST': (body) =>
    decodeBraiinsRest(
      {
        details: body,
        stats: body,
        hashboards: body,
        errors: body,
        tuner: body,
        cooling: body,
        pools: body,
        constraints: body,
      },
      true,
    ),
  'braiins GraphQL': (body) => decodeBraiinsGraphql({ system: body, boards: body, pools: body, model: body }),
  epic: (body) => decodeEpic({ summary: body, capabilities: body, network: body }, true),
} satisfies Readonly<Record<string, FamilyDecoder>>;
