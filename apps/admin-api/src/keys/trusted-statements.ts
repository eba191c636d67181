import {
  CryptoError,
  importVerificationKey,
  readStatement,
  signStatement,
  type Statement,
  statementHeader,
} from '@azaion/crypto';
import { type Selectable, sql } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database, Queries } from '../persistence/database.js';
import type { VersionsTable } from '../persistence/schema.js';
import type { SigningKeys } from './signing-keys.js';
import type { StatementAuthority } from './statement-authority.js';

const ROWS_AT_ONCE = 200;

/** What is looked at of a version. */
export type StatedVersion = Pick<
  Selectable<VersionsTable>,
  'resource_id' | 'version' | 'statement' | 'root_hash' | 'total_bytes' | 'kind' | 'scope'
>;

/**
 * The statements of committed versions, each by a key that readers trust now. Where the offline root has left a key out of the key document,
 * because it was stolen, what it signed is signed anew by the key in use, after the old signature and the facts were checked against the database.
 */
export class TrustedStatements {
  constructor(
    private readonly database: Database,
    private readonly keys: SigningKeys,
    private readonly authority: StatementAuthority,
    private readonly audit: AuditLog,
  ) {}

  /** The statement of a version, signed anew first when it must be. @throws Error for one that was changed in the database. */
  async of(version: StatedVersion): Promise<string> {
    const headers = await this.trustedHeaders();
    const [header = ''] = version.statement.split('.', 1);
    if (headers.includes(header)) return version.statement;
    await this.signAnew(version).catch((cause: unknown) => {
      if (!(cause instanceof CryptoError)) throw cause;
      throw new Error('a stored statement cannot be signed anew', { cause }); // the fault of this service, never of its caller
    });
    const { statement } = await this.database.queries
      .selectFrom('versions')
      .select('statement')
      .where('resource_id', '=', version.resource_id)
      .where('version', '=', version.version)
      .executeTakeFirstOrThrow();
    return statement;
  }

  /**
   * Signs anew whatever needs it; a run that was cut off is continued by the next, and {@link of} does it for whoever comes first.
   *
   * @returns How many statements this run has signed.
   */
  async signAll(): Promise<number> {
    const headers = await this.trustedHeaders();
    let signed = 0;
    let after: { readonly resource_id: string; readonly version: number } | undefined;
    for (;;) {
      let rows = this.database.queries
        .selectFrom('versions')
        .selectAll()
        .where(sql<string>`split_part(statement, '.', 1)`, 'not in', [...headers])
        .orderBy('resource_id')
        .orderBy('version')
        .limit(ROWS_AT_ONCE);
      if (after !== undefined)
        rows = rows.where(
          sql<boolean>`(resource_id, version) > (${after.resource_id}::uuid, ${after.version}::integer)`,
        );
      const batch = await rows.execute();
      for (const version of batch) {
        const done = await this.signAnew(version).catch((error: unknown) => {
          // One damaged row must keep neither the others nor the service from their work; whoever asks for it is refused.
          if (error instanceof CryptoError && error.code === 'statement.invalid') return false;
          throw error;
        });
        signed += done ? 1 : 0;
      }
      after = batch.at(-1);
      if (after === undefined) break;
    }
    if (signed > 0)
      await this.audit.record(this.database.queries, {
        event: 'statements.signed-anew',
        actor: { id: 'system', address: '' },
        subject: 'versions',
        details: { signed },
      });
    return signed;
  }

  private async trustedHeaders(): Promise<readonly string[]> {
    return (await this.authority.trustedKeyIds()).map(statementHeader);
  }

  /** @returns Whether this call signed it: another replica may have been faster. */
  private async signAnew(version: StatedVersion): Promise<boolean> {
    const statement = await this.checked(version);
    const { numUpdatedRows } = await this.database.queries
      .updateTable('versions')
      .set({ statement: await signStatement(statement, await this.authority.signingKey()) })
      .where('resource_id', '=', version.resource_id)
      .where('version', '=', version.version)
      .where('statement', '=', version.statement)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /**
   * What the statement of a version says, when one of this API's own keys, of any age, has signed it and it agrees with its row: nothing else
   * gets a new signature.
   *
   * @param on - The caller's transaction, so that it needs no second connection.
   * @throws CryptoError `statement.invalid`.
   */
  async checked(version: StatedVersion, on?: Queries): Promise<Statement> {
    const [header = ''] = version.statement.split('.', 1);
    const own = (await this.keys.published('statement', on)).find(({ kid }) => statementHeader(kid) === header);
    const statement = await readStatement(
      version.statement,
      own === undefined ? undefined : await importVerificationKey(own.kid, own.key),
    );
    const agrees =
      statement.resourceId === version.resource_id &&
      statement.version === version.version &&
      statement.rootHash === version.root_hash &&
      statement.totalBytes === version.total_bytes &&
      statement.kind === version.kind &&
      statement.scope === version.scope;
    if (agrees) return statement;
    throw new CryptoError(
      'statement.invalid',
      'A stored statement says something else than its row: it is not signed anew.',
    );
  }
}
