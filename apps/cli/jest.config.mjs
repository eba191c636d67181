import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'cli', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
