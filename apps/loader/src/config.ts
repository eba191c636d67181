import { apiUrlProblem, proxyUrlProblem } from '@azaion/adapters/resource-api';
import { rootKeyProblem } from '@azaion/adapters/trust-store';
import { parsePcrSelection } from '@azaion/identity';
import { NAME_PATTERN } from '@azaion/kernel';
import {
  ConfigError,
  EnvFlag,
  EnvInteger,
  type Environment,
  EnvList,
  EnvText,
  Optional,
  readConfig,
  ServiceConfig,
} from '@azaion/nest-support';
import { ArrayMaxSize, IsBoolean, IsIn, IsInt, IsString, Matches, Max, Min, ValidateBy } from 'class-validator';

import { configuredFileProblems } from './configured-files.js';
import { type Provisioned, provisionedBy } from './device/device-conf.js';

const GIB = 1024 ** 3;

function IsPcrSelection(): PropertyDecorator {
  return ValidateBy({
    name: 'isPcrSelection',
    validator: {
      validate: (value: unknown) => typeof value === 'string' && parsePcrSelection(value) !== undefined,
      defaultMessage: () => '$property must name registers of the SHA-256 bank, such as sha256:0,2,4,7',
    },
  });
}

/** Everything that can be set. Source: loader HTTP contract, "Configuration". */
export class LoaderConfig extends ServiceConfig {
  /** Base URL of the Admin API; from `device.conf` when unset. Required in one of them: credentials go there. */
  @EnvText('RESOURCE_API_URL')
  @IsString()
  readonly resourceApiUrl!: string;

  /** PEM file of the certificate authorities for the Admin API; the platform's when unset. */
  @EnvText('API_CA_FILE')
  @Optional()
  @IsString()
  readonly apiCaFile?: string;

  /** Permits `http:` to an Admin API on another machine. */
  @EnvFlag('ALLOW_INSECURE_API')
  @IsBoolean()
  readonly allowInsecureApi: boolean = false;

  /** Proxy for calls to the Admin API and for packs from and to the CDN. */
  @EnvText('HTTPS_PROXY')
  @Optional()
  @IsString()
  readonly httpsProxy?: string;

  /** `iss` of the Admin API's tokens. */
  @EnvText('ADMIN_ISSUER')
  @IsString()
  readonly adminIssuer: string = 'azaion-admin-api';

  /** `aud` of the Admin API's tokens. */
  @EnvText('ADMIN_AUDIENCE')
  @IsString()
  readonly adminAudience: string = 'azaion';

  /** Address to listen on. */
  @EnvText('LOADER_HOST')
  @IsString()
  readonly host: string = '127.0.0.1';

  /** Port to listen on; 0 takes a free one. */
  @EnvInteger('LOADER_PORT')
  @IsInt()
  @Min(0)
  @Max(65_535)
  readonly port: number = 8080;

  /** Path of a Unix socket to listen on too, for services that share it as a volume; plain HTTP. */
  @EnvText('LOADER_SOCKET')
  @Optional()
  @Matches(/^\/.{0,106}$/, { message: 'must be an absolute path of at most 107 bytes' })
  readonly socket?: string;

  /** Permissions of that socket, octal: who may write it may connect. */
  @EnvText('LOADER_SOCKET_MODE')
  @Matches(/^0?[0-7]{3}$/, { message: 'must be three octal digits' })
  readonly socketMode: string = '660';

  /** Names beside `localhost` and plain addresses under which it may be addressed. */
  @EnvList('LOADER_ALLOWED_HOSTS')
  @ArrayMaxSize(64)
  readonly allowedHosts: readonly string[] = [];

  /** PEM file of the certificate chain; with it and the key the Loader speaks HTTPS only. */
  @EnvText('LOADER_TLS_CERT_FILE')
  @Optional()
  @IsString()
  readonly tlsCertFile?: string;

  /** PEM file of the certificate's private key. */
  @EnvText('LOADER_TLS_KEY_FILE')
  @Optional()
  @IsString()
  readonly tlsKeyFile?: string;

  /** Directory for packs, recipe parts, the device's keys and marks. */
  @EnvText('LOADER_DATA_DIR')
  @IsString()
  readonly dataDir: string = '/var/lib/azaion';

