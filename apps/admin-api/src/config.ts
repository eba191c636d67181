import {
  ConfigError,
  EnvFlag,
  EnvInteger,
  type Environment,
  EnvList,
  EnvSecret,
  EnvText,
  Optional,
  readConfig,
  ServiceConfig,
} from '@azaion/nest-support';
import { parsePcrSelection } from '@azaion/identity';
import type { Secret } from '@azaion/kernel';
import { ArrayMaxSize, IsBoolean, IsEmail, IsIn, IsInt, IsString, IsUrl, Matches, Max, Min } from 'class-validator';

const DAY_SECONDS = 86_400;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/;

/** Everything that can be set. Source: docs/reference/admin-http.md, "Operations". */
export class AdminConfig extends ServiceConfig {
  /** `production` refuses what is for development: the embedded database, a root key of its own, a KEK beside the data. */
  @EnvText('NODE_ENV')
  @IsString()
  readonly environment: string = 'development';

  /** Address to listen on. */
  @EnvText('ADMIN_HOST')
  @IsString()
  readonly host: string = '0.0.0.0';

  /** 0 takes a free one. */
  @EnvInteger('ADMIN_PORT')
  @IsInt()
  @Min(0)
  @Max(65_535)
  readonly port: number = 8081;

  /** Base of the signed URLs that the API serves itself. */
  @EnvText('ADMIN_PUBLIC_URL')
  @Optional()
  @IsUrl({ protocols: ['http', 'https'], require_protocol: true, require_tld: false })
  readonly publicUrl?: string;

  /** Embedded database, objects without S3, and in development the KEK. */
  @EnvText('ADMIN_DATA_DIR')
  @IsString()
  readonly dataDir: string = '.azaion/admin-api';

  /** `postgresql://…`; unset: an embedded PostgreSQL. */
  @EnvSecret('DATABASE_URL')
  @Optional()
  @IsString()
  readonly databaseUrl?: Secret<string>;

  /** The login that owns the schema and is used at start alone, to bring it up to date; `DATABASE_URL` does both unless this is set. */
  @EnvSecret('DATABASE_MIGRATION_URL')
  @Optional()
  @IsString()
  readonly databaseMigrationUrl?: Secret<string>;

  /** Connections to the database that this replica holds at most. Over all replicas they must stay below the server's `max_connections`. */
  @EnvInteger('DATABASE_CONNECTIONS')
  @IsInt()
  @Min(4)
  @Max(500)
  readonly databaseConnections: number = 20;

  /** Base URL of the object store as this service reaches it. */
  @EnvText('S3_ENDPOINT')
  @Optional()
  @IsString()
  readonly s3Endpoint?: string;

  /** What devices reach; a signature covers the host. */
  @EnvText('S3_PUBLIC_ENDPOINT')
  @Optional()
  @IsString()
  readonly s3PublicEndpoint?: string;

  /** Region that signatures name. */
  @EnvText('S3_REGION')
  @IsString()
  readonly s3Region: string = 'us-east-1';

  /** Unset: objects are files below the data directory. */
  @EnvText('S3_BUCKET')
  @Optional()
  @IsString()
  readonly s3Bucket?: string;

  /** Who signs at the object store; may read, write, delete and list there: who may not list is not told that an object is gone. */
  @EnvSecret('S3_ACCESS_KEY_ID')
  @Optional()
  @IsString()
  readonly s3AccessKeyId?: Secret<string>;

  /** Secret of that key. */
  @EnvSecret('S3_SECRET_ACCESS_KEY')
  @Optional()
  @IsString()
  readonly s3SecretAccessKey?: Secret<string>;

  /** `iss` of access tokens. */
  @EnvText('ADMIN_ISSUER')
  @IsString()
  readonly issuer: string = 'azaion-admin-api';

  /** `aud` of access tokens and of the assertions that devices log in with. */
  @EnvText('ADMIN_AUDIENCE')
  @IsString()
  readonly audience: string = 'azaion';

  /** File with the key-encryption keys. Made in development where there is none; must lie apart from the data otherwise. */
  @EnvText('ADMIN_KEK_FILE')
  @Optional()
  @IsString()
  readonly kekFile?: string;

  /** The first administrator of an empty database. */
  @EnvText('BOOTSTRAP_ADMIN_EMAIL')
  @IsEmail()
  readonly bootstrapEmail: string = 'admin@azaion.com';

  /** Made up and printed once when unset. */
  @EnvSecret('BOOTSTRAP_ADMIN_PASSWORD')
  @Optional()
  @IsString()
  readonly bootstrapPassword?: Secret<string>;

