import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { COMPONENTS, findProgram } from '@azaion/testing';
import { missingComponents, planSetup } from './setup/set-up.js';

// `--images`: also what only the suites of the container images need.
const missing = missingComponents(process.argv.includes('--images')).map((name) => COMPONENTS[name]);
const packages = missing.flatMap(({ debianPackages }) => debianPackages);
const plan = planSetup({
  missingPackages: packages,
  isDebian: findProgram('apt-get') !== undefined,
  isRoot: process.getuid?.() === 0,
  isCi: process.env['CI'] === 'true',
  isTerminal: process.stdin.isTTY && process.stdout.isTTY,
  setting: process.env['AZAION_SETUP'],
});

/** A failed installation is no failure here: the suites say what they miss, and fail in CI. */
function install(): void {
  console.log(`Installing what the tests need: ${packages.join(' ')}`);
  if (!hasPackageLists()) aptGet(['update']);
  const arguments_ = ['install', '-y', '--no-install-recommends', ...packages];
  // Lists that are there may be too old for what the mirror still has.
  if (!aptGet(arguments_) && !(aptGet(['update']) && aptGet(arguments_))) tell('The installation failed.');
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
  const answer = await terminal.question(`The tests need ${packages.join(' ')}. Install them now? [Y/n] `);
  terminal.close();
  return !/^\s*n/i.test(answer);
}

function tell(reason: string): void {
  console.log(`${reason} Suites that need these components will be skipped (in CI they fail):`);
  for (const { purpose, debianPackages } of missing) {
    console.log(`  ${purpose}: on Debian as root: apt-get install ${debianPackages.join(' ')}`);
  }
}

if (plan === 'install' || (plan === 'ask' && (await ask()))) install();
else if (plan !== 'nothing') tell('Some components are missing.');
