import { decodeAvalon } from '../../drivers/miners/avalon-decode.ts';
import { decodeBitmain } from '../../drivers/miners/bitmain-decode.ts';
import { decodeBraiinsGraphql, decodeBraiinsRest } from '../../drivers/miners/braiins-decode.ts';
import { decodeCgminer } from '../../drivers/miners/cgminer.ts';
import { decodeEpic } from '../../drivers/miners/epic-decode.ts';
import { decodeFluxos } from '../../drivers/miners/fluxos-decode.ts';
import { decodeLuxos } from '../../drivers/miners/luxos-decode.ts';
import { recogniseMiner } from '../../drivers/miners/recognise.ts';
import { decodeVnish } from '../../drivers/miners/vnish-decode.ts';
import { jsonOfText } from '../../drivers/miners/web-json.ts';
import { decodeWhatsminer } from '../../drivers/miners/whatsminer-decode.ts';
import { decodeWhatsminerV3 } from '../../drivers/miners/whatsminer-v3-decode.ts';
import {
  accepted,
  decodeCgminerReply,
  joinedSections,
  watchForJsonEnd,
} from '../../protocols/cgminer-reply.ts';
import { HttpAnswerReader } from '../../protocols/http-answer.ts';
import { parseDigestChallenge } from '../../protocols/http-digest.ts';
import { decryptWhatsminerText } from '../../protocols/whatsminer-crypto.ts';
import {
  decodeWhatsminerFrame,
  encodeWhatsminerFrame,
  watchForWhatsminerFrame,
} from '../../protocols/whatsminer-v3.ts';

type Body = Readonly<Record<string, unknown>>;

/** A decoder of replies on the cgminer port, given one reply as the answer to everything it asks. */
const port =
  (decode: (body: Body) => unknown) =>
  (bytes: Uint8Array): void => {
    const reply = decodeCgminerReply(bytes);
    if (reply.ok) decode(reply.value.body);
  };

/** The same for web pages that answer JSON. */
const web =
  (decode: (body: unknown) => unknown) =>
  (bytes: Uint8Array): void => {
    const json = jsonOfText(new TextDecoder().decode(bytes));
    if (json !== undefined) decode(json);
  };

const context = { configuredModel: 'Antminer S21', controllable: true };
const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const KEY = new Uint8Array(32).fill(7);

/** Every decoder of bytes that a miner sends, by name, from the wire to the reading. */
export const DECODERS: Readonly<Record<string, (bytes: Uint8Array) => void>> = {
  'cgminer reply': (bytes) => {
    const reply = decodeCgminerReply(bytes);
    if (!reply.ok) return;
    joinedSections(reply.value);
    accepted(reply.value, 'x');
    recogniseMiner({ version: reply.value, stats: reply.value, getVersion: reply.value });
  },
  'end of JSON': (bytes) => {
    const isWhole = watchForJsonEnd();
    for (let at = 0; at < bytes.length; at += 100) if (isWhole(bytes.subarray(at, at + 100))) return;
  },
  'end of frame': (bytes) => {
    const isWhole = watchForWhatsminerFrame();
    for (let at = 0; at < bytes.length; at += 100) if (isWhole(bytes.subarray(at, at + 100))) return;
  },
  'http answer': (bytes) => {
    for (const head of ['', 'HTTP/1.1 200 OK\r\n', CHUNKED, `${CHUNKED}5\r\nhello\r\n`]) {
      const all = Buffer.concat([Buffer.from(head, 'latin1'), bytes]);
      const reader = new HttpAnswerReader();
      for (let at = 0; at < all.length; at += 50) if (reader.take(all.subarray(at, at + 50))) break;
      reader.answer('closed');
    }
  },
  cgminer: port((body) =>
    decodeCgminer('cgminer', { version: body, summary: body, devs: body, stats: body, pools: body }, 'S19'),
  ),
  luxos: port((body) =>
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
  ),
  bitmain: port((body) =>
    decodeBitmain(
      { version: body, summary: body, stats: body, pools: body, systemInfo: body, minerConf: body },
      context,
    ),
  ),
  whatsminer: port((body) =>
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
  ),
  'whatsminer-v3': (bytes) => {
    decodeWhatsminerFrame(bytes);
    const framed = decodeWhatsminerFrame(encodeWhatsminerFrame(Buffer.from(bytes).toString('utf8')));
    if (!framed.ok) return;
    const { message } = framed.value;
    decodeWhatsminerV3({ info: message, status: message, edevs: message }, context);
  },
  'whatsminer sealed': (bytes) => {
    decryptWhatsminerText(KEY, Buffer.from(bytes).toString('latin1'));
  },
  avalon: port((body) => decodeAvalon({ version: body, stats: body, summary: body, pools: body })),
  'avalon figures': (bytes) => {
    const text = Buffer.from(bytes).toString('latin1');
    decodeAvalon({ stats: { STATS: [{ 'MM ID0': text }] } });
  },
  'braiins REST': web((body) =>
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
  ),
  'braiins GraphQL': web((body) =>
    decodeBraiinsGraphql({ system: body, boards: body, pools: body, model: body }),
  ),
  vnish: port((body) =>
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
  ),
  epic: web((body) => decodeEpic({ summary: body, capabilities: body, network: body }, true)),
  fluxos: port((body) =>
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
  ),
  'digest challenge': (bytes) => {
    parseDigestChallenge(Buffer.from(bytes).toString('latin1').slice(0, 16_384));
  },
};
