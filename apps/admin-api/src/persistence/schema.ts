import type { Generated, GeneratedAlways, JSONColumnType } from 'kysely';

import type { PublicJwk, ResourceKind, SegmentKind } from '@azaion/crypto';
import type { PackExtents } from '@azaion/split-resource';

import type { DesiredState } from '../desired/desired-state.js';
import type { DeviceReport } from '../desired/record-report.js';

/** People and devices. The shape of an older installation's table, adopted as it is; the two hardware columns are tombstones. */
export interface UsersTable {
  id: string;
  email: string;
  password_hash: string;
  hardware: string | null;
  hardware_hash: string | null;
  role: string;
  user_config: string | null;
  created_at: Date;
  last_login: Date | null;
  is_enabled: boolean;
}

/** One login and everything refreshed from it. */
export interface SessionsTable {
  id: string;
  user_id: string;
  device_serial: string | null;
  created_at: Date;
  ends_at: Date;
  revoked_at: Date | null;
}

/** Refresh tokens by hash; a used one is kept to notice its reuse. */
export interface RefreshTokensTable {
  token_hash: Buffer;
  session_id: string;
  expires_at: Date;
  used_at: Date | null;
}

/** Counters that all replicas share. */
export interface RateLimitsTable {
  key: string;
  count: number;
  resets_at: Date;
}

/** Signing keys; private halves are wrapped. */
export interface SigningKeysTable {
  kid: string;
  purpose: 'token' | 'statement' | 'root';
  public_jwk: JSONColumnType<PublicJwk>;
  wrapped_private: Buffer;
  created_at: Date;
  signs_from: Date;
}

/** Random secrets of this installation, wrapped. */
export interface ServiceSecretsTable {
  name: string;
  wrapped: Buffer;
}

/** Key documents, signed by the offline root. */
export interface KeyDocumentsTable {
  version: number;
  jws: string;
  expires_at: Date;
}

/** Devices; each has a user of its own. */
export interface DevicesTable {
  id: string;
  serial: string;
  user_id: string;
  status: 'registered' | 'enrolled' | 'revoked';
  signing_key: JSONColumnType<PublicJwk> | null;
  agreement_key: Buffer | null;
  idempotency_key: string | null;
  created_at: Date;
  enrolled_at: Date | null;
  attested_at: Date | null;
  last_seen_at: Date | null;
  login_recorded_at: Date | null;
  login_recorded_from: string | null;
}

/** Groups of devices and what they should hold. */
export interface GroupsTable {
  name: string;
  priority: number;
  desired: JSONColumnType<DesiredState>;
  created_at: Date;
  updated_at: Date;
}

/** Which devices belong to which groups. */
export interface GroupMembersTable {
  group_name: string;
  device_id: string;
}

/** What single devices should hold. */
export interface DeviceDesiredTable {
  device_id: string;
  desired: JSONColumnType<DesiredState>;
  updated_at: Date;
}

/** The last report of each device. */
export interface DeviceReportsTable {
  device_id: string;
  loader_version: string;
  binding: string;
  resources: JSONColumnType<DeviceReport['resources'] & object>;
  images: JSONColumnType<NonNullable<DeviceReport['images']>> | null;
  reported_at: Date;
}

/** Open enrolment challenges. */
export interface DeviceChallengesTable {
  nonce_hash: Buffer;
  device_id: string;
  wrapped_ephemeral: Buffer;
  expires_at: Date;
}

/** Which TPM stands for a device, and the state it had booted into. */
export interface DeviceAttestationsTable {
  device_id: string;
  endorsement_name: Buffer;
  pcrs: string;
  pcr_digest: Buffer;
}

/** Enrolments whose evidence holds, until the TPM has opened its credential. */
export interface PendingAttestationsTable {
  token_hash: Buffer;
  device_id: string;
  secret_hash: Buffer;
  signing_key: JSONColumnType<PublicJwk>;
  agreement_key: Buffer;
  endorsement_name: Buffer;
  pcrs: string;
  pcr_digest: Buffer;
  /** Values of the registers in hexadecimal, by their numbers. */
  registers: JSONColumnType<Readonly<Record<string, string>>>;
  expires_at: Date;
}

/** The boot state that a device was first attested in. */
export interface ReferenceBootStatesTable {
  device_id: string;
  endorsement_name: Buffer;
  registers: JSONColumnType<Readonly<Record<string, string>>>;
  recorded_at: Date;
}

