import { type ByteRange, ManualClock, type ResourceName } from '@azaion/kernel';
import { type OpenedResource, ResourceError } from '@azaion/split-resource';
import type { Caller } from '@azaion/identity';

import type { Opening } from '../session/open-for-caller.js';
import { Prefetch, type PrefetchRequest } from './prefetch.js';
import { TransferPolicy } from './transfer-policy.js';

const MIB = 1024 * 1024;
const SLICE = 4 * MIB;
const MODEL = { folder: 'models', name: 'a.onnx' };
const DAY_MS = 86_400_000;
const noon = new Date('2026-03-01T12:00:00'); // local time, as the window is
const night = new Date('2026-03-01T23:00:00');

/** A device with a link that takes one second for a slice, and a cache. */
class Device {
  readonly clock = new ManualClock(0);
  totalBytes = 3 * SLICE;
  /** Sealed bytes of a slice that are not on the device yet. */
  downloadedBytes = SLICE;
  wallTime = noon;
  /** Called when so many slices have been opened. */
  afterSlice: (opened: number) => void = () => undefined;
  /** Why a version could not stay on the device, where it could not. */
  noRoom: Error | undefined;
  readonly complete = new Set<number>();
  readonly openings: (Opening & { readonly name: string })[] = [];
  readonly slices: ByteRange[] = [];
  readonly rests: number[] = [];
  readonly accepted: string[] = [];
  readonly stopping = new AbortController();

  prefetch(policy: TransferPolicy = new TransferPolicy(undefined, undefined)): Prefetch {
    return new Prefetch({
      open: {
        completeVersions: () => Promise.resolve([...this.complete]),
        open: ({ name }: ResourceName, opening: Opening) => {
          this.openings.push({ ...opening, name });
          return Promise.resolve(this.opened(opening.version ?? 0));
        },
      },
      trust: {
        accept: (folderId, resourceId, version) => {
          this.accepted.push(`${folderId}/${resourceId}@${String(version)}`);
          return Promise.resolve();
        },
      },
      policy,
      clock: this.clock,
      bearer: () => Promise.resolve({ caller: {} as Caller, token: 't' }),
      now: () => this.wallTime,
      rest: (ms, signal) => {
        this.rests.push(ms);
        this.clock.advance(ms);
        return signal.aborted ? Promise.reject(signal.reason as Error) : Promise.resolve();
      },
    });
  }

  run(prefetch: Prefetch, changes: Partial<PrefetchRequest> = {}): Promise<boolean> {
    const request = { resource: MODEL, version: 3, latest: true, dueMs: Infinity, ...changes };
    return prefetch.run(request, this.stopping.signal);
  }

  private opened(version: number): OpenedResource {
    const statement = { totalBytes: this.totalBytes, folderId: 'f', resourceId: 'r', version };
    return {
      statement,
      assertRoom: () => (this.noRoom === undefined ? Promise.resolve() : Promise.reject(this.noRoom)),
      read: (range: ByteRange, onProgress: (progress: { readonly downloadedBytes: number }) => void) =>
        this.read(version, range, onProgress),
    } as unknown as OpenedResource;
  }

  private async *read(
    version: number,
    range: ByteRange,
    onProgress: (progress: { readonly downloadedBytes: number }) => void,
  ): AsyncGenerator<Buffer> {
    this.clock.advance(1000);
    onProgress({ downloadedBytes: this.downloadedBytes / 2 });
    yield await Promise.resolve(Buffer.alloc(1));
    onProgress({ downloadedBytes: this.downloadedBytes });
    yield Buffer.alloc(1);
    this.slices.push(range);
    if (range.end === this.totalBytes) this.complete.add(version);
    this.afterSlice(this.slices.length);
  }
}

