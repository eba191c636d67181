import { appendFile, readdir, readFile } from 'node:fs/promises';

import { Dice, mutate } from './mutations.js';
import { type FuzzTarget, isDomainError } from './targets.js';

/** Where cases are kept that were findings once: a base64 line for each, in a file for each target. */
const CORPUS = new URL('../../fuzz-corpus/', import.meta.url);

/** A case that a reader neither read nor refused in its own way. */
export interface Finding {
  readonly target: string;
  readonly bytes: Buffer;
  readonly error: unknown;
}

/** Reads one case. @returns What is wrong with how it was read; `undefined` when nothing is. */
export async function tryCase(target: FuzzTarget, bytes: Buffer): Promise<Finding | undefined> {
  const refuses = target.refuses ?? isDomainError;
  try {
    await target.read(bytes);
    return undefined;
  } catch (error) {
    return refuses(error) ? undefined : { target: target.name, bytes, error };
  }
}

/**
 * Changes a target's seeds and its corpus again and again. The same seed number gives the same cases.
 *
 * @param begins - Told of each case before it is read.
 * @returns The first finding.
 */
export async function fuzzTarget(
  target: FuzzTarget,
  cases: number,
  seed: number,
  begins: (bytes: Buffer) => void = () => undefined,
): Promise<Finding | undefined> {
  const dice = new Dice(seed);
  const seeds = [...target.seeds, ...(await corpusOf(target.name))];
  for (let count = 0; count < cases; count += 1) {
    const bytes = mutate(seeds, dice);
    begins(bytes);
    const finding = await tryCase(target, bytes);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

/** The kept cases of a target. */
export async function corpusOf(name: string): Promise<Buffer[]> {
  const text = await readFile(new URL(`${name}.txt`, CORPUS), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Buffer.from(line, 'base64'));
}

/** Names of targets that cases are kept for. */
export async function corpusNames(): Promise<string[]> {
  return (await readdir(CORPUS)).map((name) => name.replace(/\.txt$/, ''));
}

/** Keeps a finding, so that it is tried in every run of the tests from now on. */
export async function keep({ target, bytes }: Pick<Finding, 'target' | 'bytes'>): Promise<void> {
  await appendFile(new URL(`${target}.txt`, CORPUS), `${bytes.toString('base64')}\n`);
}
