import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSlurmNode, slurmFailure, slurmService } from '../../../protocols/slurm.ts';

const golden = (name: string) =>
  readFileSync(join(import.meta.dirname, '../../golden/slurm/22.05.8', `${name}.txt`), 'utf8');

function parsed(text: string) {
  const node = parseSlurmNode(text);
  if (!node.ok) throw new Error(node.error.message);
  return { ...node.value, service: slurmService(node.value) };
}

const line = (state: string, more = '') => `NodeName=n1 Arch=x86_64 State=${state} ThreadsPerCore=1${more}`;

describe('a node as recorded from Slurm', () => {
  test.each([
    ['idle', { base: 'IDLE', flags: [], reason: null, service: 'in-service' }],
    [
      'draining',
      { base: 'MIXED', flags: ['DRAIN'], reason: 'site-agent handover h-0001', service: 'draining' },
    ],
    ['power-down-requested', { base: 'IDLE', flags: ['POWER_DOWN'], service: 'down' }],
    ['powering-down', { base: 'IDLE', flags: ['POWERING_DOWN'], service: 'down' }],
    ['powered-down', { base: 'IDLE', flags: ['POWERED_DOWN'], service: 'down' }],
  ])('%s', (name, expected) => {
    expect(parsed(golden(name))).toMatchObject({ name: 'gpu01', ...expected });
  });
});

describe('what a state means', () => {
  test.each([
    ['IDLE+DRAIN', 'drained'],
    ['ALLOCATED+DRAIN', 'draining'],
    // The job has ended, its epilog has not: the GPU may still work.
    ['IDLE+COMPLETING+DRAIN', 'draining'],
    ['MIXED', 'in-service'],
    ['ALLOCATED+PLANNED', 'in-service'],
    ['DOWN+DRAIN', 'down'],
    // An idle node that does not answer is not known to be idle.
    ['IDLE*+DRAIN', 'down'],
    ['IDLE+DRAIN+NOT_RESPONDING', 'down'],
    ['IDLE~', 'down'],
    ['UNKNOWN', 'down'],
  ])('%s is %s', (state, service) => {
    expect(parsed(line(state)).service).toBe(service);
  });

  test('what stands in a reason is no field, and who and when are not part of it', () => {
    const node = parsed(line('IDLE', ' Reason=look State=IDLE+DRAIN [a] [root@2026-11-21T21:06:08]'));
    expect(node).toMatchObject({ base: 'IDLE', flags: [], reason: 'look State=IDLE+DRAIN [a]' });
  });

  test('no node, no state, and any text at all: an answer, never an exception', () => {
    for (const text of ['', 'NodeName=x', 'NodeName=x State=', line('1+2')])
      expect(parseSlurmNode(text)).toMatchObject({ ok: false, error: { kind: 'malformed' } });
    fc.assert(fc.property(fc.string(), (text) => typeof parseSlurmNode(`NodeName=${text}`).ok === 'boolean'));
  });
});

describe('why scontrol failed', () => {
  test.each([
    ['slurm_update error: Invalid node name specified', 1, 'wrong-device'],
    ['slurm_update error: Invalid node state specified', 1, 'refused'],
    ['slurm_update error: Access/permission denied', 1, 'unauthorised'],
    ['slurm_load_node error: Unable to contact slurm controller (connect failure)', 1, 'unreachable'],
    ['', 255, 'unreachable'],
    ['something new', 1, 'refused'],
  ])('%s (%i)', (said, exitCode, kind) => {
    expect(slurmFailure(said, exitCode).kind).toBe(kind);
  });
});
