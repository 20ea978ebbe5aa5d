/** What the warm process of the mutation proof is to do. */
export interface MutationJob {
  /** Sources by absolute path, with all changes in them. */
  readonly sources: Readonly<Record<string, string>>;
  /** Absolute paths. */
  readonly tests: readonly string[];
  /** The changes to judge. */
  readonly ids: readonly string[];
  /** Those of them that are judged by loading everything anew; empty: the others are judged. */
  readonly loadedAnew: readonly string[];
  /** Where a line is written before and after each change: `MutationLine` as JSON. */
  readonly log: string;
}

/** `static`: also acts while the tests are loaded, and nothing that acts later notices: to be judged by loading anew. */
export type MutationOutcome = 'killed' | 'survived' | 'uncovered' | 'static' | 'endless';

export type MutationLine =
  | { readonly pid: number }
  /** The change that is next or goes on, and how long its next tests take without it. */
  | { readonly begun: string; readonly seconds: number }
  | { readonly id: string; readonly outcome: MutationOutcome; readonly by?: string }
  | { readonly fault: string };

/** What the instrumented sources share with who runs them. Source: Stryker 10, `instrumenter`; `steps`: mutation.ts. */
export interface Switches {
  activeMutant?: string | undefined;
  /** Places with changes come past, whichever is on; beyond the limit every one of them throws. */
  steps?: number | undefined;
  stepLimit?: number | undefined;
  /** The changes that are come past, where that is asked for. */
  passed?: Set<string> | undefined;
}
