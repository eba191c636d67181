import { IdentityError, type TokenVerifier } from '@azaion/identity';
import type { ResourceName, Secret } from '@azaion/kernel';
import type { OpenedResource } from '@azaion/split-resource';
import {
  type ArchiveVersion,
  ArchiveSource,
  type FoundArchive,
  KeySource,
  type UnlockImages,
  type UnlockRequest,
  type UnlockStart,
} from '@azaion/unlock';

import type { LoaderDevice } from '../loader-adapters.js';
import type { CallerApis, TokenBearer } from '../session/caller-apis.js';
import type { LogIn } from '../session/log-in.js';
import type { OpenForCaller } from '../session/open-for-caller.js';
import type { DesiredImages } from '../update/desired-images.js';
import type { ArchiveChoice, ArchiveKeys } from './archive-choice.js';
import { SealedArchiveSource } from './sealed-archive-source.js';

/** Roles that may start and cancel an unlock. */
export const UNLOCK_ROLES = ['Operator', 'CompanionPC', 'Admin', 'ApiAdmin'] as const;

/** Credentials sent with a call instead of a token. */
export interface UnlockCredentials {
  readonly email: string;
  readonly password: Secret<string>;
}

/** What {@link UnlockForCaller} works with. */
export interface UnlockForCallerDependencies {
  readonly unlock: UnlockImages;
  readonly archives: ArchiveChoice;
  readonly open: OpenForCaller;
  readonly apis: CallerApis;
  readonly logIn: LogIn;
  readonly verifier: TokenVerifier;
  /** Opens the archive where there is one: its key stays on the device. */
  readonly device: LoaderDevice | undefined;
  /** What it is told to run. */
  readonly desired: Pick<DesiredImages, 'current' | 'known'> | undefined;
  /** The archive that is meant where nobody says which. */
  readonly resource: ResourceName;
}

/** F4 for callers: who may, and with whose key the archive is opened. */
export class UnlockForCaller {
  constructor(private readonly using: UnlockForCallerDependencies) {}

  /**
   * Who calls: whoever the credentials belong to, else the token's bearer.
   *
   * @param address - Where the request came from: logins are counted by it.
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited` | `token.missing` | `role.forbidden`; ResourceError `api.*`.
   */
  async callerOf(
    bearer: TokenBearer | undefined,
    credentials: UnlockCredentials | undefined,
    address: string,
  ): Promise<TokenBearer> {
    const known = credentials === undefined ? bearer : await this.logIn(credentials, address);
    if (known === undefined)
      throw new IdentityError('token.missing', 'Send e-mail and password, or an access token, to unlock.');
    if (!UNLOCK_ROLES.some((role) => role === known.caller.role))
      throw new IdentityError('role.forbidden', 'This account may not unlock the images.');
    return known;
  }

  /** Starts an unlock of what the device is told to run, else of the newest archive. @throws UnlockError; see {@link UnlockImages.start}. */
  start(bearer: TokenBearer): Promise<UnlockStart> {
    const { device, desired } = this.using;
    const bearerOf = device === undefined ? () => Promise.resolve(bearer) : () => device.bearer();
    return this.startAs(bearerOf, desired?.current, { byPerson: true });
  }

  /**
   * The same for the device itself, when it starts: it waits until it is known what the device is told to run, and for the link.
   *
   * @throws as {@link start}; IdentityError when there is no device.
   */
  async startOnBoot(): Promise<UnlockStart> {
    const { desired } = this.using;
    const device = this.ownDevice();
    await desired?.known();
    return this.startAs(() => device.bearer(), desired?.current, { waitForLink: true });
  }

  /** The same for one version of a sealed archive. @throws as {@link startOnBoot}. */
  async startVersion(wanted: ArchiveVersion): Promise<UnlockStart> {
    const device = this.ownDevice();
    return this.startAs(() => device.bearer(), wanted, {});
  }

  private ownDevice(): LoaderDevice {
    const { device } = this.using;
    if (device === undefined)
      throw new IdentityError('device.not-enrolled', 'This machine is no device: it unlocks nothing by itself.');
    return device;
  }

  private startAs(
    bearerOf: () => Promise<TokenBearer>,
    wanted: ArchiveVersion | undefined,
    how: Pick<UnlockRequest, 'byPerson' | 'waitForLink'>,
  ): Promise<UnlockStart> {
    const { unlock, archives, open, apis, verifier, resource } = this.using;
    const openSealed = async (signal: AbortSignal): Promise<OpenedResource> =>
      wanted === undefined
        ? open.newest(resource, await bearerOf(), signal)
        : open.version(wanted, wanted.version, await bearerOf(), signal);
    const fragments = new LateKeySource(async () => apis.archiveKeys(await bearerOf()));
    return unlock.start({
      ...how,
      // A version has a number only when it is sealed, whatever lies on the device beside it.
      source:
        wanted === undefined
          ? new ChosenArchiveSource(archives, { openSealed, fragments })
          : new SealedArchiveSource(openSealed),
      authenticate: async () => {
        await verifier.verify((await bearerOf()).token);
      },
    });
  }

  private async logIn({ email, password }: UnlockCredentials, address: string): Promise<TokenBearer> {
    const { accessToken } = await this.using.logIn.run(email, password, address);
    const token = accessToken.reveal();
    return { token, caller: await this.using.verifier.verify(token) };
  }
}

/** Which kind of archive there is is looked up when it is wanted: it may have been put there since. */
class ChosenArchiveSource extends ArchiveSource {
  constructor(
    private readonly archives: ArchiveChoice,
    private readonly keys: ArchiveKeys,
  ) {
    super();
  }

  override async find(signal: AbortSignal): Promise<FoundArchive> {
    return (await this.archives.sourceFor(this.keys)).find(signal);
  }
}

/** Logs in, where that is necessary, only when a key is wanted. */
class LateKeySource extends KeySource {
  constructor(private readonly keys: () => Promise<KeySource>) {
    super();
  }

  override async fragment(archive: string, signal: AbortSignal): Promise<Secret<Uint8Array>> {
    return (await this.keys()).fragment(archive, signal);
  }
}
