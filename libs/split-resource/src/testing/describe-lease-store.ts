/// <reference types="jest" />
import { randomBytes, randomUUID } from 'node:crypto';

import type { Lease, LeaseStore } from '../ports/lease-store.js';

function lease(folder: string, name: string, version: number): Lease {
  const text = (): string => ['a', 'b', 'c'].map(() => randomBytes(24).toString('base64url')).join('.');
  return {
    resource: { folder, name },
    version,
    grant: {
      grantId: randomUUID(),
      statement: text(),
      grantToken: text(),
      sealedRecipeKey: { enc: new Uint8Array(randomBytes(65)), ciphertext: new Uint8Array(randomBytes(80)) },
      verified: true,
    },
  };
}

/**
 * The contract of {@link LeaseStore}.
 *
 * @param make - A new, empty store, and how to open it again as after a restart.
 */
export function describeLeaseStore(
  title: string,
  make: () => Promise<{ readonly store: LeaseStore; readonly reopen: () => LeaseStore }>,
): void {
  describe(`${title} as a LeaseStore`, () => {
    const plain = ({ resource, version }: { readonly resource: object; readonly version: number }): object => ({
      resource,
      version,
    });

    it('has nothing at first', async () => {
      const { store } = await make();
      expect(await store.names()).toEqual([]);
      expect(await store.of({ folder: 'models', name: 'a' })).toEqual([]);
    });

    it('gives leases back as they were, the highest version first, also after a restart', async () => {
      const { store, reopen } = await make();
      const [two, ten, nine] = [lease('models', 'a', 2), lease('models', 'a', 10), lease('models', 'a', 9)];
      for (const each of [two, ten, nine]) await store.keep(each);
      for (const opened of [store, reopen()])
        expect(await opened.of({ folder: 'models', name: 'a' })).toEqual([ten, nine, two]);
    });

    it('replaces a lease of the same version', async () => {
      const { store } = await make();
      const newer = lease('models', 'a', 1);
      await store.keep(lease('models', 'a', 1));
      await store.keep(newer);
      expect(await store.of(newer.resource)).toEqual([newer]);
    });

    it('keeps resources apart whose names are alike, and names each lease once', async () => {
      const { store } = await make();
      const all = [
        lease('models', 'a', 1),
        lease('models', 'a.onnx', 1),
        lease('models.a', '1', 1),
        lease('m', 'odels', 1),
      ];
      for (const each of all) await store.keep(each);
      for (const each of all) expect(await store.of(each.resource)).toEqual([each]);
      const names = await store.names();
      expect(names).toHaveLength(all.length);
      expect(names).toEqual(expect.arrayContaining(all.map(plain)));
    });

    it('forgets what is dropped, and nothing else', async () => {
      const { store } = await make();
      const [one, two] = [lease('models', 'a', 1), lease('models', 'a', 2)];
      await store.keep(one);
      await store.keep(two);
      await store.drop(one);
      await store.drop(one);
      expect(await store.of(one.resource)).toEqual([two]);
      expect((await store.names()).map(plain)).toEqual([plain(two)]);
    });
  });
}
