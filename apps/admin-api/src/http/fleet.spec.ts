/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';

import { sql } from 'kysely';

import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

describe('desired state and reports over HTTP', () => {
  let api: StartedApi;
  let publisher: Account;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    await publish('models/detector.onnx');
    await publish('models/detector.onnx');
    await publish('models/classes.txt');
  });
  afterAll(() => api.stop());

  const asAdministrator = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    api.call(method, path, { token: api.administrator.token, body, headers });
  const ask = (token: string, tag?: string) =>
    api.call('GET', '/devices/me/desired', { token, headers: tag === undefined ? {} : { 'if-none-match': tag } });
  const publish = async (path: string, by: Pick<Account, 'token'> = publisher) => {
    const upload = await DraftUpload.open(api, by, path);
    const { status } = await upload.commit(upload.draft(await upload.pack(randomBytes(100))));
    expect(status).toBe(201);
  };
  const tagOf = (answer: Answer): string => answer.headers.get('etag') ?? '';
  const detector = { folder: 'models', name: 'detector.onnx', version: 1 };
  const classes = { folder: 'models', name: 'classes.txt', version: 'latest' };
  const problem = ({ status, json }: Answer) => ({ status, code: json.code as string });

  describe('GET /devices/me/desired', () => {
    it('is nothing for a device that nobody has spoken of, and 304 from then on', async () => {
      const token = await (await TestDevice.enrolled(api)).token();
      const first = await ask(token);
      expect({ status: first.status, body: first.json }).toEqual({
        status: 200,
        body: { resources: [], images: null },
      });
      const again = await ask(token, tagOf(first));
      expect({ status: again.status, text: again.text, tag: tagOf(again) }).toEqual({
        status: 304,
        text: '',
        tag: tagOf(first),
      });
    });

    it('has what its groups and it alone should hold, its own first', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      await asAdministrator('PUT', '/groups/everybody/desired', { resources: [detector, classes] });
      expect((await ask(token)).json.resources).toEqual([]);
      expect((await asAdministrator('PUT', `/groups/everybody/members/${device.serial}`)).status).toBe(204);
      expect((await ask(token)).json.resources).toEqual([{ ...classes, newest: 1 }, detector]);
      const own = { resources: [{ ...detector, version: 2 }], images: null };
      expect((await asAdministrator('PUT', `/devices/${device.serial}/desired`, own)).status).toBe(204);
      expect((await ask(token)).json.resources).toEqual([
        { ...classes, newest: 1 },
        { ...detector, version: 2 },
      ]);
      const { json } = await asAdministrator('GET', `/devices/${device.serial}/desired`);
      expect(json).toEqual({
        ...own,
        effective: {
          resources: [
            { ...classes, from: 'group:everybody' },
            { ...detector, version: 2, from: 'device' },
          ],
          images: null,
        },
      });
    });

    it('changes its tag when "latest" becomes another version, for the fleet or for the device alone', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      await publish('engines/built.engine');
      const wanted = { resources: [{ folder: 'engines', name: 'built.engine', version: 'latest' }] };
      await asAdministrator('PUT', `/devices/${device.serial}/desired`, wanted);
      const first = await ask(token);
      expect(first.json.resources[0].newest).toBe(1);
      await publish('engines/built.engine');
      const second = await ask(token, tagOf(first));
      expect({ status: second.status, newest: second.json.resources[0].newest as number }).toEqual({
        status: 200,
        newest: 2,
      });
      await publish('engines/built.engine', { token });
      expect((await ask(token, tagOf(second))).json.resources[0].newest).toBe(3);
      const other = await TestDevice.enrolled(api);
      await asAdministrator('PUT', `/devices/${other.serial}/desired`, wanted);
      expect((await ask(await other.token())).json.resources[0].newest).toBe(2);
    });

    it('tells the version that an administrator has pinned where "latest" is wanted, until the pin is taken away', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      await publish('engines/pinned.engine');
      await publish('engines/pinned.engine');
      const wanted = { resources: [{ folder: 'engines', name: 'pinned.engine', version: 'latest' }] };
      await asAdministrator('PUT', `/devices/${device.serial}/desired`, wanted);
      const first = await ask(token);
      expect(first.json.resources[0].newest).toBe(2);
      expect((await asAdministrator('POST', '/sealed/engines/pinned.engine/pin', { version: 1 })).status).toBe(204);
      const pinned = await ask(token, tagOf(first));
      expect({ status: pinned.status, newest: pinned.json.resources?.[0].newest as number }).toEqual({
        status: 200,
        newest: 1,
      });
      await publish('engines/pinned.engine', { token });
      expect((await ask(token, tagOf(pinned))).status).toBe(304);
      expect((await asAdministrator('DELETE', '/sealed/engines/pinned.engine/pin')).status).toBe(204);
      expect((await ask(token)).json.resources[0].newest).toBe(3);
    });

    it('is for enrolled devices in good standing only', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      await asAdministrator('POST', `/devices/${device.serial}/revoke`);
      expect(problem(await ask(token))).toEqual({ status: 403, code: 'device.revoked' });
      const bare = await TestDevice.register(api);
      const { json } = await api.logIn(bare.email, bare.password);
      expect(problem(await ask(json.access_token as string))).toEqual({ status: 403, code: 'device.not-enrolled' });
      expect(problem(await ask(publisher.token))).toEqual({ status: 403, code: 'role.forbidden' });
    });

    it('counts as being seen', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      const longAgo = new Date(Date.now() - 3_600_000);
      await api.infrastructure.database.queries
        .updateTable('devices')
        .set({ last_seen_at: longAgo })
        .where('serial', '=', device.serial)
        .execute();
      await ask(token);
      const { json } = await asAdministrator('GET', `/devices/${device.serial}`);
      expect(Date.parse(json.lastSeenAt as string)).toBeGreaterThan(longAgo.getTime());
    });
  });

  describe('PUT /groups/:name/desired', () => {
    it('is read back as it was set, with a tag', async () => {
      const wishes = { resources: [detector], images: null, priority: 7 };
      expect((await asAdministrator('PUT', '/groups/read-back/desired', wishes)).status).toBe(204);
      const read = await asAdministrator('GET', '/groups/read-back/desired');
      expect(read.json).toEqual(wishes);
      const again = await asAdministrator('GET', '/groups/read-back/desired', undefined, {
        'if-none-match': tagOf(read),
      });
      expect(again.status).toBe(304);
    });

    it('refuses to undo what somebody else has just done', async () => {
      const path = '/groups/edited/desired';
      await asAdministrator('PUT', path, { resources: [] });
      const tag = { 'if-match': tagOf(await asAdministrator('GET', path)) };
      expect((await asAdministrator('PUT', path, { resources: [detector] }, tag)).status).toBe(204);
      const late = await asAdministrator('PUT', path, { resources: [classes] }, tag);
      expect(problem(late)).toEqual({ status: 412, code: 'request.precondition-failed' });
      expect((await asAdministrator('GET', path)).json.resources).toEqual([detector]);
      const absent = await asAdministrator('PUT', '/groups/absent/desired', { resources: [] }, { 'if-match': '*' });
      expect(absent.status).toBe(412);
      const serial = (await TestDevice.register(api)).serial;
      const own = await asAdministrator('GET', `/devices/${serial}/desired`);
      const known = { 'if-match': tagOf(own) };
      expect((await asAdministrator('PUT', `/devices/${serial}/desired`, { resources: [classes] }, known)).status).toBe(
        204,
      );
      expect((await asAdministrator('PUT', `/devices/${serial}/desired`, { resources: [] }, known)).status).toBe(412);
    });

    it('sets what a device should hold where nothing was said yet, once', async () => {
      const { serial } = await TestDevice.register(api);
      const path = `/devices/${serial}/desired`;
      const put = async (headers: Record<string, string>): Promise<number> =>
        (await asAdministrator('PUT', path, { resources: [] }, headers)).status;
      expect(await put({ 'if-match': '*' })).toBe(412);
      expect(await put({ 'if-none-match': '*' })).toBe(204);
      expect(await put({ 'if-none-match': '*' })).toBe(412);
      expect(await put({ 'if-match': '*' })).toBe(204);
    });

    it('makes a group for one of two who both want to make it before either has', async () => {
      let answers: Promise<readonly Answer[]> | undefined;
      await api.infrastructure.database.transaction(async (on) => {
        const waiting = async (): Promise<number> =>
          (await sql<{ count: number }>`select count(*) as count from pg_locks where not granted`.execute(on)).rows[0]!
            .count;
        await sql`lock table groups in share mode`.execute(on); // readers look, and nobody writes
        answers = Promise.all(
          [1, 2].map(() =>
            asAdministrator('PUT', '/groups/raced/desired', { resources: [] }, { 'if-none-match': '*' }),
          ),
        );
        while ((await waiting()) < 2);
      });
      expect((await answers!).map(({ status }) => status).sort()).toEqual([204, 412]);
    });

    it.each([
      ['a name that was never published', { ...detector, name: 'detectro.onnx' }],
      ['a version that is not there yet', { ...detector, version: 3 }],
      ['the newest of a name that was never published', { folder: 'nowhere', name: 'x', version: 'latest' }],
    ])('refuses %s, and changes nothing', async (_, wanted) => {
      const answer = await asAdministrator('PUT', '/groups/mistyped/desired', { resources: [classes, wanted] });
      expect(problem(answer)).toEqual({ status: 422, code: 'desired.unavailable' });
      expect(answer.json.detail).toContain(`${wanted.folder}/${wanted.name}@${String(wanted.version)}`);
      expect(answer.json.detail).not.toContain('classes.txt');
      expect((await asAdministrator('GET', '/groups/mistyped/desired')).status).toBe(404);
    });

    it('refuses a file as the images to run', async () => {
      const answer = await asAdministrator('PUT', '/groups/mistyped/desired', { resources: [], images: detector });
      expect(problem(answer)).toEqual({ status: 422, code: 'desired.unavailable' });
    });

    it('refuses for a group what one device alone may have', async () => {
      const device = await TestDevice.enrolled(api);
      await publish('engines/private.engine', { token: await device.token() });
      const body = { resources: [{ folder: 'engines', name: 'private.engine', version: 'latest' }] };
      expect((await asAdministrator('PUT', '/groups/mistyped/desired', body)).status).toBe(422);
      expect((await asAdministrator('PUT', `/devices/${device.serial}/desired`, body)).status).toBe(204);
    });

    it.each([
      ['no resources', {}],
      ['a version that is none', { resources: [{ ...detector, version: 0 }] }],
      ['a version as a text', { resources: [{ ...detector, version: '1' }] }],
      ['a folder that is a path', { resources: [{ ...detector, folder: '../x' }] }],
      ['an unknown member', { resources: [{ ...detector, sha256: 'x' }] }],
      ['a resource twice', { resources: [detector, { ...detector, version: 2 }] }],
      ['more than 256', { resources: Array.from({ length: 257 }, (_, index) => ({ ...detector, name: `x${index}` })) }],
      ['images that are a text', { resources: [], images: 'images/set' }],
      ['a list of images', { resources: [], images: [] }],
      ['a priority without end', { resources: [], priority: 1e9 }],
    ])('refuses %s with 400', async (_, body) => {
      expect((await asAdministrator('PUT', '/groups/bad/desired', body)).status).toBe(400);
    });

    it.each(['..', 'A', '-x', 'x'.repeat(65)])('refuses a group called %s', async (name) => {
      const path = `/groups/${encodeURIComponent(name)}/desired`;
      expect([400, 404]).toContain((await asAdministrator('PUT', path, { resources: [] })).status);
    });

    it('is recorded with all that was wished for, and is for ApiAdmins only', async () => {
      await asAdministrator('PUT', '/groups/audited/desired', { resources: [detector, classes] });
      const event = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select(['actor', 'details'])
        .where('event', '=', 'group.desired-set')
        .where('subject', '=', 'audited')
        .executeTakeFirstOrThrow();
      expect(event).toEqual({
        actor: api.administrator.id,
        details: { priority: 0, resources: 'models/detector.onnx@1 models/classes.txt@latest', images: '' },
      });
      const { token } = await api.account('Admin');
      expect((await api.call('PUT', '/groups/audited/desired', { token, body: { resources: [] } })).status).toBe(403);
    });
  });

  describe('groups', () => {
    it('are listed page by page with the number of their devices', async () => {
      const { serial } = await TestDevice.register(api);
      for (const name of ['listed-a', 'listed-b', 'listed-c'])
        await asAdministrator('PUT', `/groups/${name}/desired`, { resources: [] });
      await asAdministrator('PUT', `/groups/listed-b/members/${serial}`);
      const seen: Record<string, number> = {};
      for (let path = '/groups?limit=2'; path !== '';) {
        const { json } = await asAdministrator('GET', path);
        for (const { name, devices } of json.groups as { name: string; devices: number }[]) seen[name] = devices;
        path = json.cursor === undefined ? '' : `/groups?limit=2&cursor=${String(json.cursor)}`;
      }
      expect(seen).toMatchObject({ 'listed-a': 0, 'listed-b': 1, 'listed-c': 0 });
    });

    it('take a device once and give it back, and are named with it', async () => {
      const { serial } = await TestDevice.register(api);
      await asAdministrator('PUT', '/groups/joined/desired', { resources: [] });
      const member = `/groups/joined/members/${serial}`;
      for (const method of ['PUT', 'PUT']) expect((await asAdministrator(method, member)).status).toBe(204);
      expect((await asAdministrator('GET', `/devices/${serial}`)).json.groups).toEqual(['joined']);
      const { json } = await asAdministrator('GET', '/devices?group=joined');
      expect((json.devices as { serial: string }[]).map((device) => device.serial)).toEqual([serial]);
      for (const method of ['DELETE', 'DELETE']) expect((await asAdministrator(method, member)).status).toBe(204);
      expect((await asAdministrator('GET', `/devices/${serial}`)).json.groups).toEqual([]);
    });

    it('are not made by putting a device into them, and take no device that is not there', async () => {
      const { serial } = await TestDevice.register(api);
      const noGroup = await asAdministrator('PUT', `/groups/mistyped/members/${serial}`);
      expect(problem(noGroup)).toEqual({ status: 404, code: 'group.not-found' });
      await asAdministrator('PUT', '/groups/existing/desired', { resources: [] });
      const noDevice = await asAdministrator('PUT', '/groups/existing/members/nobody');
      expect(problem(noDevice)).toEqual({ status: 404, code: 'device.not-found' });
    });

    it('are removed with what they wanted; their devices stay', async () => {
      const device = await TestDevice.enrolled(api);
      await asAdministrator('PUT', '/groups/removed/desired', { resources: [detector] });
      await asAdministrator('PUT', `/groups/removed/members/${device.serial}`);
      const token = await device.token();
      expect((await ask(token)).json.resources).toHaveLength(1);
      expect((await asAdministrator('DELETE', '/groups/removed')).status).toBe(204);
      expect((await ask(token)).json.resources).toEqual([]);
      expect((await asAdministrator('DELETE', '/groups/removed')).status).toBe(404);
    });
  });

  describe('POST /devices/:serial/report', () => {
    const report = {
      loaderVersion: '0.1.0',
      binding: 'tpm',
      resources: [{ folder: 'models', name: 'detector.onnx', version: 2 }],
      images: { folder: 'images', name: 'set', version: 3, state: 'ready' },
    };

    it('is shown with the device; the last one counts', async () => {
      const device = await TestDevice.enrolled(api);
      const token = await device.token();
      const send = (body: unknown) => api.call('POST', `/devices/${device.serial}/report`, { token, body });
      expect((await asAdministrator('GET', `/devices/${device.serial}`)).json.report).toBeUndefined();
      expect((await send({ ...report, binding: 'credentials', images: null })).status).toBe(204);
      expect((await send(report)).status).toBe(204);
      const { json } = await asAdministrator('GET', `/devices/${device.serial}`);
      expect(json.report).toEqual({ ...report, reportedAt: json.lastSeenAt });
    });

    it('comes from the device itself, and nobody else', async () => {
      const [device, other] = [await TestDevice.enrolled(api), await TestDevice.enrolled(api)];
      const path = `/devices/${device.serial}/report`;
      const foreign = await api.call('POST', path, { token: await other.token(), body: report });
      expect(problem(foreign)).toEqual({ status: 404, code: 'device.not-found' });
      expect((await asAdministrator('POST', path, report)).status).toBe(403);
      expect((await api.call('POST', path, { body: report })).status).toBe(401);
    });

    it.each([
      ['a binding that does not exist', { binding: 'hope' }],
      ['a state with a line break', { images: { ...report.images, state: 'a\nb' } }],
      ['a version without end', { resources: [{ ...report.resources[0]!, version: 2 ** 40 }] }],
      ['more resources than there may be', { resources: Array.from({ length: 257 }, () => report.resources[0]!) }],
      ['an unknown member', { hardware: 'x' }],
    ])('refuses %s', async (_, change) => {
      const device = await TestDevice.enrolled(api);
      const body = { ...report, ...change };
      const answer = await api.call('POST', `/devices/${device.serial}/report`, { token: await device.token(), body });
      expect(answer.status).toBe(400);
    });
  });

  it('lets no device be called "me"', async () => {
    expect((await asAdministrator('POST', '/devices', { serial: 'me' })).status).toBe(400);
  });
});