  /** How long an access token lives. */
  @EnvInteger('ACCESS_TOKEN_SECONDS')
  @IsInt()
  @Min(60)
  @Max(DAY_SECONDS)
  readonly accessTokenSeconds: number = 15 * 60;

  /** How long a session lives without being refreshed. */
  @EnvInteger('REFRESH_TOKEN_SECONDS')
  @IsInt()
  @Min(60)
  @Max(90 * DAY_SECONDS)
  readonly refreshTokenSeconds: number = 8 * 3600;

  /** How long a session lives at most. */
  @EnvInteger('SESSION_SECONDS')
  @IsInt()
  @Min(60)
  @Max(90 * DAY_SECONDS)
  readonly sessionSeconds: number = 12 * 3600;

  /** Memory of one Argon2id hash, in KiB. Weaker hashes are replaced at the next login; until the last one is, every login computes one hash of each cost in use, so that its time does not tell which accounts exist. */
  @EnvInteger('PASSWORD_HASH_MEMORY_KIB')
  @IsInt()
  @Min(19_456)
  @Max(1_048_576)
  readonly passwordHashMemoryKib: number = 19_456;

  /** Passes of one Argon2id hash. */
  @EnvInteger('PASSWORD_HASH_PASSES')
  @IsInt()
  @Min(2)
  @Max(16)
  readonly passwordHashPasses: number = 2;

  /** Login attempts a minute from one address. */
  @EnvInteger('LOGIN_ATTEMPTS_PER_ADDRESS')
  @IsInt()
  @Min(1)
  readonly loginAttemptsPerAddress: number = 10;

  /** Login attempts in five minutes for one account from one address; a good login starts over. */
  @EnvInteger('LOGIN_ATTEMPTS_PER_ACCOUNT')
  @IsInt()
  @Min(1)
  readonly loginAttemptsPerAccount: number = 5;

  /** Failures for one account from one address until it is locked for 15 minutes. */
  @EnvInteger('LOGIN_FAILURES_UNTIL_LOCK')
  @IsInt()
  @Min(1)
  readonly loginFailuresUntilLock: number = 10;

  /** Uploads that one publisher may have open at a time. */
  @EnvInteger('DRAFT_MAX_UPLOADS')
  @IsInt()
  @Min(1)
  readonly draftMaxUploads: number = 1000;

  /** Bytes of packs that one publisher may have sent without having committed them, 64 KiB for each pack at least: the largest new content that can be published in one go. With what it reuses, content may be about twelve times as long: its recipes may have a byte for each 128. */
  @EnvInteger('DRAFT_MAX_BYTES')
  @IsInt()
  @Min(1)
  readonly draftMaxBytes: number = 2 ** 40;

  /** Bytes that one device may store by the routes of older clients, over all folders, 64 KiB for each file at least. What was replaced or cleared counts for another hour, what is on its way with all that its request announces. */
  @EnvInteger('LEGACY_DEVICE_MAX_BYTES')
  @IsInt()
  @Min(0)
  readonly legacyDeviceMaxBytes: number = 2 ** 31;

  /** Answers a failed login as the older API did: 409 with 10 (unknown), 30 (wrong) or 38 (disabled). It tells strangers which accounts exist. */
  @EnvFlag('LEGACY_LOGIN_ERRORS')
  @IsBoolean()
  readonly legacyLoginErrors: boolean = false;

  /** File with a key document that the offline root signed. Needed once: newer ones may come through `PUT /statement-keys/document`, the newest holds. */
  @EnvText('STATEMENT_KEY_DOCUMENT_FILE')
  @Optional()
  @IsString()
  readonly keyDocumentFile?: string;

  /** File with the public JWK of the offline root, with `kid`. */
  @EnvText('STATEMENT_ROOT_KEY_FILE')
  @Optional()
  @IsString()
  readonly rootKeyFile?: string;

  /** Proxies whose `X-Forwarded-For` is believed: addresses or networks. */
  @EnvList('TRUSTED_PROXIES')
  @ArrayMaxSize(64)
  readonly trustedProxies: readonly string[] = [];

