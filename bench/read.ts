import { EventEmitter } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { LoadDriver } from '../drivers/load-driver.ts';
import { openMiner } from '../drivers/miners/registry.ts';
import { jsonOfText } from '../drivers/miners/web-json.ts';
import { decodeCgminerReply } from '../protocols/cgminer-reply.ts';
import { type Clock, systemClock } from '../protocols/clock.ts';
import { HttpAnswerReader } from '../protocols/http-answer.ts';
import { seededRandom } from '../protocols/random.ts';
import { decodeWhatsminerFrame } from '../protocols/whatsminer-v3.ts';
import type { Connect } from '../protocols/wire.ts';
import { FLEET_PASSWORD, type FleetMember, fleetMembers, startFleet } from './fleet.ts';
import { quantile } from './fleet-drivers.ts';

const DEVICES = 33;
/** Each recorded unit stands for so many. */
const COPIES = 5;
const INTERVAL_MS = 10_000;
/** Past the 30 s in which slow parts are kept, and the start of each session. */
const RECORDED_POLLS = 6;
const WARM_UP_ROUNDS = 60;
const MIB = 1024 * 1024;
/** Enough to be warm. */
const PARSED_BYTES = 64 * MIB;
/** Where Whatsminer API 3 answers. */
const V3_PORT = 4433;

/** What a unit answered to each request, in turn; the last holds from then on. */
type Answers = Map<string, Buffer[]>;

/**
 * `npm run bench -- read [ROUNDS]`: what readings cost apart from sockets. Replies of simulated miners of every family
 * are recorded once over the wire, then given to the agent's drivers again and again, by a clock that moves an interval
 * a round.
 */
export async function benchRead(rounds: number): Promise<void> {
  const options = {
    firstHost: '127.80.0.1',
    devices: DEVICES,
    silent: 0,
    deadShare: 0,
    drippingShare: 0,
    wildcard: true,
  };
  const members = fleetMembers(options);
  const fleet = await startFleet(options);
  const recorded = await Promise.all(members.map(recordUnit)).finally(() => fleet.stop());
  const stage = createStage();
  const drivers = Array.from({ length: COPIES }, () =>
    members.map((member, index) => open(member, stage.clock, stage.playing(recorded[index]!))),
  ).flat();
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await stage.readAll(drivers);
  const shares: { readonly perExchange: number; readonly perRead: number; readonly perMiB: number }[] = [];
  for (let part = 0; part < 9; part += 1) {
    stage.exchanges = 0;
    stage.bytes = 0;
    const usage = process.cpuUsage();
    for (let round = 0; round < rounds / 9; round += 1) await stage.readAll(drivers);
    const { user, system } = process.cpuUsage(usage);
    const reads = Math.ceil(rounds / 9) * drivers.length;
    shares.push({
      perExchange: (user + system) / stage.exchanges,
      perRead: (user + system) / reads,
      perMiB: ((user + system) / 1000 / stage.bytes) * MIB,
    });
  }
  const figures = (of: (share: (typeof shares)[number]) => number): string =>
    `${quantile(shares.map(of), 0.5).toFixed(1)} us (least ${Math.min(...shares.map(of)).toFixed(1)})`;
  console.log(
    `${drivers.length} miners without sockets, ${stage.failures} reads failed: an exchange ${figures((share) => share.perExchange)}, ` +
      `a read ${figures((share) => share.perRead)} of processor time, medians of 9 parts`,
  );
  const answers = recorded.flatMap((unit) => [...unit.entries()]);
  console.log(
    `decoding, a MiB of replies: ${quantile(
      shares.map(({ perMiB }) => perMiB),
      0.5,
    ).toFixed(1)} ms from the bytes to a reading, the drivers' own work included; ` +
      `${parsingCost(answers).toFixed(1)} ms of it from the bytes to values`,
  );
}

/** Milliseconds of processor time to take a MiB of the recorded replies apart: text records, JSON, pages, frames. */
function parsingCost(answers: readonly (readonly [key: string, replies: readonly Buffer[]])[]): number {
  let bytes = 0;
  const usage = process.cpuUsage();
  while (bytes < PARSED_BYTES)
    for (const [key, replies] of answers)
      for (const reply of replies) {
        bytes += reply.length;
        if (key.startsWith(`${V3_PORT} `)) decodeWhatsminerFrame(reply);
        else if (reply.toString('latin1', 0, 5) !== 'HTTP/') decodeCgminerReply(reply);
        else {
          const reader = new HttpAnswerReader();
          reader.take(reply);
          const page = reader.answer('closed');
          if (typeof page !== 'string') jsonOfText(new TextDecoder().decode(page.body));
        }
      }
  const { user, system } = process.cpuUsage(usage);
  return ((user + system) / 1000 / bytes) * MIB;
}

