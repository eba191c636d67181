import { Readable } from 'node:stream';

import { legacyAesKey, legacyApiKey, legacyEncrypted, legacyEncryptedBytes } from '@azaion/crypto';
import type { Secret } from '@azaion/kernel';

import type { AuditLog } from '../audit/audit-log.js';
import type { Database } from '../persistence/database.js';
import { actorOf, type Standing } from '../sealed/current-standing.js';
import type { LogIn } from '../tokens/log-in.js';
import type { LegacyFiles } from './legacy-files.js';

/** A file on its way to an older client. */
export interface EncryptedFile {
  /** Of the ciphertext. */
  readonly sizeBytes: number;
  /** `IV ‖ AES-256-CBC`; destroyed when the stored bytes do not open. */
  readonly content: Readable;
}

/** The account whose own files these are: a device's, `undefined` for a person. */
export function deviceOf({ role, userId }: Standing): string | undefined {
  return role === 'CompanionPC' ? userId : undefined;
}

/** F2 of older clients: a file under the key that follows from e-mail address and password alone. Source: docs/formats/legacy.md. */
export class FetchLegacyFile {
  constructor(
    private readonly database: Database,
    private readonly logIn: LogIn,
    private readonly files: LegacyFiles,
    private readonly audit: AuditLog,
  ) {}

  /**
   * The password is checked before anything is looked for.
   *
   * @throws AdminError `login.wrong-password` | `legacy-file.not-found`; IdentityError `login.rate-limited`.
   */
  async run(
    email: string,
    password: Secret<string>,
    folder: string,
    name: string,
    standing: Standing,
  ): Promise<EncryptedFile> {
    const user = await this.logIn.confirm({ email, password, address: standing.address });
    const file = await this.files.open(folder, name, deviceOf(standing));
    await this.audit.record(this.database.queries, {
      event: 'legacy.file-released',
      actor: actorOf(standing),
      subject: `${folder}/${name}`,
    });
    const key = legacyAesKey(legacyApiKey(user.email, password.reveal()));
    // Whoever reads the result learns of a failure by its destruction.
    const content = Readable.from(legacyEncrypted(key, file.content), { objectMode: false });
    return { sizeBytes: legacyEncryptedBytes(file.sizeBytes), content };
  }
}
