import { randomBytes } from 'node:crypto';

import { type GrantToken, readGrantToken, type Statement, verifyGrantToken, verifyStatement } from '@azaion/crypto';
import { ManualClock } from '@azaion/kernel';

import { ResourceError } from '../errors.js';
import { HeldLeases } from '../leases/held-leases.js';
import { TrustedTime } from '../leases/trusted-time.js';
import { type GrantAnswer, GrantApi, type GrantRequest, type PackUrl } from '../ports/grant-api.js';
import { InMemoryGrantApi } from '../testing/in-memory-admin-api.js';
import {
  InMemoryLeaseStore,
  InMemoryRefusalMarkStore,
  InMemoryTimeMarkStore,
} from '../testing/in-memory-lease-store.js';
import { InMemoryPackStore } from '../testing/in-memory-pack-store.js';
import { InMemorySegmentStore } from '../testing/in-memory-segment-store.js';
import { softwareRecipient } from '../testing/software-recipient.js';
import { collect, RESOURCE, TINY, World } from '../testing/world.js';
import type { FetchRequest } from './fetch-resource.js';
import { refusal } from '../testing/refusal.js';

const START_MS = 1_800_000_000_000;
const DAY_MS = 86_400_000;
const SERIAL = 'azj-0001';
const UNREACHABLE = { code: 'api.unreachable' };

/** The Admin API behind a link that can be cut, refuse, or never answer. */
class Link extends GrantApi {
  failure: Error | undefined;
  silent = false;

  constructor(private readonly api: GrantApi) {
    super();
  }

  override grant(request: GrantRequest): Promise<GrantAnswer> {
    return this.through(() => this.api.grant(request));
  }

  override segment(...call: Parameters<GrantApi['segment']>): Promise<Uint8Array> {
    return this.through(() => this.api.segment(...call));
  }

  override packUrls(...call: Parameters<GrantApi['packUrls']>): Promise<readonly PackUrl[]> {
    return this.through(() => this.api.packUrls(...call));
  }

  private async through<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    if (this.silent) await new Promise(() => undefined);
    if (this.failure !== undefined) throw this.failure;
    return call();
  }
}

/** A device with a disk that survives restarts, and a clock of its own. */
class Device {
  readonly store = new InMemoryLeaseStore();
  readonly marks = new InMemoryTimeMarkStore();
  readonly refusals = new InMemoryRefusalMarkStore();
  readonly packs = new InMemoryPackStore();
  readonly segments = new InMemorySegmentStore();
  readonly recipient = softwareRecipient(SERIAL);
  time!: TrustedTime;
  leases!: HeldLeases;

  constructor(
    readonly world: World,
    readonly clock: ManualClock,
    readonly link: Link,
  ) {}

  /** Starts, as after a power cut: what is not on the disk is gone. @param wanted - Versions that are wanted by their number, where somebody says. */
  async start(wanted: readonly number[] | 'unsaid' = []): Promise<void> {
    const expectsMark = (await this.store.names()).length > 0;
    this.time = await TrustedTime.open(this.marks, this.clock, { expectsMark });
    const { store, refusals, time, recipient } = this;
    this.leases = new HeldLeases({
      store,
      refusals,
      trust: this.world.trust,
      time,
      recipient: () => Promise.resolve(recipient),
    });
    if (wanted !== 'unsaid') this.leases.want(wanted.map((version) => ({ ...RESOURCE, version })));
  }

  async fetch(request: Partial<FetchRequest> = {}): Promise<Buffer> {
    const { link: api, packs: store, segments, leases, time: clock } = this;
    const fetcher = this.world.fetcher({ api, store, segments, leases, clock });
    return collect((await fetcher.run({ resource: RESOURCE, recipient: this.recipient, ...request })).read());
  }
}

let clock: ManualClock;
let apiClock: ManualClock;
let world: World;
let link: Link;
let device: Device;

beforeEach(async () => {
  clock = new ManualClock(START_MS);
  apiClock = new ManualClock(START_MS);
  world = await World.create({ chunking: TINY, packTargetBytes: 1024, clock: apiClock });
  link = new Link(new InMemoryGrantApi(world.admin));
  device = new Device(world, clock, link);
  await device.start();
});

const cut = (): void => void (link.failure = new ResourceError('api.unreachable', 'The link is down.'));
const content = (): Buffer => randomBytes(2_000);

