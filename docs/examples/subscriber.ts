/**
 * A reference subscriber: keeps the state of one site from its topics alone, over duplicates, gaps, late history and
 * its own restarts. Run: `node docs/examples/subscriber.ts mqtt://broker:1883 switchyard/v1/black-pearl`
 */
import { inflateRawSync } from 'node:zlib';
import { connect } from 'mqtt';

type Json = Record<string, unknown>;
type Row = Json & { id: string };

/** Numbers of one stream that have come, as ranges: small however long it runs. */
class Numbers {
  private readonly ranges: [number, number][] = [];

  /** False: it was there already. */
  add(value: number): boolean {
    let at = this.ranges.length;
    while (at > 0 && this.ranges[at - 1]![0] > value) at -= 1;
    const before = this.ranges[at - 1];
    if (before !== undefined && value <= before[1]) return false;
    this.ranges.splice(at, 0, [value, value]);
    this.join();
    return true;
  }

  /** These will not come: nobody waits for them. */
  forget(first: number, last: number): void {
    for (const [from, to] of this.missing()) {
      if (to < first || from > last) continue;
      this.ranges.push([Math.max(from, first), Math.min(to, last)]);
      this.ranges.sort((a, b) => a[0] - b[0]);
      this.join();
    }
  }

  missing(): [number, number][] {
    return this.ranges
      .slice(1)
      .map(([from], index): [number, number] => [this.ranges[index]![1] + 1, from - 1]);
  }

  private join(): void {
    for (let at = this.ranges.length - 1; at > 0; at -= 1) {
      const [before, range] = [this.ranges[at - 1]!, this.ranges[at]!];
      if (range[0] > before[1] + 1) continue;
      before[1] = Math.max(before[1], range[1]);
      this.ranges.splice(at, 1);
    }
  }
}

/** The state of one site. Feed every message below its prefix to `apply`. */
export class SiteState {
  /** Retained topics as they stand: state, limits, alarms, info/site, info/devices/<n>, transfer/<id>. */
  readonly retained = new Map<string, Json>();
  /** The newest row of every device and meter. */
  readonly rows = new Map<string, Row>();
  /** The newest power figures of every limit. */
  site: Json | null = null;
  duplicates = 0;
  private readonly numbers = new Map<string, Numbers>();
  /** When each field of a row was last heard: rows carry what changed, and late history comes out of turn. */
  private readonly heard = new Map<string, Map<string, number>>();

  get online(): boolean {
    return this.retained.get('state')?.['online'] === true;
  }

  /** Takes one message in. False: it was a duplicate. Throws a SyntaxError for what is not JSON. */
  apply(topic: string, payload: Uint8Array): boolean {
    const deflated = topic.endsWith('/z');
    const name = deflated ? topic.slice(0, -2) : topic;
    if (payload.length === 0) return this.retained.delete(name);
    const body = JSON.parse((deflated ? inflateRawSync(payload) : Buffer.from(payload)).toString()) as Json;
    const { seq, ts } = body;
    if (typeof seq !== 'number') {
      this.retained.set(name, body);
      return true;
    }
    const stream = name.replace(/^(tele|hist)\//, '');
    const numbers = this.numbers.get(stream) ?? new Numbers();
    this.numbers.set(stream, numbers);
    if (!numbers.add(seq)) {
      this.duplicates += 1;
      return false;
    }
    if (name === 'hist/gap') {
      this.numbers.get(String(body['stream']))?.forget(Number(body['firstSeq']), Number(body['lastSeq']));
      return true;
    }
    // A message that stands for several closes the numbers before it.
    if (typeof body['messages'] === 'number') numbers.forget(seq - body['messages'] + 1, seq);
    if (stream === 'site' && Number(ts) >= Number(this.site?.['ts'] ?? 0)) this.site = body;
    for (const row of (body['rows'] ?? []) as Row[]) this.merge(row, Number(ts));
    return true;
  }

  /** Takes the fields of a row in; late history never overwrites what is newer. */
  private merge(row: Row, ts: number): void {
    const known: Json & { id: string } = this.rows.get(row.id) ?? { id: row.id };
    const heard = this.heard.get(row.id) ?? new Map<string, number>();
    for (const [name, value] of Object.entries(row)) {
      if (ts < (heard.get(name) ?? 0)) continue;
      known[name] = value;
      heard.set(name, ts);
    }
    this.rows.set(row.id, known);
    this.heard.set(row.id, heard);
  }

  /** What has not come yet, by stream: it will follow on `hist/...`, or `hist/gap` says that it will not. */
  missing(): Record<string, [number, number][]> {
    return Object.fromEntries(
      [...this.numbers]
        .map(([stream, numbers]) => [stream, numbers.missing()] as const)
        .filter(([, ranges]) => ranges.length > 0),
    );
  }
}

function main(url: string, prefix: string): void {
  const { protocol, hostname, port } = new URL(url);
  const state = new SiteState();
  // A session that persists: what comes while this program is away waits at the broker.
  const client = connect({
    protocol: protocol === 'mqtts:' ? 'mqtts' : 'mqtt',
    host: hostname,
    port: Number(port === '' ? 1883 : port),
    clientId: `subscriber-${prefix.replaceAll('/', '-')}`,
    clean: false,
  });
  client.on('connect', () => client.subscribe(`${prefix}/#`, { qos: 1 }));
  client.on('message', (topic, payload) => state.apply(topic.slice(prefix.length + 1), payload));
  setInterval(() => {
    const totals = (state.site?.['totals'] ?? {}) as Json;
    process.stdout.write(
      `${JSON.stringify({ online: state.online, ...totals, rows: state.rows.size, missing: state.missing() })}\n`,
    );
  }, 5000);
}

if (process.argv[1] === import.meta.filename)
  main(process.argv[2] ?? 'mqtt://127.0.0.1:1883', process.argv[3] ?? 'switchyard/v1/demo');
