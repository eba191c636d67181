import { CryptoError, type KeyVault } from '@azaion/crypto';
import type { Clock } from '@azaion/kernel';
import {
  CheckContent,
  type CheckedChunk,
  type ObjectStore,
  rangeInObject,
  ResourceError,
} from '@azaion/split-resource';
import { type Selectable, sql, type Updateable } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import type { ChunkReportsTable, VersionsTable } from '../persistence/schema.js';
import { locatePack } from './pack-objects.js';
import { type RecipeVersion, StoredRecipes } from './stored-recipes.js';

/** How long a replica may be silent before another takes its version over. */
const CLAIM_MS = 2 * 60_000;
/** How often a claim is extended. */
const RENEW_MS = 20_000;
/** What a later release wrote is left to its replicas for so long: a rolling upgrade has both. */
const LATER_MS = 3600_000;
/** A bad version is looked at again: a store may have been restored. */
const BAD_AGAIN_MS = 24 * 3600_000;
const UNREADABLE = 'unreadable';
const SYSTEM = { id: 'system', address: '' };

type ClaimedVersion = RecipeVersion &
  Pick<Selectable<VersionsTable>, 'claimed_until' | 'verification'> & { readonly subject: string };
type ClaimedReport = Selectable<ChunkReportsTable>;

/** Somebody else has taken the work over: this replica was silent for too long. */
class ClaimLost extends Error {}

/** How the verifier paces itself. */
export interface VerifierPace {
  /** Called after every chunk; what it throws ends the work, which another claim takes up later. */
  readonly breathe?: () => Promise<void>;
}

/**
 * Reads what was committed from the object store, opens every chunk, and marks versions `verified` or `bad`, chunks good or not. Any
 * number of replicas may do it: each version is claimed by one at a time. Until it has passed a chunk, nobody but its publisher is offered
 * it for reuse. A check that is cut off begins anew: the hash of the whole cannot be continued from the middle. Source: docs/formats/sealed-resource.md, "Verifier".
 */
export class VerifyVersions {
  private readonly content: CheckContent;
  private readonly recipes: StoredRecipes;
  private reportsNext = true;

