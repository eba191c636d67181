import { access, constants, mkdir, readFile, stat } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';

import { ChunkWorkerPool } from '@azaion/adapters/chunk-workers';
import { type ChosenIdentity, openDeviceIdentity } from '@azaion/adapters/device-identity';
import { DirectoryPackSource, DirectoryPackStore, DirectorySegmentStore } from '@azaion/adapters/file-store';
import { HttpPackSink, HttpPackSource } from '@azaion/adapters/http-packs';
import { TarArchiveInspector } from '@azaion/adapters/image-archive';
import { CachedJwksSource } from '@azaion/adapters/jwks-cache';
import {
  BootRunningClock,
  FileLeaseStore,
  FileRefusalMarkStore,
  FileTimeMarkStore,
} from '@azaion/adapters/lease-store';
import { ApiClient, HttpAuthApi, HttpDesiredApi, HttpJwksSource, HttpWellKnown } from '@azaion/adapters/resource-api';
import { TpmRunningClock } from '@azaion/adapters/tpm';
import { FileStatementTrust, parseRootKey, type RootKey } from '@azaion/adapters/trust-store';
import { type DeviceConf, DeviceStateKey, JwksTokenVerifier } from '@azaion/identity';
import { type Clock, SystemClock } from '@azaion/kernel';
import { outgoingTraceHeaders } from '@azaion/nest-support';
import {
  HeldLeases,
  InlineChunkOpener,
  InlineChunkSealer,
  MARK_INTERVAL_MS,
  type StatementTrust,
  TrustedTime,
  ForgetRecipes,
  ImportBundle,
  type Recipient,
  type SegmentStore,
} from '@azaion/split-resource';
import { Logger } from '@nestjs/common';

import { isProduction, type LoaderConfig } from './config.js';
import { readDeviceConf } from './device/device-conf.js';
import { DeviceSession } from './device/device-session.js';
import { OfflineDevice } from './device/offline-device.js';
import { legacyAdapters } from './legacy/legacy-adapters.js';
import { BundledPacks } from './bundles/bundled-packs.js';
import { TakeUpBundles } from './bundles/take-up-bundles.js';
import type { LoaderAdapters } from './loader-adapters.js';
import { CallerSessions } from './session/caller-sessions.js';
import { FairChunkOpener } from './session/fair-chunk-opener.js';
import { HttpCallerApis } from './session/http-caller-apis.js';
import { LocalOrApiVerifier } from './session/local-or-api-verifier.js';
import { ApiReach } from './status/api-reach.js';
import { DesiredImages } from './update/desired-images.js';
import { LeasedPacks } from './update/leased-packs.js';

const TPM_TIMEOUT_MS = 30_000;
/** A recipe is about this part of its packs: as much of the cache's limit recipes may take that no lease needs. */
const RECIPES_SHARE = 64;
const FORGET_EVERY_MS = 3_600_000;

/**
 * Opens everything the configuration names. The Admin API need not be reachable: what needs it is tried when it is needed.
 *
 * @throws Error in a plain sentence when something on this machine is not as it must be.
 */
