import { createCipheriv, createHash, hash } from 'node:crypto';
import { Readable } from 'node:stream';

import { calcHash, legacyAesKey, legacySmallBytes } from '@azaion/crypto';
import { type ByteRange, ManualClock } from '@azaion/kernel';
import fc from 'fast-check';

import {
  describeLegacyBigParts,
  InMemoryLegacyBigParts,
  InMemoryLegacyBigSink,
  InMemoryLegacySmallParts,
} from '../testing/index.js';
import { ResourceError } from '../errors.js';
import { KnownLegacyParts } from './known-legacy-parts.js';
import { LegacyBigSink } from './legacy-parts.js';
import { type OpenedLegacyResource, OpenLegacyResource } from './open-legacy-resource.js';
import { PublishLegacyResource } from './publish-legacy-resource.js';
import { refusal } from '../testing/refusal.js';

const RESOURCE = { folder: 'models', name: 'azaion.onnx' };
const KEY = legacyAesKey(calcHash('-#%@AzaionKey@%#---234sdfklgvhjbnn'));
const IV = Buffer.from(Array.from({ length: 16 }, (_, index) => index));
const { signal } = new AbortController();
const BORDERS = [0, 1, 15, 16, 17, 31, 32, 1000, 10_207, 10_208, 10_223, 10_224, 10_239, 10_240, 10_241, 70_000];

/** Byte `i = (7·i + 3) mod 256`, as in the vectors. */
function pattern(bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, index) => (7 * index + 3) % 256));
}

/** Of Node's own cipher, not of the code under test. */
function encrypted(plaintext: Uint8Array, key: Uint8Array = KEY): Buffer {
  const cipher = createCipheriv('aes-256-cbc', key, IV);
  return Buffer.concat([IV, cipher.update(plaintext), cipher.final()]);
}

function codeAndMessage(error: unknown): object {
  const { code, message } = error as { readonly code: string; readonly message: string };
  return { code, message };
}

let smalls: InMemoryLegacySmallParts;
let local: InMemoryLegacyBigParts;
let cdn: InMemoryLegacyBigParts;
let clock: ManualClock;
let known: KnownLegacyParts;
beforeEach(() => {
  clock = new ManualClock(0);
  known = new KnownLegacyParts(clock);
  smalls = new InMemoryLegacySmallParts();
  local = new InMemoryLegacyBigParts();
  cdn = new InMemoryLegacyBigParts();
});

function store(
  ciphertext: Buffer,
  where: InMemoryLegacyBigParts,
  smallBytes = legacySmallBytes(ciphertext.length),
): void {
  smalls.parts.set('models/azaion.onnx', ciphertext.subarray(0, smallBytes));
  where.parts.set('models/azaion.onnx', ciphertext.subarray(smallBytes));
}

function open(): Promise<OpenedLegacyResource> {
  return new OpenLegacyResource({ smalls, local, cdn, aesKey: KEY, known }).run(RESOURCE, signal);
}

async function read(start?: number, end?: number): Promise<Buffer> {
  const opened = await open();
  const range = start === undefined || end === undefined ? undefined : { start, end };
  const parts: Buffer[] = [];
  for await (const part of opened.read(range, signal)) parts.push(part);
  const whole = Buffer.concat(parts);
  if (range === undefined) expect(opened.totalBytes).toBe(whole.length);
  return whole;
}

describeLegacyBigParts('InMemoryLegacyBigParts', () => {
  const parts = new InMemoryLegacyBigParts();
  return Promise.resolve({
    parts,
    put: ({ folder, name }, content) => {
      parts.parts.set(`${folder}/${name}`, content);
      return Promise.resolve();
    },
  });
});

