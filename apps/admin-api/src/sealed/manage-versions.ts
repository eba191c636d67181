import { signStatement } from '@azaion/crypto';
import type { ResourceName } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import type { Selectable } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import { AdminError } from '../errors.js';
import type { StatementAuthority } from '../keys/statement-authority.js';
import type { TrustedStatements } from '../keys/trusted-statements.js';
import type { Database, Queries } from '../persistence/database.js';
import type { VersionsTable } from '../persistence/schema.js';
import { actorOf, type Standing } from './current-standing.js';

type Version = Selectable<VersionsTable>;

interface Chosen {
  readonly version: Version;
  readonly pinned: number | null;
}

/** What administrators decide about committed versions. Each decision holds from the next request on and is audited. */
export class ManageVersions {
  constructor(
    private readonly database: Database,
    private readonly authority: StatementAuthority,
    private readonly statements: TrustedStatements,
    private readonly audit: AuditLog,
  ) {}

  /**
   * Gives a version that a device published for itself to the fleet: the same version, its statement signed anew. A repeat changes nothing.
   *
   * @throws ResourceError `resource.not-found`; AdminError `version.withdrawn`; CryptoError `statement.invalid` when the kept statement is not this API's.
   */
  async promote(resource: ResourceName, number: number, standing: Standing): Promise<void> {
    await this.decide(resource, number, standing, 'version.promoted', async (on, { version }) => {
      if (version.state === 'withdrawn') throw withdrawn();
      if (version.scope === 'fleet') return false;
      // By any key of this API's: a run that signs anew after a stolen key may not have come to it.
      const statement = await this.statements.checked(version, on);
      const signing = await this.authority.signingKey(on);
      await update(on, version, {
        scope: 'fleet',
        statement: await signStatement({ ...statement, scope: 'fleet' }, signing),
      });
      return true;
    });
  }

  /**
   * Ends all grants of a version, for good: what no other version needs of it is deleted after a while. A repeat changes nothing.
   *
   * @throws ResourceError `resource.not-found`; AdminError `version.pinned`.
   */
  async withdraw(resource: ResourceName, number: number, standing: Standing): Promise<void> {
    await this.decide(resource, number, standing, 'version.withdrawn', async (on, { version, pinned }) => {
      if (version.state === 'withdrawn') return false;
      if (pinned === number)
        throw new AdminError('version.pinned', 'The resource is pinned to this version: take the pin away first.');
      await update(on, version, { state: 'withdrawn' });
      return true;
    });
  }

  /**
   * Requests without a version get this one until the pin is taken away, also on devices that have used a newer one.
   *
   * @throws ResourceError `resource.not-found`; AdminError `version.withdrawn` | `version.device-scope`.
   */
  async pin(resource: ResourceName, number: number, standing: Standing): Promise<void> {
    await this.decide(resource, number, standing, 'version.pinned', async (on, { version, pinned }) => {
      if (version.state === 'withdrawn') throw withdrawn();
      if (version.scope !== 'fleet')
        throw new AdminError('version.device-scope', 'A device published this version for itself: promote it first.');
      if (pinned === number) return false;
      await setPin(on, version.resource_id, number);
      return true;
    });
  }

  /** Takes a pin away; requests without a version get the newest again. A repeat changes nothing. @throws ResourceError `resource.not-found`. */
  async unpin({ folder, name }: ResourceName, standing: Standing): Promise<void> {
    await this.database.transaction(async (on) => {
      const resource = await locked(on, { folder, name });
      if (resource.pinned_version === null) return;
      await setPin(on, resource.id, null);
      await this.audit.record(on, {
        event: 'version.unpinned',
        actor: actorOf(standing),
        subject: `${folder}/${name}`,
        details: { version: resource.pinned_version },
      });
    });
  }

  /** @param change - Under the lock under which versions are committed. Returns whether it changed anything. */
  private async decide(
    resource: ResourceName,
    number: number,
    standing: Standing,
    event: string,
    change: (on: Queries, chosen: Chosen) => Promise<boolean>,
  ): Promise<void> {
    await this.database.transaction(async (on) => {
      const { id, pinned_version: pinned } = await locked(on, resource);
      const version = await on
        .selectFrom('versions')
        .selectAll()
        .where('resource_id', '=', id)
        .where('version', '=', number)
        .forUpdate()
        .executeTakeFirst();
      if (!version) throw notFound();
      if (!(await change(on, { version, pinned }))) return;
      await this.audit.record(on, {
        event,
        actor: actorOf(standing),
        subject: `${resource.folder}/${resource.name}`,
        details: { version: number },
      });
    });
  }
}

async function locked(
  on: Queries,
  { folder, name }: ResourceName,
): Promise<{ readonly id: string; readonly pinned_version: number | null }> {
  const resource = await on
    .selectFrom('resources')
    .innerJoin('folders', 'folders.id', 'resources.folder_id')
    .select(['resources.id', 'resources.pinned_version'])
    .where('folders.name', '=', folder)
    .where('resources.name', '=', name)
    .forNoKeyUpdate('resources') // whoever only refers to it goes on
    .executeTakeFirst();
  if (!resource) throw notFound();
  return resource;
}

async function setPin(on: Queries, resourceId: string, version: number | null): Promise<void> {
  await on.updateTable('resources').set({ pinned_version: version }).where('id', '=', resourceId).execute();
}

async function update(
  on: Queries,
  { resource_id: resourceId, version }: Version,
  values: { readonly scope?: string; readonly statement?: string; readonly state?: Version['state'] },
): Promise<void> {
  await on
    .updateTable('versions')
    .set(values)
    .where('resource_id', '=', resourceId)
    .where('version', '=', version)
    .execute();
}

function notFound(): ResourceError {
  return new ResourceError('resource.not-found', 'There is no such resource or version.');
}

function withdrawn(): AdminError {
  return new AdminError('version.withdrawn', 'This version has been withdrawn: publish its content again.');
}