describe('Prefetch', () => {
  let device: Device;
  beforeEach(() => (device = new Device()));

  it('fetches nothing of what could not stay on the device', async () => {
    device.noRoom = new ResourceError('resource.no-space', 'too large');
    await expect(device.run(device.prefetch())).rejects.toBe(device.noRoom);
    expect([device.slices, device.accepted]).toEqual([[], []]);
  });

  it('opens a version slice by slice, leaves its mark alone meanwhile, and moves it at the end', async () => {
    device.totalBytes = 2 * SLICE + 1;
    device.afterSlice = () => expect(device.accepted).toEqual([]);
    expect(await device.run(device.prefetch())).toBe(true);
    expect(device.slices).toEqual([
      { start: 0, end: SLICE },
      { start: SLICE, end: 2 * SLICE },
      { start: 2 * SLICE, end: 2 * SLICE + 1 },
    ]);
    expect(device.openings).toEqual([{ name: 'a.onnx', version: 3, movesMark: false, lease: 'never' }]);
    expect(device.accepted).toEqual(['f/r@3']);
    expect(device.rests).toEqual([]);
  });

  it('moves no mark for a version that is not the newest', async () => {
    expect(await device.run(device.prefetch(), { latest: false })).toBe(true);
    expect(device.accepted).toEqual([]);
  });

  it('asks for nothing when it is complete', async () => {
    device.complete.add(3);
    expect(await device.run(device.prefetch(), { dueMs: 0 })).toBe(true);
    expect(device.openings).toEqual([]);
  });

  it.each([
    [0, []],
    [1, [1]],
    [SLICE - 1, [SLICE - 1]],
    [SLICE, [SLICE]],
    [SLICE + 1, [SLICE, SLICE + 1]],
  ])('cuts %i bytes into slices that end at %j', async (totalBytes, ends) => {
    device.totalBytes = totalBytes;
    expect(await device.run(device.prefetch())).toBe(true);
    expect(device.slices.map(({ end }) => end)).toEqual(ends);
    expect(device.accepted).toEqual(['f/r@3']);
  });

  describe('with a limit', () => {
    const limit = SLICE / 10; // a slice in ten seconds

    it('rests so that all bytes together keep to it', async () => {
      const prefetch = device.prefetch(new TransferPolicy(limit, undefined));
      expect(await device.run(prefetch)).toBe(true);
      expect(device.rests).toEqual([9000, 9000]); // of ten seconds one went into the transfer
      await device.run(prefetch, { version: 4 });
      expect(device.rests.slice(2)).toEqual([9000, 9000, 9000]); // the next version waits for the one before
    });

    it('counts what came over the network only', async () => {
      device.downloadedBytes = 0;
      expect(await device.run(device.prefetch(new TransferPolicy(limit, undefined)))).toBe(true);
      expect(device.rests).toEqual([]);
    });

    it('rests no longer than until something else is due, and for what is left in the next run', async () => {
      const prefetch = device.prefetch(new TransferPolicy(limit, undefined));
      expect(await device.run(prefetch, { dueMs: 5000 })).toBe(false);
      expect([device.rests, device.slices.length]).toEqual([[4000], 1]);
      expect(await device.run(prefetch, { dueMs: 9000 })).toBe(false);
      expect([device.rests, device.slices.length]).toEqual([[4000, 4000], 1]);
      expect(device.openings).toHaveLength(1); // nothing could have been fetched
      expect(await device.run(prefetch)).toBe(true);
      expect(device.rests).toEqual([4000, 4000, 1000, 9000]);
      expect(device.slices).toHaveLength(3);
    });

    it('ends a rest when the Loader stops', async () => {
      const prefetch = device.prefetch(new TransferPolicy(limit, undefined));
      device.afterSlice = () => device.stopping.abort(new Error('stopping'));
      await expect(device.run(prefetch)).rejects.toThrow('stopping');
      expect([device.slices.length, device.accepted]).toEqual([1, []]);
    });
  });

  describe('with a window', () => {
    const nightly = (): TransferPolicy => new TransferPolicy(undefined, '22:00-06:00');

    it('asks for nothing while it is closed', async () => {
      expect(await device.run(device.prefetch(nightly()))).toBe(false);
      expect(device.openings).toEqual([]);
    });

    it('stops where it closes, and goes on there when it opens again', async () => {
      const prefetch = device.prefetch(nightly());
      device.wallTime = night;
      device.afterSlice = (opened) => {
        if (opened === 2) device.wallTime = noon;
      };
      expect(await device.run(prefetch)).toBe(false);
      expect([device.slices.length, device.accepted]).toEqual([2, []]);
      device.wallTime = night;
      expect(await device.run(prefetch)).toBe(true);
      expect(device.slices.slice(2)).toEqual([{ start: 2 * SLICE, end: 3 * SLICE }]);
      expect(device.accepted).toEqual(['f/r@3']);
    });
  });

  it('lets what is due have its turn, and begins another version at its start', async () => {
    const prefetch = device.prefetch();
    expect(await device.run(prefetch, { dueMs: 2000 })).toBe(false);
    expect(device.slices).toHaveLength(2);
    expect(await device.run(prefetch, { version: 4 })).toBe(true);
    expect(device.slices[2]).toEqual({ start: 0, end: SLICE });
  });

  it('fetches again what was lost, at once and then after pauses that grow', async () => {
    const hours = (count: number): number => count * 3_600_000;
    const prefetch = device.prefetch();
    device.totalBytes = 1;
    device.downloadedBytes = 1;
    const lostAfter = async (ms: number): Promise<boolean | string> => {
      device.complete.clear();
      device.clock.advance(ms);
      return device.run(prefetch).catch((error: unknown) => (error as ResourceError).code);
    };
    expect(await device.run(prefetch)).toBe(true);
    expect(await lostAfter(0)).toBe(true);
    expect(await lostAfter(hours(1) - 1)).toBe('resource.no-space');
    expect(await lostAfter(1)).toBe(true);
    expect(await lostAfter(hours(2) - 1)).toBe('resource.no-space');
    expect(await lostAfter(1)).toBe(true);
    expect(await lostAfter(DAY_MS)).toBe(true); // it had stayed for a day: this counts as the first loss
    expect(await lostAfter(hours(1) - 1)).toBe('resource.no-space');
    expect(await lostAfter(1)).toBe(true);
  });
});
