import preset from '../jest.preset.mjs';

export default { ...preset, displayName: 'tools', rootDir: 'src', testMatch: ['**/*.spec.ts'] };
