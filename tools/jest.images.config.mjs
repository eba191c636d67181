import preset from '../jest.preset.mjs';

/** Suites that build and run the container images: `npm run test:images`, apart from `npm test` because they take long. */
export default {
  ...preset,
  displayName: 'images',
  rootDir: 'src/images',
  testMatch: ['**/*.images.ts'],
  testTimeout: 60 * 60_000,
};
