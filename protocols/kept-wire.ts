import type { Milliseconds, MonotonicMs } from './units.ts';
import type { Wire } from './wire.ts';

/** After this long the other side may be about to close: a request would cross with that. */
const IDLE_MOST_MS: Milliseconds = 1000;

/** What a server may get wrong in a row before its connections are no longer kept. */
const MISSES_MOST = 2;

/**
 * The connection of one device that stays open from one request to the next of the same turn, and no longer: a control
 * board has few places, and people look at its pages too. Who takes the wire has it alone.
 *
 * A server that closes a connection which it said it would keep, or says nothing more on it, is believed once
 * more if it ever kept its word, and not at all otherwise.
 */
export class KeptWire {
  private wire: Wire | null = null;
  private place = '';
  private since: MonotonicMs = 0;
  private inTurn = false;
  private misses = MISSES_MOST - 1;

  /** Whether a connection should be asked to stay open. */
  get wanted(): boolean {
    return this.inTurn && this.misses < MISSES_MOST;
  }

  beginTurn(): void {
    this.inTurn = true;
  }

  /** Closes what is open. */
  endTurn(): void {
    this.inTurn = false;
    this.close();
  }

  /** Closes what is open; the turn goes on. */
  close(): void {
    this.wire?.close();
    this.wire = null;
  }

  /** The open connection to that place, or `null`: open one. */
  take(host: string, port: number, now: MonotonicMs): Wire | null {
    const { wire } = this;
    if (wire === null) return null;
    if (this.place !== `${host}:${port}` || now - this.since > IDLE_MOST_MS || !wire.isOpen) {
      this.close();
      return null;
    }
    this.wire = null;
    return wire;
  }

  /** Takes back a wire on which an answer has just ended. */
  put(wire: Wire, host: string, port: number, now: MonotonicMs): void {
    this.close();
    if (!this.wanted) {
      wire.close();
      return;
    }
    wire.giveTo(null);
    this.wire = wire;
    this.place = `${host}:${port}`;
    this.since = now;
  }

  /** What the server did with a second request on one connection. */
  note(answered: boolean): void {
    this.misses = answered ? 0 : this.misses + 1;
  }
}
