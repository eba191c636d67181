import { sqlMigration } from '../sql-migration.js';

/** Which version an administrator has pinned a resource to, and which domain people publish into. */
export const pinnedVersions = sqlMigration([
  `alter table resources
    add column pinned_version integer,
    add foreign key (id, pinned_version) references versions (resource_id, version)`,
  `alter table folders add column main_domain integer not null default 0`,
]);