function open({ host, firmware }: FleetMember, clock: Clock, connect: Connect): LoadDriver {
  const endpoint = {
    deviceId: host.replaceAll('.', '-'),
    host,
    port: 4028,
    webPort: 80,
    user: 'root',
    password: { reveal: () => FLEET_PASSWORD },
    model: null,
  };
  return openMiner(endpoint, firmware, { clock, random: seededRandom(1), connect });
}

/** The clock of the machine, moved ahead. */
function movedClock(): Clock & { aheadMs: number } {
  return {
    ...systemClock,
    aheadMs: 0,
    monotonicMs() {
      return performance.now() + this.aheadMs;
    },
    async sleep(ms) {
      this.aheadMs += ms;
      await Promise.resolve();
    },
  };
}

/** A request apart from what changes at every one (Digest, tokens, signatures). */
function keyOf(port: number, request: string): string {
  const http = request.indexOf(' HTTP/1.1');
  return `${port} ${http < 0 ? request : request.slice(0, http)}`;
}

async function recordUnit(member: FleetMember): Promise<Answers> {
  const answers: Answers = new Map();
  const clock = movedClock();
  const driver = open(member, clock, ({ host, port }) => {
    const pieces: Buffer[] = [];
    const socket = createConnection({ host, port });
    const write = socket.write.bind(socket);
    let key = '';
    const note = (): void => {
      const known = answers.get(key) ?? [];
      known.push(Buffer.concat(pieces.splice(0)));
      answers.set(key, known);
    };
    socket.write = (bytes: Uint8Array, ...rest: never[]) => {
      // What came before on the same connection is the answer before.
      if (key !== '') note();
      key = keyOf(port, Buffer.from(bytes).toString('latin1'));
      return write(bytes, ...rest);
    };
    socket.on('data', (piece) => pieces.push(piece));
    socket.on('close', note);
    return socket;
  });
  for (let poll = 0; poll < RECORDED_POLLS; poll += 1) {
    const read = await driver.read(new AbortController().signal);
    if (!read.ok) throw new Error(`${member.firmware} was not read: ${read.error.message}`);
    clock.aheadMs += INTERVAL_MS;
  }
  return answers;
}

/** Just as much of a socket as an exchange uses. */
class PlayedSocket extends EventEmitter {
  destroyed = false;
  readonly readable = true;
  readonly writableLength = 0;
  private connected = false;
  private answer: Buffer | undefined;
  private readonly answerOf: (request: Uint8Array) => Buffer;
  /** Takes what is to be played next. */
  private readonly waits: (socket: PlayedSocket) => void;

  constructor(answerOf: (request: Uint8Array) => Buffer, waits: (socket: PlayedSocket) => void) {
    super();
    this.answerOf = answerOf;
    this.waits = waits;
    waits(this);
  }

  write(request: Uint8Array, done?: () => void): boolean {
    this.answer = this.answerOf(request);
    if (this.connected) this.waits(this);
    done?.();
    return true;
  }

  setNoDelay(): this {
    return this;
  }

  destroy(): this {
    this.destroyed = true;
    return this;
  }

  play(): void {
    if (!this.connected) this.emit('connect');
    this.connected = true;
    if (!this.destroyed) this.emit('data', this.answer);
    // A web server keeps its connections; an API port closes them.
    if (!this.destroyed && this.answer?.toString('latin1', 0, 5) !== 'HTTP/') this.emit('end');
  }
}

function createStage() {
  const clock = movedClock();
  let waiting: PlayedSocket[] = [];
  const stage = {
    clock,
    exchanges: 0,
    bytes: 0,
    failures: 0,
    playing: (answers: Answers): Connect => {
      const next = new Map<string, number>();
      return ({ port }) => {
        const answerOf = (request: Uint8Array): Buffer => {
          const key = keyOf(port, Buffer.from(request).toString('latin1'));
          const known = answers.get(key) ?? [];
          const turn = next.get(key) ?? 0;
          next.set(key, turn + 1);
          const answer = known[Math.min(turn, known.length - 1)];
          if (answer === undefined) throw new Error(`nothing was recorded for ${key}`);
          stage.bytes += answer.length;
          return answer;
        };
        return new PlayedSocket(answerOf, (socket) => waiting.push(socket)) as unknown as Socket;
      };
    },
    readAll: async (drivers: readonly LoadDriver[]): Promise<void> => {
      const signal = new AbortController().signal;
      let left = drivers.length;
      for (const driver of drivers)
        void driver.read(signal).then((read) => {
          left -= 1;
          if (!read.ok) stage.failures += 1;
        });
      while (left > 0) {
        await new Promise((resolve) => setImmediate(resolve));
        const begun = waiting;
        waiting = [];
        stage.exchanges += begun.length;
        for (const socket of begun) socket.play();
      }
      clock.aheadMs += INTERVAL_MS;
    },
  };
  return stage;
}
