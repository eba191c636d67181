import { sqlMigration } from '../sql-migration.js';

/** Where the audit log was cut off. Its rows may be deleted by their owner who says so, in that transaction alone; the service may delete none. */
export const auditCheckpoints = sqlMigration([
  `create table audit_checkpoints (
    sequence bigint primary key check (sequence > 0),
    hash bytea not null,
    trimmed_at timestamptz not null
  )`,
  `create or replace function audit_is_append_only() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' and current_setting('azaion.audit_trim', true) = 'on' then return null; end if;
      raise exception 'the audit log can only be added to' using errcode = 'insufficient_privilege';
    end $$`,
  `create trigger append_only before update or delete or truncate on audit_checkpoints
    for each statement execute function audit_is_append_only()`,
]);
