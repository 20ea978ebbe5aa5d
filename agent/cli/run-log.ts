import pino, { type DestinationStream, type Logger } from 'pino';
import { type Clock, systemClock } from '../../protocols/clock.ts';
import type { Context } from './context.ts';
import { LogRate } from './log-rate.ts';

/** The log of `run`: on stderr, because stdout carries answers. */
export function openLog(context: Context): Logger {
  const level = context.flags.quiet ? 'error' : context.flags.verbose ? 'debug' : 'info';
  return boundedLog(level, systemClock, pino.destination({ dest: 2, sync: true }));
}

/** A log without secrets in the fields that are known to hold some, and without floods. */
export function boundedLog(level: string, clock: Clock, stream: DestinationStream): Logger {
  const options = {
    level,
    redact: ['password', '*.password', 'key', '*.key'],
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  // Only lines that would have been written are counted, so the count is written whatever the level.
  const counts = pino({ ...options, level: 'trace' }, stream);
  const rate = new LogRate(clock, (text, repeated) => counts.warn({ repeated }, text));
  return pino(
    {
      ...options,
      hooks: {
        logMethod(args, method) {
          const text = args.find((part) => typeof part === 'string') ?? '';
          if (rate.admit(text)) method.apply(this, args);
        },
      },
    },
    stream,
  );
}