/** Publishes, and brings everything onto the device. */
async function held(plaintext = content()): Promise<Buffer> {
  await world.publish(plaintext);
  expect(await device.fetch()).toEqual(plaintext);
  return plaintext;
}

describe('FetchResource with leases', () => {
  it('opens what it opened before while the Admin API is out of reach, also after a restart', async () => {
    const plaintext = await held();
    cut();
    expect(await device.fetch()).toEqual(plaintext);
    await device.start();
    expect(await device.fetch()).toEqual(plaintext);
    expect(await device.fetch({ version: 1 })).toEqual(plaintext);
  });

  it('opens what was granted although the disk has no room for the recipe', async () => {
    const plaintext = content();
    await world.publish(plaintext);
    device.segments.write = () => Promise.reject(new ResourceError('resource.no-space', 'The disk is full as told.'));
    expect(await device.fetch()).toEqual(plaintext);
  });

  it('names the recipes that leases are kept of, also of those that do not hold now', async () => {
    await held();
    await held();
    clock.advance(8 * DAY_MS);
    expect(await device.leases.all()).toEqual([]);
    const roots = (await device.segments.recipes()).map(({ rootHash }) => rootHash);
    expect([...(await device.leases.rootHashes())].sort()).toEqual(roots.sort());
  });

  it('opens nothing that it holds no lease for', async () => {
    await held();
    cut();
    await expect(device.fetch({ resource: { folder: 'models', name: 'other' } })).rejects.toMatchObject(UNREACHABLE);
    await expect(device.fetch({ version: 2 })).rejects.toMatchObject(UNREACHABLE);
  });

  it('says what is missing at once when it has a lease and not the content', async () => {
    await held();
    cut();
    const { leases, time, recipient, segments } = device;
    const fetcher = world.fetcher({ api: link, store: new InMemoryPackStore(), segments, leases, clock: time });
    const opened = await fetcher.run({ resource: RESOURCE, recipient });
    await expect(collect(opened.read())).rejects.toMatchObject(UNREACHABLE);
  });

  it('serves from the lease when the Admin API lets wait, and does not wait again for a while', async () => {
    const plaintext = await held();
    link.silent = true;
    const doubting = Object.assign(device.leases, { patienceMs: () => 1 });
    expect(await device.fetch()).toEqual(plaintext);
    Reflect.deleteProperty(doubting, 'patienceMs');
    expect(device.leases.patienceMs()).toBe(0);
    expect(await device.fetch()).toEqual(plaintext);
    link.silent = false;
    expect(await device.fetch()).toEqual(plaintext);
    clock.advance(30_000);
    expect(device.leases.patienceMs()).toBeGreaterThan(0);
  });

  it.each(['api.unauthorized', 'api.forbidden', 'api.unexpected', 'resource.forbidden'] as const)(
    'uses no lease when the Admin API answers %s',
    async (code) => {
      await held();
      link.failure = new ResourceError(code, 'No.');
      await expect(device.fetch()).rejects.toMatchObject({ code });
    },
  );

  it.each([
    ['resource.forbidden', undefined],
    ['resource.not-found', undefined],
    ['resource.not-found', 1],
  ] as const)('forgets the lease when the Admin API answers %s to version %s', async (code, version) => {
    await held();
    link.failure = new ResourceError(code, 'No.');
    await expect(device.fetch({ version })).rejects.toMatchObject({ code });
    cut();
    await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
  });

  it('forgets what a newer grant withdraws', async () => {
    await held();
    world.admin.minVersion = 2;
    await held();
    cut();
    await expect(device.fetch({ version: 1 })).rejects.toMatchObject(UNREACHABLE);
  });

  describe('more versions than are kept', () => {
    const kept = async (): Promise<readonly number[]> =>
      (await device.store.of(RESOURCE)).map(({ version }) => version).toReversed();
    const publishAll = async (count: number): Promise<void> => {
      for (let version = 1; version <= count; version += 1) await world.publish(content());
    };
    const fetchAll = async (versions: readonly number[]): Promise<void> => {
      for (const version of versions) await device.fetch({ version });
    };

    it('leave the newest eight', async () => {
      await publishAll(10);
      await fetchAll([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(await kept()).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
    });

    it('leave what is wanted by its number, whenever it came', async () => {
      await publishAll(11);
      await device.start([1, 2]);
      await fetchAll([1, 3, 4, 5, 6, 7, 8, 9, 10, 2, 11]);
      expect(await kept()).toEqual([1, 2, 6, 7, 8, 9, 10, 11]);
    });

    it('leave what was pinned last, and what was asked for last', async () => {
      await publishAll(11);
      world.admin.pinned = 2;
      await fetchAll([2]);
      apiClock.advance(1000);
      clock.advance(1000);
      world.admin.pinned = 1;
      await fetchAll([1]);
      await fetchAll([4, 5, 6, 7, 8, 9, 10, 11]);
      expect(await kept()).toEqual([1, 5, 6, 7, 8, 9, 10, 11]);
      await fetchAll([3]);
      expect(await kept()).toEqual([1, 3, 6, 7, 8, 9, 10, 11]);
    });

    it('stay, all of them, as long as nobody has said what is wanted', async () => {
      await publishAll(10);
      await device.start('unsaid');
      await fetchAll([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(await kept()).toHaveLength(10);
    });
  });

  describe('times', () => {
    it('ends with its notAfter, to the second', async () => {
      const plaintext = await held();
      cut();
      clock.advance(7 * DAY_MS - 1000);
      expect(await device.fetch()).toEqual(plaintext);
      clock.advance(1000);
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
    });

    it('ends also for a device whose clock is set back, at every start', async () => {
      await held();
      await device.time.write();
      cut();
      for (let day = 0; day < 7; day += 1) {
        clock.setWall(0);
        await device.start();
        clock.advance(DAY_MS);
        await device.time.write();
      }
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
    });

    it('goes on when a clock that jumped ahead is right again', async () => {
      const plaintext = await held();
      cut();
      clock.setWall(START_MS + 300 * DAY_MS);
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
      clock.setWall(START_MS);
      expect(await device.fetch()).toEqual(plaintext);
    });

    it('ends when somebody removes the mark of the time, until the Admin API signs one', async () => {
      const plaintext = await held();
      cut();
      await device.start();
      expect(await device.fetch()).toEqual(plaintext); // the mark was there with the first lease
      device.marks.mark = undefined;
      for (let start = 0; start < 2; start += 1) {
        await device.start();
        await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
      }
      link.failure = undefined;
      expect(await device.fetch()).toEqual(plaintext);
      cut();
      await device.start();
      expect(await device.fetch()).toEqual(plaintext);
    });

    it.each([-400, 400])('is granted anew by a device whose clock is %i days wrong', async (days) => {
      await held();
      clock.setWall(START_MS + days * DAY_MS);
      device.time.observe(START_MS / 1000); // the device's login has just brought it
      await held();
    });

    it('is forgotten once the Admin API itself has signed a time after its end, to the second', async () => {
      await held();
      for (const [elapsedMs, kept] of [
        [7 * DAY_MS - 1000, 1],
        [7 * DAY_MS, 0],
      ] as const) {
        device.time.observe((START_MS + elapsedMs) / 1000);
        await device.leases.dropExpired();
        expect(await device.store.names()).toHaveLength(kept);
      }
    });

    it('is not forgotten by the clock alone, which may have jumped', async () => {
      const plaintext = await held();
      clock.setWall(START_MS + 300 * DAY_MS);
      await device.leases.dropExpired();
      clock.setWall(START_MS);
      cut();
      expect(await device.fetch()).toEqual(plaintext);
    });

    it('is forgotten alone: what was granted later stays', async () => {
      await held();
      for (const each of [clock, apiClock]) each.advance(3 * DAY_MS);
      const newer = await held();
      clock.advance(4 * DAY_MS);
      await device.leases.dropExpired();
      expect((await device.store.names()).map(({ version }) => version)).toEqual([2]);
      cut();
      expect(await device.fetch()).toEqual(newer);
    });

    it('is renewed by each grant', async () => {
      const plaintext = await held();
      for (const each of [clock, apiClock]) each.advance(6 * DAY_MS);
      await device.fetch();
      cut();
      clock.advance(6 * DAY_MS);
      expect(await device.fetch()).toEqual(plaintext);
    });
  });

  describe('versions', () => {
    it('serves the newest complete one while a newer one is on its way', async () => {
      const first = await held();
      const second = content();
      await world.publish(second);
      const { leases, time, packs, segments } = device;
      // A prefetch that the link cut off: lease and recipe are there, some of the packs are not.
      const opened = await world
        .fetcher({ api: link, store: packs, segments, leases, clock: time })
        .run({ resource: RESOURCE, recipient: device.recipient, movesMark: false });
      await collect(opened.read({ start: 0, end: 100 }));
      cut();
      expect(await device.fetch()).toEqual(first);
      link.failure = undefined;
      await device.fetch({ movesMark: false, lease: 'never' });
      cut();
      expect(await device.fetch()).toEqual(second);
    });

    it('goes back to what an administrator has pinned, for as long as it is', async () => {
      const first = await held();
      const second = await held();
      const granted = async (): Promise<void> => {
        for (const each of [clock, apiClock]) each.advance(1000);
        link.failure = undefined;
        await device.fetch();
        cut();
      };
      for (let turn = 0; turn < 2; turn += 1) {
        world.admin.pinned = 1;
        await granted();
        expect(await device.fetch()).toEqual(first);
        world.admin.pinned = undefined;
        await granted();
        expect(await device.fetch()).toEqual(second);
      }
    });

    it('never goes back behind one that was used', async () => {
      const first = await held();
      await held();
      await device.store.drop({ resource: RESOURCE, version: 2 });
      cut();
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
      expect(await device.fetch({ version: 1 })).toEqual(first); // asked for by its number
    });
  });

  describe('callers', () => {
    it('never serve another person, unless the caller says that it may', async () => {
      const plaintext = await held();
      cut();
      const person = softwareRecipient();
      await expect(device.fetch({ recipient: person })).rejects.toMatchObject(UNREACHABLE);
      expect(await device.fetch({ recipient: person, lease: 'offline' })).toEqual(plaintext);
    });

    it("never serve a person with what is the device's alone", async () => {
      world.admin.scope = `device:${SERIAL}`;
      const plaintext = await held();
      cut();
      expect(await device.fetch()).toEqual(plaintext);
      await expect(device.fetch({ recipient: softwareRecipient(), lease: 'offline' })).rejects.toMatchObject(
        UNREACHABLE,
      );
    });

    it("'only' asks nobody, and says so when there is no lease", async () => {
      const plaintext = await held();
      expect(await device.fetch({ lease: 'only' })).toEqual(plaintext);
      await device.leases.revoked();
      await expect(device.fetch({ lease: 'only' })).rejects.toMatchObject(refusal('resource.forbidden'));
    });
  });

  describe('a lease that a bundle carries', () => {
    interface Carried {
      readonly answer: GrantAnswer;
      readonly statement: Statement;
      readonly token: GrantToken;
    }
    /** What an administrator had made for this device, at the Admin API's time. */
    const made = async (version = 1): Promise<Carried> => {
      const { point } = device.recipient;
      const asked = { resource: RESOURCE, version, recipientPoint: point, nonce: 'bm9uY2Vub25jZW5vbmNlbm8' };
      const answer = await new InMemoryGrantApi(world.admin).grant(asked);
      const keys = await world.admin.statementKeys();
      const statement = await verifyStatement(answer.statement, keys);
      const expected = { statement, statementJws: answer.statement, recipientPoint: point, nonce: undefined };
      const token = await verifyGrantToken(answer.grantToken, keys, { ...expected, nowSeconds: 0 });
      return { answer, statement, token };
    };
    const carry = ({ answer, statement, token }: Carried): Promise<void> =>
      device.leases.carried(answer, statement, token);
    const passing = (ms: number): void => [clock, apiClock].forEach((each) => each.advance(ms));
    const REFUSED = { code: 'resource.forbidden' };

    it('opens offline what was never granted online', async () => {
      const plaintext = await held();
      const bundle = await made();
      await device.store.drop({ resource: RESOURCE, version: 1 });
      cut();
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
      await carry(bundle);
      expect(await device.fetch()).toEqual(plaintext);
    });

    it('leaves the lease that was granted later in its place, with its end, its pin and the word of the verifier', async () => {
      await held();
      const bundle = await made();
      passing(DAY_MS);
      world.admin.verified = true;
      world.admin.pinned = 1;
      await device.fetch();
      const renewed = await device.store.of(RESOURCE);
      for (let start = 0; start < 3; start += 1) {
        await device.start();
        await carry(bundle);
        expect(await device.store.of(RESOURCE)).toEqual(renewed);
      }
    });

    it('takes the place of one that was granted before, one that ended, and one that was damaged', async () => {
      await held();
      passing(DAY_MS);
      world.admin.verified = true;
      await device.fetch();
      world.admin.verified = false;
      passing(1000);
      const later = await made();
      await carry(later);
      const [kept] = await device.store.of(RESOURCE);
      expect(kept?.grant).toMatchObject({ grantToken: later.answer.grantToken, verified: true });
      const damaged = { ...later.answer, grantToken: 'a.b.c' };
      await device.store.keep({ resource: RESOURCE, version: 1, grant: damaged });
      await carry(later);
      expect((await device.store.of(RESOURCE))[0]?.grant.grantToken).toBe(later.answer.grantToken);
    });

    it.each([
      ['resource.not-found', 1],
      ['resource.not-found', undefined],
      ['resource.forbidden', undefined],
    ] as const)(
      'is refused once the Admin API has answered %s to version %s, also after restarts',
      async (code, version) => {
        await held();
        const bundle = await made();
        passing(1000);
        link.failure = new ResourceError(code, 'No.');
        await expect(device.fetch({ version })).rejects.toMatchObject({ code });
        cut();
        for (let start = 0; start < 2; start += 1) {
          await device.start();
          await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
          await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
        }
        // What is made after the refusal counts again.
        passing(2000);
        await carry(await made());
        expect(await device.store.names()).toHaveLength(1);
      },
    );

    it('is refused for the version that was refused, and for no other', async () => {
      const first = await held();
      await held();
      const bundles = [await made(1), await made(2)] as const;
      link.failure = new ResourceError('resource.not-found', 'There is no such resource.');
      await expect(device.fetch({ version: 2 })).rejects.toMatchObject(refusal('resource.not-found'));
      cut();
      await device.start();
      await expect(carry(bundles[1])).rejects.toMatchObject(REFUSED);
      await carry(bundles[0]);
      expect(await device.fetch({ version: 1 })).toEqual(first);
    });

    it('is refused of a version below the lowest or above the newest that a later grant knows', async () => {
      for (let version = 1; version <= 3; version += 1) await held();
      const bundles = [await made(1), await made(2), await made(3)] as const;
      passing(1000);
      world.admin.minVersion = 2;
      world.admin.forgetVersionsAfter(RESOURCE, 2);
      await device.fetch({ version: 2 });
      cut();
      await device.start();
      for (const [index, bundle] of bundles.entries()) {
        if (index === 1) await carry(bundle);
        else await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
      }
      expect((await device.store.names()).map(({ version }) => version)).toEqual([2]);
    });

    it('is refused once the device was revoked, all of it, and counts again when it was made later', async () => {
      await held();
      const bundle = await made();
      await device.leases.revoked();
      cut();
      await device.start();
      await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
      expect(await device.leases.all()).toEqual([]);
      passing(2000);
      await carry(await made());
      expect(await device.leases.all()).toHaveLength(1);
    });

    it('is refused although the clock started in the past when the device was revoked', async () => {
      await world.publish(content());
      const bundle = await made();
      clock.setWall(0);
      await device.start();
      await device.leases.revoked(START_MS + 1000);
      clock.setWall(START_MS + 2000);
      await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
    });

    it('is not refused for ever by a clock that was ahead at the refusal: the next grant shows the time', async () => {
      await held();
      clock.setWall(START_MS + 400 * DAY_MS);
      await device.start();
      await device.leases.revoked();
      clock.setWall(START_MS);
      passing(DAY_MS);
      await device.start();
      await expect(carry(await made())).rejects.toMatchObject(REFUSED);
      await device.fetch();
      passing(DAY_MS);
      await carry(await made());
      expect(await device.leases.all()).toHaveLength(1);
    });

    it('is refused when the record of refusals was changed, until the device is in contact', async () => {
      await held();
      const bundle = await made();
      device.refusals.marks = { deviceSeconds: Number.MAX_SAFE_INTEGER, resources: new Map() };
      await device.start();
      await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
      await device.fetch();
      passing(2000);
      await carry(await made());
    });

    it('brings nothing back when the mark of the time was removed, and puts nothing in place of a later lease', async () => {
      await held();
      const bundle = await made();
      passing(DAY_MS);
      await device.fetch();
      const renewed = await device.store.of(RESOURCE);
      cut();
      device.marks.mark = undefined;
      await device.start();
      await carry(bundle);
      expect(await device.store.of(RESOURCE)).toEqual(renewed);
      await expect(device.fetch()).rejects.toMatchObject(UNREACHABLE);
    });

    it('does not fill the disk with versions that nobody would keep', async () => {
      await held();
      const bundle = await made(1);
      for (let version = 2; version <= 10; version += 1) await held();
      await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
      expect(await device.store.names()).toHaveLength(8);
    });

    it('takes the oldest of those that are kept over again', async () => {
      for (let version = 1; version <= 8; version += 1) await held();
      passing(1000);
      const later = await made(1);
      await carry(later);
      const kept = await device.store.of(RESOURCE);
      expect(kept).toHaveLength(8);
      expect(kept.find(({ version }) => version === 1)?.grant.grantToken).toBe(later.answer.grantToken);
    });

    it('takes an older one that is wanted by its number, and none of which only another resource is', async () => {
      await held();
      const bundle = await made(1);
      for (let version = 2; version <= 10; version += 1) await held();
      for (const other of [
        { ...RESOURCE, version: 2 },
        { ...RESOURCE, name: 'another', version: 1 },
        { ...RESOURCE, folder: 'another', version: 1 },
      ]) {
        device.leases.want([other]);
        await expect(carry(bundle)).rejects.toMatchObject(REFUSED);
      }
      device.leases.want([{ ...RESOURCE, version: 1 }]);
      await carry(bundle);
      expect(await device.leases.all()).toContainEqual(expect.objectContaining({ version: 1 }));
    });
  });

  describe('versions that were withdrawn', () => {
    it('are forgotten when a grant knows of no version so new, and stay forgotten when their lease is put back', async () => {
      await held();
      await held();
      const [lease] = await device.store.of(RESOURCE);
      if (lease === undefined) throw new Error('no lease was kept');
      for (const each of [clock, apiClock]) each.advance(1000);
      world.admin.forgetVersionsAfter(RESOURCE, 1);
      await expect(device.fetch()).rejects.toMatchObject(refusal('resource.rollback-refused'));
      expect((await device.store.names()).map(({ version }) => version)).toEqual([1]);
      await device.store.keep(lease);
      cut();
      await expect(device.fetch({ version: 2 })).rejects.toMatchObject(UNREACHABLE);
    });

    it("are not known from a person's grant, who does not see what the device has published for itself", async () => {
      await held();
      const own = await held();
      for (const each of [clock, apiClock]) each.advance(1000);
      const grants = new InMemoryGrantApi(world.admin);
      const { point } = softwareRecipient();
      const answer = await grants.grant({
        resource: RESOURCE,
        version: 1,
        recipientPoint: point,
        nonce: 'bm9uY2Vub25j',
      });
      const keys = await world.admin.statementKeys();
      const token = await readGrantToken(answer.grantToken, keys);
      const ofPerson = { ...token, lease: false, latestVersion: 1 };
      await device.leases.granted(answer, await verifyStatement(answer.statement, keys), ofPerson);
      cut();
      expect(await device.fetch({ version: 2 })).toEqual(own);
    });

    it('are not those that were granted after an answer that took longer', async () => {
      await held();
      const { point } = device.recipient;
      const slow = await world.grants.grant({
        resource: RESOURCE,
        version: undefined,
        recipientPoint: point,
        nonce: 'bm9uY2Vub25j',
      });
      const token = await readGrantToken(slow.grantToken, await world.admin.statementKeys());
      const statement = await verifyStatement(slow.statement, await world.admin.statementKeys());
      const second = await held();
      await device.leases.granted(slow, statement, token);
      cut();
      expect(await device.fetch({ version: 2 })).toEqual(second);
    });
  });

  describe('a kept lease that was changed', () => {
    it("is refused: another device's, another version's, forged, or not for offline use", async () => {
      const plaintext = await held();
      const [lease] = await device.store.of(RESOURCE);
      await held();
      const [other] = await device.store.of(RESOURCE);
      if (lease === undefined || other === undefined) throw new Error('no lease was kept');
      cut();
      const stranger = await new InMemoryGrantApi(world.admin).grant({
        resource: RESOURCE,
        version: 1,
        recipientPoint: softwareRecipient().point,
        nonce: 'bm9uY2Vub25jZW5vbmNlbm8',
      });
      const changed = [
        { ...lease.grant, grantToken: other.grant.grantToken },
        { ...lease.grant, statement: other.grant.statement },
        { ...lease.grant, grantToken: `${lease.grant.grantToken.slice(0, -20)}${'A'.repeat(20)}` },
        { ...stranger },
      ];
      for (const grant of changed) {
        await device.store.keep({ ...lease, grant });
        await expect(device.fetch({ version: 1 })).rejects.toMatchObject(UNREACHABLE);
      }
      await device.store.keep(lease);
      expect(await device.fetch({ version: 1 })).toEqual(plaintext);
    });
  });
});
