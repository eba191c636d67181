import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { legacyAesKey, legacyApiKey, legacyDecrypt } from '@azaion/crypto';
import { pseudoRandomStream } from '@azaion/testing';

import { type Person, startSystem, type StartedSystem } from './started-system.js';

const MIB = 1024 * 1024;
/** What older clients may store at most. */
const LARGEST_BYTES = 200 * MIB;
/**
 * Less than the file: whoever held it whole, or its ciphertext, would need more. Much of it is buffers that wait for their collection, the more
 * the faster the link: 115 to 150 MiB were seen over loopback.
 */
const MEMORY_BYTES = 175 * MIB;
const HEAD = '--x\r\ncontent-disposition: form-data; name="data"; filename="large.bin"\r\n\r\n';
const TAIL = '\r\n--x--\r\n';

describe('the largest file of an older client', () => {
  let system: StartedSystem;
  let publisher: Person;
  let token: string;
  beforeAll(async () => {
    system = await startSystem();
    publisher = await system.createPerson('ResourceUploader');
    token = await system.loginAtAdmin(publisher);
  }, 180_000);
  afterAll(() => system.stop());

  const store = async (sizeBytes: number): Promise<number> => {
    const outgoing = request(`${system.adminUrl}/resources/models`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'multipart/form-data; boundary=x',
        'content-length': HEAD.length + sizeBytes + TAIL.length,
      },
    });
    const answered = once(outgoing, 'response') as Promise<[{ statusCode?: number; resume(): unknown }]>;
    outgoing.write(HEAD);
    // A server that refuses may close the connection before it has read everything.
    await pipeline(pseudoRandomStream('legacy', sizeBytes), outgoing, { end: false }).catch(() => undefined);
    outgoing.end(TAIL);
    const [answer] = await answered;
    answer.resume();
    return answer.statusCode ?? 0;
  };
  const digestOf = async (content: AsyncIterable<unknown>): Promise<string> => {
    const hash = createHash('sha256');
    for await (const part of content) hash.update(part as Uint8Array);
    return hash.digest('hex');
  };

  it('is stored and fetched, identical, in a bounded part of memory, and not a byte more', async () => {
    const idleBytes = (await system.admin.memory()).residentBytes;
    expect(await store(LARGEST_BYTES)).toBe(200);
    expect(await store(LARGEST_BYTES + 1)).toBe(413);
    const answer = await fetch(`${system.adminUrl}/resources/get/models`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ password: publisher.password, fileName: 'large.bin' }),
    });
    expect(answer.status).toBe(200);
    const key = legacyAesKey(legacyApiKey(publisher.email, publisher.password));
    const opened = Readable.fromWeb(answer.body!).compose(legacyDecrypt(key)) as Readable;
    expect(await digestOf(opened)).toBe(await digestOf(pseudoRandomStream('legacy', LARGEST_BYTES)));
    expect((await system.admin.memory()).peakBytes - idleBytes).toBeLessThan(MEMORY_BYTES);
  });
});
