import { isBuiltin } from 'node:module';
import { basename, join } from 'node:path';

import { build, type Metafile } from 'esbuild';

import { commonjsNames } from './commonjs-names.js';
import type { ReleasedApp } from './released-apps.js';

/**
 * Packages that libraries ask for and do without: nothing of them is installed, and what is started from the bundle meets the same absence as what is
 * started from the workspace.
 */
const ABSENT = [
  '@fastify/view',
  '@nestjs/microservices',
  '@nestjs/microservices/*',
  '@nestjs/platform-express',
  '@nestjs/websockets/*',
  'macos-temperature-sensor',
  'osx-temperature-sensor',
  'pg-native',
];

/** What CommonJS modules find around themselves, made for a bundle that is one ES module. */
const COMMONJS_SURROUNDINGS = [
  'import{createRequire as __azaionRequire}from"node:module";',
  'const require=__azaionRequire(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname;',
].join('');

/** A bundle that was written. */
export interface Bundle {
  /** Of all its files together. */
  readonly sizeBytes: number;
  /** Files of the workspace that it holds code of, relative to the root. */
  readonly inputs: readonly string[];
}

/**
 * Bundles what the compiler made of an app, with its packages, into `DIRECTORY/dist`: minified, without sources, maps or comments. Names of classes and
 * functions stay, because the framework and the API description go by them. The same input gives the same bytes.
 *
 * @throws Error when something cannot be resolved that is neither installed beside the bundle nor known to be absent.
 */
export async function bundleApp(workspace: string, name: string, app: ReleasedApp, directory: string): Promise<Bundle> {
  const { metafile, warnings } = await build({
    absWorkingDir: workspace,
    entryPoints: [
      { in: join('apps', name, 'dist', 'main.js'), out: 'main' },
      ...app.workers.map((path) => ({ in: `${path}.js`, out: basename(path) })),
    ],
    outdir: join(directory, 'dist'),
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    minify: true,
    keepNames: true,
    legalComments: 'none', // the licences are collected apart
    tsconfigRaw: '{}',
    external: [...ABSENT, ...app.packages],
    plugins: [commonjsNames],
    banner: { js: COMMONJS_SURROUNDINGS },
    metafile: true,
    logLevel: 'silent',
  });
  const [warning] = warnings;
  if (warning !== undefined) throw new Error(`${warning.location?.file ?? name}: ${warning.text}`);
  const outputs = Object.values(metafile.outputs);
  refuseStrangers(outputs, app);
  return {
    sizeBytes: outputs.reduce((sum, { bytes }) => sum + bytes, 0),
    // What a plugin made stands for a file that is among them itself.
    inputs: [...new Set(outputs.flatMap(codeIn))].filter((path) => !/^[a-z-]+:/.test(path)).sort(),
  };
}

function codeIn({ inputs }: Metafile['outputs'][string]): string[] {
  return Object.keys(inputs).filter((path) => (inputs[path]?.bytesInOutput ?? 0) > 0);
}

/** What is neither in the bundle nor beside it must be known to be absent, or it is missed on the device. */
function refuseStrangers(outputs: readonly Metafile['outputs'][string][], app: ReleasedApp): void {
  const known = [...ABSENT.map((pattern) => pattern.replace(/\/\*$/, '')), ...app.packages];
  for (const { path, external } of outputs.flatMap(({ imports }) => imports))
    if (external === true && !isBuiltin(path) && !known.some((name) => path === name || path.startsWith(`${name}/`)))
      throw new Error(`"${path}" is imported, but neither bundled nor installed beside the bundle.`);
}
