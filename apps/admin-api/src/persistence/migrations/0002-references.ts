import { sqlMigration } from '../sql-migration.js';

/** Parts of a version cannot outlive it, nor name another; columns that nothing reads go. */
export const references = sqlMigration([
  `alter table version_segments add foreign key (resource_id, version) references versions (resource_id, version)
    deferrable initially deferred`, // a commit writes the segments first
  `alter table version_packs add foreign key (resource_id, version) references versions (resource_id, version)`,
  `alter table device_challenges drop column ephemeral_point`,
  `alter table versions drop column images`,
]);
