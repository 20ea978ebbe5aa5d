import type { SiteEvent } from '../site/snapshot.ts';
import type { LoggedEvent, LogQuery } from './archive.ts';

const RECENT_AT_MOST = 1000;
const UNWRITTEN_AT_MOST = 10_000;

/** Events on their way to the disk, numbered, and the latest of them for when the disk cannot be read. */
export class EventLog {
  private waiting: LoggedEvent[] = [];
  private readonly recent: LoggedEvent[] = [];
  private lastId = 0;

  add(event: SiteEvent): void {
    this.lastId += 1;
    const logged = { ...event, id: this.lastId };
    this.waiting.push(logged);
    if (this.waiting.length > UNWRITTEN_AT_MOST) this.waiting.shift();
    this.recent.push(logged);
    if (this.recent.length > RECENT_AT_MOST) this.recent.shift();
  }

  get unwritten(): readonly LoggedEvent[] {
    return this.waiting;
  }

  /** They are on the disk. */
  written(): void {
    this.waiting = [];
  }

  /** Events that were noted while nothing could be opened come after those of earlier lives. */
  continueAfter(lastId: number): void {
    if (this.lastId >= lastId) return;
    const moved = (event: LoggedEvent) => ({ ...event, id: event.id + lastId });
    this.waiting = this.waiting.map(moved);
    this.recent.splice(0, this.recent.length, ...this.recent.map(moved));
    this.lastId += lastId;
  }

  /** What fits a query, out of memory. */
  find(query: LogQuery): readonly LoggedEvent[] {
    return this.recent
      .filter(
        (event) =>
          event.id > (query.afterId ?? 0) &&
          (query.target === undefined || event.target === query.target) &&
          event.epochMs >= (query.fromMs ?? 0) &&
          event.epochMs <= (query.untilMs ?? Number.POSITIVE_INFINITY),
      )
      .slice(-query.count);
  }
}
