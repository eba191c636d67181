import all from '../jest.config.mjs';

/** Libraries of the domain. */
const LIBRARIES = ['kernel', 'crypto', 'identity', 'split-resource', 'unlock'];
/** Of each library by itself. */
const LEAST_PERCENT = { lines: 95, branches: 95 };

/** How much of the domain the unit and contract suites of the whole workspace run: `npm run test:coverage`. */
export default {
  ...all,
  rootDir: '..',
  collectCoverage: true,
  coverageProvider: 'v8',
  coverageDirectory: '<rootDir>/coverage',
  coverageReporters: ['text', 'json-summary'],
  collectCoverageFrom: LIBRARIES.flatMap((name) => [
    `<rootDir>/libs/${name}/src/**/*.ts`,
    `!<rootDir>/libs/${name}/src/**/*.spec.ts`,
    `!<rootDir>/libs/${name}/src/**/index.ts`,
    `!<rootDir>/libs/${name}/src/testing/**`,
  ]),
  coverageThreshold: Object.fromEntries(LIBRARIES.map((name) => [`./libs/${name}/`, LEAST_PERCENT])),
};
