import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';

import { type Caller, IdentityError } from '@azaion/identity';
import { ManualClock } from '@azaion/kernel';
import {
  type GrantApi,
  HeldLeases,
  InlineChunkOpener,
  PublishResource,
  ResourceError,
  TrustedTime,
  type UploadApi,
} from '@azaion/split-resource';
import {
  InMemoryAdminApi,
  InMemoryGrantApi,
  InMemoryLeaseStore,
  InMemoryObjectStore,
  InMemoryPackSink,
  InMemoryPackSource,
  InMemoryPackStore,
  InMemorySegmentStore,
  InMemoryStatementTrust,
  InMemoryRefusalMarkStore,
  InMemoryTimeMarkStore,
  InMemoryUploadApi,
  softwareRecipient,
} from '@azaion/split-resource/testing';
import { pseudoRandomBytes } from '@azaion/testing';
import type { KeySource } from '@azaion/unlock';

import { CallerApis, type TokenBearer } from './caller-apis.js';
import { CallerSessions } from './caller-sessions.js';
import { OpenForCaller } from './open-for-caller.js';
import { NoGrantApi } from './no-api.js';

const NOW_MS = 1_800_000_000_000;
const SERIAL = 'azj-0001';
const MODEL = { folder: 'models', name: 'detector.onnx' };
const CONTENT = randomBytes(5_000);

function bearer(deviceSerial?: string): TokenBearer {
  const caller: Caller = {
    userId: deviceSerial ?? 'person',
    email: 'somebody@azaion.com',
    role: deviceSerial === undefined ? 'Operator' : 'CompanionPC',
    sessionId: deviceSerial ?? 'session',
    tokenId: deviceSerial ?? 'token',
    expiresAt: NOW_MS / 1000 + 900,
    deviceSerial,
  };
  return { caller, token: 'token' };
}

/** An Admin API whose folder people may look into, and open only if it says so; and which can be out of reach. */
class Apis extends CallerApis {
  reachable = true;
  peopleMayOpen = true;

  constructor(private readonly admin: InMemoryAdminApi) {
    super();
  }

  override grants({ caller }: TokenBearer): GrantApi {
    if (!this.reachable) return new NoGrantApi();
    const grants = new InMemoryGrantApi(this.admin);
    if (caller.deviceSerial === undefined && !this.peopleMayOpen)
      grants.grant = () => Promise.reject(new ResourceError('resource.forbidden', 'Devices only.'));
    return grants;
  }

  override uploads(): UploadApi {
    return new InMemoryUploadApi(this.admin);
  }

  override archiveKeys(): KeySource {
    throw new Error('not asked for here');
  }

  override list(): ReturnType<CallerApis['list']> {
    if (!this.reachable) return Promise.reject(new ResourceError('api.unreachable', 'The link is down.'));
    return Promise.resolve([{ name: MODEL.name, kind: 'file', latestVersion: 1, totalBytes: CONTENT.length }]);
  }
}

