import type { DesiredState, DeviceReport, TaggedState } from '@azaion/adapters/resource-api';
import type { Caller } from '@azaion/identity';
import type { ResourceName } from '@azaion/kernel';
import { ResourceError } from '@azaion/split-resource';
import { isRunning, type UnlockStatus } from '@azaion/unlock';

import { KeepUpToDate } from './keep-up-to-date.js';

const MODEL = { folder: 'models', name: 'a.onnx' };
const IMAGES = { folder: 'images', name: 'field' };
/** When the next round is due. */
const DUE_MS = 300_000;
const NOTHING: DesiredState = { resources: [], images: undefined };

/** A device and its Admin API, as far as a round sees them. */
class Field {
  wanted: DesiredState = NOTHING;
  etag = '"1"';
  offline = false;
  windowIsOpen = true;
  /** What a fetch waits for that does not get done in one round. */
  link: Promise<undefined> | 'fast' = 'fast';
  readonly due: number[] = [];
  failure: Error | undefined;
  unlock: Pick<UnlockStatus, 'error' | 'loaded' | 'state'> = { state: 'idle', error: null, loaded: null };
  /** Somebody else's unlock is at work. */
  busy = false;
  /** What others were told to unlock. */
  readonly told: (number | undefined)[] = [];
  settled = false;
  readonly complete = new Map<string, number[]>();
  readonly asked: (string | undefined)[] = [];
  readonly fetched: string[] = [];
  readonly pinned: string[] = [];
  /** Whose leases make no room for others. */
  keeps: readonly string[] | undefined;
  readonly applied: string[] = [];
  readonly reports: DeviceReport[] = [];
  readonly messages: string[] = [];
  readonly round = new KeepUpToDate({
    api: {
      desired: (etag) => {
        this.asked.push(etag);
        if (this.failure !== undefined) return Promise.reject(this.failure);
        const answer: TaggedState | undefined =
          etag === this.etag ? undefined : { etag: this.etag, state: this.wanted };
        return Promise.resolve(answer);
      },
      report: (report) => {
        this.reports.push(report);
        return Promise.resolve();
      },
    },
    bearer: () => {
      const caller = { local: this.offline } as Partial<Caller> as Caller;
      return Promise.resolve({ caller, token: 't' });
    },
    renewal: {
      run: (pinned) => {
        for (const { name, version } of pinned) this.pinned.push(`${name}@${String(version)}`);
        return Promise.resolve(0);
      },
    },
    leases: {
      want: (versions) => void (this.keeps = versions.map(({ name, version }) => `${name}@${String(version)}`)),
    },
    prefetch: {
      run: async ({ resource, version, latest, dueMs }) => {
        if (this.complete.get(resource.name)?.includes(version) === true) return true;
        this.fetched.push(`${resource.name}@${String(version)}${latest ? ' latest' : ''}`);
        if (resource.name === 'broken') throw new ResourceError('cdn.missing', 'A part is missing.');
        if (this.link !== 'fast') {
          this.due.push(dueMs);
          await this.link; // as long as it may take
          return false;
        }
        if (this.windowIsOpen) this.holds(resource, version);
        return this.windowIsOpen;
      },
    },
    open: { completeVersions: ({ name }) => Promise.resolve(this.complete.get(name) ?? []) },
    images: {
      status: () => this.unlock,
      start: ({ name, version }) => {
        if (this.busy || isRunning(this.unlock.state))
          return Promise.resolve({ state: 'loading_images', begun: false } as const);
        this.applied.push(`${name}@${String(version)}`);
        this.unlock = { ...this.unlock, state: 'authenticating', error: null };
        return Promise.resolve({ state: 'authenticating', begun: true } as const);
      },
    },
    desiredImages: {
      tell: (images) => Promise.resolve(void this.told.push(images?.version)),
      settle: () => (this.settled = true),
    },
    facts: { loaderVersion: '1.2.3', binding: 'credentials' },
    log: { log: (message) => this.messages.push(message), warn: (message) => this.messages.push(message) },
  });

  holds({ name }: ResourceName, version: number): void {
    this.complete.set(name, [version, ...(this.complete.get(name) ?? [])]);
  }

  want(wanted: Partial<DesiredState>, etag: string): void {
    this.wanted = { ...NOTHING, ...wanted };
    this.etag = etag;
  }

  run(): Promise<void> {
    return this.round.run(new AbortController().signal, DUE_MS);
  }
}

let field: Field;
beforeEach(() => (field = new Field()));