  /** Origins whose pages may call the API from a browser, such as `https://console.example.com`; none unless given. */
  @EnvList('CORS_ORIGINS')
  @ArrayMaxSize(64)
  @Matches(/^https?:\/\/(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?$/, { each: true })
  readonly corsOrigins: readonly string[] = [];

  /** Whether this replica takes part in checking what was published. At least one should. */
  @EnvFlag('VERIFIER')
  @IsBoolean()
  readonly verifier: boolean = true;

  /** Pause between two rounds of what this replica does in the background: rows that have ended go, packs that nothing needs are collected, sparse ones compacted. */
  @EnvInteger('HOUSEKEEPING_SECONDS')
  @IsInt()
  @Min(1)
  @Max(DAY_SECONDS)
  readonly housekeepingSeconds: number = 600;

  /** PEM file with the certificates of TPM makers: roots, and issuers that lead to them. */
  @EnvText('TPM_EK_ROOTS_FILE')
  @Optional()
  @IsString()
  readonly tpmEkRootsFile?: string;

  /** Names of single TPMs' endorsement keys that are trusted without a certificate, in hexadecimal, one a line. */
  @EnvText('TPM_EK_ALLOW_FILE')
  @Optional()
  @IsString()
  readonly tpmEkAllowFile?: string;

  /** Registers that a TPM must quote at the enrolment. */
  @EnvText('TPM_PCRS')
  @Matches(/^sha256:\d{1,2}(?:,\d{1,2}){0,23}$/)
  readonly tpmPcrs: string = 'sha256:0,2,4,7';

  /** Which boot states may enrol: what a device was first attested in, until a reset for a new one; or those on the list. */
  @EnvText('TPM_PCR_POLICY')
  @IsIn(['accept-first', 'allow-list'])
  readonly tpmPcrPolicy: 'accept-first' | 'allow-list' = 'accept-first';

  /** Digests of boot states for `allow-list`, in hexadecimal, one a line. */
  @EnvText('TPM_PCR_ALLOW_FILE')
  @Optional()
  @IsString()
  readonly tpmPcrAllowFile?: string;

  /** Public JWK of the key that signs boot policies: keys of devices must obey it. */
  @EnvText('TPM_POLICY_KEY_FILE')
  @Optional()
  @IsString()
  readonly tpmPolicyKeyFile?: string;

  /** Models whose boot policies devices may obey. */
  @EnvList('TPM_POLICY_MODELS')
  @ArrayMaxSize(64)
  readonly tpmPolicyModels: readonly string[] = [];
}

/** Whether a configuration is for real use. */
export function isProduction(config: AdminConfig): boolean {
  return config.environment === 'production';
}

/** Whether only this machine can reach the API. */
export function listensOnLoopback(config: AdminConfig): boolean {
  return LOOPBACK.test(config.host);
}

/** Reads and checks the environment. @throws ConfigError with all problems at once. */
export function readAdminConfig(env: Environment): AdminConfig {
  const config = readConfig(AdminConfig, env);
  const problems: string[] = [];
  if ((config.s3AccessKeyId === undefined) !== (config.s3SecretAccessKey === undefined))
    problems.push('S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY: set both or none');
  if (config.s3Bucket !== undefined && config.s3AccessKeyId === undefined)
    problems.push('S3_ACCESS_KEY_ID: is required with S3_BUCKET');
  if (config.s3Bucket === undefined && config.s3Endpoint !== undefined)
    problems.push('S3_BUCKET: is required with S3_ENDPOINT');
  if (config.keyDocumentFile !== undefined && config.rootKeyFile === undefined)
    problems.push('STATEMENT_ROOT_KEY_FILE: is required with STATEMENT_KEY_DOCUMENT_FILE');
  if (config.tpmPcrPolicy === 'allow-list' && config.tpmPcrAllowFile === undefined)
    problems.push('TPM_PCR_ALLOW_FILE: is required with TPM_PCR_POLICY=allow-list');
  if ((config.tpmPolicyKeyFile === undefined) !== (config.tpmPolicyModels.length === 0))
    problems.push('TPM_POLICY_KEY_FILE, TPM_POLICY_MODELS: set both or none');
  if (parsePcrSelection(config.tpmPcrs) === undefined)
    problems.push('TPM_PCRS: must name registers of the SHA-256 bank, such as sha256:0,2,4,7');
  if (isProduction(config)) problems.push(...missingInProduction(config));
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

function missingInProduction(config: AdminConfig): string[] {
  const problems: string[] = [];
  if (config.databaseUrl === undefined)
    problems.push('DATABASE_URL: is required in production: the embedded PostgreSQL is for development');
  if (config.kekFile === undefined) problems.push('ADMIN_KEK_FILE: is required in production');
  if (config.rootKeyFile === undefined)
    problems.push(
      'STATEMENT_ROOT_KEY_FILE: is required in production: make the root key on another machine with "azaion keys root create"',
    );
  if (config.publicUrl === undefined && config.s3Bucket === undefined && !listensOnLoopback(config))
    problems.push('ADMIN_PUBLIC_URL: is required where objects are served by the API itself');
  return problems;
}
