import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import type { MutationJob } from './mutation-job.ts';

const job = JSON.parse(readFileSync(process.env['MUTATION_JOB']!, 'utf8')) as MutationJob;

/** One warm process for many changes of a source: see mutation.ts. Sources come with every change in them, switched off. */
export default defineConfig({
  plugins: [
    {
      name: 'changed-sources',
      enforce: 'pre',
      load: (id: string) => job.sources[id] ?? null,
    },
  ],
  test: {
    include: ['test/proof/mutation-driver.ts'],
    setupFiles: ['test/support/pinned-seed.ts'],
    // The same file is another one in every process.
    fsModuleCache: false,
    pool: 'forks',
    fileParallelism: false,
    // A change may break what nobody awaits.
    dangerouslyIgnoreUnhandledErrors: true,
    testTimeout: 0,
    hookTimeout: 0,
    reporters: ['dot'],
    silent: true,
  },
});