describe('OpenForCaller on a link that went away', () => {
  const signal = new AbortController().signal;
  let apis: Apis;
  let open: OpenForCaller;
  let publish: (name: string, content: Buffer) => Promise<unknown>;
  /** So many agreements of the device fail next. */
  let failingAgreements: number;

  const opened = async (by: TokenBearer): Promise<Buffer> => {
    const parts: Buffer[] = [];
    for await (const part of (await open.newest(MODEL, by, signal)).read()) parts.push(part);
    return Buffer.concat(parts);
  };
  const listed = async (by: TokenBearer): Promise<readonly string[]> =>
    (await open.list(MODEL.folder, by)).map(({ name }) => name);

  beforeEach(async () => {
    const clock = new ManualClock(NOW_MS);
    const objects = new InMemoryObjectStore(clock);
    const admin = await InMemoryAdminApi.create(objects, { clock });
    publish = (name, content) =>
      new PublishResource(new InMemoryUploadApi(admin), new InMemoryPackSink(objects)).run({
        resource: { ...MODEL, name },
        kind: 'file',
        content: Readable.from([content]),
        maxBytes: 10_000_000,
      });
    await publish(MODEL.name, CONTENT);
    apis = new Apis(admin);
    const trust = new InMemoryStatementTrust(() => admin.statementKeys());
    const recipient = (): Promise<ReturnType<typeof softwareRecipient>> => Promise.resolve(device);
    failingAgreements = 0;
    const software = softwareRecipient(SERIAL);
    const device: typeof software = {
      ...software,
      ecdh: (point) =>
        failingAgreements-- > 0
          ? Promise.reject(new IdentityError('device.tpm-failed', 'The TPM reported an error.'))
          : software.ecdh(point),
    };
    const time = await TrustedTime.open(new InMemoryTimeMarkStore(), clock);
    open = new OpenForCaller({
      apis,
      sessions: new CallerSessions(clock),
      device: { serial: SERIAL, recipient, authenticated: true },
      trust,
      sources: [new InMemoryPackSource(objects)],
      store: new InMemoryPackStore(),
      segments: new InMemorySegmentStore(),
      clock,
      opener: new InlineChunkOpener(),
      leases: new HeldLeases({
        store: new InMemoryLeaseStore(),
        refusals: new InMemoryRefusalMarkStore(),
        trust,
        time,
        recipient,
      }),
    });
    expect(await opened(bearer(SERIAL))).toEqual(CONTENT);
  });

  it('serves the device, and a person whom the Admin API had let open something in the folder', async () => {
    expect(await opened(bearer())).toEqual(CONTENT);
    apis.reachable = false;
    for (const by of [bearer(SERIAL), bearer()]) {
      expect(await opened(by)).toEqual(CONTENT);
      expect(await listed(by)).toEqual([MODEL.name]);
    }
  });

  it('opens nothing for a person who was let look into the folder only: a lease never widens a person’s rights', async () => {
    apis.peopleMayOpen = false;
    expect(await listed(bearer())).toEqual([MODEL.name]);
    apis.reachable = false;
    await expect(opened(bearer())).rejects.toMatchObject({ code: 'api.unreachable' });
    expect(await listed(bearer())).toEqual([MODEL.name]);
  });

  it('takes a person’s right back with the Admin API’s refusal', async () => {
    expect(await opened(bearer())).toEqual(CONTENT);
    apis.peopleMayOpen = false;
    await expect(opened(bearer())).rejects.toMatchObject({ code: 'resource.forbidden' });
    apis.reachable = false;
    await expect(opened(bearer())).rejects.toMatchObject({ code: 'api.unreachable' });
  });

  it('knows what of the leased versions is here, by name: all of it, a part, or nothing to fetch', async () => {
    const large = pseudoRandomBytes('held', 6_000_000);
    await publish('large.bin', large);
    await publish('empty.bin', Buffer.alloc(0));
    const device = bearer(SERIAL);
    await open.newest({ ...MODEL, name: 'empty.bin' }, device, signal);
    const part = await open.newest({ ...MODEL, name: 'large.bin' }, device, signal);
    for await (const bytes of part.read({ start: 0, end: 1000 })) expect(bytes.length).toBe(1000);
    apis.reachable = false;
    const held = await open.held();
    const leasedUntil = expect.any(Number) as number;
    const facts = { folder: MODEL.folder, version: 1, kind: 'file', leasedUntil };
    expect(held).toEqual([
      { ...facts, name: MODEL.name, totalBytes: CONTENT.length, presentBytes: CONTENT.length, complete: true },
      { ...facts, name: 'empty.bin', totalBytes: 0, presentBytes: 0, complete: true },
      {
        ...facts,
        name: 'large.bin',
        totalBytes: large.length,
        presentBytes: expect.any(Number) as number,
        complete: false,
      },
    ]);
    expect(held[2]?.presentBytes).toBeGreaterThanOrEqual(1000);
    expect(held[2]?.presentBytes).toBeLessThan(large.length / 2);
    expect(held[0]?.leasedUntil).toBeGreaterThan(NOW_MS / 1000);
  });

  it('goes on with the others when the key of one lease cannot be opened', async () => {
    await publish('second.bin', pseudoRandomBytes('second', 1000));
    const second = await open.newest({ ...MODEL, name: 'second.bin' }, bearer(SERIAL), signal);
    for await (const bytes of second.read()) expect(bytes.length).toBe(1000);
    failingAgreements = 1;
    const held = await open.held();
    expect(held).toHaveLength(2);
    expect(held.filter(({ complete }) => complete)).toHaveLength(1);
    expect(held.filter(({ presentBytes }) => presentBytes === 0)).toHaveLength(1);
    failingAgreements = 1;
    expect(await open.leasedPacks()).toHaveLength(1);
    expect(await open.leasedPacks()).toHaveLength(2);
    failingAgreements = 1;
    expect(await open.completeVersions(MODEL)).toEqual([]);
  });

  it('lets a person know of what is held in folders that the Admin API let them see; the device of every folder', async () => {
    expect([open.maySee(bearer(SERIAL).caller, MODEL.folder), open.maySee(bearer().caller, MODEL.folder)]).toEqual([
      true,
      false,
    ]);
    await listed(bearer());
    expect(open.maySee(bearer().caller, MODEL.folder)).toBe(true);
    expect(open.maySee(bearer().caller, 'other')).toBe(false);
  });

  it('names the packs of every leased version, for the store to give them up last', async () => {
    const before = await open.leasedPacks();
    expect(before).toHaveLength(1);
    await publish('second.bin', pseudoRandomBytes('second', 1000));
    const second = await open.newest({ ...MODEL, name: 'second.bin' }, bearer(SERIAL), signal);
    for await (const bytes of second.read()) expect(bytes.length).toBe(1000);
    expect(await open.leasedPacks()).toEqual([before[0], expect.objectContaining({ folderId: before[0]?.folderId })]);
  });
});