  constructor(
    private readonly database: Database,
    private readonly store: ObjectStore,
    vault: KeyVault,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {
    this.content = new CheckContent(store, (folderId, packId) => locatePack(database, folderId, packId));
    this.recipes = new StoredRecipes(vault);
  }

  /**
   * Does one piece of work: a chunk that a reader reported, or a version, in turns, so that neither keeps the other waiting.
   *
   * @returns Whether there was any.
   * @throws ResourceError `cdn.unavailable` | `resource.unsupported-format`, CryptoError `chunk.unsupported-codec`: the work is taken up again after a while.
   */
  async next(pace: VerifierPace = {}): Promise<boolean> {
    const kinds = [() => this.nextReport(), () => this.nextVersion(pace)];
    if (!this.reportsNext) kinds.reverse();
    this.reportsNext = !this.reportsNext;
    for (const work of kinds) if (await work()) return true;
    return false;
  }

  private async nextReport(): Promise<boolean> {
    const report = await this.claimReport();
    if (report !== undefined) await this.checkReport(report);
    return report !== undefined;
  }

  private async nextVersion(pace: VerifierPace): Promise<boolean> {
    const version = await this.claimVersion();
    if (version === undefined) return false;
    try {
      await this.checkVersion(version, pace);
    } catch (error) {
      if (!(error instanceof ClaimLost)) throw error;
    }
    return true;
  }

  private async checkVersion(version: ClaimedVersion, { breathe }: VerifierPace): Promise<void> {
    const claim = new Claim(this.database, this.clock, version);
    const found = async (checked: readonly CheckedChunk[]): Promise<void> => {
      await claim.hold();
      await this.database.transaction(async (on) => {
        claim.assertSame(await this.lock(on, version, checked)); // what others found meanwhile is newer than this
        await this.mark(on, checked, version);
      });
    };
    let sound: boolean;
    try {
      sound = await this.recipes.open(this.database.queries, version, (recipe) =>
        this.content.run(recipe, { chunks: found, ...(breathe && { breathe }) }),
      );
    } catch (error) {
      if (isOfLaterRelease(error)) await claim.defer();
      if (!isUnreadable(error)) throw error;
      sound = false; // the recipe itself does not open: nobody can read this version
    }
    await this.database.transaction((on) => this.conclude(on, version, claim, sound));
  }

  private async checkReport(report: ClaimedReport): Promise<void> {
    const version = await this.versionOf(report);
    const checked = version && (await this.checkChunk(version, report.chunk));
    const found = version && checked && checked !== UNREADABLE ? await this.withItsPack(version, checked) : [];
    await this.database.transaction(async (on) => {
      if (version) await this.lock(on, version, found);
      if (version && checked === UNREADABLE) {
        await this.setVerification(on, version, 'bad');
        await this.audit.record(on, {
          event: 'version.found-bad',
          actor: SYSTEM,
          subject: version.subject,
          details: { version: version.version, reporter: report.reporter_id },
        });
      } else if (version && checked && checked !== UNREADABLE) {
        await this.mark(on, found, version);
        await this.audit.record(on, {
          event: checked.good ? 'chunk.found-good' : 'chunk.found-bad',
          actor: SYSTEM,
          subject: version.subject,
          details: { version: version.version, chunk: report.chunk, reporter: report.reporter_id },
        });
        if (!checked.good) await this.setVerification(on, version, 'bad');
      }
      await on
        .deleteFrom('chunk_reports')
        .where('resource_id', '=', report.resource_id)
        .where('version', '=', report.version)
        .where('chunk', '=', report.chunk)
        .execute();
    });
  }

  /** What there is where a report points to; nothing when the version has no such chunk, and {@link UNREADABLE} when its recipe does not open. */
  private async checkChunk(
    version: RecipeVersion,
    chunk: number,
  ): Promise<CheckedChunk | typeof UNREADABLE | undefined> {
    try {
      return await this.recipes.open(this.database.queries, version, (recipe) => this.content.chunk(recipe, chunk));
    } catch (error) {
      if (isOfLaterRelease(error)) return undefined; // nothing is known of it: the report is dropped
      if (!isUnreadable(error)) throw error;
      return UNREADABLE;
    }
  }

  /** What a chunk says of its pack: where the object is gone or cut short, everything behind its end is missing, and the next publish reuses none of that. */
  private async withItsPack({ folder_id: folderId }: RecipeVersion, checked: CheckedChunk): Promise<CheckedChunk[]> {
    const { packId } = checked;
    if (checked.good) return [checked];
    const { key, extents } = await locatePack(this.database, folderId, packId);
    const { sizeBytes: endsAt } = (await this.store.head(key)) ?? { sizeBytes: 0 };
    const rows = await this.database.queries
      .selectFrom('pack_chunks')
      .select(['start_byte', 'sealed_bytes'])
      .where('pack_id', '=', packId)
      .execute();
    const missing = rows
      .map(({ start_byte: offset, sealed_bytes: sealedBytes }) => ({ packId, offset, sealedBytes, good: false }))
      .filter(
        ({ offset, sealedBytes }) => rangeInObject(extents, { start: offset, end: offset + sealedBytes }).end > endsAt,
      );
    return [checked, ...missing.filter(({ offset }) => offset !== checked.offset)];
  }

  /**
   * Locks a version and all others that what was found of its chunks changes: all at once and in one order, so that nobody who does the
   * same is waited for in a circle. References to them go on.
   *
   * @returns Until when the version is claimed.
   */
  private async lock(on: Queries, version: RecipeVersion, checked: readonly CheckedChunk[]): Promise<Date | null> {
    const damaged = [...new Set(checked.filter(({ good }) => !good).map(({ packId }) => packId))];
    const { rows } = await sql<Pick<Selectable<VersionsTable>, 'resource_id' | 'version' | 'claimed_until'>>`
      select resource_id, version, claimed_until from versions
      where (resource_id, version) = (${version.resource_id}::uuid, ${version.version})
        or (resource_id, version) in (
          select version_packs.resource_id, version_packs.version from version_packs where pack_id = any(${damaged}::text[])
        )
      order by resource_id, version for no key update`.execute(on);
    const own = rows.find((row) => row.resource_id === version.resource_id && row.version === version.version);
    return own?.claimed_until ?? null;
  }

  /**
   * Keeps what was found of chunks. Where one turned out bad, other versions of its pack are looked at again, also those that somebody has in
   * hand and may have passed it a moment before: they lose their claim.
   */
  private async mark(on: Queries, checked: readonly CheckedChunk[], version: RecipeVersion): Promise<void> {
    const packIds = checked.map(({ packId }) => packId);
    const starts = checked.map(({ offset }) => offset);
    const good = checked.map((chunk) => chunk.good);
    const { rows } = await sql<{ pack_id: string; good: boolean }>`
      with changed as (
        select pack_chunks.pack_id, pack_chunks.start_byte, found.good
        from unnest(${packIds}::text[], ${starts}::int[], ${good}::bool[]) as found (pack_id, start_byte, good)
        join pack_chunks on pack_chunks.pack_id = found.pack_id and pack_chunks.start_byte = found.start_byte
        where pack_chunks.good is distinct from found.good
        order by pack_chunks.pack_id, pack_chunks.start_byte for no key update of pack_chunks
      )
      update pack_chunks set good = changed.good
      from changed
      where pack_chunks.pack_id = changed.pack_id and pack_chunks.start_byte = changed.start_byte
      returning pack_chunks.pack_id, pack_chunks.good`.execute(on);
    const damaged = [...new Set(rows.filter((row) => !row.good).map((row) => row.pack_id))];
    if (damaged.length === 0) return;
    await sql`
      update versions
      set verification = case verification when 'verified' then 'pending' else verification end, claimed_until = null
      where (verification = 'verified' or claimed_until is not null)
        and (resource_id, version) <> (${version.resource_id}::uuid, ${version.version})
        and exists (
          select from version_packs
          where version_packs.resource_id = versions.resource_id and version_packs.version = versions.version
            and pack_id = any(${damaged}::text[])
        )`.execute(on);
  }

  private async conclude(on: Queries, version: ClaimedVersion, claim: Claim, sound: boolean): Promise<void> {
    const verification = sound ? 'verified' : 'bad';
    await claim.end(on, { verification, checked_at: new Date(this.clock.nowMs()) });
    if (verification !== version.verification)
      await this.audit.record(on, {
        event: sound ? 'version.verified' : 'version.found-bad',
        actor: SYSTEM,
        subject: version.subject,
        details: { version: version.version },
      });
  }

  /** Whoever has the version in hand loses its claim: what it concludes would be older than this. */
  private async setVerification(on: Queries, version: RecipeVersion, verification: 'verified' | 'bad'): Promise<void> {
    await on
      .updateTable('versions')
      .set({ verification, checked_at: new Date(this.clock.nowMs()), claimed_until: null })
      .where('resource_id', '=', version.resource_id)
      .where('version', '=', version.version)
      .execute();
  }

  private async claimVersion(): Promise<ClaimedVersion | undefined> {
    const now = this.clock.nowMs();
    const { rows } = await sql<ClaimedVersion>`
      with chosen as (
        select resource_id, version, verification from versions
        where state = 'live' and verification <> 'verified'
          and (verification = 'pending' or checked_at < ${new Date(now - BAD_AGAIN_MS)})
          and (claimed_until is null or claimed_until < ${new Date(now)})
        order by verification = 'bad', committed_at
        limit 1 for update skip locked
      )
      update versions set claimed_until = ${new Date(now + CLAIM_MS)}
      from chosen, resources, folders
      where versions.resource_id = chosen.resource_id and versions.version = chosen.version
        and resources.id = versions.resource_id and folders.id = resources.folder_id
      returning versions.resource_id, versions.version, versions.root_hash, versions.wrapped_recipe_key,
        versions.claimed_until, versions.verification, resources.folder_id,
        folders.name || '/' || resources.name as subject`.execute(this.database.queries);
    return rows[0];
  }

  private async claimReport(): Promise<ClaimedReport | undefined> {
    const now = this.clock.nowMs();
    const { rows } = await sql<ClaimedReport>`
      with chosen as (
        select resource_id, version, chunk from chunk_reports
        where claimed_until is null or claimed_until < ${new Date(now)}
        order by reported_at limit 1 for update skip locked
      )
      update chunk_reports set claimed_until = ${new Date(now + CLAIM_MS)}
      from chosen
      where chunk_reports.resource_id = chosen.resource_id and chunk_reports.version = chosen.version
        and chunk_reports.chunk = chosen.chunk
      returning chunk_reports.*`.execute(this.database.queries);
    return rows[0];
  }

  private async versionOf(
    report: Pick<ClaimedReport, 'resource_id' | 'version'>,
  ): Promise<(RecipeVersion & { readonly subject: string }) | undefined> {
    return this.database.queries
      .selectFrom('versions')
      .innerJoin('resources', 'resources.id', 'versions.resource_id')
      .innerJoin('folders', 'folders.id', 'resources.folder_id')
      .select(['versions.resource_id', 'versions.version', 'versions.root_hash', 'versions.wrapped_recipe_key'])
      .select(['resources.folder_id', sql<string>`folders.name || '/' || resources.name`.as('subject')])
      .where('versions.resource_id', '=', report.resource_id)
      .where('versions.version', '=', report.version)
      .where('versions.state', '=', 'live')
      .executeTakeFirst();
  }
}

/** One replica's right to work on a version. */
class Claim {
  private until: Date | null;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly version: ClaimedVersion,
  ) {
    this.until = version.claimed_until;
  }

