import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'split-resource', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
