import preset from '../../jest.preset.mjs';

export default { ...preset, displayName: 'nest-support', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
