import { createCipheriv, createHash, hash } from 'node:crypto';
import { Readable } from 'node:stream';

import { calcHash, legacyAesKey, legacySmallBytes } from '@azaion/crypto';
import fc from 'fast-check';

import {
  describeLegacyBigParts,
  InMemoryLegacyBigParts,
  InMemoryLegacyBigSink,
  InMemoryLegacySmallParts,
} from '../testing/index.js';
import { LegacyBigSink } from './legacy-parts.js';
import { OpenLegacyResource } from './open-legacy-resource.js';
import { PublishLegacyResource } from './publish-legacy-resource.js';

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
beforeEach(() => {
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

async function read(start?: number, end?: number): Promise<Buffer> {
  const opened = await new OpenLegacyResource(smalls, [local, cdn], KEY).run(RESOURCE, signal);
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
    cdn.open = (_, { start, end }) => Promise.resolve(Readable.from(pieces(start, end), { highWaterMark: 1 }));
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

  it('takes what lies on the device before the CDN', async () => {
    store(encrypted(pattern(20_000)), local);
    await read();
    expect(cdn.openings).toBe(0);
  });

  it('takes the CDN when the local part is of another key or another file', async () => {
    const content = pattern(20_000);
    store(encrypted(content), cdn);
    local.parts.set('models/azaion.onnx', encrypted(pattern(20_000), legacyAesKey('another')).subarray(3072));
    // One in 256 wrong keys shows a padding by chance: this one does not, and nothing about it is random.
    expect((await read()).equals(content)).toBe(true);
    local.parts.set('models/azaion.onnx', Buffer.alloc(7));
    expect((await read()).equals(content)).toBe(true);
  });

  it('goes on where a connection broke off', async () => {
    store(encrypted(pattern(70_000)), cdn);
    cdn.breaksAfterBytes = 20_000;
    expect((await read()).equals(pattern(70_000))).toBe(true);
  });

  it('gives up when nothing comes any more', async () => {
    store(encrypted(pattern(70_000)), cdn);
    const opened = await new OpenLegacyResource(smalls, [cdn], KEY).run(RESOURCE, signal);
    cdn.breaksAfterBytes = 0;
    const reading = async (): Promise<void> => {
      for await (const part of opened.read(undefined, signal)) expect(part.length).toBeLessThanOrEqual(3072);
    };
    await expect(reading()).rejects.toMatchObject({ code: 'cdn.unavailable' });
  });

  it('answers a wrong key, bad padding and a wrong length alike', async () => {
    const good = encrypted(pattern(20_000));
    const badPadding = Buffer.from(good);
    badPadding[good.length - 17] = (badPadding[good.length - 17] ?? 0) ^ 0x40;
    const answers: unknown[] = [];
    for (const bad of [encrypted(pattern(20_000), legacyAesKey('another')), badPadding, good.subarray(0, -1)]) {
      store(bad, cdn, 3072);
      answers.push(await read().catch(codeAndMessage));
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toMatchObject({ code: 'legacy.invalid' });
  });

  it('says what is missing: the resource, or its part in the CDN', async () => {
    await expect(read()).rejects.toMatchObject({ code: 'resource.not-found' });
    smalls.parts.set('models/azaion.onnx', new Uint8Array(100));
    await expect(read()).rejects.toMatchObject({ code: 'cdn.missing' });
  });
});

describe('publishing in the older format (F3)', () => {
  const publish = (content: AsyncIterable<Uint8Array>, sink: LegacyBigSink, maxBytes = 1_000_000): Promise<unknown> =>
    new PublishLegacyResource(smalls, sink, KEY).run({ resource: RESOURCE, content, maxBytes, signal });

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
        await inner.put(call[0], call[1]);
        seen.push(smalls.parts.size);
      }
    }
    await publish(pieces(pattern(20_000)), new Watching());
    expect(seen).toEqual([0]);
    expect(smalls.parts.size).toBe(1);
  });

  it.each([100, 50_000])('writes nothing to the API when the content of %i bytes fails', async (bytes) => {
    const broken = publish(pieces(pattern(bytes), new Error('the client left')), new InMemoryLegacyBigSink(cdn));
    await expect(broken).rejects.toThrow('the client left');
    expect(smalls.parts.size).toBe(0);
  });

  it('refuses what is too large, and writes nothing to the API', async () => {
    const refused = publish(pieces(pattern(50_001)), new InMemoryLegacyBigSink(cdn), 50_000);
    await expect(refused).rejects.toMatchObject({ code: 'resource.too-large' });
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
