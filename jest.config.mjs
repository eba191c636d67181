/** All projects at once: `npm run test:unit`. End-to-end suites (`*.e2e.ts`) have their own projects and commands. */
export default {
  projects: ['<rootDir>/libs/*/jest.config.mjs', '<rootDir>/apps/*/jest.config.mjs', '<rootDir>/tools/jest.config.mjs'],
};
