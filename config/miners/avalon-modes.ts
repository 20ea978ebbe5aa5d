import type { Watts } from '../../protocols/units.ts';

/** One operating mode: its number in `workmode`, and about what it draws at the wall. */
export interface AvalonMode {
  readonly number: number;
  readonly watts: Watts;
}

/**
 * Modes of models whose watts per mode are known, weakest first. A-series machines have modes too, but nobody
 * has published what they draw in each, so they take no limit.
 * Source: Canaan API manual for Avalon Q; watts from the specification (eco, standard, super).
 */
const MODES: Readonly<Record<string, readonly AvalonMode[]>> = {
  Q: [
    { number: 0, watts: 800 },
    { number: 1, watts: 1300 },
    { number: 2, watts: 1674 },
  ],
};

/** The modes of the model that an Avalon says it is ("Q", "Avalon Q"), `[]` where their watts are not known. */
export function avalonModes(model: string | null): readonly AvalonMode[] {
  const name = /^(?:avalon\s*)?(?:home\s*)?(\w+)$/i.exec(model ?? '')?.[1];
  return name === undefined ? [] : (MODES[name.toUpperCase()] ?? []);
}
