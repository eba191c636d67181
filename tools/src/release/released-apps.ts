/** How an app is delivered. */
export interface ReleasedApp {
  /** Modules that the app starts by their file name, beside its `main.js`: worker threads. Paths from the workspace's root, without `.js`. */
  readonly workers: readonly string[];
  /** Files and directories of the app that are delivered as they are. */
  readonly files: readonly string[];
  /** Packages that cannot be bundled: native code, and files that are served. They are installed beside the bundle. */
  readonly packages: readonly string[];
  /** Commands that the package brings along. */
  readonly bin?: Readonly<Record<string, string>>;
}

const CHUNK_WORKER = 'libs/adapters/dist/chunk-workers/chunk-worker';
const DECIPHER_WORKER = 'libs/adapters/dist/legacy-files/decipher-worker';

/** Every app that leaves this workspace. */
export const RELEASED_APPS = {
  'admin-api': { workers: [], files: [], packages: ['@node-rs/argon2', 'swagger-ui-dist'] },
  cli: { workers: [CHUNK_WORKER, DECIPHER_WORKER], files: ['bin'], packages: [], bin: { azaion: 'bin/azaion.js' } },
  loader: { workers: [CHUNK_WORKER], files: ['public'], packages: ['swagger-ui-dist'] },
} as const satisfies Readonly<Record<string, ReleasedApp>>;

/** The name of an app that is delivered. */
export type ReleasedAppName = keyof typeof RELEASED_APPS;

/** Whether an app of this name is delivered. */
export function isReleasedApp(name: string): name is ReleasedAppName {
  return Object.hasOwn(RELEASED_APPS, name);
}
