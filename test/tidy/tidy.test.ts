import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../agent/cli/outcome.ts';

const files = execFileSync('git', ['ls-files'], { encoding: 'utf8' })
  .split('\n')
  .filter((name) => name !== '');
const sources = files.filter((name) => name.endsWith('.ts') && !name.startsWith('test/'));
const read = (name: string) => readFileSync(name, 'utf8');

describe('the house', () => {
  it('has no file named for what everything is', () => {
    const vague = sources.filter((name) =>
      /(^|[/-])(utils?|helpers?|managers?|common|misc|types)\.ts$/.test(name),
    );
    expect(vague).toEqual([]);
  });

  it('names files in kebab-case', () => {
    expect(sources.filter((name) => !/^[a-z0-9./-]+$/.test(name))).toEqual([]);
  });

  it('has no barrel: no file that only exports from others', () => {
    const barrels = sources.filter((name) => {
      const lines = read(name)
        .split('\n')
        .filter((line) => line.trim() !== '' && !line.startsWith('//'));
      return lines.length > 0 && lines.every((line) => /^export .* from /.test(line));
    });
    expect(barrels).toEqual([]);
  });

  it('has a docstring on every exported function and class', () => {
    const bare: string[] = [];
    for (const name of sources) {
      const lines = read(name).split('\n');
      lines.forEach((line, index) => {
        if (!/^export (async )?(function|class) /.test(line)) return;
        const above = lines[index - 1]?.trim() ?? '';
        if (!above.endsWith('*/') && !above.startsWith('//')) bare.push(`${name}:${index + 1}`);
      });
    }
    expect(bare.length, bare.slice(0, 20).join(', ')).toBeLessThanOrEqual(UNDOCUMENTED_AT_MOST);
  });

  it('keeps shells and sleeps out', () => {
    const shells = sources.filter((name) =>
      /shell:\s*true|\bexecSync\(|(?<!database\.)\bexec\(\s*['"`]/.test(read(name)),
    );
    expect(shells).toEqual([]);
    const sleeping = files.filter(
      (name) =>
        /^test\/(unit|property|scenario|golden)\/.*\.ts$/.test(name) &&
        /\bDate\.now\(\)|setTimeout\(/.test(read(name)),
    );
    expect(sleeping).toEqual([]);
  });
});

/** Small exported functions whose name and types say everything. May only fall. */
const UNDOCUMENTED_AT_MOST = 26;

describe('the table of threats', () => {
  const rows = read('SECURITY.md')
    .split('## Threats, defences, tests')[1]!
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(1);

  it('names for every threat a defence and tests that there are', () => {
    expect(rows.length).toBeGreaterThan(20);
    for (const row of rows) {
      const [threat = '', defence = ''] = row.slice(2).split(' | ');
      expect(Math.min(threat.length, defence.length), row).toBeGreaterThan(10);
      const named = [...row.matchAll(/`(test\/[^`]+)`/g)].map((match) => match[1]!);
      expect(named.length, row).toBeGreaterThan(0);
      for (const name of named) expect(files, row).toContain(name);
    }
  });
});

describe('the lockfile', () => {
  it('names no address and no registry', () => {
    const lock = read('package-lock.json');
    expect(lock).not.toContain('"resolved"');
    expect(lock.match(/https?:\/\/[^"]*registry[^"]*/g) ?? []).toEqual([]);
  });

  it('pins exact versions', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    for (const group of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[group] ?? {})) {
        expect(version, name).toMatch(/^(npm:[a-z]+@)?\d+\.\d+\.\d+(-[\da-z.]+)?$/);
      }
    }
  });

  it('gives each runtime dependency its reason', () => {
    const manifest = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    const reasons = files
      .filter((name) => name.startsWith('docs/decisions/'))
      .map(read)
      .join('\n');
    expect(Object.keys(manifest.dependencies).filter((name) => !reasons.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('the documents', () => {
  it('list every exit code', () => {
    const errors = read('docs/errors.md');
    for (const [name, code] of Object.entries(EXIT))
      expect(errors, name).toMatch(new RegExp(`\\| ${code} \\|`));
  });

  it('list every kind of failure', () => {
    const errors = read('docs/errors.md');
    const kinds = [...read('protocols/result.ts').matchAll(/^ {2}\| '([a-z-]+)'/gm)].map(
      (match) => match[1]!,
    );
    expect(kinds.length).toBeGreaterThan(5);
    for (const kind of kinds) expect(errors).toContain(`\`${kind}\``);
  });

  it('speak of the product alone', () => {
    const words = /\/work\/|\/root\/|\bfarm-|helper-\d|\bissue #?\d|shared\/(facts|design|fixtures)/i;
    const guilty = files.filter(
      (name) =>
        /\.(ts|md|json|ya?ml|sh|txt|html|css|js)$/.test(name) &&
        name !== 'test/tidy/tidy.test.ts' &&
        name !== 'package-lock.json' &&
        words.test(read(name)),
    );
    expect(guilty).toEqual([]);
  });
});
