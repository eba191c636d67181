import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'admin-api', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
