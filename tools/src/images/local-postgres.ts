import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Makes the database at the first start and serves it: as much of the official image's contract as the compose file uses. */
const ENTRYPOINT = `#!/bin/sh
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/cluster
if [ ! -e "$data/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  "$bin/initdb" --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
  echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
  echo "create database $POSTGRES_DB" | "$bin/postgres" --single -D "$data" postgres
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*'
`;

/**
 * Makes an image of PostgreSQL from Debian's package, where no registry has the official one.
 *
 * @param docker - Runs the Docker CLI against the engine that gets the image.
 * @param base - A Debian image with its package sources.
 * @returns Its name.
 */
export async function makeLocalPostgres(
  docker: (...args: string[]) => Promise<string>,
  directory: string,
  base: string,
): Promise<string> {
  const context = join(directory, 'postgres');
  await mkdir(context);
  await writeFile(join(context, 'entrypoint'), ENTRYPOINT, { mode: 0o755 });
  await writeFile(
    join(context, 'Dockerfile'),
    [
      `FROM ${base}`,
      'RUN apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*',
      'COPY entrypoint /',
      'USER postgres',
      'ENTRYPOINT ["/entrypoint"]',
      '',
    ].join('\n'),
  );
  await docker('build', '--network', 'host', '--tag', 'azaion-postgres:local', context);
  return 'azaion-postgres:local';
}
