import { createHash } from 'node:crypto';
import type { MqttConfig } from '../../config/schema.ts';
import type { SiteModel } from '../site/model.ts';
import type { SiteEvent, Snapshot } from '../site/snapshot.ts';
import type { InForce, SiteView } from '../site/view.ts';
import {
  CLEAR,
  deviceRow,
  envelope,
  eventBody,
  infoDevicesParts,
  infoSiteBody,
  limitsBody,
  meterRow,
  type Outgoing,
  ROWS_PER_MESSAGE,
  sameDeviceInfo,
  siteBody,
  stateBody,
} from './messages.ts';
import { changesOf, type Row } from './row-changes.ts';

/** Where messages go: the broker link in life, a list in tests. */
export interface MessageSink {
  publish(message: Outgoing): void;
}

export interface ReportRules {
  readonly siteIntervalMs: number;
  /** Rows that changed are sent this often. */
  readonly rowIntervalMs: number;
  /** Every row is sent at least this often. */
  readonly fullIntervalMs: number;
}

const REPORT_RULES: ReportRules = {
  siteIntervalMs: 1000,
  rowIntervalMs: 10_000,
  fullIntervalMs: 300_000,
};

/** How often what is sent, by the configuration. */
export function reportRules(mqtt: MqttConfig | undefined): ReportRules {
  return mqtt === undefined
    ? REPORT_RULES
    : {
        siteIntervalMs: mqtt.siteInterval,
        rowIntervalMs: mqtt.rowInterval,
        fullIntervalMs: mqtt.fullInterval,
      };
}

/**
 * Turns cycles into messages: `tele/site` at its interval, rows by exception with a full snapshot now and
 * then, retained topics when they change and again at every connect.
 */
export class Reporter {
  private readonly model: SiteModel;
  private readonly agentVersion: string;
  private readonly session: string;
  private readonly rules: ReportRules;
  private readonly sink: MessageSink;
  private readonly nextSequence: (stream: string) => number;
  /** What the consumer knows of each row. */
  private readonly sent = new Map<string, Row>();
  private readonly retained = new Map<string, string>();
  private lastSiteMs = Number.NEGATIVE_INFINITY;
  private lastRowsMs = Number.NEGATIVE_INFINITY;
  private lastFullMs = Number.NEGATIVE_INFINITY;
  /** What `info` was last made of; `null`: to be made again. */
  private info: { readonly configured: SiteModel['devices']; readonly seen: Snapshot['devices'] } | null =
    null;
  private infoHash = '';
  private infoParts = 0;

  constructor(
    model: SiteModel,
    identity: { agentVersion: string; session: string },
    rules: ReportRules,
    sink: MessageSink,
    nextSequence: (stream: string) => number,
  ) {
    this.model = model;
    this.agentVersion = identity.agentVersion;
    this.session = identity.session;
    this.rules = rules;
    this.sink = sink;
    this.nextSequence = nextSequence;
  }

  /** The will: what the broker says when this session ends without a word. */
  willBody(epochMs: number): Record<string, unknown> {
    return envelope(
      this.model.siteId,
      epochMs,
      stateBody(false, this.session, this.agentVersion, 'starting', this.infoHash),
    );
  }

  /** The last `state` of a session that ends on purpose. */
  lastWord(epochMs: number): Outgoing {
    const body = stateBody(false, this.session, this.agentVersion, 'starting', '');
    return {
      topic: 'state',
      retain: true,
      kind: 'retained',
      body: envelope(this.model.siteId, epochMs, body),
    };
  }

  /** Publishes what one cycle has to say. */
  cycle(view: SiteView, snapshot: Snapshot, inForce: readonly InForce[], events: readonly SiteEvent[]): void {
    const { monotonicMs, epochMs } = snapshot;
    this.publishInfo(snapshot);
    this.publishRetained(
      'state',
      stateBody(true, this.session, this.agentVersion, view.mode, this.infoHash),
      epochMs,
    );
    this.publishRetained('limits', limitsBody(inForce), epochMs);
    this.publishRetained('alarms', { alarms: view.alarms }, epochMs);
    if (monotonicMs - this.lastSiteMs >= this.rules.siteIntervalMs - 50) {
      this.lastSiteMs = monotonicMs;
      this.telemetry('tele/site', 'site', epochMs, siteBody(view));
    }
    for (const event of events) this.record('event', 'event', event.epochMs, eventBody(event));
    if (monotonicMs - this.lastRowsMs >= this.rules.rowIntervalMs - 50) {
      this.lastRowsMs = monotonicMs;
      this.publishRows(snapshot, monotonicMs - this.lastFullMs >= this.rules.fullIntervalMs);
    }
  }

  /** Everything at once: after a (re)connect, or when `ping` asks for a snapshot. */
  full(snapshot: Snapshot): void {
    this.publishRows(snapshot, true);
  }

