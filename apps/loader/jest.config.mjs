import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'loader', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
