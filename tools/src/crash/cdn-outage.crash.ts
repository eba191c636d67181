import { type CdnFault, type FaultyCdn, pseudoRandomBytes, startFaultyCdn } from '@azaion/testing';

import { startSystem, type StartedSystem } from '../e2e/started-system.js';

/** What a Loader waits for, which takes too long for `npm test`: bad-cdn.e2e.ts has everything else that a CDN does. */
describe('a CDN that is away for long', () => {
  let cdn: FaultyCdn;
  let system: StartedSystem;
  let token: string;

  beforeAll(async () => {
    cdn = await startFaultyCdn();
    system = await startSystem({ adminEnv: { ADMIN_PUBLIC_URL: cdn.url } });
    cdn.leadTo(system.adminUrl);
    token = await system.login(await system.createPerson('ResourceUploader'));
  }, 180_000);
  afterEach(() => cdn.mend());
  afterAll(async () => {
    await system.stop();
    await cdn.stop();
  });

  const published = async (name: string): Promise<Buffer> => {
    const content = pseudoRandomBytes(name, 30_000);
    await system.requests.publish(name, content, token);
    return content;
  };
  const load = (name: string): Promise<Response> =>
    fetch(`${system.loaderUrl}/resources/models/${name}`, { headers: { authorization: `Bearer ${token}` } });

  it('goes on after a connection that brings no byte any more, on another', async () => {
    const content = await published('stalled.bin');
    cdn.failWith('stall', 1);
    expect(Buffer.from(await (await load('stalled.bin')).arrayBuffer()).equals(content)).toBe(true);
  });

  it.each<[CdnFault]>([[429], [500], [503]])(
    'says cdn.unavailable once it has tried for a while (%s), and opens when it is back',
    async (fault) => {
      const name = `away-${fault}.bin`;
      const content = await published(name);
      cdn.failWith(fault);
      const refused = await load(name);
      expect([refused.status, await refused.json()]).toEqual([
        502,
        expect.objectContaining({ code: 'cdn.unavailable' }),
      ]);
      cdn.mend();
      expect(Buffer.from(await (await load(name)).arrayBuffer()).equals(content)).toBe(true);
    },
  );
});
