/** What is proved together: sources, the tests that have to notice a change of them, and the least share noticed. */
export interface MutationPart {
  readonly files: readonly string[];
  readonly tests: readonly string[];
  readonly atLeastPercent: number;
}

const LEDGER = [
  'ledger',
  'node-sums',
  'bias',
  'gate',
  'unseen',
  'class-memory',
  'limit-memory',
  'plan',
  'derived-limits',
  'follow',
  'fairness',
  'plan-limit',
  'late-falls',
  'overshed',
];

/**
 * Pure code alone, and tests that open no socket: a change costs what its tests cost. HiGHS is left out: it
 * takes a minute, and the tests beside it say the same by laws and by brute force.
 */
export const MUTATION_PARTS: Readonly<Record<string, MutationPart>> = {
  allocation: {
    files: ['agent/allocation/**/*.ts'],
    tests: [
      'test/unit/allocation/**/*.test.ts',
      'test/property/allocation/{tick,laws,brute-force,cuts}.test.ts',
      'test/unit/agent/control/job-caps.test.ts',
    ],
    atLeastPercent: 85,
  },
  site: {
    files: ['agent/site/**/*.ts'],
    tests: ['test/unit/agent/site/**/*.test.ts'],
    atLeastPercent: 85,
  },
  ledger: {
    files: LEDGER.map((name) => `agent/control/${name}.ts`),
    tests: [
      'test/unit/agent/control/{ledger,class-memory,derived-limits,swap}*.test.ts',
      'test/unit/agent/control/{gate,node-sums,bias,unseen,limit-memory,plan,plan-limit,follow,fairness,late-falls,overshed}*.test.ts',
      'test/property/control/*.test.ts',
    ],
    atLeastPercent: 85,
  },
  decoders: {
    files: ['drivers/**/*decode*.ts', 'drivers/miners/reply-fields.ts'],
    tests: [
      'test/golden/miner*.test.ts',
      'test/unit/drivers/*decode*.test.ts',
      'test/unit/drivers/{prove,meter-golden,reply-fields}.test.ts',
      'test/property/drivers/miner*.test.ts',
    ],
    atLeastPercent: 80,
  },
};
