import type { LeasedPack } from '@azaion/split-resource';

import { LeasedPacks } from './leased-packs.js';

const PACK: LeasedPack = { folderId: 'folder', packId: 'pack' };

describe('LeasedPacks', () => {
  let nowMs: number;
  let looks: number;
  let outcome: () => Promise<readonly LeasedPack[]>;
  let packs: LeasedPacks;
  const isLeased = async (): Promise<boolean> => (await packs.now())(PACK.folderId, PACK.packId);
  beforeEach(() => {
    nowMs = 1_000_000;
    looks = 0;
    outcome = () => Promise.resolve([PACK]);
    packs = new LeasedPacks(() => nowMs);
  });
  const learn = (): void =>
    packs.from(() => {
      looks += 1;
      return outcome();
    });

  it('knows of none before it is told where they stand, and looks at once then', async () => {
    expect(await isLeased()).toBe(false);
    learn();
    expect(await isLeased()).toBe(true);
    expect((await packs.now())('another', PACK.packId)).toBe(false);
  });

  it('looks when it is asked, once for many evictions, and sees new and ended leases ten seconds later', async () => {
    learn();
    for (let eviction = 0; eviction < 5; eviction += 1) expect(await isLeased()).toBe(true);
    expect(looks).toBe(1);
    outcome = () => Promise.resolve([]);
    nowMs += 9_999;
    expect(await isLeased()).toBe(true);
    nowMs += 1;
    expect(await isLeased()).toBe(false);
    expect(looks).toBe(2);
  });

  it('stays with what it knew where the leases cannot be read: making room goes on', async () => {
    learn();
    expect(await isLeased()).toBe(true);
    outcome = () => Promise.reject(new Error('no disk'));
    nowMs += 10_000;
    expect(await isLeased()).toBe(true);
  });
});
