import { decodeAvalon } from '../../drivers/miners/avalon-decode.ts';
import { recogniseMiner } from '../../drivers/miners/recognise.ts';
import { jsonOfText } from '../../drivers/miners/web-json.ts';
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
import { type Body, type FamilyDecoder, PORT_DECODERS, WEB_DECODERS } from './family-decoders.ts';

/** A decoder of replies on the cgminer port, given one reply as the answer to everything it asks. */
const port =
  (decode: (body: Body) => unknown) =>
  (bytes: Uint8Array): void => {
    const reply = decodeCgminerReply(bytes);
    if (reply.ok) decode(reply.value.body);
  };

/** The same for web pages that answer JSON. */
const web =
  (decode: (body: Body) => unknown) =>
  (bytes: Uint8Array): void => {
    const json = jsonOfText(new TextDecoder().decode(bytes));
    if (json !== undefined) decode(json as Body);
  };

/** Every one of a table behind what reads its bytes. */
const wired = (table: Readonly<Record<string, FamilyDecoder>>, over: typeof port) =>
  Object.fromEntries(Object.entries(table).map(([name, decode]) => [name, over(decode)]));

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
  ...wired(PORT_DECODERS, port),
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
  'avalon figures': (bytes) => {
    const text = Buffer.from(bytes).toString('latin1');
    decodeAvalon({ stats: { STATS: [{ 'MM ID0': text }] } });
  },
  ...wired(WEB_DECODERS, web),
  'digest challenge': (bytes) => {
    parseDigestChallenge(Buffer.from(bytes).toString('latin1').slice(0, 16_384));
  },
};
