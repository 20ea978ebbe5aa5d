import type { Command } from 'commander';

/** Everything that a package carries beside the program, made out of what the program knows. Pure. */

/** One command with its whole name, `modbus read`. */
interface Named {
  readonly name: string;
  readonly command: Command;
}

/** The commands of the table that do something, subcommands included, by name. */
function commandsOf(table: Command, above: readonly string[] = []): Named[] {
  return table.commands
    .flatMap((command): Named[] => {
      const path = [...above, command.name()];
      return command.commands.length > 0 ? commandsOf(command, path) : [{ name: path.join(' '), command }];
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

const roff = (text: string) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

const EXIT_CODES =
  '0 well; 1 ran and found problems; 2 wrong usage; 3 configuration invalid; 4 nothing answered; 5 some targets failed; 6 refused by a safety rule or missing permission; 7 timed out; 70 internal error; 130 interrupted.';

/** switchyard(1) in roff, from the command table. */
export function manPage(table: Command, version: string, date: string): string {
  const option = ({ flags, description }: { flags: string; description: string }) =>
    `.TP\n.B ${roff(flags)}\n${roff(description || 'see the command')}`;
  const lines = [
    `.TH SWITCHYARD 1 "${date}" "switchyard ${version}" "User Commands"`,
    '.SH NAME',
    `switchyard \\- ${roff(lowerFirst(table.description()).replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    '.B switchyard\n[options] command [arguments]',
    '.SH OPTIONS',
    ...table.options.map(option),
    '.SH COMMANDS',
  ];
  for (const { name, command } of commandsOf(table)) {
    lines.push(`.SS "${roff(`${name} ${command.usage()}`.trim())}"`, roff(command.description()));
    lines.push(...command.options.map(option));
  }
  lines.push('.SH EXIT STATUS', roff(EXIT_CODES));
  lines.push(
    '.SH FILES',
    '.TP\n.I /etc/switchyard/switchyard.yaml\nConfiguration; conf.d/*.yaml beside it is joined to it.',
    '.TP\n.I /etc/switchyard/secrets/NAME\nSecret of the service, read as {credential: secret_NAME}.',
    '.TP\n.I /var/lib/switchyard\nState: journal, record, spool.',
    '.SH SEE ALSO\n.BR systemctl (1),\n.BR journalctl (1)',
  );
  return `${lines.join('\n')}\n`;
}

/** Completion for bash, from the command table. */
export function bashCompletion(table: Command): string {
  const words = (command: Command) =>
    [
      ...command.commands.map((sub) => sub.name()),
      ...command.options.map((option) => option.long ?? option.short ?? ''),
    ].join(' ');
  const cases = [...table.commands]
    .sort((a, b) => a.name().localeCompare(b.name()))
    .map((command) => `    ${command.name()}) words="${words(command)}" ;;`);
  return `# bash completion for switchyard; made from its command table
_switchyard() {
  local word="\${COMP_WORDS[COMP_CWORD]}" name="" words="" index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${COMP_WORDS[index]}" in
      -c | --config | --timeout) index=$((index + 1)) ;;
      -*) ;;
      *) name="\${COMP_WORDS[index]}"; break ;;
    esac
  done
  case "$name" in
    "") words="${words(table)}" ;;
${cases.join('\n')}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  if ((\${#COMPREPLY[@]} == 0)); then mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi
}
complete -F _switchyard switchyard
`;
}

/** What the lockfile says of one package. */
export interface LockedPackage {
  /** Where it is installed under another name. */
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
}

/** A locked package by its path in `node_modules`. */
export type Locked = Readonly<Record<string, LockedPackage>>;

const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

/**
 * CycloneDX 1.5 of what is in the package: npm packages with their sums, Node, and the libraries in Node that no
 * lockfile names. `bundled` is `process.versions` of that Node.
 */
export function bom(
  product: { readonly name: string; readonly version: string },
  installed: Locked,
  bundled: Readonly<Record<string, string | undefined>>,
): unknown {
  const npm = Object.entries(installed).map(
    ([path, { name = nameOf(path), version = '', license, integrity }]) => {
      const sum = /^sha512-(.+)$/.exec(integrity ?? '')?.[1];
      return {
        type: 'library',
        'bom-ref': `${path}@${version}`,
        name,
        version,
        purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
        ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
        ...(sum === undefined
          ? {}
          : { hashes: [{ alg: 'SHA-512', content: Buffer.from(sum, 'base64').toString('hex') }] }),
      };
    },
  );
  const inNode = Object.entries(bundled)
    .filter(([name, version]) => name !== 'modules' && name !== 'napi' && version !== '')
    .map(([name, version = '']) => ({
      type: name === 'node' ? 'platform' : 'library',
      'bom-ref': `node:${name}@${version}`,
      name,
      version,
    }));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: { component: { type: 'application', 'bom-ref': product.name, ...product } },
    components: [...npm, ...inNode].sort((a, b) => a['bom-ref'].localeCompare(b['bom-ref'])),
  };
}

/** debian/copyright, machine-readable; the licence texts of npm packages stay beside their code. */
export function copyrightFile(installed: Locked, nodeLicense: string): string {
  const others = Object.entries(installed)
    .map(([path, { name = nameOf(path), license = 'see the package' }]) => `  ${name}: ${license}`)
    .sort();
  const indented = nodeLicense
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: switchyard
Comment: npm packages in the bundle, their licences in /usr/share/doc/switchyard/packages, and below
 /usr/lib/switchyard/node_modules, each with its own licence file:
${others.join('\n')}

Files: *
Copyright: The Switchyard authors
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/switchyard/node
Copyright: Node.js contributors and others
License: Node
${indented}
`;
}

/** debian/changelog with one entry, from the newest part of the project's own. */
export function debianChangelog(text: string, version: string, date: Date): string {
  const part = text.split(/^## /m)[1] ?? '';
  const items = part
    .split(/^- /m)
    .slice(1)
    .map((item) => `  * ${wrapped(item, 74).join('\n    ')}`);
  const stamp = date.toUTCString().replace('GMT', '+0000');
  return `switchyard (${version}) stable; urgency=medium\n\n${items.join('\n')}\n\n -- ${MAINTAINER}  ${stamp}\n`;
}

export const MAINTAINER = 'The Switchyard authors <maintainers@switchyard.example>';

/** Words in lines of at most `width` characters, as far as a single word allows. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