  /** Directory into which bundles are put, see `azaion bundle import`; `import` in the data directory when unset. */
  @EnvText('LOADER_IMPORT_DIR')
  @Optional()
  @IsString()
  readonly importDir?: string;

  /** Bytes of packs kept on the device, at least two whole packs. */
  @EnvInteger('LOADER_CACHE_LIMIT_BYTES')
  @IsInt()
  @Min(64 * 1024 ** 2)
  readonly cacheLimitBytes: number = 50 * GIB;

  /** Threads beside the main one that open and seal chunks; each costs about 50 MiB. 0: the main thread does it, and the platform's pool hashes for it. */
  @EnvInteger('LOADER_THREADS')
  @IsInt()
  @Min(0)
  @Max(64)
  readonly threads: number = 0;

  /** Largest file that may be published. */
  @EnvInteger('LOADER_MAX_UPLOAD_BYTES')
  @IsInt()
  @Min(1)
  readonly maxUploadBytes: number = 20 * GIB;

  /** The device's account; without such a file this machine is no device. */
  @EnvText('DEVICE_CONF')
  @IsString()
  readonly deviceConf: string = '/etc/azaion/device.conf';

  /** What the device's keys are tied to. */
  @EnvText('LOADER_BINDING')
  @IsIn(['auto', 'tpm', 'hardware', 'credentials'])
  readonly binding: 'auto' | 'tpm' | 'hardware' | 'credentials' = 'auto';

  /** Where the TPM is, as tpm2-tools read it. A container needs `/dev/tpmrm0` and nothing else of the TPM. */
  @EnvText('TPM_TCTI')
  @Matches(/^[a-z0-9-]+(?::[\x21-\x7e]{1,200})?$/)
  readonly tpmTcti: string = 'device:/dev/tpmrm0';

  /** Registers that new device keys depend on where the fleet signs no boot policies. */
  @EnvText('TPM_PCRS')
  @IsPcrSelection()
  readonly tpmPcrs: string = 'sha256:0,2,4,7';

  /** Public JWK of the key that signs the fleet's boot policies; without it new keys work in the present boot state only. */
  @EnvText('TPM_POLICY_KEY_FILE')
  @Optional()
  @IsString()
  readonly tpmPolicyKeyFile?: string;

  /** The fleet's signed boot policies. Read again when the boot state has changed. */
  @EnvText('TPM_POLICY_FILE')
  @Optional()
  @IsString()
  readonly tpmPolicyFile?: string;

  /** `session` serves calls without a token as the device itself: only from loopback, and none that a proxy passed on. Never behind a proxy that hides itself. */
  @EnvText('LOADER_LOCAL_TRUST')
  @IsIn(['none', 'session'])
  readonly localTrust: 'none' | 'session' = 'none';

  /** Public JWK of the statement root. Required in production unless `device.conf` has it. */
  @EnvText('STATEMENT_ROOT_KEY_FILE')
  @Optional()
  @IsString()
  readonly statementRootKeyFile?: string;

  /** `production` refuses everything that is trusted on first sight. */
  @EnvText('NODE_ENV')
  @Optional()
  @IsString()
  readonly nodeEnv?: string;

  /** The Admin API and the CDN are of the older kind: small and big parts, one key for everybody, passwords kept in memory. */
  @EnvFlag('LEGACY_API')
  @IsBoolean()
  readonly legacyApi: boolean = false;

  /** With `LEGACY_API`: directory of big parts that were shipped, `{folder}/{name}.big`, with `{name}.sha256` of the plaintext beside it to have it compared; `legacy` in the data directory when unset. */
  @EnvText('LEGACY_DIRECTORY')
  @Optional()
  @IsString()
  readonly legacyDirectory?: string;

  /** With `LEGACY_API`: one-line description of the machine, for servers that still bind accounts to machines. */
  @EnvText('LEGACY_HARDWARE_FINGERPRINT')
  @Optional()
  @IsString()
  readonly legacyHardwareFingerprint?: string;

  /** Directory for log files: one a day, kept for 30 days. The log goes to standard output in any case. */
  @EnvText('LOADER_LOG_DIR')
  @Optional()
  @IsString()
  readonly logDir?: string;

