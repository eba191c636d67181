import { ResourceError } from '@azaion/split-resource';

import { ApiReach } from './api-reach.js';

const DOWN = new ResourceError('api.unreachable', 'down');
const FOR_EVER = 60_000;

describe('ApiReach', () => {
  let answers: boolean;
  let mayServe: boolean;
  let told: boolean[];
  const reachWith = (patienceMs: number): ApiReach =>
    new ApiReach(
      () => (answers ? Promise.resolve() : Promise.reject(DOWN)),
      () => Promise.resolve(mayServe),
      (reached) => told.push(reached),
      patienceMs,
    );
  const look = async (reach: ApiReach): Promise<void> => reach.check.check(new AbortController().signal);
  beforeEach(() => {
    answers = true;
    mayServe = false;
    told = [];
  });

  it('is up when the Admin API answers, or a lease holds, and tells every outcome', async () => {
    const reach = reachWith(0);
    await look(reach);
    answers = false;
    await expect(look(reach)).rejects.toBe(DOWN);
    expect(reach.isOffline()).toBe(true);
    mayServe = true;
    await look(reach);
    expect(reach.isOffline()).toBe(true);
    answers = true;
    await look(reach);
    expect(reach.isOffline()).toBe(false);
    expect(told).toEqual([true, false, false, true]);
  });

  describe('who waits for an answer and has nothing else to go on with', () => {
    it('gets it while the Admin API can be reached, however long it takes', async () => {
      const reach = reachWith(0);
      const { promise, resolve } = Promise.withResolvers<string>();
      const waiting = reach.whileReached(promise);
      await look(reach);
      resolve('late');
      await expect(waiting).resolves.toBe('late');
    });

    it('is told soon after it was found out of reach, whether the wait began before or after', async () => {
      const reach = reachWith(0);
      const never = new Promise<never>(() => undefined);
      const before = reach.whileReached(never);
      answers = false;
      await look(reach).catch(() => undefined);
      const after = reach.whileReached(never);
      for (const waiting of [before, after]) await expect(waiting).rejects.toMatchObject({ code: 'api.unreachable' });
    });

    it('waits on when it comes back in time, and gets the answer’s own error', async () => {
      const reach = reachWith(FOR_EVER);
      answers = false;
      await look(reach).catch(() => undefined);
      const { promise, reject } = Promise.withResolvers<never>();
      const waiting = reach.whileReached(promise);
      answers = true;
      await look(reach);
      const refused = new ResourceError('resource.forbidden', 'no');
      reject(refused);
      await expect(waiting).rejects.toBe(refused);
    });
  });
});