export async function openAdapters(config: LoaderConfig): Promise<LoaderAdapters> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const provisioned = await readDeviceConf(config.deviceConf);
  // To an older Admin API a device is an account with a password: it has no keys there, and no leases.
  const conf = config.legacyApi ? undefined : provisioned;
  const deviceLog = new Logger('Device');
  const chosen = conf === undefined ? undefined : await openDeviceIdentity(config, (message) => deviceLog.log(message));
  const state = chosen && (await DeviceStateKey.of(chosen.identity));
  const warn = (message: string): void => deviceLog.warn(message);
  const time = chosen && state && (await trustedTime(config, chosen, state, warn));
  const clock = time?.clock ?? new SystemClock();
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
  const keptJwks = state === undefined ? jwks : new CachedJwksSource(jwks, join(config.dataDir, 'jwks.json'), state);
  const verifier = new JwksTokenVerifier(keptJwks, clock, {
    issuer: config.adminIssuer,
    audience: config.adminAudience,
  });
  const trustLog = new Logger('Trust');
  const trust = await FileStatementTrust.open({
    dataDirectory: config.dataDir,
    root: await configuredRoot(config, conf),
    trustOnFirstUse: !isProduction(config) || config.legacyApi,
    documents: wellKnown,
    clock,
    key: state,
    warn: (message) => trustLog.warn(message),
  });
  const using = { auth, verifier, clock, log: deviceLog, trust };
  const device =
    conf === undefined || chosen === undefined || state === undefined || time === undefined
      ? undefined
      : await openDevice(config, conf, chosen, { ...using, state, time: time.clock });
  // Where nobody asks, what was said once does not count for ever.
  const desiredImages =
    device && state && config.updateIntervalSeconds > 0
      ? await DesiredImages.open(join(config.dataDir, 'desired-images'), state)
      : undefined;
  const segments = new DirectorySegmentStore(join(config.dataDir, 'segments'));
  const bundles = device && time && (await takeUpBundles(config, device, { trust, segments, time: time.clock }));
  const forgetting = forgetRecipes(config, segments, device?.leases);
  const workers = config.threads === 0 ? undefined : new ChunkWorkerPool({ threads: config.threads });
  const cdn = {
    source: new HttpPackSource({ proxy: config.httpsProxy }),
    sink: new HttpPackSink({ proxy: config.httpsProxy }),
  };
  const reach = new ApiReach(
    () => jwks.currentKeys(),
    async () => (await device?.offline.holdsLease()) ?? false,
    (reached) => device?.leases.reached(reached),
  );
  const leasedPacks = new LeasedPacks(() => clock.monotonicMs());
  const modelCacheDir = join(config.dataDir, 'packs');
  const legacy = config.legacyApi ? await legacyAdapters(config, client, provisioned, clock) : undefined;
  return {
    clock,
    auth,
    apis: new HttpCallerApis(client, device?.session),
    verifier: device === undefined ? verifier : new LocalOrApiVerifier(verifier, device.offline.tokens),
    sessions: new CallerSessions(clock),
    trust,
    sources: [
      ...(await deployedPacks(config.imagesPath)),
      ...(bundles === undefined ? [] : [bundles.packs]),
      cdn.source,
    ],
    sink: cdn.sink,
    store: new DirectoryPackStore({
      directory: modelCacheDir,
      limitBytes: config.cacheLimitBytes,
      leased: () => leasedPacks.now(),
    }),
    leasedPacks,
    desiredImages,
    segments,
    opener: workers?.opener ?? new FairChunkOpener(new InlineChunkOpener()),
    sealer: workers?.sealer ?? new InlineChunkSealer(),
    inspector: new TarArchiveInspector(),
    device: device?.session,
    leases: device?.leases,
    offline: device?.offline,
    desired: device && new HttpDesiredApi(client, device.session, device.session.serial),
    time: time?.clock,
    binding: chosen?.identity.binding ?? 'none',
    bindingReason: chosen?.reason ?? 'There is no device.conf: this Loader acts for people only.',
    modelCacheDir,
    dataDirectory: { name: 'data-directory', check: () => access(config.dataDir, constants.W_OK) },
    adminApi: reach.check,
    ...(legacy ?? { isOffline: reach.isOffline, whileReached: (answer) => reach.whileReached(answer) }),
    close: async () => {
      bundles?.stop();
      forgetting.stop();
      legacy?.closeLegacy();
      await time?.close();
      await Promise.all([client.close(), cdn.source.close(), cdn.sink.close(), workers?.close(), chosen?.close()]);
    },
  };
}

/** Bundles that were put onto the device: beside the data, and at the place of pre-deployed packs. */
async function takeUpBundles(
  config: LoaderConfig,
  { recipient, leases }: OpenedDevice,
  using: { readonly trust: FileStatementTrust; readonly segments: SegmentStore; readonly time: TrustedTime },
): Promise<{ readonly packs: BundledPacks; stop(): void }> {
  const { trust, segments, time } = using;
  const packs = new BundledPacks();
  const importing = new ImportBundle({
    adoptKeys: (document) => trust.adopt(document),
    leases,
    segments,
    recipient,
    clock: time,
  });
  const places = [config.importDir ?? join(config.dataDir, 'import'), config.imagesPath];
  const taking = new TakeUpBundles({ importing, packs, log: new Logger('Bundles'), places });
  await taking.start();
  return { packs, stop: () => taking.stop() };
}

