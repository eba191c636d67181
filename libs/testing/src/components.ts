import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A real program that suites talk to: what it needs, and where it comes from. */
interface Component {
  readonly purpose: string;
  readonly programs: readonly string[];
  readonly debianPackages: readonly string[];
  readonly needsRoot: boolean;
  /** Debian 12 does not have the package: of 13's, this one file is enough, and is put there. */
  readonly extracted?: { readonly path: string; readonly place: string };
  /** Only `npm run test:images` asks for it: `npm test` does without, and does not install it. */
  readonly forImages?: boolean;
}

/** Everything that suites may ask for beyond npm packages. */
export const COMPONENTS = {
  ceph: {
    purpose: 'S3 object store (Ceph RADOS gateway)',
    programs: ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'ceph-authtool', 'monmaptool'],
    debianPackages: ['ceph-mon', 'ceph-osd', 'radosgw', 'ceph-common'],
    needsRoot: false,
  },
  docker: {
    purpose: 'Docker engine',
    programs: ['dockerd', 'docker', 'containerd', 'runc'],
    debianPackages: ['docker.io'],
    needsRoot: true,
  },
  podman: {
    purpose: 'Podman, a container engine without a daemon',
    programs: ['podman'],
    debianPackages: ['podman'],
    needsRoot: true,
  },
  compose: {
    purpose: 'Docker Compose',
    programs: ['docker-compose'],
    debianPackages: ['docker-compose'],
    needsRoot: true,
  },
  composePlugin: {
    purpose: 'Docker Compose 2, a plugin of the Docker CLI',
    programs: ['cli-plugins/docker-compose'],
    debianPackages: ['docker-compose'],
    needsRoot: true,
    extracted: {
      path: 'usr/libexec/docker/cli-plugins/docker-compose',
      place: '/usr/local/libexec/docker/cli-plugins/docker-compose',
    },
  },
  busybox: {
    purpose: 'a small program to make images from',
    programs: ['busybox'],
    debianPackages: ['busybox-static'],
    needsRoot: false,
  },
  postgresql: {
    purpose: 'PostgreSQL server and its client programs',
    programs: ['postgres', 'initdb', 'pg_isready', 'pg_dump', 'pg_restore', 'psql', 'createdb'],
    debianPackages: ['postgresql'],
    needsRoot: false,
  },
  tpm: {
    purpose: 'TPM 2.0 in software, and the programs that speak to it',
    programs: ['swtpm', 'swtpm_setup', 'swtpm_ioctl', 'tpm2'],
    debianPackages: ['swtpm', 'swtpm-tools', 'tpm2-tools'],
    needsRoot: false,
  },
  browser: {
    purpose: 'a browser',
    programs: ['chromium'],
    debianPackages: ['chromium'],
    needsRoot: false,
  },
  shells: {
    purpose: 'the shells zsh and fish',
    programs: ['zsh', 'fish'],
    debianPackages: ['zsh', 'fish'],
    needsRoot: false,
  },
  faketime: {
    purpose: 'a wrong clock for one process',
    programs: ['faketime'],
    debianPackages: ['faketime'],
    needsRoot: false,
  },
  disk: {
    purpose: 'a small disk, in memory',
    programs: ['mount', 'umount'],
    debianPackages: ['mount'],
    needsRoot: true,
  },
  systemd: {
    purpose: 'the analysis of systemd units',
    programs: ['systemd-analyze'],
    debianPackages: ['systemd'],
    needsRoot: false,
  },
  debootstrap: {
    purpose: 'the maker of Debian root file systems',
    programs: ['debootstrap'],
    debianPackages: ['debootstrap'],
    needsRoot: true,
    forImages: true,
  },
  emulator: {
    purpose: 'QEMU, which runs programs of another processor',
    programs: ['qemu-aarch64-static', 'qemu-x86_64-static'],
    debianPackages: ['qemu-user-static'],
    needsRoot: true,
    forImages: true,
  },
  registry: {
    purpose: 'a container registry, and the maker of its password file',
    programs: ['docker-registry', 'htpasswd'],
    debianPackages: ['docker-registry', 'apache2-utils'],
    needsRoot: false,
    forImages: true,
  },
  kustomize: {
    purpose: 'kubectl with kustomize 5',
    programs: ['kubectl'],
    debianPackages: ['kubectl'],
    needsRoot: false,
    extracted: { path: 'usr/bin/kubectl', place: '/usr/local/bin/kubectl' },
    forImages: true,
  },
  buildx: {
    purpose: 'buildx, a plugin of the Docker CLI that builds for several processors at once',
    programs: ['cli-plugins/docker-buildx'],
    debianPackages: ['docker-buildx'],
    needsRoot: true,
    extracted: {
      path: 'usr/libexec/docker/cli-plugins/docker-buildx',
      place: '/usr/local/libexec/docker/cli-plugins/docker-buildx',
    },
    forImages: true,
  },
  platformsEngine: {
    purpose: 'a Docker engine that keeps images of several processors under one name',
    programs: ['engine-13/dockerd'],
    debianPackages: ['docker.io'],
    needsRoot: true,
    // Not where programs are looked for: all other suites go on with the engine of this machine's Debian.
    extracted: { path: 'usr/sbin/dockerd', place: '/usr/local/libexec/docker/engine-13/dockerd' },
    forImages: true,
  },
} as const satisfies Record<string, Component>;

