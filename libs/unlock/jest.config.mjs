import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'unlock', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
