import { access, constants, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { DirectoryPackSource, DirectoryPackStore, DirectorySegmentStore } from '@azaion/adapters/file-store';
import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { TarArchiveInspector } from '@azaion/adapters/image-archive';
import { ApiClient, HttpAuthApi, HttpJwksSource, HttpWellKnown } from '@azaion/adapters/resource-api';
import { FileStatementTrust, parseRootKey, type RootKey } from '@azaion/adapters/trust-store';
import { type DeviceConf, JwksTokenVerifier } from '@azaion/identity';
import { SystemClock } from '@azaion/kernel';
import { InlineChunkOpener, InlineChunkSealer } from '@azaion/split-resource';
import { outgoingTraceHeaders } from '@azaion/nest-support';
import { Logger } from '@nestjs/common';

import { isProduction, type LoaderConfig } from './config.js';
import { readDeviceConf } from './device/device-conf.js';
import { DeviceSession } from './device/device-session.js';
import { type ChosenIdentity, openDeviceIdentity } from './device/open-device-identity.js';
import { type LoaderAdapters } from './loader-adapters.js';
import { CallerSessions } from './session/caller-sessions.js';
import { HttpCallerApis } from './session/http-caller-apis.js';

/**
 * Opens everything the configuration names. The Admin API need not be reachable: what needs it is tried when it is needed.
 *
 * @throws Error in a plain sentence when something on this machine is not as it must be.
 */
export async function openAdapters(config: LoaderConfig): Promise<LoaderAdapters> {
  const clock = new SystemClock();
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const conf = await readDeviceConf(config.deviceConf);
  const client = new ApiClient({
    baseUrl: config.resourceApiUrl,
    allowInsecure: config.allowInsecureApi,
    ca: config.apiCaFile === undefined ? undefined : await readFile(config.apiCaFile, 'utf8'),
    proxy: config.httpsProxy,
    contextHeaders: outgoingTraceHeaders,
  });
  const auth = new HttpAuthApi(client);
  const wellKnown = new HttpWellKnown(client);
  const jwks = new HttpJwksSource(client);
  const verifier = new JwksTokenVerifier(jwks, clock, { issuer: config.adminIssuer, audience: config.adminAudience });
  const trustLog = new Logger('Trust');
  const trust = await FileStatementTrust.open({
    dataDirectory: config.dataDir,
    root: await configuredRoot(config, conf),
    trustOnFirstUse: !isProduction(config),
    documents: wellKnown,
    clock,
    warn: (message) => trustLog.warn(message),
  });
  const deviceLog = new Logger('Device');
  const chosen = conf === undefined ? undefined : await openDeviceIdentity(config, (message) => deviceLog.log(message));
  const device =
    conf === undefined || chosen === undefined
      ? undefined
      : deviceSession(config, conf, chosen, { auth, verifier, clock, log: deviceLog });
  const workers = config.threads === 0 ? undefined : new ChunkWorkerPool({ threads: config.threads });
  const cdn = {
    source: new HttpPackSource({ proxy: config.httpsProxy }),
    sink: new HttpPackSink({ proxy: config.httpsProxy }),
  };
  const modelCacheDir = join(config.dataDir, 'packs');
  return {
    clock,
    auth,
    apis: new HttpCallerApis(client, device),
    verifier,
    sessions: new CallerSessions(clock),
    trust,
    sources: [...(await deployedPacks(config.imagesPath)), cdn.source],
    sink: cdn.sink,
    store: new DirectoryPackStore({ directory: modelCacheDir, limitBytes: config.cacheLimitBytes }),
    segments: new DirectorySegmentStore(join(config.dataDir, 'segments')),
    opener: workers?.opener ?? new InlineChunkOpener(),
    sealer: workers?.sealer ?? new InlineChunkSealer(),
    inspector: new TarArchiveInspector(),
    device,
    binding: chosen?.identity.binding ?? 'none',
    bindingReason: chosen?.reason ?? 'There is no device.conf: this Loader acts for people only.',
    modelCacheDir,
    dataDirectory: { name: 'data-directory', check: () => access(config.dataDir, constants.W_OK) },
    adminApi: { name: 'admin-api', check: () => jwks.currentKeys().then(() => undefined) },
    close: async () => {
      await Promise.all([client.close(), cdn.source.close(), cdn.sink.close(), workers?.close(), chosen?.close()]);
    },
  };
}

function deviceSession(
  config: LoaderConfig,
  { serial, email, password }: DeviceConf,
  { identity }: ChosenIdentity,
  using: {
    readonly auth: HttpAuthApi;
    readonly verifier: JwksTokenVerifier;
    readonly clock: SystemClock;
    readonly log: Logger;
  },
): DeviceSession {
  return new DeviceSession({ serial, email, password, audience: config.adminAudience }, { ...using, identity });
}

async function configuredRoot(config: LoaderConfig, conf: DeviceConf | undefined): Promise<RootKey | undefined> {
  const json =
    config.statementRootKeyFile === undefined
      ? conf?.statementRoot
      : await readFile(config.statementRootKeyFile, 'utf8');
  return json === undefined ? undefined : parseRootKey(json);
}

/** Packs that were shipped with the device are read from where they lie, before any network is used. */
async function deployedPacks(path: string): Promise<readonly DirectoryPackSource[]> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() === true ? [new DirectoryPackSource(path)] : [];
}