/** Nonces of enrolments that have been answered, until they would have expired. */
export interface UsedChallengesTable {
  nonce_hash: Buffer;
  expires_at: Date;
}

/** Assertion ids that have been used. */
export interface UsedAssertionsTable {
  jti: string;
  expires_at: Date;
}

/** Folders. */
export interface FoldersTable {
  id: string;
  name: string;
  wrapped_device_root: Buffer;
  /** The domain that people and CI publish into. */
  main_domain: Generated<number>;
  created_at: Date;
}

/** Rules of folders, by name: a folder may have rules before anything lies in it. */
export interface FolderPoliciesTable {
  folder: string;
  readers: string[];
  writers: string[];
  lease_seconds: number;
  quota_bytes: number | null;
  require_attestation: boolean;
  people_may_read: boolean;
  updated_at: Date;
}

/** Dedup domains; a device's own has no key of its own here: it is derived from the folder's device root. */
export interface DedupDomainsTable {
  folder_id: string;
  number: number;
  wrapped_key: Buffer | null;
  device_id: string | null;
  created_at: Date;
}

/** Names in folders. */
export interface ResourcesTable {
  id: string;
  folder_id: string;
  name: string;
  latest_version: number;
  /** What requests without a version get instead of the newest. */
  pinned_version: number | null;
  created_at: Date;
}

/** Uploads in the making, and what became of them. */
export interface UploadsTable {
  id: string;
  resource_id: string;
  folder_id: string;
  domain: number;
  owner_id: string;
  device_serial: string | null;
  state: 'open' | 'committed' | 'abandoned';
  expires_at: Date;
  committed_version: number | null;
  committed_new: boolean | null;
  created_at: Date;
  /** Packs that it has announced. */
  pack_count: number;
}

/** Draft segments of an upload. */
export interface UploadSegmentsTable {
  upload_id: string;
  kind: SegmentKind;
  index: number;
  sealed: Buffer;
}

/** Packs: `live` while a version needs them, then `condemned` for a while in which a commit may take them back, then `deleted`. */
export interface PacksTable {
  id: string;
  folder_id: string;
  domain: number;
  upload_id: string;
  owner_id: string;
  size_bytes: number;
  sha256: Buffer;
  state: 'uploading' | 'live' | 'condemned' | 'deleted';
  has_table: boolean;
  seen_written: boolean;
  created_at: Date;
  condemned_at: Date | null;
  /** Whether live versions need so little of it that it is offered to no further one. */
  sparse: Generated<boolean>;
  /** Rows of its chunk table. */
  table_chunks: Generated<number>;
  /** When the object of a deleted pack was seen to be gone. */
  purged_at: Date | null;
  /** Name of the object where the pack was compacted; else it is the pack's own. */
  object_id: string | null;
  /** What of the pack that object holds, its length and its hash; `null` for a whole pack. */
  extents: JSONColumnType<PackExtents> | null;
  compacted_bytes: number | null;
  compacted_sha256: Buffer | null;
  /** What it takes in the object store. */
  stored_bytes: GeneratedAlways<number>;
  /** Before that nobody looks how much of it is needed. */
  examine_after: Date | null;
}

/** Objects that a pack had before it was compacted, or that no pack has taken yet: deleted after that time. */
export interface StaleObjectsTable {
  object_id: string;
  folder_id: string;
  delete_after: Date;
}

/** Packs that open uploads may name in their commit: known-chunks has offered them. */
export interface PackPinsTable {
  pack_id: string;
  upload_id: string;
}

/** Where chunks lie in packs. */
export interface PackChunksTable {
  pack_id: string;
  start_byte: number;
  sealed_bytes: number;
  chunk_id: Buffer;
  /** What the verifier found there; `null` while it has not looked. */
  good: boolean | null;
}

/** Chunks that readers could not open, for the verifier to look at. */
export interface ChunkReportsTable {
  resource_id: string;
  version: number;
  /** Index in the version. */
  chunk: number;
  reporter_id: string;
  reported_at: Date;
  claimed_until: Date | null;
}

/** Committed versions. */
export interface VersionsTable {
  resource_id: string;
  version: number;
  kind: ResourceKind;
  statement: string;
  root_hash: string;
  wrapped_recipe_key: Buffer;
  content_mac: Buffer;
  total_bytes: number;
  recipe_bytes: number;
  publisher_id: string;
  scope: string;
  state: 'live' | 'withdrawn';
  verification: Generated<'pending' | 'verified' | 'bad'>;
  /** When the verifier came to its result. */
  checked_at: Date | null;
  /** Until when one replica's verifier has it in hand. */
  claimed_until: Date | null;
  committed_at: Date;
}

