import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'crypto', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