describe('opening a resource of the older format (F2)', () => {
  it.each(BORDERS)('gives %i bytes back, and says their number before the first', async (bytes) => {
    store(encrypted(pattern(bytes)), cdn);
    expect((await read()).equals(pattern(bytes))).toBe(true);
  });

  it('reads what another implementation wrote', async () => {
    const ciphertext = encrypted(pattern(10_240));
    // From shared vectors: SHA-256 of the encrypted file of 10,240 pattern bytes, and of its parts.
    expect(hash('sha256', ciphertext)).toBe('4d6ec3475edd810b2a0f40dc56b9e365ea299090dc8652cfbe12c219f2b9f3ff');
    expect(hash('sha256', ciphertext.subarray(0, 3072))).toBe(
      '444445e7f582b170ea58d1415993a124bceac6f2d296c19f22b8a512208098bb',
    );
    store(ciphertext, cdn);
    expect(hash('sha256', await read())).toBe('078495549a60220e8ab2d4f7c365def4652ad15f116c3ff6b635d542d410e94a');
  });

  it.each([1, 5, 15, 16, 17, 9000, 10_271])(
    'reads parts that were cut elsewhere: after %i bytes',
    async (smallBytes) => {
      store(encrypted(pattern(10_240)), cdn, smallBytes);
      expect((await read()).equals(pattern(10_240))).toBe(true);
    },
  );

  it('reads from a source whose pieces lie in memory that takes turns', async () => {
    store(encrypted(pattern(10_240)), cdn);
    const content = Buffer.from(cdn.parts.get('models/azaion.onnx')!);
    const pieces = function* (start: number, end: number): Generator<Buffer> {
      const memory = Array.from({ length: 4 }, () => Buffer.alloc(5));
      for (let at = start, turn = 0; at < end; at += 5, turn++) {
        const target = memory[turn % memory.length]!;
        yield target.subarray(0, content.copy(target, 0, at, Math.min(at + 5, end)));
      }
    };
    const found = (await cdn.find(RESOURCE))!;
    const inTurns = {
      ...found,
      open: ({ start, end }: ByteRange) => Promise.resolve(Readable.from(pieces(start, end), { highWaterMark: 1 })),
    };
    cdn.find = () => Promise.resolve(inTurns);
    expect((await read()).equals(pattern(10_240))).toBe(true);
  });

  it('reads any range, and no more than that costs', async () => {
    const content = pattern(50_000);
    store(encrypted(content), cdn);
    await fc.assert(
      fc.asyncProperty(fc.nat(content.length), fc.nat(content.length), async (one, other) => {
        const [start, end] = one < other ? [one, other] : [other, one];
        expect((await read(start, end)).equals(content.subarray(start, end))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it.each(['the CDN has none', 'the CDN is out of reach', 'that of the CDN looks the same'])(
    'takes what lies on the device when %s',
    async (condition) => {
      store(encrypted(pattern(20_000)), local);
      if (condition.endsWith('the same')) store(encrypted(pattern(20_000)), cdn);
      cdn.isUnreachable = condition.endsWith('reach');
      cdn.breaksAfterBytes = 32;
      expect((await read()).equals(pattern(20_000))).toBe(true);
    },
  );

  it('compares what lies on the device with the CDN once, for as long as neither changes', async () => {
    store(encrypted(pattern(20_000)), local);
    store(encrypted(pattern(20_000)), cdn);
    await read();
    await read();
    expect(cdn.openings).toBe(1);
    expect(cdn.lookups).toBe(2);
  });

  it('does not wait again and again for a CDN out of reach', async () => {
    store(encrypted(pattern(20_000)), local);
    cdn.isUnreachable = true;
    for (let time = 0; time < 5; time++) await read();
    expect(cdn.lookups).toBe(1);
    clock.advance(60_000);
    await read();
    expect(cdn.lookups).toBe(2);
  });

  it('asks the CDN again at once after it refused somebody something', async () => {
    store(encrypted(pattern(20_000)), local);
    const find = cdn.find.bind(cdn);
    cdn.find = () => Promise.reject(new ResourceError('cdn.missing', 'There is nothing for you.'));
    expect((await read()).equals(pattern(20_000))).toBe(true);
    cdn.find = find;
    store(encrypted(pattern(30_000)), cdn);
    expect((await read()).equals(pattern(30_000))).toBe(true);
  });

  it('takes the CDN when the local part is of another key or another length', async () => {
    const content = pattern(20_000);
    store(encrypted(content), cdn);
    for (const other of [encrypted(content, legacyAesKey('another')).subarray(3072), Buffer.alloc(7)]) {
      local.parts.set('models/azaion.onnx', other);
      expect((await read()).equals(content)).toBe(true);
    }
  });

  describe('does not serve parts that do not belong together', () => {
    const older = encrypted(other(20_000));
    const newer = encrypted(pattern(20_000));

    /** Of the same length and under the same key as {@link pattern}, as every resource is: its last block shows a good padding. */
    function other(bytes: number): Buffer {
      return Buffer.from(Array.from({ length: bytes }, (_, index) => (11 * index + 5) % 256));
    }

    it('when the one on the device is of an older version', async () => {
      store(older, local);
      store(newer, cdn);
      expect((await read()).equals(pattern(20_000))).toBe(true);
    });

    it('when an upload wrote its big part and not its small one', async () => {
      store(newer, cdn);
      store(older, cdn); // the small part that readers get
      cdn.parts.set('models/azaion.onnx', newer.subarray(3072));
      cdn.smallSha256s.set('models/azaion.onnx', hash('sha256', newer.subarray(0, 3072)));
      await expect(read()).rejects.toMatchObject(refusal('resource.integrity'));
      // What lies on the device may be what the small part belongs to, or may not: nobody knows without a hash.
      local.parts.set('models/azaion.onnx', older.subarray(3072));
      await expect(read()).rejects.toMatchObject(refusal('resource.integrity'));
      local.plaintextSha256s.set('models/azaion.onnx', hash('sha256', other(20_000)));
      expect((await read()).equals(other(20_000))).toBe(true);
    });

    it('when the hash that lies beside the one on the device is another: the end is withheld, and the CDN asked next time', async () => {
      store(older, local);
      local.plaintextSha256s.set('models/azaion.onnx', hash('sha256', other(20_000)));
      cdn.isUnreachable = true;
      smalls.parts.set('models/azaion.onnx', newer.subarray(0, 3072));
      const opened = await open();
      let bytes = 0;
      const reading = async (): Promise<void> => {
        for await (const part of opened.read(undefined, signal)) bytes += part.length;
      };
      await expect(reading()).rejects.toMatchObject(refusal('legacy.invalid'));
      expect(bytes).toBeLessThan(opened.totalBytes);
      cdn.isUnreachable = false;
      store(newer, cdn);
      expect((await read()).equals(pattern(20_000))).toBe(true);
      clock.advance(60_000);
      expect((await read()).equals(pattern(20_000))).toBe(true);
    });

    it('when the CDN has something else than was published from here, and not even its beginning the next time', async () => {
      store(newer, cdn);
      known.published(hash('sha256', newer.subarray(0, 3072)), hash('sha256', pattern(20_000)));
      expect((await read()).equals(pattern(20_000))).toBe(true);
      cdn.parts.set('models/azaion.onnx', older.subarray(3072));
      await expect(read()).rejects.toMatchObject(refusal('legacy.invalid'));
      const opened = cdn.openings;
      await expect(read()).rejects.toMatchObject(refusal('legacy.invalid'));
      expect(cdn.openings).toBe(opened);
      cdn.parts.set('models/azaion.onnx', newer.subarray(3072));
      expect((await read()).equals(pattern(20_000))).toBe(true);
    });

    it('when the part is replaced between two reads of it', async () => {
      store(older, cdn);
      const opened = await open();
      store(newer, cdn);
      const reading = async (): Promise<void> => {
        for await (const part of opened.read(undefined, signal)) expect(part.length).toBeLessThanOrEqual(3072);
      };
      await expect(reading()).rejects.toMatchObject(refusal('cdn.unavailable'));
    });

    // The first block of the big part decrypts to garbage, and nothing in the format tells garbage from content.
    it('unless nobody knows anything about them: CBC itself shows nothing', async () => {
      store(newer, local);
      smalls.parts.set('models/azaion.onnx', older.subarray(0, 3072));
      const mixed = await read();
      const border = 3072 - IV.length;
      expect(mixed.subarray(0, border).equals(other(20_000).subarray(0, border))).toBe(true);
      expect(mixed.subarray(border + 16).equals(pattern(20_000).subarray(border + 16))).toBe(true);
      expect(mixed.subarray(border, border + 16).equals(pattern(20_000).subarray(border, border + 16))).toBe(false);
    });
  });

  it('goes on where a connection broke off', async () => {
    store(encrypted(pattern(70_000)), cdn);
    cdn.breaksAfterBytes = 20_000;
    expect((await read()).equals(pattern(70_000))).toBe(true);
  });

  it('gives up when nothing comes any more', async () => {
    store(encrypted(pattern(70_000)), cdn);
    const opened = await open();
    cdn.breaksAfterBytes = 0;
    const reading = async (): Promise<void> => {
      for await (const part of opened.read(undefined, signal)) expect(part.length).toBeLessThanOrEqual(3072);
    };
    await expect(reading()).rejects.toMatchObject(refusal('cdn.unavailable'));
  });

  it('answers a wrong key, bad padding and a wrong length alike', async () => {
    const good = encrypted(pattern(20_000));
    const badPadding = Buffer.from(good);
    badPadding[good.length - 17] = (badPadding[good.length - 17] ?? 0) ^ 0x40;
    const answers: unknown[] = [];
    const wrongLengths = [good.subarray(0, -1), good.subarray(0, 16), good.subarray(0, 31), good.subarray(0, 33)];
    for (const bad of [encrypted(pattern(20_000), legacyAesKey('another')), badPadding, ...wrongLengths]) {
      store(bad, cdn, 3072);
      answers.push(await read().catch(codeAndMessage));
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toMatchObject(refusal('legacy.invalid'));
  });

  it('says what is missing: the resource, or its part in the CDN', async () => {
    await expect(read()).rejects.toMatchObject(refusal('resource.not-found'));
    smalls.parts.set('models/azaion.onnx', new Uint8Array(100));
    await expect(read()).rejects.toMatchObject(refusal('cdn.missing'));
  });
});

describe('publishing in the older format (F3)', () => {
  const publish = (content: AsyncIterable<Uint8Array>, sink: LegacyBigSink, maxBytes = 1_000_000): Promise<unknown> =>
    new PublishLegacyResource({ smalls, sink, cdn, aesKey: KEY, known }).run({
      resource: RESOURCE,
      content,
      maxBytes,
      signal,
    });

  async function* pieces(content: Buffer, failAtEnd?: Error): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < content.length; at += 999) yield await Promise.resolve(content.subarray(at, at + 999));
    if (failAtEnd !== undefined) throw failAtEnd;
  }

  it.each(BORDERS)('cuts %i bytes where readers expect it, and reads them back', async (bytes) => {
    const published = await publish(pieces(pattern(bytes)), new InMemoryLegacyBigSink(cdn));
    const small = smalls.parts.get('models/azaion.onnx')?.length ?? 0;
    const big = cdn.parts.get('models/azaion.onnx')?.length ?? 0;
    expect(small).toBe(legacySmallBytes(small + big));
    expect(published).toEqual({ bytes, uploadedBytes: big });
    expect((await read()).equals(pattern(bytes))).toBe(true);
  });

  it('writes the small part only after the CDN has taken the big one', async () => {
    const seen: number[] = [];
    const inner = new InMemoryLegacyBigSink(cdn);
    class Watching extends LegacyBigSink {
      override async put(...call: Parameters<LegacyBigSink['put']>): Promise<void> {
        await inner.put(call[0], call[1], call[2]);
        seen.push(smalls.parts.size);
      }
    }
    await publish(pieces(pattern(20_000)), new Watching());
    expect(seen).toEqual([0]);
    expect(smalls.parts.size).toBe(1);
  });

  it('says with the big part which small one belongs to it, and keeps the hash of what it published', async () => {
    await publish(pieces(pattern(20_000)), new InMemoryLegacyBigSink(cdn));
    const smallSha256 = hash('sha256', smalls.parts.get('models/azaion.onnx')!);
    expect(cdn.smallSha256s.get('models/azaion.onnx')).toBe(smallSha256);
    expect(known.plaintextOf(smallSha256)).toBe(hash('sha256', pattern(20_000)));
  });

  it('tells one of two who upload at the same time that the file is mixed', async () => {
    const inner = new InMemoryLegacyBigSink(cdn);
    class Overtaken extends LegacyBigSink {
      override async put(...call: Parameters<LegacyBigSink['put']>): Promise<void> {
        await inner.put(call[0], call[1], call[2]);
        await publish(pieces(pattern(30_000)), inner);
      }
    }
    const slower = publish(pieces(pattern(20_000)), new Overtaken());
    await expect(slower).rejects.toMatchObject(refusal('upload.conflict'));
    await expect(read()).rejects.toMatchObject(refusal('resource.integrity'));
    await publish(pieces(pattern(20_000)), inner);
    expect((await read()).equals(pattern(20_000))).toBe(true);
  });

  it('is complete when it may write and not read', async () => {
    const sink = new InMemoryLegacyBigSink(cdn);
    cdn.isUnreachable = true;
    await expect(publish(pieces(pattern(20_000)), sink)).resolves.toMatchObject({ bytes: 20_000 });
  });

  it.each([100, 50_000])('writes nothing to the API when the content of %i bytes fails', async (bytes) => {
    const broken = publish(pieces(pattern(bytes), new Error('the client left')), new InMemoryLegacyBigSink(cdn));
    await expect(broken).rejects.toThrow('the client left');
    expect(smalls.parts.size).toBe(0);
  });

  it('refuses what is too large, and writes nothing to the API', async () => {
    const refused = publish(pieces(pattern(50_001)), new InMemoryLegacyBigSink(cdn), 50_000);
    await expect(refused).rejects.toMatchObject(refusal('resource.too-large'));
    expect(smalls.parts.size).toBe(0);
  });

  it('encrypts anew each time', async () => {
    const digests = new Set<string>();
    for (let time = 0; time < 2; time++) {
      await publish(pieces(pattern(20_000)), new InMemoryLegacyBigSink(cdn));
      digests.add(
        createHash('sha256')
          .update(cdn.parts.get('models/azaion.onnx') ?? '')
          .digest('hex'),
      );
    }
    expect(digests.size).toBe(2);
  });
});