  /** Where the image archive lies: a directory with the packs of a sealed archive, or an archive file of the older format. */
  @EnvText('IMAGES_PATH')
  @IsString()
  readonly imagesPath: string = '/opt/azaion/images.enc';

  /** Tag of the images to load. */
  @EnvText('API_VERSION')
  @Matches(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/)
  readonly apiVersion: string = 'latest';

  /** The sealed archive, `folder/name`; `images/azaion-{API_VERSION}` when unset. */
  @EnvText('UNLOCK_RESOURCE')
  @Optional()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\/[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/)
  readonly unlockResource?: string;

  /** Images that an archive file of the older format must hold, without tag; they have the tag `API_VERSION`. */
  @EnvList('UNLOCK_IMAGES')
  @ArrayMaxSize(256)
  readonly unlockImages: readonly string[] = [
    'azaion/annotations',
    'azaion/flights',
    'azaion/detections',
    'azaion/gps-denied-onboard',
    'azaion/gps-denied-desktop',
    'azaion/autopilot',
    'azaion/ai-training',
  ];

  /** File with lines `reference sha256:…`: exactly these images may be in an archive file of the older format. Instead of `UNLOCK_IMAGES`. */
  @EnvText('UNLOCK_ALLOWED_IMAGES_FILE')
  @Optional()
  @IsString()
  readonly unlockAllowedImagesFile?: string;

  /** Name under which the Admin API keeps the key fragment of the archive file of the older format. */
  @EnvText('LEGACY_ARCHIVE_NAME')
  @Matches(NAME_PATTERN)
  readonly legacyArchiveName: string = 'images';

  /** While this file exists, or its directory does not, the device is in the air: no images are loaded. Unset: `/run/azaion/in-flight`, whose directory need not exist. */
  @EnvText('FLIGHT_GATE_FILE')
  @Optional()
  @IsString()
  readonly flightGateFile?: string;

  /** Compose file of the services that are brought up from the images once they are loaded; none when unset. */
  @EnvText('UNLOCK_COMPOSE_FILE')
  @Optional()
  @IsString()
  readonly unlockComposeFile?: string;

  /** Command of compose; words are separated by blanks. */
  @EnvText('COMPOSE_CLI')
  @Matches(/^\S+(?: \S+)*$/)
  readonly composeCli: string = 'docker compose';

  /** How long services may take to become healthy before the previous images are brought back. */
  @EnvInteger('UNLOCK_HEALTH_TIMEOUT_SECONDS')
  @IsInt()
  @Min(1)
  @Max(3600)
  readonly unlockHealthTimeoutSeconds: number = 120;

  /** Seconds between two questions for the desired state, give or take a fifth. 0: the device asks for nothing, prefetches nothing and reports nothing; its leases are renewed all the same. */
  @EnvInteger('UPDATE_INTERVAL_SECONDS')
  @IsInt()
  @Min(0)
  @Max(86_400)
  readonly updateIntervalSeconds: number = 300;

  /** Bytes per second that fetching new versions in the background may take on average; unset: as much as there is. */
  @EnvInteger('PREFETCH_BYTES_PER_SECOND')
  @Optional()
  @IsInt()
  @Min(1024)
  readonly prefetchBytesPerSecond?: number;

