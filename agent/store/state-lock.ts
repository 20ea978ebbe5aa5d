import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Another agent works on this state folder. */
export class StateInUseError extends Error {}

const LOCK_FILE = 'agent.lock';
/** Result code of SQLite. Source: https://www.sqlite.org/rescode.html */
const SQLITE_BUSY = 5;

/**
 * Takes the state folder for this process, before anything in it is touched: two agents would command the same
 * devices against each other. The kernel holds the lock and drops it with the process, however that ends. Returns
 * how to give it back, or `null` where the folder cannot be written: then nobody else can hold it either. Throws
 * `StateInUseError`.
 */
export function lockState(folder: string): (() => void) | null {
  let database: DatabaseSync | null = null;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o750 });
    database = new DatabaseSync(join(folder, LOCK_FILE), { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
    const held = database;
    return () => held.close();
  } catch (error) {
    database?.close();
    if (((error as { errcode?: number }).errcode ?? 0) % 256 === SQLITE_BUSY)
      throw new StateInUseError(`another agent is running on the state in ${folder}`);
    return null;
  }
}
