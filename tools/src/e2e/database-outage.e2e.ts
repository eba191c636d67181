import { describeWith, type PostgresServer, pseudoRandomBytes, startPostgres } from '@azaion/testing';

import { type Person, startSystem, type StartedSystem } from './started-system.js';

const NAME = 'detector.bin';
const CONTENT = pseudoRandomBytes('database outage', 1_000_000);

describeWith('postgresql', 'a Loader whose Admin API has lost its database', () => {
  let postgres: PostgresServer;
  let system: StartedSystem;
  let person: Person;
  let personToken: string;
  let publisher: string;

  beforeAll(async () => {
    postgres = await startPostgres();
    system = await startSystem({
      adminEnv: { DATABASE_URL: postgres.url() },
      loaderEnv: { LOADER_LOCAL_TRUST: 'session' },
    });
    person = await system.createPerson('Operator');
    personToken = await system.login(person);
    publisher = await system.login(await system.createPerson('ResourceUploader'));
    await system.requests.publish(NAME, CONTENT, publisher);
  }, 180_000);
  afterAll(async () => {
    await system.stop();
    await postgres.stop();
  });

  const load = async (token?: string): Promise<{ status: number; version: string | null; bytes: Buffer }> => {
    const answer = await system.requests.load(NAME, token);
    return {
      status: answer.status,
      version: answer.headers.get('x-resource-version'),
      bytes: Buffer.from(await answer.arrayBuffer()),
    };
  };

  it('opens what it holds a lease for, for the device and for the person whom the Admin API had let read', async () => {
    for (const token of [undefined, personToken]) expect((await load(token)).status).toBe(200);
    await postgres.crash();
    for (const token of [undefined, personToken]) {
      const { status, version, bytes } = await load(token);
      expect({ status, version, same: bytes.equals(CONTENT) }).toEqual({ status: 200, version: '1', same: true });
    }
    expect(system.admin.output()).toContain('The database cannot be used');
  });

  it('does so after a restart, too, and lets only the device’s own credentials in', async () => {
    await system.restartLoader();
    const { status, bytes } = await load();
    expect({ status, same: bytes.equals(CONTENT) }).toEqual({ status: 200, same: true });
    expect((await system.requests.login(system.deviceAccount)).status).toBe(200);
    const refused = await system.requests.login(person);
    expect({ status: refused.status, ...((await refused.json()) as object) }).toMatchObject({
      status: 503,
      code: 'api.unreachable',
    });
  });

  it('asks the Admin API again once its database is back, which nobody had to restart', async () => {
    await postgres.restart();
    publisher = await system.loginAtAdmin(system.administrator);
    const changed = pseudoRandomBytes('after the outage', 1_000_000);
    // The Loader looks at the link again after a moment; until then it goes on with what it has.
    while ((await system.requests.login(person)).status !== 200);
    await system.requests.publish(NAME, changed, publisher);
    let loaded = await load();
    while (loaded.version !== '2') loaded = await load();
    expect(loaded.bytes.equals(changed)).toBe(true);
    // Each replica says so once it has asked its database again, which the balancer lets one after the other do.
    while (!system.admin.output().includes('The database can be used again'))
      await fetch(`${system.adminUrl}/health/ready`);
  });
});
