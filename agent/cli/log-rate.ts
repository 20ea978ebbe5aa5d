import type { Clock } from '../../protocols/clock.ts';

/** Lines of one text within a minute; more of them are counted. */
const SAME_AT_MOST = 20;
/** Lines of all texts within a minute, for floods whose texts differ. */
const ALL_AT_MOST = 600;
const WINDOW_MS = 60_000;

/** Tells how often a text came that was not written. */
export type TellCount = (text: string, count: number) => void;

/**
 * Bounds what the log takes: a flood is counted, not written, and the count follows within a minute. A disk, and the
 * person who reads it, get at most some hundred lines a minute whatever happens.
 */
export class LogRate {
  private readonly clock: Clock;
  private readonly tell: TellCount;
  private written = new Map<string, number>();
  private held = new Map<string, number>();
  private all = 0;
  private cancel: (() => void) | null = null;

  constructor(clock: Clock, tell: TellCount) {
    this.clock = clock;
    this.tell = tell;
  }

  /** Whether a line with this text is to be written now. */
  admit(text: string): boolean {
    this.cancel ??= this.clock.after(WINDOW_MS, () => this.turn());
    const same = (this.written.get(text) ?? 0) + 1;
    if (same <= SAME_AT_MOST && this.all < ALL_AT_MOST) {
      this.written.set(text, same);
      this.all += 1;
      return true;
    }
    // Texts that all differ are one flood.
    const key = this.written.has(text) ? text : 'other lines';
    this.held.set(key, (this.held.get(key) ?? 0) + 1);
    return false;
  }

  /** Tells what is held back, at once: at the end of the process. */
  close(): void {
    this.cancel?.();
    this.turn();
  }

  private turn(): void {
    const { held } = this;
    this.cancel = null;
    this.written = new Map();
    this.held = new Map();
    this.all = 0;
    for (const [text, count] of held) this.tell(text, count);
  }
}
