import preset from '../jest.preset.mjs';

/** Runs the commands of the documents: `npm run test:docs`, apart from `npm test` because there are many. */
export default {
  ...preset,
  displayName: 'docs',
  rootDir: 'src/docs-commands',
  testMatch: ['**/*.docs.ts'],
  testTimeout: 15 * 60_000,
};
