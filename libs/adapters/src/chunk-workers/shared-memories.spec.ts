import { SharedMemories } from './shared-memories.js';

describe('SharedMemories', () => {
  it('gives released memory out again, to those who want as much of it', () => {
    const memories = new SharedMemories();
    const [one, two] = [memories.allocate(100), memories.allocate(200)];
    memories.release(one);
    memories.release(two);
    expect(memories.allocate(200).buffer).toBe(two.buffer);
    expect(memories.allocate(100).buffer).toBe(one.buffer);
    expect(memories.allocate(100).buffer).not.toBe(one.buffer);
  });

  it('waits for the tasks that are at it, however they end', async () => {
    const memories = new SharedMemories();
    const memory = memories.allocate(100);
    let end: () => void = () => undefined;
    let fail: () => void = () => undefined;
    const good = memories.during([memory], () => new Promise<void>((resolve) => (end = resolve)));
    const bad = memories.during(
      [memory.subarray(10), memory],
      () => new Promise<void>((_, reject) => (fail = () => reject(new Error('failed')))),
    );
    memories.release(memory);
    expect(memories.allocate(100).buffer).not.toBe(memory.buffer);
    end();
    await good;
    expect(memories.allocate(100).buffer).not.toBe(memory.buffer);
    fail();
    await expect(bad).rejects.toThrow('failed');
    expect(memories.allocate(100).buffer).toBe(memory.buffer);
  });

  it('knows no other memory', async () => {
    const memories = new SharedMemories();
    expect(() => memories.release(new Uint8Array(100))).toThrow(TypeError);
    await expect(memories.during([new Uint8Array(100)], () => Promise.resolve())).rejects.toThrow(TypeError);
  });

  it('keeps so many bytes and no more; the rest is left to the collection', () => {
    const memories = new SharedMemories(250);
    const [one, two, three] = [memories.allocate(100), memories.allocate(100), memories.allocate(100)];
    for (const memory of [one, two, three]) memories.release(memory);
    const again = [memories.allocate(100), memories.allocate(100), memories.allocate(100)];
    expect(again.map(({ buffer }) => [one, two, three].findIndex((memory) => memory.buffer === buffer))).toEqual([
      1, 0, -1,
    ]);
    memories.release(again[2] as Uint8Array); // there is room again for what was given out
    expect(memories.allocate(100).buffer).toBe(again[2]?.buffer);
  });

  it('takes memory back once', () => {
    const memories = new SharedMemories();
    const memory = memories.allocate(100);
    memories.release(memory);
    expect(() => memories.release(memory)).toThrow(TypeError);
  });
});
