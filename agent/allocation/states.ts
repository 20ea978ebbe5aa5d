/**
 * Growing store of search states as a struct of arrays. A state is one way to run everything merged so far
 * below one limit: its watts, its value, how much it has lost against the relaxed answer, and where it came
 * from. `sums` holds `sumCount` floor totals per state.
 */
export interface States {
  size: number;
  capacity: number;
  readonly sumCount: number;
  watts: Float64Array;
  value: Float64Array;
  loss: Float64Array;
  sums: Float64Array;
  /** State merged onto, -1 at a start. */
  left: Int32Array;
  /** Mode of `device`, or the other state where `device` is -1. */
  right: Int32Array;
  /** Device merged in this step, or -1. */
  device: Int32Array;
}

/** A run of states, by rising watts. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** An empty store of partial choices with `sumCount` sums each; it grows by itself. */
export function createStates(sumCount: number): States {
  const capacity = 1024;
  return {
    size: 0,
    capacity,
    sumCount,
    watts: new Float64Array(capacity),
    value: new Float64Array(capacity),
    loss: new Float64Array(capacity),
    sums: new Float64Array(capacity * sumCount),
    left: new Int32Array(capacity),
    right: new Int32Array(capacity),
    device: new Int32Array(capacity),
  };
}

/** Forgets all states, keeping the room. */
export function clearStates(states: States): void {
  states.size = 0;
}

/** Makes room for `more` states. */
export function reserveStates(states: States, more: number): void {
  if (states.size + more <= states.capacity) return;
  const capacity = Math.max(states.capacity * 2, states.size + more);
  states.watts = grow(states.watts, capacity);
  states.value = grow(states.value, capacity);
  states.loss = grow(states.loss, capacity);
  states.sums = grow(states.sums, capacity * states.sumCount);
  states.left = growInt(states.left, capacity);
  states.right = growInt(states.right, capacity);
  states.device = growInt(states.device, capacity);
  states.capacity = capacity;
}

function grow(from: Float64Array, length: number): Float64Array {
  const to = new Float64Array(length);
  to.set(from);
  return to;
}

function growInt(from: Int32Array, length: number): Int32Array {
  const to = new Int32Array(length);
  to.set(from);
  return to;
}

/** Writes the modes that led to `state` into `mode`. */
export function readBack(states: States, state: number, mode: Int32Array): void {
  const open = [state];
  while (open.length > 0) {
    const at = open.pop()!;
    const left = states.left[at]!;
    if (left < 0) continue;
    const device = states.device[at]!;
    if (device >= 0) mode[device] = states.right[at]!;
    else open.push(states.right[at]!);
    open.push(left);
  }
}