/** Sealed segments of committed versions. */
export interface VersionSegmentsTable {
  resource_id: string;
  version: number;
  kind: SegmentKind;
  index: number;
  sealed: Buffer;
}

/** Which packs a version needs, in recipe order. */
export interface VersionPacksTable {
  resource_id: string;
  version: number;
  position: number;
  pack_id: string;
  /** Sealed bytes of the pack that the version needs, at most its size; `null` where nobody counted. */
  used_bytes: number | null;
}

/** Grants given. */
export interface GrantsTable {
  id: string;
  resource_id: string;
  version: number;
  subject_id: string;
  device_serial: string | null;
  recipient: string;
  issued_at: Date;
  not_after: Date;
}

/** Append-only events. */
export interface AuditEventsTable {
  id: Generated<number>;
  at: Date;
  event: string;
  actor: string;
  address: string;
  subject: string;
  details: JSONColumnType<Readonly<Record<string, string | number | boolean>>>;
}

/** Events that have no place in the chain yet. */
export interface AuditPendingTable {
  event_id: number;
}

/** The place of each event in the chain of hashes. */
export interface AuditChainTable {
  sequence: number;
  event_id: number;
  hash: Buffer;
}

/** The last event of each part of the audit log that was cut off. */
export interface AuditCheckpointsTable {
  sequence: number;
  hash: Buffer;
  trimmed_at: Date;
}

/** Contents of older clients' files; without a size while they arrive, released once no file has them any more. */
export interface LegacyContentsTable {
  id: string;
  /** Whose quotas it counts against, as in {@link LegacyFilesTable}. */
  counted_folder: string;
  counted_owner: string;
  wrapped_key: Buffer;
  size_bytes: number | null;
  /** What counts against quotas: the size, or while it arrives the most that may come. */
  counted_bytes: number;
  created_at: Date;
  released_at: Date | null;
}

/** Sealed pieces of such contents. */
export interface LegacyPiecesTable {
  content_id: string;
  index: number;
  sealed: Buffer;
}

/** Older clients' files. */
export interface LegacyFilesTable {
  folder: string;
  name: string;
  /** The account of the device whose own it is; empty for everybody's. */
  owner: string;
  content_id: string;
  updated_at: Date;
}

/** Secrets that open older image archives, wrapped. */
export interface KeyFragmentsTable {
  archive: string;
  wrapped: Buffer;
  created_by: string;
  created_at: Date;
}

/** Every table. Source: the migrations beside this file. */
export interface Schema {
  users: UsersTable;
  sessions: SessionsTable;
  refresh_tokens: RefreshTokensTable;
  rate_limits: RateLimitsTable;
  signing_keys: SigningKeysTable;
  service_secrets: ServiceSecretsTable;
  key_documents: KeyDocumentsTable;
  devices: DevicesTable;
  groups: GroupsTable;
  group_members: GroupMembersTable;
  device_desired: DeviceDesiredTable;
  device_reports: DeviceReportsTable;
  device_challenges: DeviceChallengesTable;
  device_attestations: DeviceAttestationsTable;
  pending_attestations: PendingAttestationsTable;
  reference_boot_states: ReferenceBootStatesTable;
  used_challenges: UsedChallengesTable;
  used_assertions: UsedAssertionsTable;
  folders: FoldersTable;
  folder_policies: FolderPoliciesTable;
  dedup_domains: DedupDomainsTable;
  resources: ResourcesTable;
  uploads: UploadsTable;
  upload_segments: UploadSegmentsTable;
  packs: PacksTable;
  stale_objects: StaleObjectsTable;
  pack_chunks: PackChunksTable;
  pack_pins: PackPinsTable;
  chunk_reports: ChunkReportsTable;
  versions: VersionsTable;
  version_segments: VersionSegmentsTable;
  version_packs: VersionPacksTable;
  grants: GrantsTable;
  legacy_contents: LegacyContentsTable;
  legacy_pieces: LegacyPiecesTable;
  legacy_files: LegacyFilesTable;
  key_fragments: KeyFragmentsTable;
  audit_events: AuditEventsTable;
  audit_pending: AuditPendingTable;
  audit_chain: AuditChainTable;
  audit_checkpoints: AuditCheckpointsTable;
}
