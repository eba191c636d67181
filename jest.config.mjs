import preset from './jest.preset.mjs';

/** All projects at once: `npm test`. End-to-end suites (`*.e2e.ts`) have a configuration of their own in `tools`. */
export default {
  projects: ['<rootDir>/libs/*/jest.config.mjs', '<rootDir>/apps/*/jest.config.mjs', '<rootDir>/tools/jest.config.mjs'],
  // Jest takes the time limit from here alone: a project's own counts only when that project is run by itself.
  testTimeout: preset.testTimeout,
};
