import preset from '../jest.preset.mjs';

/** Suites that kill built services at random moments: `npm run test:crash`, apart from `npm test` because they take long. */
export default {
  ...preset,
  displayName: 'crash',
  rootDir: 'src/crash',
  testMatch: ['**/*.crash.ts'],
  testTimeout: 6 * 60 * 60_000,
};
