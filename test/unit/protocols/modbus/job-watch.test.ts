import { describe, expect, it } from 'vitest';
import { JobWatch, type Watched } from '../../../../protocols/modbus/job-watch.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

interface Job extends Watched {
  readonly name: string;
}

function bench() {
  const clock = new VirtualClock();
  const jobs: Job[] = [];
  const said: string[] = [];
  const end = (job: Job, how: string) => {
    said.push(`${job.name} ${how} at ${clock.monotonicMs()}`);
    jobs.splice(jobs.indexOf(job), 1);
  };
  const watch = new JobWatch<Job>(clock, () => jobs, {
    due: (job) => {
      end(job, 'due');
      // As a path that is lost takes every other request with it.
      if (job.name === 'path') jobs.length = 0;
    },
    abort: (job) => end(job, 'aborted'),
  });
  const add = (name: string, dueAt: number, signal = new AbortController().signal): Job => {
    const job = { name, dueAt, signal };
    jobs.push(job);
    watch.watch(job);
    return job;
  };
  return { clock, jobs, said, watch, add };
}

describe('jobs with an end', () => {
  it('end when their time is over, each at its own, whatever the order they came in', async () => {
    const { clock, said, add } = bench();
    add('late', 300);
    add('early', 100);
    add('middle', 200);
    await clock.advance(1000);
    expect(said).toEqual(['early due at 100', 'middle due at 200', 'late due at 300']);
  });

  it('may be given another end, earlier or later', async () => {
    const { clock, said, watch, add } = bench();
    const [sooner, later] = [add('sooner', 500), add('later', 100)];
    sooner.dueAt = 50;
    watch.watch(sooner);
    later.dueAt = 400;
    watch.watch(later);
    await clock.advance(1000);
    expect(said).toEqual(['sooner due at 50', 'later due at 400']);
  });

  it('that were settled by the end of another are not ended again', async () => {
    const { clock, said, add } = bench();
    add('path', 100);
    add('orphan', 100);
    await clock.advance(1000);
    expect(said).toEqual(['path due at 100']);
  });

  it('end when their caller gives up: those of that caller, all of them', () => {
    const { said, add } = bench();
    const [one, other] = [new AbortController(), new AbortController()];
    add('a', 500, one.signal);
    add('b', 500, other.signal);
    add('c', 500, one.signal);
    one.abort();
    expect(said).toEqual(['a aborted at 0', 'c aborted at 0']);
    other.abort();
    expect(said.at(-1)).toBe('b aborted at 0');
  });

  it('are left alone once it is closed', async () => {
    const { clock, said, watch, add } = bench();
    const controller = new AbortController();
    add('a', 100, controller.signal);
    watch.close();
    controller.abort();
    await clock.advance(1000);
    expect(said).toEqual([]);
  });
});