/** Recipe parts that no lease needs any more go, now and every hour. */
function forgetRecipes(config: LoaderConfig, segments: SegmentStore, leases: HeldLeases | undefined): { stop(): void } {
  const log = new Logger('Recipes');
  const forgetting = new ForgetRecipes({
    segments,
    leased: async () => (await leases?.rootHashes()) ?? new Set(),
    nowMs: () => Date.now(),
    limitBytes: Math.floor(config.cacheLimitBytes / RECIPES_SHARE),
  });
  const run = (): void =>
    void forgetting.run().then(
      ({ recipes, bytes }) => {
        if (recipes > 0) log.log(`The recipes of ${String(recipes)} versions went, ${String(bytes)} bytes.`);
      },
      () => log.warn('Recipes that are no longer needed cannot be removed: check the data directory.'),
    );
  run();
  const timer = setInterval(run, FORGET_EVERY_MS).unref();
  return { stop: () => clearInterval(timer) };
}

/** The device's session, and what it has for the time without the Admin API. */
interface OpenedDevice {
  readonly recipient: Recipient & { readonly serial: string };
  readonly session: DeviceSession;
  readonly leases: HeldLeases;
  readonly offline: OfflineDevice;
}

async function openDevice(
  config: LoaderConfig,
  { serial, email, password }: DeviceConf,
  { identity }: ChosenIdentity,
  using: {
    readonly auth: HttpAuthApi;
    readonly verifier: JwksTokenVerifier;
    readonly clock: Clock;
    readonly log: Logger;
    readonly trust: StatementTrust;
    readonly state: DeviceStateKey;
    readonly time: TrustedTime;
  },
): Promise<OpenedDevice> {
  const { trust, time, state } = using;
  const recipient = { point: await identity.agreementPoint(), ecdh: identity.ecdh, serial };
  const store = leaseStore(config);
  const refusals = new FileRefusalMarkStore(join(config.dataDir, 'lease-refusals'), state);
  const leases = new HeldLeases({ store, refusals, trust, time, recipient: () => Promise.resolve(recipient) });
  const account = { serial, email, password };
  const offline = await OfflineDevice.open({ account, dataDirectory: config.dataDir, key: state, leases, time });
  const session = new DeviceSession(
    { ...account, audience: config.adminAudience },
    {
      ...using,
      identity,
      offline: {
        observe: (signedSeconds) => time.observe(signedSeconds),
        remember: () => offline.remember(),
        bearer: () => offline.bearer(),
        patienceMs: () => leases.patienceMs(),
        late: () => leases.reached(false),
        forget: (serverMs) => leases.revoked(serverMs),
      },
    },
  );
  return { recipient, session, leases, offline };
}

/** The trusted time, written down now and then. */
async function trustedTime(
  config: LoaderConfig,
  { identity }: ChosenIdentity,
  state: DeviceStateKey,
  warn: (message: string) => void,
): Promise<{ readonly clock: TrustedTime; close(): Promise<void> }> {
  const store = new FileTimeMarkStore(join(config.dataDir, 'time-mark'), state);
  const tpm =
    identity.binding === 'tpm'
      ? await TpmRunningClock.open({ tcti: config.tpmTcti, timeoutMs: TPM_TIMEOUT_MS }, config.dataDir)
      : undefined;
  const clock = await TrustedTime.open(store, new SystemClock(), {
    running: tpm ?? new BootRunningClock(),
    // Counts the time asleep, which the process's own clock does not.
    uptimeMs: () => uptime() * 1000,
    expectsMark: (await leaseStore(config).names()).length > 0,
  });
  if (!clock.isCertain)
    warn(
      'The record of the trusted time is missing, was changed, or cannot be written to a full disk: leases open nothing until this device has reached the Admin API.',
    );
  const failed = (): void => warn('The trusted time cannot be written down: check the data directory.');
  const timer = setInterval(() => void clock.keep().catch(failed), MARK_INTERVAL_MS).unref();
  return {
    clock,
    close: async () => {
      clearInterval(timer);
      if (clock.isCertain && clock.signedMs() > 0) await clock.write().catch(failed);
      await tpm?.close();
    },
  };
}

function leaseStore(config: LoaderConfig): FileLeaseStore {
  return new FileLeaseStore(join(config.dataDir, 'leases'));
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
