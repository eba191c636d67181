import { randomBytes } from 'node:crypto';

import { CHUNK_OVERHEAD_BYTES } from '@azaion/crypto';

import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type StartedApi, startApi } from '../testing/started-api.js';

describe('the audit log', () => {
  let api: StartedApi;
  let publisher: Account;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
  });
  afterAll(() => api.stop());

  const recorded = (event: string, subject: string) =>
    api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['actor', 'address', 'details'])
      .where('event', '=', event)
      .where('subject', '=', subject)
      .execute();
  const byPublisher = (details: object) => ({ actor: publisher.id, address: '127.0.0.1', details });

  it('has every upload, because its answer holds the domain’s key, and the folder that came with it', async () => {
    const upload = await DraftUpload.open(api, publisher, 'audited/first');
    expect(await recorded('upload.opened', 'audited/first')).toEqual([byPublisher({ uploadId: upload.id, domain: 0 })]);
    expect(await recorded('folder.created', 'audited')).toEqual([byPublisher({})]);
    await DraftUpload.open(api, publisher, 'audited/second');
    expect(await recorded('folder.created', 'audited')).toHaveLength(1);
  });

  it('has uploads that were given up', async () => {
    const upload = await DraftUpload.open(api, publisher, 'audited/abandoned');
    await upload.call('DELETE', '');
    expect(await recorded('upload.abandoned', upload.id)).toEqual([byPublisher({})]);
  });

  it('has commits, also those that made nothing', async () => {
    const content = randomBytes(1000);
    for (let times = 0; times < 2; times++) {
      const upload = await DraftUpload.open(api, publisher, 'audited/committed');
      await upload.commit(upload.draft(await upload.pack(content)));
    }
    expect(await recorded('version.committed', 'audited/committed')).toEqual([
      byPublisher({
        version: 1,
        scope: 'fleet',
        totalBytes: 1000,
        newBytes: 1000,
        reusedBytes: 0,
        sentBytes: 1000 + CHUNK_OVERHEAD_BYTES,
      }),
    ]);
    expect(await recorded('version.unchanged', 'audited/committed')).toEqual([byPublisher({ version: 1 })]);
  });

  it('has the end of all sessions of an account', async () => {
    const leaver = await api.account('Operator');
    expect((await api.call('POST', '/logout/all', { token: leaver.token })).status).toBe(204);
    expect(await recorded('session.all-ended', leaver.id)).toEqual([
      { actor: leaver.id, address: '127.0.0.1', details: {} },
    ]);
  });

  it('has logins, good and bad', async () => {
    const { email, password, id } = await api.account('Operator');
    expect((await api.logIn(email, `${password}!`)).status).toBe(401);
    expect(await recorded('login.failed', email)).toEqual([{ actor: id, address: '127.0.0.1', details: {} }]);
    expect(await recorded('login.succeeded', email)).toHaveLength(1);
  });
});
