import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ChainChecker,
  type ChainEntry,
  dayOf,
  entryHash,
  GENESIS,
  type SignedRoot,
  sealDay,
} from '../../../agent/record/chain.ts';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const PUBLIC = publicKey.export({ type: 'spki', format: 'pem' }).toString();
const PRIVATE = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const START = Date.parse('2026-11-20T12:00:00Z');
const HOUR = 3_600_000;

/** Three signed days and a part of a fourth, an entry an hour. */
function record(): { entries: ChainEntry[]; roots: SignedRoot[] } {
  const entries: ChainEntry[] = [];
  for (let id = 1; id <= 70; id += 1) {
    const entry = { id, ts: START + id * HOUR, kind: 'energy', body: JSON.stringify({ id, watts: id * 7 }) };
    entries.push({ ...entry, hash: entryHash(entries.at(-1)?.hash ?? GENESIS, entry) });
  }
  const roots: SignedRoot[] = [];
  for (const day of ['2026-11-20', '2026-11-21', '2026-11-22'])
    roots.push(
      sealDay(
        's',
        entries.filter((entry) => dayOf(entry.ts) === day),
        roots.at(-1)?.root ?? null,
        PRIVATE,
      ),
    );
  return { entries, roots };
}

function check(entries: readonly ChainEntry[], roots: readonly SignedRoot[], key = PUBLIC) {
  const checker = new ChainChecker(roots, key, null);
  for (const entry of entries) checker.add(entry);
  return checker.end();
}

describe('a signed record', () => {
  const whole = record();

  it('holds as it was written; the last day is chained, not yet signed', () => {
    expect(check(whole.entries, whole.roots)).toEqual({ problems: [], entries: 70, days: 3, unsigned: 11 });
  });

  it('shows any changed byte of any entry or root', () => {
    const signed = whole.entries.length - 11;
    fc.assert(
      fc.property(
        fc.nat(signed - 1),
        fc.constantFrom('id', 'ts', 'kind', 'body', 'hash'),
        fc.nat(1000),
        (index, field, place) => {
          const entries = whole.entries.map((entry) => ({ ...entry }));
          const entry = entries[index]! as unknown as Record<string, string | number>;
          const old = entry[field]!;
          if (typeof old === 'number') entry[field] = old + 1 + place;
          else {
            const at = place % old.length;
            entry[field] = `${old.slice(0, at)}${old[at] === 'x' ? 'y' : 'x'}${old.slice(at + 1)}`;
          }
          expect(check(entries, whole.roots).problems.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.nat(2), fc.nat(10_000), (index, place) => {
        const text = JSON.stringify(whole.roots[index]);
        const at = place % text.length;
        let changed: SignedRoot;
        try {
          changed = JSON.parse(`${text.slice(0, at)}${text[at] === '1' ? '2' : '1'}${text.slice(at + 1)}`);
        } catch {
          return;
        }
        // A key of the root that was renamed, or another padding of the signature's last bits, is no other root.
        if (
          JSON.stringify(Buffer.from(changed.signature ?? '', 'base64')) ===
            JSON.stringify(Buffer.from(whole.roots[index]!.signature, 'base64')) &&
          JSON.stringify(changed.root) === JSON.stringify(whole.roots[index]!.root)
        )
          return;
        if (changed.root === undefined || changed.signature === undefined) return;
        const roots = whole.roots.map((root, position) => (position === index ? changed : root));
        expect(check(whole.entries, roots).problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('shows entries that were taken out, put in, or changed with all hashes after them made to fit', () => {
    for (const index of [0, 3, 20, 58])
      expect(
        check(
          whole.entries.filter((_, position) => position !== index),
          whole.roots,
        ).problems,
      ).not.toEqual([]);
    const forged: ChainEntry[] = [];
    for (const entry of whole.entries) {
      const body = entry.id === 5 ? '{"id":5,"watts":1}' : entry.body;
      forged.push({ ...entry, body, hash: entryHash(forged.at(-1)?.hash ?? GENESIS, { ...entry, body }) });
    }
    expect(check(forged, whole.roots).problems.map((problem) => problem.message)).toContain(
      'the entries of the day are not those that were signed',
    );
    expect(check(whole.entries, whole.roots.slice(1)).problems).not.toEqual([]);
    expect(check(whole.entries.slice(0, 30), whole.roots).problems).not.toEqual([]);
  });

  it('does not hold with another key', () => {
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    expect(check(whole.entries, whole.roots, other).problems).toHaveLength(3);
  });

  it('goes on from the roots where old days were dropped', () => {
    const checker = new ChainChecker(whole.roots, PUBLIC, '2026-11-21');
    for (const entry of whole.entries) if (dayOf(entry.ts) > '2026-11-21') checker.add(entry);
    expect(checker.end()).toMatchObject({ problems: [] });
  });
});