  /** Extends the claim now and then. @throws ClaimLost. */
  async hold(): Promise<void> {
    const now = this.clock.nowMs();
    if ((this.until?.getTime() ?? 0) - now > CLAIM_MS - RENEW_MS) return;
    const until = new Date(now + CLAIM_MS);
    await this.set(this.database.queries, until);
    this.until = until;
  }

  /** @param until - Until when the version is claimed, by whomever, read under a lock. @throws ClaimLost. */
  assertSame(until: Date | null): void {
    if (until === null || until.getTime() !== this.until?.getTime())
      throw new ClaimLost('another replica has this version');
  }

  /** Lets nobody take it for {@link LATER_MS}. @throws ClaimLost. */
  async defer(): Promise<void> {
    await this.set(this.database.queries, new Date(this.clock.nowMs() + LATER_MS));
  }

  /**
   * Gives it back together with the result, in one change of the row: for a second one in the same transaction PostgreSQL looks at the row's
   * references anew, and waits for whoever decides about the resource and waits for this row. @throws ClaimLost.
   */
  async end(on: Queries, result: Updateable<VersionsTable>): Promise<void> {
    await this.set(on, null, result);
  }

  private async set(on: Queries, until: Date | null, result: Updateable<VersionsTable> = {}): Promise<void> {
    const { numUpdatedRows } = await on
      .updateTable('versions')
      .set({ ...result, claimed_until: until })
      .where('resource_id', '=', this.version.resource_id)
      .where('version', '=', this.version.version)
      .where('claimed_until', '=', this.until)
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw new ClaimLost('another replica has this version');
  }
}

function isOfLaterRelease(error: unknown): boolean {
  return (
    (error instanceof CryptoError && error.code === 'chunk.unsupported-codec') ||
    (error instanceof ResourceError && error.code === 'resource.unsupported-format')
  );
}

function isUnreadable(error: unknown): boolean {
  return (
    (error instanceof CryptoError && error.code === 'segment.invalid') ||
    (error instanceof ResourceError && ['resource.integrity', 'recipe.invalid'].includes(error.code))
  );
}
