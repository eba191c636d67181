import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';

import { ResourceError } from '../errors.js';
import { PackSource } from '../ports/pack-source.js';
import { anyFolder, anyPack } from '../testing/contract-values.js';
import { DownloadSlots } from './download-slots.js';
import { PackUrls } from './pack-urls.js';
import { RangeDownload } from './range-download.js';

const PACK_BYTES = 400_000;
const RANGE = { start: 1000, end: 301_000 };

type Open = (range: { start: number; end: number }) => Readable | Promise<Readable>;

/** Answers the first request in one way, the second in another, and so on; tells what was asked for. */
class ScriptedSource extends PackSource {
  readonly asked: { start: number; end: number }[] = [];
  readonly streams: Readable[] = [];

  constructor(
    private readonly script: readonly Open[],
    override readonly remote = true,
  ) {
    super();
  }

  override async open(...[, range]: Parameters<PackSource['open']>): Promise<Readable> {
    const answer = this.script[this.asked.push(range) - 1];
    if (answer === undefined) throw new Error('asked too often');
    const stream = await answer(range);
    this.streams.push(stream);
    return stream;
  }
}

describe('RangeDownload', () => {
  const content = randomBytes(PACK_BYTES);
  const wanted = content.subarray(RANGE.start, RANGE.end);
  const policy = { retry: { attempts: 3, baseDelayMs: 1, maxDelayMs: 1 }, stallMs: 60_000, hedgeAfterMs: 5 };
  const good: Open = ({ start, end }) =>
    Readable.from([content.subarray(start, start + 1), content.subarray(start + 1, end)]);
  /** Brings some bytes at once, then nothing more until the reader gives up. */
  const stuckAfter =
    (bytes: number): Open =>
    ({ start }) => {
      const stream = new PassThrough();
      stream.write(content.subarray(start, start + bytes));
      return stream;
    };
  const broken: Open = () => Promise.reject(new ResourceError('pack.unavailable', 'The CDN is down.'));

  /** Slots that have seen a fast download. */
  function experiencedSlots(most = 8): DownloadSlots {
    const slots = new DownloadSlots(most);
    slots.succeeded(1_000_000_000, 1);
    return slots;
  }

  function run(source: PackSource, slots: DownloadSlots, signal = new AbortController().signal): Promise<Buffer> {
    return new RangeDownload(source, slots, policy).run({
      folderId: anyFolder(),
      pack: anyPack(PACK_BYTES),
      range: RANGE,
      urls: new PackUrls({ packUrls: () => Promise.resolve([]) }, []),
      upcoming: () => [],
      signal,
    });
  }

  async function expectAllFree(slots: DownloadSlots, most = 8): Promise<void> {
    for (let index = 0; index < most; index++) await slots.take(AbortSignal.timeout(10_000));
  }

  it.each([1, 200, 299_999])('races a request that is stuck after %i bytes for what is missing', async (bytes) => {
    const slots = experiencedSlots();
    const source = new ScriptedSource([stuckAfter(bytes), good]);
    expect((await run(source, slots)).equals(wanted)).toBe(true);
    expect(source.asked).toEqual([RANGE, { start: RANGE.start + bytes, end: RANGE.end }]);
    expect(source.streams.every(({ destroyed }) => destroyed)).toBe(true);
    await expectAllFree(slots);
  });

  it('takes what the first request brings when the second is slower or fails', async () => {
    for (const second of [stuckAfter(10), broken]) {
      const slots = experiencedSlots();
      let finishFirst = (): void => undefined;
      const first: Open = ({ start, end }) => {
        const stream = new PassThrough();
        stream.write(content.subarray(start, start + 100));
        finishFirst = () => void stream.end(content.subarray(start + 100, end));
        return stream;
      };
      const source = new ScriptedSource([
        first,
        (range) => {
          finishFirst();
          return second(range);
        },
      ]);
      expect((await run(source, slots)).equals(wanted)).toBe(true);
      await expectAllFree(slots);
    }
  });

  it('fails with the first request while the second has not begun, and tries again', async () => {
    const slots = experiencedSlots();
    const source = new ScriptedSource([broken, good]);
    expect((await run(source, slots)).equals(wanted)).toBe(true);
    expect(source.asked).toEqual([RANGE, RANGE]);
    await expectAllFree(slots, 4);
  });

  it('asks again where the object is said to end too early, and says so in the end', async () => {
    const short: Open = () => Promise.reject(new ResourceError('pack.truncated', 'The pack is shorter than that.'));
    const once = new ScriptedSource([short, good]);
    expect((await run(once, experiencedSlots())).equals(wanted)).toBe(true);
    const slots = experiencedSlots();
    const always = new ScriptedSource([short, short, short]);
    await expect(run(always, slots)).rejects.toMatchObject({ code: 'pack.truncated' });
    expect(always.asked).toEqual([RANGE, RANGE, RANGE]);
    await expectAllFree(slots); // which says nothing of the link
  });

  it('lets the second request go on when the first one fails', async () => {
    const slots = experiencedSlots();
    let failFirst = (): void => undefined;
    const source = new ScriptedSource([
      () => {
        const stream = new PassThrough();
        failFirst = () => void stream.destroy(new Error('reset'));
        return stream;
      },
      (range) => {
        failFirst();
        return good(range);
      },
    ]);
    expect((await run(source, slots)).equals(wanted)).toBe(true);
    await expectAllFree(slots);
  });

  it('races nothing before it knows how fast the link is, when no slot is free, and on this machine', async () => {
    const unknown = new ScriptedSource([stuckAfter(10), good]);
    const busy = new ScriptedSource([stuckAfter(10), good]);
    const local = new ScriptedSource([stuckAfter(10), good], false);
    const stop = new AbortController();
    const runs = [
      run(unknown, new DownloadSlots(), stop.signal),
      run(busy, experiencedSlots(1), stop.signal),
      run(local, experiencedSlots(), stop.signal),
    ];
    const settled = Promise.allSettled(runs);
    // Far longer than a race would need to begin.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, policy.hedgeAfterMs));
    stop.abort(new Error('given up'));
    for (const { status } of await settled) expect(status).toBe('rejected');
    for (const source of [unknown, busy, local]) expect(source.asked).toEqual([RANGE]);
  });

  it('ends both requests and gives both slots back when the reader gives up', async () => {
    const slots = experiencedSlots();
    const stop = new AbortController();
    const source = new ScriptedSource([
      stuckAfter(10),
      (range) => {
        setImmediate(() => stop.abort(new Error('given up')));
        return stuckAfter(10)(range);
      },
    ]);
    await expect(run(source, slots, stop.signal)).rejects.toThrow('given up');
    expect(source.streams.every(({ destroyed }) => destroyed)).toBe(true);
    await expectAllFree(slots);
  });

  it('asks a failing link for less at once', async () => {
    const slots = new DownloadSlots();
    const source = new ScriptedSource([broken, broken, good]);
    await run(source, slots);
    expect(slots.current).toBe(2);
  });
});
