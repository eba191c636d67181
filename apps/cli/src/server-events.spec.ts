import fc from 'fast-check';

import { serverEvents } from './server-events.js';

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function read(text: string, sizes: readonly number[] = []): Promise<string[]> {
  const events: string[] = [];
  for await (const event of serverEvents(cut(Buffer.from(text), sizes))) events.push(event);
  return events;
}

describe('serverEvents', () => {
  it.each([
    ['data: a\n\n', ['a']],
    ['data:a\r\n\r\ndata: b\r\n\r\n', ['a', 'b']],
    ['id: 1\nevent: x\ndata: a\ndata: b\n\n', ['a\nb']],
    [': comment\n\ndata: a\n\n', ['a']],
    ['data: never ended\n', []],
    ['', []],
  ])('reads %j', async (text, events) => {
    expect(await read(text)).toEqual(events);
  });

  it('reads the same however the stream is cut', async () => {
    const text = 'data: ä {"a":1}\n\nid: 2\ndata: b\ndata: c\n\n';
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 })), async (sizes) => {
        expect(await read(text, sizes)).toEqual(['ä {"a":1}', 'b\nc']);
      }),
    );
  });

  it('gives up on an event without end', async () => {
    await expect(read(`data: ${'x'.repeat(300_000)}`)).rejects.toThrow(RangeError);
  });
});