  /** When new versions may be fetched in the background, `HH:MM-HH:MM` in local time, also over midnight; unset: always. */
  @EnvText('PREFETCH_WINDOW')
  @Optional()
  @Matches(/^(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d$/)
  readonly prefetchWindow?: string;

  /** Starts an unlock by itself once the device is logged in. */
  @EnvFlag('UNLOCK_ON_START')
  @IsBoolean()
  readonly unlockOnStart: boolean = false;

  /** Where images go: into the container engine, or decrypted into a directory from which an orchestrator imports them. */
  @EnvText('UNLOCK_RUNTIME')
  @IsIn(['engine', 'directory'])
  readonly unlockRuntime: 'engine' | 'directory' = 'engine';

  /** Directory of the `directory` runtime; `images` in the data directory when unset. */
  @EnvText('UNLOCK_DIRECTORY')
  @Optional()
  @IsString()
  readonly unlockDirectory?: string;

  /** Command line client of the container engine. */
  @EnvText('CONTAINER_CLI')
  @IsString()
  readonly containerCli: string = 'docker';
}

/** Whether nothing may be trusted on first sight. */
export function isProduction(config: LoaderConfig): boolean {
  return config.nodeEnv === 'production';
}

/** The sealed archive that an unlock opens. */
export function unlockResourceOf(config: LoaderConfig): { readonly folder: string; readonly name: string } {
  const [folder = '', name = ''] = (config.unlockResource ?? `images/azaion-${config.apiVersion}`).split('/');
  return { folder, name };
}

/**
 * Reads and checks the configuration.
 *
 * @throws ConfigError with every problem at once, by the variable's name and never with a value.
 */
export function readLoaderConfig(environment: Environment): LoaderConfig {
  const { DEVICE_CONF: path } = environment;
  const provisioned = provisionedBy(isSet(path) ? path : new LoaderConfig().deviceConf);
  const apiUrl = isSet(environment['RESOURCE_API_URL']) ? undefined : provisioned.conf?.apiUrl;
  const env = apiUrl === undefined ? environment : { ...environment, RESOURCE_API_URL: apiUrl };
  const problems: string[] = [];
  let config: LoaderConfig | undefined;
  try {
    config = readConfig(LoaderConfig, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // What a file that cannot be read may have said is not asked for a second time.
    const saidThere = provisioned.problem === undefined ? undefined : 'RESOURCE_API_URL: is required';
    problems.push(...error.problems.filter((problem) => problem !== saidThere));
  }
  problems.push(...crossProblems(env), ...configuredFileProblems(env), ...provisioningProblems(env, provisioned));
  if (config === undefined || problems.length > 0) throw new ConfigError(problems);
  return config;
}

/** Of `device.conf`, and of the root key, which may stand there. */
function provisioningProblems(env: Environment, { conf, problem }: Provisioned): string[] {
  if (problem !== undefined) return [`DEVICE_CONF: ${problem}`];
  if (isSet(env['STATEMENT_ROOT_KEY_FILE'])) return [];
  const root = conf?.statementRoot;
  if (root !== undefined) {
    const why = rootKeyProblem(root);
    return why === undefined ? [] : [`DEVICE_CONF: AZAION_STATEMENT_ROOT cannot be used. ${why}`];
  }
  if (env['NODE_ENV'] !== 'production' || env['LEGACY_API'] === 'true') return [];
  return ['STATEMENT_ROOT_KEY_FILE: is required in production unless device.conf has AZAION_STATEMENT_ROOT'];
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

/** What class rules cannot express. Reads the environment, so that it is reported beside their problems. */
function crossProblems(env: Environment): string[] {
  const problems: string[] = [];
  const url = env['RESOURCE_API_URL'];
  const urlProblem =
    url === undefined || url === '' ? undefined : apiUrlProblem(url, env['ALLOW_INSECURE_API'] === 'true');
  if (urlProblem !== undefined) problems.push(`RESOURCE_API_URL: ${urlProblem}`);
  if (isSet(env['LOADER_TLS_CERT_FILE']) !== isSet(env['LOADER_TLS_KEY_FILE']))
    problems.push('LOADER_TLS_CERT_FILE and LOADER_TLS_KEY_FILE: one is of no use without the other');
  if (isSet(env['TPM_POLICY_KEY_FILE']) !== isSet(env['TPM_POLICY_FILE']))
    problems.push('TPM_POLICY_KEY_FILE and TPM_POLICY_FILE: one is of no use without the other');
  const proxy = env['HTTPS_PROXY'];
  const proxyProblem = isSet(proxy) ? proxyUrlProblem(proxy) : undefined;
  if (proxyProblem !== undefined) problems.push(`HTTPS_PROXY: ${proxyProblem}`);
  if (isSet(env['UNLOCK_COMPOSE_FILE']) && env['UNLOCK_RUNTIME'] === 'directory')
    problems.push('UNLOCK_COMPOSE_FILE: services run in a container engine, so UNLOCK_RUNTIME may not be "directory"');
  const version = env['API_VERSION'];
  if (env['UNLOCK_RESOURCE'] === undefined && version !== undefined && !NAME_PATTERN.test(`azaion-${version}`))
    problems.push('API_VERSION: must be usable in a resource name');
  return problems;
}
