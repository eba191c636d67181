import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'identity', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
