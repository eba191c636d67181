import nx from '@nx/eslint-plugin';
import jsdoc from 'eslint-plugin-jsdoc';
import tsdoc from 'eslint-plugin-tsdoc';
import tseslint from 'typescript-eslint';

/** The dependency rule of docs/architecture.md. Specs may also import the testing layer and a lib's own `/testing` entry point. */
const layers = [
  { sourceTag: 'layer:kernel', onlyDependOnLibsWithTags: ['layer:kernel'] },
  {
    sourceTag: 'layer:domain',
    onlyDependOnLibsWithTags: ['layer:kernel', 'layer:domain'],
    bannedExternalImports: [
      '@nestjs/*',
      '@aws-sdk/*',
      'undici',
      'fastify',
      'kysely',
      'pg',
      'tar-stream',
      'systeminformation',
    ],
  },
  {
    sourceTag: 'layer:adapter',
    onlyDependOnLibsWithTags: ['layer:kernel', 'layer:domain'],
    bannedExternalImports: ['@nestjs/*'],
  },
  {
    sourceTag: 'layer:framework',
    onlyDependOnLibsWithTags: ['layer:kernel', 'layer:domain'],
    bannedExternalImports: ['@aws-sdk/*'],
  },
  { sourceTag: 'layer:testing', onlyDependOnLibsWithTags: ['layer:kernel'] },
  {
    sourceTag: 'layer:app',
    onlyDependOnLibsWithTags: ['layer:kernel', 'layer:domain', 'layer:adapter', 'layer:framework', 'layer:testing'],
  },
];
const layersForSpecs = layers.map((layer) => ({
  sourceTag: layer.sourceTag,
  onlyDependOnLibsWithTags: [...layer.onlyDependOnLibsWithTags, 'layer:testing'],
}));
const boundaries = (depConstraints) => [
  'error',
  { enforceBuildableLibDependency: false, banTransitiveDependencies: false, allow: [], depConstraints },
];
const specs = [
  '**/*.spec.ts',
  '**/*.e2e.ts',
  '**/*.crash.ts',
  '**/*.images.ts',
  '**/*.pipeline.ts',
  '**/*.docs.ts',
  '**/testing/**/*.ts',
];

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/dist-spec/**',
      '**/coverage/**',
      '**/generated/**',
      'release/**',
      '.nx/**',
      '.stryker-tmp/**',
      '.azaion/**',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { '@nx': nx, tsdoc, jsdoc },
    rules: {
      '@nx/enforce-module-boundaries': boundaries(layers),
      'tsdoc/syntax': 'error',
      'jsdoc/require-jsdoc': [
        'error',
        {
          publicOnly: true,
          require: {
            ClassDeclaration: true,
            FunctionDeclaration: true,
            MethodDefinition: false,
            ArrowFunctionExpression: true,
          },
          contexts: [
            'TSInterfaceDeclaration',
            'TSTypeAliasDeclaration',
            'ExportNamedDeclaration > VariableDeclaration',
          ],
        },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      // "import { type A } from 'b'" loads b, for nothing: a thread that opens chunks began three times as slowly.
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportAllDeclaration', message: 'Enumerate what a lib exports.' },
        {
          selector: "CallExpression[callee.object.name='jest'][callee.property.name='mock']",
          message: 'Use a working in-memory adapter instead.',
        },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'class-validator', importNames: ['IsOptional'], message: 'It lets null through: use Optional.' },
          ],
        },
      ],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['libs/{kernel,crypto,split-resource,unlock,identity}/src/**/*.ts'],
    ignores: specs,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: [
                'node:*',
                '!node:crypto',
                '!node:stream',
                '!node:stream/promises',
                '!node:zlib',
                '!node:buffer',
                '!node:util',
                '!node:events',
              ],
              message: 'Domain code does no I/O: put it behind a port.',
            },
          ],
        },
      ],
    },
  },
  {
    files: specs,
    rules: {
      '@nx/enforce-module-boundaries': boundaries(layersForSpecs),
      '@typescript-eslint/no-non-null-assertion': 'off',
      'jsdoc/require-jsdoc': 'off',
    },
  },
  // What prints: the CLI and the tools talk to a person.
  { files: ['apps/cli/**/*.ts', 'tools/**/*.ts'], rules: { 'no-console': 'off' } },
  // Nest constructor injection needs value imports: emitDecoratorMetadata reads them at run time.
  {
    files: ['apps/{loader,admin-api}/**/*.ts', 'libs/nest-support/**/*.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'off' },
  },
);
