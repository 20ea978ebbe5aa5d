import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { restoreBackup, writeBackup } from '../../../agent/store/backup.ts';
import { openSqlite, openTables } from '../../../agent/store/database.ts';
import { lockState } from '../../../agent/store/state-lock.ts';

let folder: string;
let state: string;
let config: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-backup-'));
  state = join(folder, 'state');
  config = join(folder, 'switchyard.yaml');
  file = join(folder, 'backup.tar.gz');
  mkdirSync(state);
  writeFileSync(config, 'site: { id: s }\n');
  writeFileSync(join(state, 'lessons.json'), '{"a":1}');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = () => writeBackup(file, { folder: state, configs: [config], site: 's', agent: '1.0.0' }, 0);
const restore = (site: string | null = 's') => restoreBackup(file, { folder: state, config, site }, 1);
const book = () => openTables(state, 1e8, openSqlite);
const holds = () => {
  const database = new DatabaseSync(join(state, 'journal.db'), { readOnly: true });
  const rows = database.prepare('SELECT body FROM book').all();
  database.close();
  return rows.map((row) => row['body']);
};
/** The same archive with one file of it changed. */
function tamper(change: (work: string) => void, names: readonly string[]): void {
  const work = mkdtempSync(join(folder, 'tamper-'));
  execFileSync('tar', ['-xzf', file, '-C', work]);
  change(work);
  execFileSync('tar', ['-czf', file, '-C', work, ...names]);
}

describe('a backup', () => {
  it('is whole while somebody writes, private, and comes back as it was', () => {
    const running = book();
    running.exec("INSERT INTO book(id, body) VALUES (1, 'kept')");
    // A write that is not finished is not in it.
    running.exec("BEGIN; UPDATE book SET body = 'unfinished'");
    write();
    running.exec("COMMIT; UPDATE book SET body = 'later'");
    running.close();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { before, manifest, configWritten } = restore();
    expect(holds()).toEqual(['kept']);
    expect(readFileSync(join(state, 'lessons.json'), 'utf8')).toBe('{"a":1}');
    expect(manifest.files.map(({ name }) => name)).toEqual([
      'config/switchyard.yaml',
      'state/journal.db',
      'state/lessons.json',
    ]);
    expect(configWritten).toBe(false);
    // What was there is not lost.
    expect(readdirSync(before).sort()).toEqual(['journal.db', 'lessons.json']);
    expect(readdirSync(state).filter((name) => name.startsWith('restore-'))).toEqual([]);
  });

  it('brings the configuration to a box that has none', () => {
    write();
    rmSync(config);
    expect(restore(null).configWritten).toBe(true);
    expect(readFileSync(config, 'utf8')).toBe('site: { id: s }\n');
  });

  it('is refused while an agent runs on the state', () => {
    write();
    const unlock = lockState(state);
    expect(() => restore()).toThrow('another agent is running');
    unlock?.();
    expect(() => restore()).not.toThrow();
  });

  it('is refused for another site, cut, changed, newer or strange, and nothing is touched', () => {
    book().close();
    write();
    const whole = readFileSync(file);
    const all = ['manifest.json', 'config/switchyard.yaml', 'state/journal.db', 'state/lessons.json'];
    const before = readdirSync(state).sort();
    const refuses = (reason: string, spoil: () => void, site = 's') => {
      writeFileSync(file, whole);
      spoil();
      expect(() => restore(site)).toThrow(reason);
      expect(
        readdirSync(state)
          .filter((name) => name !== 'agent.lock')
          .sort(),
      ).toEqual(before);
    };
    refuses('it is of the site "s"', () => undefined, 'other');
    refuses('cut or damaged', () => writeFileSync(file, whole.subarray(0, whole.length / 2)));
    refuses('state/lessons.json is damaged', () =>
      tamper((work) => writeFileSync(join(work, 'state/lessons.json'), '{"a":2}'), all),
    );
    refuses('state/lessons.json is missing', () => tamper(() => undefined, all.slice(0, 3)));
    refuses('it has no manifest', () => tamper(() => undefined, all.slice(1)));
    refuses('which no backup does', () =>
      tamper(
        (work) => {
          mkdirSync(join(work, 'state/deep'));
          writeFileSync(join(work, 'state/deep/x'), '');
        },
        [...all, 'state/deep/x'],
      ),
    );
    refuses('is no plain file', () =>
      tamper((work) => {
        rmSync(join(work, 'state/lessons.json'));
        symlinkSync('/etc/passwd', join(work, 'state/lessons.json'));
      }, all),
    );
  });

  it('of a newer version is refused', () => {
    const journal = book();
    journal.exec('PRAGMA user_version = 99');
    journal.close();
    write();
    expect(() => restore()).toThrow('state/journal.db was written by a newer version');
    expect(existsSync(join(state, 'journal.db'))).toBe(true);
  });
});
