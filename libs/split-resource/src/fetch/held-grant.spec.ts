import { ResourceError } from '../errors.js';
import type { GrantApi, PackUrl } from '../ports/grant-api.js';
import { HeldGrant } from './held-grant.js';

const AT_ONCE = { attempts: 3, baseDelayMs: 0, maxDelayMs: 0 };

/** Knows one grant at a time; every other is gone. */
class OneGrantApi implements Pick<GrantApi, 'packUrls'> {
  valid = 'first';
  readonly asked: string[] = [];

  async packUrls(grantId: string, packIds: readonly string[]): Promise<readonly PackUrl[]> {
    this.asked.push(grantId);
    await Promise.resolve();
    if (grantId !== this.valid) throw new ResourceError('api.grant-gone', 'The grant has expired.');
    return packIds.map((packId) => ({ packId, url: `https://cdn.example/${grantId}/${packId}` }));
  }
}

function held(api: Pick<GrantApi, 'packUrls'>, renew: () => Promise<string>): HeldGrant {
  return new HeldGrant(api as GrantApi, 'first', { renew, retry: AT_ONCE, signal: new AbortController().signal });
}

describe('HeldGrant', () => {
  it('asks with the grant that it has, and for no other while that is known', async () => {
    const api = new OneGrantApi();
    const grant = held(api, () => Promise.reject(new Error('not needed')));
    expect(await grant.packUrls(['p'])).toEqual([{ packId: 'p', url: 'https://cdn.example/first/p' }]);
    expect(api.asked).toEqual(['first']);
  });

  it('replaces a grant that is gone once for all who found it gone, and again when the next one is', async () => {
    const api = new OneGrantApi();
    let renewals = 0;
    const grant = held(api, async () => {
      await Promise.resolve();
      return (api.valid = `renewed-${String(++renewals)}`);
    });
    for (const expected of [1, 2]) {
      api.valid = 'none';
      const answers = await Promise.all([grant.packUrls(['p']), grant.packUrls(['q']), grant.packUrls(['r'])]);
      expect(answers.map(([{ url } = { url: '' }]) => url)).toEqual(
        ['p', 'q', 'r'].map((packId) => `https://cdn.example/renewed-${String(expected)}/${packId}`),
      );
      expect(renewals).toBe(expected);
    }
  });

  it('asks again without renewing where another call has replaced the grant meanwhile', async () => {
    const api = new OneGrantApi();
    let renewals = 0;
    let fail: (error: unknown) => void = () => undefined;
    const late = new Promise<never>((_, reject) => (fail = reject));
    const packUrls = api.packUrls.bind(api);
    let calls = 0;
    api.packUrls = (...call) => (++calls === 1 ? late : packUrls(...call));
    const grant = held(api, () => Promise.resolve((api.valid = `renewed-${String(++renewals)}`)));
    const slow = grant.packUrls(['slow']);
    api.valid = 'none';
    await grant.packUrls(['quick']);
    fail(new ResourceError('api.grant-gone', 'The grant has expired.'));
    expect(await slow).toEqual([{ packId: 'slow', url: 'https://cdn.example/renewed-1/slow' }]);
    expect(renewals).toBe(1);
  });

  it('passes every other failure on, and asks for no new grant then', async () => {
    const refused = new ResourceError('api.forbidden', 'No.');
    const grant = held({ packUrls: () => Promise.reject(refused) }, () => Promise.reject(new Error('not needed')));
    await expect(grant.packUrls(['p'])).rejects.toBe(refused);
  });

  it('fails with what asking for a new grant failed with, and asks anew the next time', async () => {
    const api = new OneGrantApi();
    api.valid = 'none';
    const withdrawn = new ResourceError('resource.not-found', 'It was withdrawn.');
    let renewals = 0;
    const grant = held(api, () =>
      ++renewals === 1 ? Promise.reject(withdrawn) : Promise.resolve((api.valid = 'second')),
    );
    await expect(grant.packUrls(['p'])).rejects.toBe(withdrawn);
    expect(await grant.packUrls(['p'])).toEqual([{ packId: 'p', url: 'https://cdn.example/second/p' }]);
  });
});
