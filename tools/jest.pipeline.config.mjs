import preset from '../jest.preset.mjs';

/** Runs the commands of the pipeline in a fresh clone: `npm run test:pipeline`, apart from `npm test` because they hold it. */
export default {
  ...preset,
  displayName: 'pipeline',
  rootDir: 'src/pipeline',
  testMatch: ['**/*.pipeline.ts'],
  testTimeout: 60 * 60_000,
};