const POSTGRES_RELEASES = '/usr/lib/postgresql';
/** Where the Docker CLI looks for plugins. */
const DOCKER_DIRECTORIES = [
  '/usr/local/lib/docker',
  '/usr/local/libexec/docker',
  '/usr/lib/docker',
  '/usr/libexec/docker',
];

/** One of the real components. */
export type ComponentName = keyof typeof COMPONENTS;

/** The two kinds of compose: the words that call each, and the component. */
export const COMPOSES = [
  ['docker-compose', 'compose'],
  ['docker compose', 'composePlugin'],
] as const satisfies readonly (readonly [string, ComponentName])[];

/** Why a component cannot be used here and how that is mended, in one sentence; `undefined` when it can be used. */
export function whyUnavailable(name: ComponentName): string | undefined {
  const component: Component = COMPONENTS[name];
  if (name === 'ceph' && process.env['S3_TEST_ENDPOINT'] !== undefined) return undefined;
  const missing = component.programs.filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) {
    return `${component.purpose}: ${missing.join(', ')} not found; ${installHint(name)} (or npm run setup as root)`;
  }
  if (component.needsRoot && process.getuid?.() !== 0) return `${component.purpose}: needs root; run the tests as root`;
  return undefined;
}

/** How a component is installed, as a sentence may go on. */
export function installHint(name: ComponentName): string {
  const { debianPackages, extracted }: Component = COMPONENTS[name];
  return `on Debian${extracted === undefined ? '' : ' 13'}: apt-get install ${debianPackages.join(' ')}`;
}

/**
 * The path of a program, searched in `PATH`, in the system's administration directories, which an ordinary user's
 * `PATH` may lack, where Debian keeps the releases of PostgreSQL, and as `cli-plugins/…` where the Docker CLI has its plugins.
 */
export function findProgram(program: string): string | undefined {
  const directories = [
    ...postgresDirectories(), // before PATH: Debian's wrappers there choose a release by themselves
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/sbin',
    '/sbin',
    ...DOCKER_DIRECTORIES,
  ];
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

/** The newest release first. */
function postgresDirectories(): readonly string[] {
  try {
    const releases = readdirSync(POSTGRES_RELEASES).filter((name) => /^\d+$/.test(name));
    return releases
      .toSorted((one, other) => Number(other) - Number(one))
      .map((release) => join(POSTGRES_RELEASES, release, 'bin'));
  } catch {
    return [];
  }
}

/** What a test runner puts into the global scope; this lib is also used where there is none. */
interface TestRunner {
  readonly describe: ((title: string, body: () => void) => void) & { skip(title: string, body: () => void): void };
  readonly it: (title: string, body: () => void) => void;
}

/**
 * A `describe` for suites that need real components. Where one is missing, the suite is registered as skipped under a
 * title that says what is missing and how to get it; with `CI=true`, where nothing may be skipped, it fails instead.
 */
export function describeWith(needs: ComponentName | readonly ComponentName[], title: string, body: () => void): void {
  const { describe, it } = globalThis as unknown as TestRunner;
  const names: readonly ComponentName[] = typeof needs === 'string' ? [needs] : needs;
  const reasons = names.flatMap((name) => whyUnavailable(name) ?? []);
  if (reasons.length === 0) {
    describe(title, body);
  } else if (process.env['CI'] === 'true') {
    describe(title, () => {
      it('has the components that it needs', () => {
        throw new Error(reasons.join('\n'));
      });
    });
  } else {
    describe.skip(`${title} [skipped: ${reasons.join('; ')}]`, body);
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
