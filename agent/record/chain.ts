import { createPrivateKey, createPublicKey, hash, sign, verify } from 'node:crypto';
import type { EpochMs } from '../../protocols/units.ts';
import { canonicalJson } from '../orders/signature.ts';

/**
 * The chain that makes the record tamper-evident: every entry carries the hash of the one before it; every day
 * (UTC), or part of a day that would need too much room, is closed by a Merkle root over its entries, signed with
 * Ed25519, which carries the hash of the root before it. Pure.
 */

/** One entry as it lies in the record. */
export interface ChainEntry {
  readonly id: number;
  readonly ts: EpochMs;
  readonly kind: string;
  /** Canonical JSON (RFC 8785). */
  readonly body: string;
  readonly hash: string;
}

/** The closing of a day, or of a part of one. */
export interface DayRoot {
  readonly v: 1;
  readonly site: string;
  /** `2026-11-22`, UTC; a further part of the same day `2026-11-22.002`. In the order of time by their letters. */
  readonly day: string;
  readonly firstId: number;
  readonly lastId: number;
  readonly count: number;
  /** Hash of the last entry of the day: the next day's first one carries it on. */
  readonly lastHash: string;
  readonly merkleRoot: string;
  /** Hash of the root before this one, or `null` for the first. */
  readonly previous: string | null;
}

export interface SignedRoot {
  readonly root: DayRoot;
  /** Base64, Ed25519 over the canonical JSON of `root`. */
  readonly signature: string;
}

/** What the first entry of a record carries on. */
export const GENESIS = '0'.repeat(64);
export const DAY_MS = 86_400_000;

/** The UTC day of a moment, `2026-11-22`. */
export function dayOf(ts: EpochMs): string {
  return new Date(ts).toISOString().slice(0, 10);
}

/** Hash of an entry that follows the one with hash `previous`. Pure. */
export function entryHash(previous: string, entry: Omit<ChainEntry, 'hash'>): string {
  return sha256(`${previous}\n${entry.id}\n${entry.ts}\n${entry.kind}\n${entry.body}`);
}

/** Merkle root over hashes; an odd one at the end of a level is carried up as it is. */
export function merkleRoot(hashes: readonly string[]): string {
  if (hashes.length === 0) return GENESIS;
  let level = [...hashes];
  while (level.length > 1) {
    const next: string[] = [];
    for (let index = 0; index < level.length; index += 2)
      next.push(
        index + 1 < level.length ? sha256(`node\n${level[index]}\n${level[index + 1]}`) : level[index]!,
      );
    level = next;
  }
  return level[0]!;
}

/** Closes a day or a part. `entries` are all since `previous` in order, at least one. Throws what node:crypto says of the key. */
export function sealDay(
  site: string,
  entries: readonly ChainEntry[],
  previous: DayRoot | null,
  privateKeyPem: string,
): SignedRoot {
  const [first, last] = [entries[0]!, entries.at(-1)!];
  const root: DayRoot = {
    v: 1,
    site,
    day: partOf(dayOf(first.ts), previous?.day ?? null),
    firstId: first.id,
    lastId: last.id,
    count: entries.length,
    lastHash: last.hash,
    merkleRoot: merkleRoot(entries.map((entry) => entry.hash)),
    previous: previous === null ? null : rootHash(previous),
  };
  const signature = sign(null, Buffer.from(canonicalJson(root)), createPrivateKey(privateKeyPem));
  return { root, signature: signature.toString('base64') };
}

/** The name of what follows `previous`: the day, or its next part. */
function partOf(day: string, previous: string | null): string {
  if (previous?.slice(0, day.length) !== day) return day;
  const part = Number(previous.slice(day.length + 1) || '1') + 1;
  return `${day}.${String(part).padStart(3, '0')}`;
}

/** What the next day's root carries of this one. */
export function rootHash(root: DayRoot): string {
  return sha256(canonicalJson(root));
}

export interface ChainProblem {
  readonly day: string;
  /** Entry that is wrong, where it can be named. */
  readonly id: number | null;
  readonly message: string;
}

/** Checks a record as it is read: roots first, then the entries in order, then `end`. */
export class ChainChecker {
  private readonly roots: readonly SignedRoot[];
  private readonly found: ChainProblem[] = [];
  private previous: string;
  private lastId: number | null = null;
  private rootAt = 0;
  private day: ChainEntry[] = [];
  private count = 0;

  /** `droppedTo`: days up to this one may have been dropped for age, their roots remain. */
  constructor(roots: readonly SignedRoot[], publicKeyPem: string, droppedTo: string | null) {
    this.roots = roots;
    let before: DayRoot | null = null;
    for (const { root, signature } of roots) {
      if (!signatureHolds(root, signature, publicKeyPem))
        this.problem(root.day, null, 'the signature of the day does not hold');
      if (root.previous !== (before === null ? null : rootHash(before)))
        this.problem(root.day, null, 'the root before this day was changed or is missing');
      before = root;
    }
    this.previous = GENESIS;
    while (droppedTo !== null && this.rootAt < roots.length && roots[this.rootAt]!.root.day <= droppedTo) {
      this.previous = roots[this.rootAt]!.root.lastHash;
      this.lastId = roots[this.rootAt]!.root.lastId;
      this.rootAt += 1;
    }
  }

  add(entry: ChainEntry): void {
    this.count += 1;
    const day = dayOf(entry.ts);
    if (this.lastId !== null && entry.id !== this.lastId + 1)
      this.problem(day, entry.id, `entries between ${this.lastId} and ${entry.id} are missing`);
    if (this.lastId === null && entry.id !== 1) this.problem(day, entry.id, 'the first entries are missing');
    if (entryHash(this.previous, entry) !== entry.hash)
      this.problem(day, entry.id, 'the entry was changed: its hash does not fit');
    this.previous = entry.hash;
    this.lastId = entry.id;
    const root = this.roots[this.rootAt]?.root;
    if (root === undefined) return;
    this.day.push(entry);
    if (entry.id >= root.lastId) this.endDay(root);
  }

  /** What is wrong, and how much was looked at. Entries after the last root are chained, not yet signed. */
  end(): { problems: readonly ChainProblem[]; entries: number; days: number; unsigned: number } {
    const open = this.roots[this.rootAt]?.root;
    if (open !== undefined) this.endDay(open);
    for (const { root } of this.roots.slice(this.rootAt))
      this.problem(root.day, null, 'the entries of the day are missing');
    const lastSigned = this.roots.at(-1)?.root.lastId ?? 0;
    return {
      problems: this.found,
      entries: this.count,
      days: this.roots.length,
      unsigned: Math.max(0, (this.lastId ?? 0) - lastSigned),
    };
  }

  private endDay(root: DayRoot): void {
    const entries = this.day;
    this.day = [];
    this.rootAt += 1;
    if (
      entries.length !== root.count ||
      entries[0]?.id !== root.firstId ||
      entries.at(-1)?.id !== root.lastId ||
      entries.at(-1)?.hash !== root.lastHash ||
      merkleRoot(entries.map((entry) => entry.hash)) !== root.merkleRoot
    )
      this.problem(root.day, null, 'the entries of the day are not those that were signed');
  }

  private problem(day: string, id: number | null, message: string): void {
    if (this.found.length < 100) this.found.push({ day, id, message });
  }
}

function signatureHolds(root: DayRoot, signature: string, publicKeyPem: string): boolean {
  try {
    return verify(
      null,
      Buffer.from(canonicalJson(root)),
      createPublicKey(publicKeyPem),
      Buffer.from(signature, 'base64'),
    );
  } catch {
    return false;
  }
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}
