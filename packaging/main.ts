import { buildPackage } from './build.ts';
import { buildExecutable } from './executable.ts';
import { ARCHITECTURES, type Architecture } from './sources.ts';

/** `npm run package [-- amd64 arm64]`: Debian packages and single executables into dist/, from the commit that is checked out. */
const wanted = process.argv.slice(2);
const unknown = wanted.filter((arch) => !(arch in ARCHITECTURES));
if (unknown.length > 0) {
  console.error(
    `usage: npm run package [-- ${Object.keys(ARCHITECTURES).join(' ')}]; not ${unknown.join(', ')}`,
  );
  process.exitCode = 2;
} else {
  const all = Object.keys(ARCHITECTURES) as Architecture[];
  for (const arch of wanted.length > 0 ? (wanted as Architecture[]) : all) {
    console.log(await buildPackage(arch, 'dist'));
    console.log(await buildExecutable(arch, 'dist'));
  }
}
