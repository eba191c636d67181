import { sqlMigration } from '../sql-migration.js';

/** The audit log as a chain of hashes that can only be added to, whoever is connected. */
export const audit = sqlMigration([
  `create table audit_pending (event_id bigint primary key)`,
  `insert into audit_pending select id from audit_events`,
  `create table audit_chain (
    sequence bigint primary key check (sequence > 0),
    event_id bigint not null unique references audit_events (id),
    hash bytea not null
  )`,
  `create index audit_events_event on audit_events (event, id)`,
  `create index audit_events_actor on audit_events (actor, id)`,
  `create index audit_events_subject on audit_events (subject, id)`,
  `create function audit_is_append_only() returns trigger language plpgsql as $$
    begin raise exception 'the audit log can only be added to' using errcode = 'insufficient_privilege'; end $$`,
  `create trigger append_only before update or delete or truncate on audit_events
    for each statement execute function audit_is_append_only()`,
  `create trigger append_only before update or delete or truncate on audit_chain
    for each statement execute function audit_is_append_only()`,
]);
