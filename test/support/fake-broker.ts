import { inflateRawSync } from 'node:zlib';
import type { Transport } from '../../agent/telemetry/outbox.ts';

/** One message as the broker has it. */
export interface Delivered {
  readonly topic: string;
  readonly retain: boolean;
  readonly body: Record<string, unknown>;
}

/** The broker's side of an outbox: takes messages while it is up, never answers while it hangs. */
export class FakeBroker implements Transport {
  connected = false;
  /** Takes messages and says nothing. */
  hangs = false;
  /** Topics that it refuses, as MQTT 5 says it. */
  readonly refuses = new Set<string>();
  readonly delivered: Delivered[] = [];
  /** Messages taken before the line was lost, without an acknowledgement. */
  unanswered = 0;
  onMessage: (message: Delivered) => void = (message) => this.delivered.push(message);
  private open: ((error: Error) => void)[] = [];

  send(topic: string, payload: string | Uint8Array, retain: boolean): Promise<void> {
    if (!this.connected) return Promise.reject(new Error('not connected'));
    if (this.refuses.has(topic))
      return Promise.reject(Object.assign(new Error('not authorised'), { code: 0x87 }));
    const text = typeof payload === 'string' ? payload : inflateRawSync(payload).toString('utf8');
    if (text !== '') this.onMessage({ topic, retain, body: JSON.parse(text) as Record<string, unknown> });
    if (!this.hangs) return Promise.resolve();
    this.unanswered += 1;
    return new Promise((_resolve, reject) => this.open.push(reject));
  }

  /** The line breaks: everything that was not acknowledged fails. */
  drop(): void {
    this.connected = false;
    for (const reject of this.open) reject(new Error('connection lost'));
    this.open = [];
  }
}