describe('KeepUpToDate', () => {
  it('asks with the tag it has, fetches what is new once, and reports once what it holds', async () => {
    field.want({ resources: [{ ...MODEL, version: 3, latest: true }] }, '"a"');
    for (let round = 0; round < 3; round += 1) await field.run();
    expect(field.asked).toEqual([undefined, '"a"', '"a"']);
    expect(field.fetched).toEqual(['a.onnx@3 latest']);
    expect(field.reports).toEqual([
      { loaderVersion: '1.2.3', binding: 'credentials', resources: [{ ...MODEL, version: 3 }], images: null },
    ]);
    field.want({ resources: [{ ...MODEL, version: 4, latest: true }] }, '"b"');
    await field.run();
    expect(field.fetched).toEqual(['a.onnx@3 latest', 'a.onnx@4 latest']);
    expect(field.reports.at(-1)?.resources).toEqual([{ ...MODEL, version: 4 }]);
  });

  it('renews what is wanted by its number beside what is newest', async () => {
    field.want({ resources: [{ ...MODEL, version: 2, latest: false }] }, '"a"');
    await field.run();
    await field.round.renew(new AbortController().signal);
    expect(field.pinned).toEqual(['a.onnx@2']);
  });

  it('says which leases make no room for others before it fetches anything, and not before it was told itself', async () => {
    field.failure = new ResourceError('api.unreachable', 'down');
    await field.run();
    expect(field.keeps).toBeUndefined();
    field.failure = undefined;
    field.link = Promise.reject(new Error('nothing may be needed of it'));
    field.link.catch(() => undefined);
    field.want(
      { resources: [{ ...MODEL, version: 2, latest: false }], images: { ...IMAGES, version: 5, latest: true } },
      '"a"',
    );
    await field.run();
    expect(field.keeps).toEqual(['a.onnx@2', 'field@5']);
  });

  it('renews also while a fetch is under way', async () => {
    field.want({ resources: [{ ...MODEL, version: 2, latest: false }] }, '"a"');
    const arrived = Promise.withResolvers<undefined>();
    field.link = arrived.promise;
    const round = field.run();
    while (field.due.length === 0) await new Promise(setImmediate);
    await field.round.renew(new AbortController().signal);
    expect(field.pinned).toEqual(['a.onnx@2']);
    arrived.resolve(undefined);
    await round;
  });

  it('asks again while a version takes many rounds, and turns to the one that has replaced it', async () => {
    field.link = Promise.resolve(undefined);
    field.want({ resources: [{ ...MODEL, version: 3, latest: true }] }, '"a"');
    await field.run();
    await field.run();
    field.want({ resources: [{ ...MODEL, version: 4, latest: true }] }, '"b"');
    await field.run();
    expect(field.due).toEqual([DUE_MS, DUE_MS, DUE_MS]);
    expect(field.asked).toEqual([undefined, '"a"', '"a"']);
    expect(field.fetched).toEqual(['a.onnx@3 latest', 'a.onnx@3 latest', 'a.onnx@4 latest']);
  });

  it('applies images that are here while a model still takes many rounds', async () => {
    field.link = Promise.resolve(undefined);
    field.holds(IMAGES, 5);
    const resources = [{ ...MODEL, version: 3, latest: true }];
    field.want({ resources, images: { ...IMAGES, version: 5, latest: false } }, '"a"');
    await field.run();
    expect(field.applied).toEqual(['field@5']);
  });

  it('fetches again what is not complete any more, and reports what is', async () => {
    field.want({ resources: [{ ...MODEL, version: 3, latest: true }] }, '"a"');
    await field.run();
    field.complete.clear();
    field.windowIsOpen = false;
    await field.run();
    expect(field.reports.at(-1)?.resources).toEqual([]);
    field.windowIsOpen = true;
    await field.run();
    expect(field.fetched).toEqual(['a.onnx@3 latest', 'a.onnx@3 latest', 'a.onnx@3 latest']);
    expect(field.reports.at(-1)?.resources).toEqual([{ ...MODEL, version: 3 }]);
  });

  it('fetches nothing while the latest is wanted and there is none', async () => {
    field.want({ resources: [{ ...MODEL, version: undefined, latest: true }] }, '"a"');
    await field.run();
    expect(field.fetched).toEqual([]);
  });

  it('goes on in the next round when the transfer window has closed', async () => {
    field.want({ resources: [{ ...MODEL, version: 3, latest: false }] }, '"a"');
    field.windowIsOpen = false;
    await field.run();
    expect(field.reports.at(-1)?.resources).toEqual([]);
    field.windowIsOpen = true;
    await field.run();
    expect(field.fetched).toEqual(['a.onnx@3', 'a.onnx@3']);
    expect(field.reports.at(-1)?.resources).toEqual([{ ...MODEL, version: 3 }]);
  });

  it('lets one resource that cannot be had not hold up the others, and says so once', async () => {
    field.want(
      {
        resources: [
          { folder: 'models', name: 'broken', version: 1, latest: false },
          { ...MODEL, version: 1, latest: false },
        ],
      },
      '"a"',
    );
    for (let round = 0; round < 3; round += 1) await field.run();
    expect(field.reports.at(-1)?.resources).toEqual([{ ...MODEL, version: 1 }]);
    expect(field.messages).toHaveLength(1);
    expect(field.messages[0]).toContain('cdn.missing');
  });

  it('goes on with what it was told while the Admin API does not answer', async () => {
    field.want({ resources: [{ ...MODEL, version: 3, latest: false }] }, '"a"');
    field.windowIsOpen = false;
    await field.run();
    field.failure = new ResourceError('api.unreachable', 'down');
    field.windowIsOpen = true;
    await field.run();
    expect(field.fetched).toHaveLength(2);
  });

  it('asks and reports nothing with a login of its own making', async () => {
    field.offline = true;
    await field.run();
    expect([field.asked, field.reports]).toEqual([[], []]);
  });

  describe('images', () => {
    beforeEach(() => field.want({ images: { ...IMAGES, version: 5, latest: false } }, '"a"'));

    it('are applied when they are complete, and once', async () => {
      field.windowIsOpen = false;
      await field.run();
      expect(field.applied).toEqual([]);
      field.windowIsOpen = true;
      await field.run();
      expect(field.reports.at(-1)?.images).toEqual({ ...IMAGES, version: 5, state: 'authenticating' });
      field.unlock = { state: 'ready', error: null, loaded: { ...IMAGES, version: 5 } };
      await field.run();
      await field.run();
      expect(field.applied).toEqual(['field@5']);
      expect(field.reports.at(-1)?.images).toEqual({ ...IMAGES, version: 5, state: 'ready' });
    });

    it('are applied after a run of others that somebody else has begun, and are not reported before they are there', async () => {
      field.busy = true;
      await field.run();
      expect(field.reports.at(-1)?.images).toBeNull();
      field.busy = false;
      field.unlock = { state: 'ready', error: null, loaded: { ...IMAGES, version: 6 } };
      await field.run();
      expect(field.applied).toEqual(['field@5']);
      expect(field.reports.at(-1)?.images).toEqual({ ...IMAGES, version: 6, state: 'authenticating' });
      field.unlock = { state: 'ready', error: null, loaded: { ...IMAGES, version: 5 } };
      await field.run();
      expect(field.applied).toEqual(['field@5']);
      expect(field.reports.at(-1)?.images).toEqual({ ...IMAGES, version: 5, state: 'ready' });
    });

    it('are reported by what runs, where the way back has brought the previous ones', async () => {
      await field.run();
      field.unlock = { state: 'error', error: 'unlock.services-unhealthy', loaded: { ...IMAGES, version: 4 } };
      await field.run();
      expect(field.applied).toEqual(['field@5']);
      expect(field.reports.at(-1)?.images).toEqual({ ...IMAGES, version: 4, state: 'error' });
    });

    it('are told to whoever else starts an unlock, who need not wait when nobody answers', async () => {
      field.failure = new ResourceError('api.unreachable', 'down');
      await field.run();
      expect([field.told, field.settled]).toEqual([[], true]);
      field.failure = undefined;
      await field.run();
      field.want({ images: undefined }, '"b"');
      await field.run();
      expect(field.told).toEqual([5, undefined]);
    });

    it('are tried again after an error, but not when somebody cancelled them or they ran badly', async () => {
      await field.run();
      field.unlock = { state: 'error', error: 'unlock.engine-failed', loaded: null };
      await field.run();
      expect(field.applied).toHaveLength(2);
      for (const error of ['unlock.cancelled', 'unlock.services-unhealthy']) {
        field.unlock = { state: 'error', error, loaded: null };
        await field.run();
      }
      expect(field.applied).toHaveLength(2);
      field.want({ images: { ...IMAGES, version: 6, latest: false } }, '"b"');
      await field.run();
      expect(field.applied.at(-1)).toBe('field@6');
    });
  });

  it('begins no further step once it is to stop', async () => {
    field.want({ resources: [{ ...MODEL, version: 3, latest: true }] }, '"a"');
    await field.round.run(AbortSignal.abort(), DUE_MS);
    await field.round.renew(AbortSignal.abort());
    expect([field.asked, field.fetched, field.reports, field.pinned]).toEqual([[], [], [], []]);
  });
});
