import type { Caller } from '@azaion/identity';

import type { HeldResource } from '../session/open-for-caller.js';
import { type HeldHere, HeldResources } from './held-resources.js';

const version = (number: number, folder = 'models'): HeldResource => ({
  folder,
  name: 'a.onnx',
  version: number,
  kind: 'file',
  totalBytes: 1,
  presentBytes: 1,
  complete: true,
  leasedUntil: 1,
});

const here = (...held: readonly HeldResource[]): HeldHere => ({ held, unleased: { packs: 0, bytes: 0 } });

describe('HeldResources', () => {
  let nowMs: number;
  let looks: number;
  let look: () => Promise<HeldHere>;
  let held: HeldResources;
  const versions = async (): Promise<readonly number[]> => (await held.current()).held.map((each) => each.version);
  beforeEach(() => {
    nowMs = 0;
    looks = 0;
    look = () => Promise.resolve(here(version(looks)));
    held = new HeldResources(
      () => {
        looks += 1;
        return look();
      },
      (caller, folder) => caller.userId === 'reader' && folder === 'models',
      () => nowMs,
    );
  });

  it('looks once for everybody who asks at the same time, and not again for a while', async () => {
    expect(await Promise.all([versions(), versions()])).toEqual([[1], [1]]);
    nowMs += 14_999;
    expect(await versions()).toEqual([1]);
    expect(looks).toBe(1);
  });

  it('tells a person of the folders that they may see only, and who looks after devices of all', async () => {
    look = () => Promise.resolve(here(version(1), version(2, 'secret')));
    const foldersFor = async (userId: string, role: Caller['role']): Promise<readonly string[]> => {
      const token = { sessionId: 's', tokenId: 't', expiresAt: 1, deviceSerial: undefined };
      const caller: Caller = { userId, role, email: 'a@b.c', ...token };
      return (await held.currentFor(caller)).held.map(({ folder }) => folder);
    };
    expect(await foldersFor('reader', 'CompanionPC')).toEqual(['models']);
    expect(await foldersFor('stranger', 'CompanionPC')).toEqual([]);
    expect(await foldersFor('stranger', 'Operator')).toEqual(['models', 'secret']);
    expect(await foldersFor('stranger', 'Admin')).toEqual(['models', 'secret']);
    expect(await foldersFor('stranger', 'ApiAdmin')).toEqual(['models', 'secret']);
    expect(looks).toBe(1);
  });

  it('answers with what it knows while it looks again', async () => {
    await versions();
    const { promise, resolve } = Promise.withResolvers<HeldHere>();
    look = () => promise;
    nowMs += 15_000;
    expect(await versions()).toEqual([1]);
    resolve(here(version(7)));
    await promise;
    while ((await versions())[0] === 1);
    expect(await versions()).toEqual([7]);
    expect(looks).toBe(2);
  });

  it('says what is wrong when the first look fails, tries again, and stays with what it knew later', async () => {
    look = () => Promise.reject(new Error('no disk'));
    await expect(held.current()).rejects.toThrow('no disk');
    look = () => Promise.resolve(here(version(3)));
    expect(await versions()).toEqual([3]);
    look = () => Promise.reject(new Error('no disk'));
    nowMs += 15_000;
    expect(await versions()).toEqual([3]);
  });
});
