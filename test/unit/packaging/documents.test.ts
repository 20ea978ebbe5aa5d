import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commandTable } from '../../../agent/cli/program.ts';
import {
  bashCompletion,
  bom,
  copyrightFile,
  debianChangelog,
  type LockedPackage,
  manPage,
} from '../../../packaging/documents.ts';

const table = commandTable();
const names = table.commands.map((command) => command.name());
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
  packages: Record<string, LockedPackage & { dev?: boolean }>;
};
const shipped = Object.fromEntries(
  Object.entries(lock.packages).filter(([path, { dev }]) => path !== '' && dev !== true),
);

describe('what a package carries', () => {
  it('has every command of the table in its man page, with the options', () => {
    const page = manPage(table, '1.2.3', '2026-11-22');
    for (const name of names)
      expect(page).toMatch(new RegExp(`^\\.SS "${name.replaceAll('-', '\\\\-')}\\b`, 'm'));
    expect(page).toContain('\\-\\-dry\\-run');
    expect(page).toContain('.SS "modbus read ');
    // No line of text begins as a request of roff.
    expect(page.split('\n').filter((line) => /^['.](?!TH|SH|SS|TP|B\b|BR|I\b)/.test(line))).toEqual([]);
  });

  it('completes commands, and the options of the one that is written', () => {
    const complete = (...words: string[]) => {
      const script = `${bashCompletion(table)}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _switchyard; echo "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim().split(' ');
    };
    expect(complete('switchyard', 're')).toEqual(
      expect.arrayContaining(['reload', 'replay', 'restore', 'release']),
    );
    expect(complete('switchyard', '--config', 'x', 'run', '--d')).toEqual(['--dry-run']);
    expect(complete('switchyard', 'modbus', '')).toEqual(['read']);
  });

  it('lists every package with version, licence and sum, and the libraries inside Node', () => {
    const { components } = bom({ name: 'switchyard', version: '1' }, shipped, process.versions) as {
      components: { name: string; version: string; hashes?: { content: string }[]; licenses?: unknown }[];
    };
    const named = components.map(({ name }) => name);
    expect(named).toEqual(
      expect.arrayContaining([
        'mqtt',
        'jsmodbus',
        'zod',
        '@serialport/parser-delimiter',
        'node',
        'openssl',
        'sqlite',
        'zlib',
      ]),
    );
    expect(components.every(({ version }) => version !== '')).toBe(true);
    expect(components.filter(({ hashes }) => hashes !== undefined).length).toBe(Object.keys(shipped).length);
    expect(components.find(({ name }) => name === 'zod')?.hashes?.[0]?.content).toMatch(/^[0-9a-f]{128}$/);
  });

  it('has a changelog and a copyright in the forms of Debian', () => {
    const log = debianChangelog(readFileSync('CHANGELOG.md', 'utf8'), '0.1.0', new Date(0));
    expect(log).toMatch(/^switchyard \(0\.1\.0\) stable; urgency=medium\n\n {2}\* /);
    expect(log).toMatch(/\n -- [^<]+ <[^>]+> {2}Thu, 01 Jan 1970 00:00:00 \+0000\n$/);
    expect(
      Math.max(
        ...log
          .split('\n -- ')[0]!
          .split('\n')
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(80);
    const copyright = copyrightFile(shipped, 'Node is licensed\n\nas follows');
    expect(copyright).toContain('  mqtt: MIT');
    expect(copyright.split('\n').filter((line) => line === '').length).toBe(3);
  });
});
