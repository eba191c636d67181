/** What an image holds beside the product: of its base nothing but this, and what this needs. */
export interface ReleasedImage {
  /** Programs by their names. */
  readonly programs: readonly string[];
  /** Programs that are no commands, by their paths: plugins. */
  readonly plugins: readonly string[];
  /** Shared libraries that a program opens by itself, by their names. */
  readonly libraries: readonly string[];
}

/** What the package `systeminformation` asks a machine with, through a shell: the binding `hardware` goes by its answers. */
const HARDWARE_TOOLS = ['sh', 'cat', 'df', 'grep', 'head', 'ls', 'lsblk', 'lscpu', 'sed', 'uname'];

/** The content of each image, by its target in the Dockerfile. */
export const RELEASED_IMAGES = {
  // Kubernetes runs `sleep` before it ends a replica.
  'admin-api': { programs: ['node', 'sleep'], plugins: [], libraries: [] },
  loader: {
    programs: ['node', 'docker', 'tpm2', ...HARDWARE_TOOLS],
    plugins: ['/usr/local/libexec/docker/cli-plugins/docker-compose'],
    libraries: ['libtss2-tcti-device.so.0'],
  },
} as const satisfies Readonly<Record<string, ReleasedImage>>;

/** The name of an image that is delivered. */
export type ReleasedImageName = keyof typeof RELEASED_IMAGES;

/** Whether an image of this name is delivered. */
export function isReleasedImage(name: string): name is ReleasedImageName {
  return Object.hasOwn(RELEASED_IMAGES, name);
}
