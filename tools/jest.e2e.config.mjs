import preset from '../jest.preset.mjs';

/** Suites against the built services and real components: `npm test` builds and runs them last. */
export default { ...preset, displayName: 'e2e', rootDir: 'src/e2e', testMatch: ['**/*.e2e.ts'], testTimeout: 300_000 };
