// What `npm run test:mutation` adds to Stryker.
import { hash } from 'node:crypto';

/** Below 1 for every mutant, evenly spread, the same for the same seed and mutant as long as its place in the file is the same. */
function lot(seed, { fileName, location: { start, end }, mutatorName, replacement }) {
  const file = fileName.slice(fileName.lastIndexOf('/libs/'));
  const mutant = [seed, file, start.line, start.column, end.line, end.column, mutatorName, replacement];
  return Number.parseInt(hash('sha256', JSON.stringify(mutant)).slice(0, 12), 16) / 2 ** 48;
}

/** Lets a sample of the mutants through. Those left out count as invalid, so that every figure is that of the sample. */
class SamplingChecker {
  static inject = ['options'];

  constructor({ sample }) {
    this.sample = sample;
  }

  async init() {}

  async check(mutants) {
    const { percent, seed } = this.sample;
    const verdict = (mutant) =>
      lot(seed, mutant) * 100 < percent
        ? { status: 'passed' }
        : { status: 'compileError', reason: 'not in the sample' };
    return Object.fromEntries(mutants.map((mutant) => [mutant.id, verdict(mutant)]));
  }
}

/** Tells of a mutant that was not noticed at once: a run takes hours, and one that is cut off has said what it found. */
class UnnoticedReporter {
  onMutantTested({ status, mutatorName, fileName, location: { start }, replacement }) {
    if (status !== 'Survived' && status !== 'Timeout' && status !== 'NoCoverage') return;
    console.log(
      `${status} ${mutatorName} ${fileName}:${start.line}:${start.column} => ${replacement.replaceAll(/\s+/g, ' ')}`,
    );
  }
}

export const strykerPlugins = [
  { kind: 'Checker', name: 'sample', injectableClass: SamplingChecker },
  { kind: 'Reporter', name: 'unnoticed', injectableClass: UnnoticedReporter },
];

export const strykerValidationSchema = {
  properties: {
    sample: {
      type: 'object',
      properties: { percent: { type: 'number' }, seed: { type: 'number' } },
      required: ['percent', 'seed'],
      additionalProperties: false,
    },
  },
};
