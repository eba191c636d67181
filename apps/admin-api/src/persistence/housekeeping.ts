import type { Clock } from '@azaion/kernel';

import type { TokenKeys } from '../keys/token-keys.js';
import type { LegacyFiles } from '../legacy/legacy-files.js';
import type { LoginLimits } from '../tokens/login-limits.js';
import type { PasswordCosts } from '../tokens/password-costs.js';
import type { Sessions } from '../tokens/sessions.js';
import type { Database } from './database.js';

/** Forgets what has run out. Every replica may do it at any time. */
export class Housekeeping {
  constructor(
    private readonly database: Database,
    private readonly limits: LoginLimits,
    private readonly sessions: Sessions,
    private readonly tokenKeys: TokenKeys,
    private readonly legacyFiles: LegacyFiles,
    private readonly passwordCosts: PasswordCosts,
    private readonly clock: Clock,
  ) {}

  /** One round. */
  async run(): Promise<void> {
    await this.limits.sweep();
    await this.sessions.sweep();
    await this.tokenKeys.sweep();
    await this.legacyFiles.sweep();
    await this.passwordCosts.learn();
    const expired = this.database.queries
      .selectFrom('uploads')
      .select('id')
      .where('expires_at', '<', new Date(this.clock.nowMs()));
    await this.database.queries.deleteFrom('upload_segments').where('upload_id', 'in', expired).execute();
  }
}
