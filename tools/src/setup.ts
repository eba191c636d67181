import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { COMPONENTS, findProgram, installHint } from '@azaion/testing';
import { takeDebianProgram } from './setup/debian-program.js';
import { missingComponents, planSetup } from './setup/set-up.js';

// `--images`: also what only the suites of the container images need.
const names = missingComponents(process.argv.includes('--images'));
const missing = names.map((name) => COMPONENTS[name]);
const packages = missing.flatMap((component) => ('extracted' in component ? [] : component.debianPackages));
const programs = missing.flatMap((component) => ('extracted' in component ? [component] : []));
const wanted = [...packages, ...programs.map(({ extracted }) => extracted.place)].join(' ');
const plan = planSetup({
  isMissing: missing.length > 0,
  isDebian: findProgram('apt-get') !== undefined,
  isRoot: process.getuid?.() === 0,
  isCi: process.env['CI'] === 'true',
  isTerminal: process.stdin.isTTY && process.stdout.isTTY,
  setting: process.env['AZAION_SETUP'],
});

/** A failed installation is no failure here: the suites say what they miss, and fail in CI. */
async function install(): Promise<void> {
  console.log(`Installing what the tests need: ${wanted}`);
  if (!hasPackageLists()) aptGet(['update']);
  const arguments_ = ['install', '-y', '--no-install-recommends', ...packages];
  // Lists that are there may be too old for what the mirror still has.
  if (packages.length > 0 && !aptGet(arguments_) && !(aptGet(['update']) && aptGet(arguments_)))
    tell('The installation failed.');
  for (const { debianPackages, extracted } of programs)
    await takeDebianProgram({ packageName: debianPackages[0], path: extracted.path }, extracted.place).catch(
      (error: unknown) => tell(`The installation failed: ${String(error)}`),
    );
}

function aptGet(arguments_: readonly string[]): boolean {
  const { status } = spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=600', ...arguments_], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
}

function hasPackageLists(): boolean {
  return readdirSync('/var/lib/apt/lists').some((name) => name.includes('_Packages'));
}

async function ask(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await terminal.question(`The tests need ${wanted}. Install them now? [Y/n] `);
  terminal.close();
  return !/^\s*n/i.test(answer);
}

function tell(reason: string): void {
  console.log(`${reason} Suites that need these components will be skipped (in CI they fail):`);
  for (const name of names) console.log(`  ${COMPONENTS[name].purpose}: as root, ${installHint(name)}`);
}

if (plan === 'install' || (plan === 'ask' && (await ask()))) await install();
else if (plan !== 'nothing') tell('Some components are missing.');
