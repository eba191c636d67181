import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { WORKSPACE } from '../started-service.js';

/** Units of Debian that would change this machine's kernel, or wait for devices that a container does not have. */
const MASKED = [
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'getty.target',
  'proc-sys-fs-binfmt_misc.automount',
  'sys-fs-fuse-connections.mount',
  'sys-kernel-config.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'systemd-logind.service',
  'systemd-modules-load.service',
  'systemd-network-generator.service',
  'systemd-remount-fs.service',
  'systemd-sysctl.service',
  'systemd-timesyncd.service',
];

/**
 * Makes the image of a Debian with systemd as process 1 and the Loader installed as `docs/reference/delivery.md` says: the release in
 * `/opt/azaion/loader`, a user `azaion` in the groups `docker` and `tss`, and the unit, enabled.
 *
 * @param docker - Runs the Docker CLI against the engine that gets the image.
 * @param base - A Debian image with Node and its package sources.
 * @param loader - The image of the Loader, whose release is taken.
 * @param dockerGroup - Number of the group that may speak to the engine.
 * @returns Its name.
 */
export async function makeSystemdMachine(
  docker: (...args: string[]) => Promise<string>,
  directory: string,
  { base, loader, dockerGroup }: { readonly base: string; readonly loader: string; readonly dockerGroup: number },
): Promise<string> {
  const context = join(directory, 'systemd');
  await mkdir(context);
  await cp(join(WORKSPACE, 'deploy', 'systemd', 'azaion-loader.service'), join(context, 'azaion-loader.service'));
  await writeFile(
    join(context, 'Dockerfile'),
    [
      `FROM ${loader} AS loader`,
      `FROM ${base}`,
      'RUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv && rm -rf /var/lib/apt/lists/*',
      `RUN ln -s /usr/local/bin/node /usr/bin/node && (getent group ${dockerGroup} || groupadd --gid ${dockerGroup} docker) \\`,
      ' && (getent group docker || groupadd --non-unique --gid ' +
        String(dockerGroup) +
        ' docker) && groupadd --system tss \\',
      ' && useradd --system --user-group --uid 65532 azaion && mkdir /etc/azaion',
      'COPY --from=loader /usr/local/bin/docker /usr/local/bin/',
      'COPY --from=loader /app /opt/azaion/loader',
      'COPY azaion-loader.service /etc/systemd/system/',
      `RUN systemctl enable azaion-loader.service && systemctl mask ${MASKED.join(' ')}`,
      'ENV container=docker',
      'STOPSIGNAL SIGRTMIN+3',
      'ENTRYPOINT ["/sbin/init"]',
      '',
    ].join('\n'),
  );
  await docker('build', '--network', 'host', '--tag', 'azaion-systemd:local', context);
  return 'azaion-systemd:local';
}
