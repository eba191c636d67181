import { isBuiltin } from 'node:module';
import { pathToFileURL } from 'node:url';

import type { Plugin } from 'esbuild';

const NAMESPACE = 'commonjs-names';
/** Marks what this plugin asks itself. */
const OWN_QUESTION = { plugin: NAMESPACE };
/** What Node 23 and newer put among the names of a CommonJS module, and of no other. */
const COMMONJS_MARK = 'module.exports';

/**
 * Gives `import('package')` of a CommonJS package in a bundle the same names that Node gives it outside of one: esbuild knows the default export alone.
 * The packages are loaded to learn their names.
 */
export const commonjsNames: Plugin = {
  name: NAMESPACE,
  setup(build) {
    build.onResolve({ filter: /^[^.]/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (kind !== 'dynamic-import' || pluginData === OWN_QUESTION || isBuiltin(path)) return undefined;
      const question = { kind, importer, resolveDir, pluginData: OWN_QUESTION };
      const found = await build.resolve(path, question);
      if (found.errors.length > 0 || found.external) return undefined;
      // Some packages bring modules that only bundlers understand: outside of a bundle nobody gets those.
      const module: unknown = await import(pathToFileURL(found.path).href).catch(() => ({}));
      const names = Object.keys(module as object);
      if (!names.includes(COMMONJS_MARK)) return undefined;
      return {
        path: found.path,
        namespace: NAMESPACE,
        pluginData: names.filter((name) => name !== 'default' && name !== COMMONJS_MARK),
      };
    });
    build.onLoad({ filter: /.*/, namespace: NAMESPACE }, ({ path, pluginData }) => {
      const names = (pluginData as readonly string[]).join(', ');
      return {
        contents: `const whole = require(${JSON.stringify(path)});\nexport default whole;\nexport const { ${names} } = whole;\n`,
        resolveDir: build.initialOptions.absWorkingDir ?? '.',
      };
    });
  },
};
