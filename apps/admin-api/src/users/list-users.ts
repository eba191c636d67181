import { parseRole, type Role, ROLES } from '@azaion/identity';

import { AdminError } from '../errors.js';
import type { Database } from '../persistence/database.js';

/** An account as others may see it: never its password's hash. */
export interface UserView {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
  readonly isEnabled: boolean;
  readonly createdAt: Date;
  readonly lastLogin: Date | undefined;
}

/** Which accounts to list. */
export interface UserQuery {
  /** Part of the address. */
  readonly searchEmail: string | undefined;
  readonly searchRole: Role | undefined;
  readonly limit: number;
  /** Where the page before ended. */
  readonly cursor: string | undefined;
}

/** Reads accounts. */
export class ListUsers {
  constructor(private readonly database: Database) {}

  /** One page in the order of addresses, and where the next begins. */
  async page(query: UserQuery): Promise<{ readonly users: readonly UserView[]; readonly cursor: string | undefined }> {
    let selection = this.database.queries
      .selectFrom('users')
      .select(['id', 'email', 'role', 'is_enabled', 'created_at', 'last_login'])
      .orderBy('email')
      .limit(query.limit + 1);
    if (query.searchEmail !== undefined)
      selection = selection.where('email', 'ilike', `%${query.searchEmail.replace(/[\\%_]/g, '\\$&')}%`);
    // Older installations may hold the number.
    if (query.searchRole !== undefined)
      selection = selection.where('role', 'in', [query.searchRole, String(ROLES[query.searchRole])]);
    if (query.cursor !== undefined) selection = selection.where('email', '>', query.cursor);
    const rows = await selection.execute();
    const users = rows.slice(0, query.limit).map(toView);
    return { users, cursor: rows.length > query.limit ? users.at(-1)?.email : undefined };
  }

  /** @throws AdminError `user.not-found`. */
  async byId(id: string): Promise<UserView> {
    const row = await this.database.queries
      .selectFrom('users')
      .select(['id', 'email', 'role', 'is_enabled', 'created_at', 'last_login'])
      .where('id', '=', id)
      .executeTakeFirst();
    if (!row) throw new AdminError('user.not-found', 'There is no such account.');
    return toView(row);
  }
}

function toView(row: {
  id: string;
  email: string;
  role: string;
  is_enabled: boolean;
  created_at: Date;
  last_login: Date | null;
}): UserView {
  return {
    id: row.id,
    email: row.email,
    role: parseRole(row.role) ?? 'None',
    isEnabled: row.is_enabled,
    createdAt: row.created_at,
    lastLogin: row.last_login ?? undefined,
  };
}
