import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'adapters', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