  /** Says everything retained again at the next cycle: the broker may have lost it. */
  forgetRetained(): void {
    this.retained.clear();
    this.info = null;
  }

  decision(epochMs: number, body: Readonly<Record<string, unknown>>): void {
    this.record('decision', 'decision', epochMs, body);
  }

  health(epochMs: number, body: Readonly<Record<string, unknown>>): void {
    this.telemetry('health', 'health', epochMs, body);
  }

  /** An interval of energy. `ts` is when it was settled, `start` when it began. */
  energy(epochMs: number, body: Readonly<Record<string, unknown>>): void {
    this.record('energy', 'energy', epochMs, body);
  }

  /** A retained topic of its own, such as `transfer/<id>`. */
  retain(topic: string, epochMs: number, body: Readonly<Record<string, unknown>>): void {
    this.publishRetained(topic, body, epochMs);
  }

  /** Takes a retained topic off the broker. */
  clearRetained(topic: string): void {
    this.retained.delete(topic);
    this.sink.publish({ topic, body: CLEAR, retain: true, kind: 'retained' });
  }

  /** An answer to an order. Never retained, never dropped. */
  answer(id: string, epochMs: number, body: Readonly<Record<string, unknown>>): void {
    this.sink.publish({
      topic: `cmd/res/${id}`,
      body: envelope(this.model.siteId, epochMs, body),
      retain: false,
      kind: 'record',
    });
  }

  private publishInfo(snapshot: Snapshot): void {
    const { devices: configured } = this.model;
    const { info } = this;
    // Dear to make at every cycle, and they seldom change; a reload brings another list of devices.
    if (info !== null && info.configured === configured && sameDeviceInfo(info.seen, snapshot.devices))
      return;
    this.info = { configured, seen: snapshot.devices };
    const parts = infoDevicesParts(this.model, snapshot);
    const site = infoSiteBody(this.model, this.agentVersion);
    this.infoHash = createHash('sha256')
      .update(JSON.stringify([site, parts]))
      .digest('hex')
      .slice(0, 16);
    this.publishRetained(
      'info/site',
      { ...site, infoHash: this.infoHash, deviceParts: parts.length },
      snapshot.epochMs,
    );
    parts.forEach((devices, index) => {
      this.publishRetained(
        `info/devices/${index}`,
        { part: index, parts: parts.length, devices },
        snapshot.epochMs,
      );
    });
    this.infoParts = parts.length;
  }

  /** Number of `info/devices` parts last published. */
  get deviceParts(): number {
    return this.infoParts;
  }

  private publishRows(snapshot: Snapshot, full: boolean): void {
    if (full) this.lastFullMs = snapshot.monotonicMs;
    const streams: [string, Row[]][] = [
      ['miners', snapshot.devices.filter((device) => device.kind === 'miner').map(deviceRow)],
      ['gpus', snapshot.devices.filter((device) => device.kind === 'gpu-node').map(deviceRow)],
      ['meters', snapshot.meters.map(meterRow)],
    ];
    for (const [stream, rows] of streams) {
      const due = full ? rows : rows.flatMap((row) => changesOf(this.sent.get(row.id) ?? null, row) ?? []);
      for (let start = 0; start < due.length; start += ROWS_PER_MESSAGE) {
        const batch = due.slice(start, start + ROWS_PER_MESSAGE);
        for (const row of batch) this.sent.set(row.id, { ...this.sent.get(row.id), ...row });
        this.telemetry(`tele/${stream}`, stream, snapshot.epochMs, { full, rows: batch });
      }
    }
  }

  private publishRetained(topic: string, body: Readonly<Record<string, unknown>>, epochMs: number): void {
    const text = JSON.stringify(body);
    if (this.retained.get(topic) === text) return;
    this.retained.set(topic, text);
    this.sink.publish({
      topic,
      body: envelope(this.model.siteId, epochMs, body),
      retain: true,
      kind: 'retained',
    });
  }

  private telemetry(
    topic: string,
    stream: string,
    epochMs: number,
    body: Readonly<Record<string, unknown>>,
  ): void {
    this.send(topic, stream, epochMs, body, 'telemetry');
  }

  private record(
    topic: string,
    stream: string,
    epochMs: number,
    body: Readonly<Record<string, unknown>>,
  ): void {
    this.send(topic, stream, epochMs, body, 'record');
  }

  private send(
    topic: string,
    stream: string,
    epochMs: number,
    body: Readonly<Record<string, unknown>>,
    kind: 'telemetry' | 'record',
  ): void {
    const seq = this.nextSequence(stream);
    this.sink.publish({
      topic,
      body: { ...envelope(this.model.siteId, epochMs, { seq }), ...body },
      retain: false,
      kind,
    });
  }
}
