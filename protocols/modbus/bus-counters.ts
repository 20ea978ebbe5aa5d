/** What happened on one path, for health figures. */
export interface BusCounters {
  replies: number;
  exceptions: number;
  timeouts: number;
  /** Replies to requests that had already been given up. */
  lateReplies: number;
  /** Frames that belong to no request at all. */
  strayFrames: number;
  /** Times the path was thrown away because of what came over it. */
  poisoned: number;
  connects: number;
}

/** Nothing happened yet. */
export function newCounters(): BusCounters {
  return {
    replies: 0,
    exceptions: 0,
    timeouts: 0,
    lateReplies: 0,
    strayFrames: 0,
    poisoned: 0,
    connects: 0,
  };
}
