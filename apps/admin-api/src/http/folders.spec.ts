/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';

import { generateP256KeyPair, type P256KeyPair } from '@azaion/crypto';
import { toBase64Url } from '@azaion/kernel';

import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

const DEFAULTS = {
  folder: 'models',
  read: ['Operator', 'Validator', 'CompanionPC', 'Admin', 'ResourceUploader', 'Service', 'ApiAdmin'],
  write: ['ResourceUploader', 'ApiAdmin'],
  leaseSeconds: 604_800,
  quotaBytes: null,
  requireAttestation: false,
  peopleMayRead: false,
};

describe('the rules of folders', () => {
  let api: StartedApi;
  let publisher: Account;
  let operator: Account;
  let device: TestDevice;
  let key: P256KeyPair;
  beforeAll(async () => {
    api = await startApi();
    publisher = await api.account('ResourceUploader');
    operator = await api.account('Operator');
    device = await TestDevice.enrolled(api);
    key = await generateP256KeyPair();
    for (const folder of ['secret', 'quiet', 'leased', 'carried']) {
      const upload = await DraftUpload.open(api, publisher, `${folder}/model`);
      await upload.commit(upload.draft(await upload.pack(randomBytes(100))));
    }
  });
  afterAll(() => api.stop());

  const put = (folder: string, body: unknown, token = api.administrator.token): Promise<Answer> =>
    api.call('PUT', `/folders/${folder}`, { token, body });
  const get = (folder: string, token = api.administrator.token): Promise<Answer> =>
    api.call('GET', `/folders/${folder}`, { token });
  const grant = (folder: string, token: string, point: Uint8Array = key.point): Promise<Answer> =>
    api.call('POST', `/sealed/${folder}/model/grants`, {
      token,
      body: { recipientPublicKey: toBase64Url(point), nonce: toBase64Url(randomBytes(16)) },
    });

  it('are the default ones where nobody has set any, also of a folder that holds nothing', async () => {
    expect((await get('models')).json).toEqual(DEFAULTS);
    expect((await get('engines')).json.write).toEqual(['ResourceUploader', 'ApiAdmin', 'CompanionPC']);
  });

  it('are replaced as a whole: what is left out becomes the default', async () => {
    const first = await put('replaced', { read: [10, 'ApiAdmin'], leaseSeconds: 3600, quotaBytes: 5 });
    expect(first.status).toBe(200);
    expect(first.json).toEqual({
      ...DEFAULTS,
      folder: 'replaced',
      read: ['Operator', 'ApiAdmin'],
      leaseSeconds: 3600,
      quotaBytes: 5,
    });
    expect((await get('replaced')).json).toEqual(first.json);
    await put('replaced', { write: [] });
    expect((await get('replaced')).json).toEqual({ ...DEFAULTS, folder: 'replaced', write: [] });
  });

  it.each([
    [{ read: ['None'] }, 'read'],
    [{ write: [0] }, 'write'],
    [{ read: ['Nobody'] }, 'read'],
    [{ read: 'Operator' }, 'read'],
    [{ leaseSeconds: 3599 }, 'leaseSeconds'],
    [{ leaseSeconds: 90 * 86_400 + 1 }, 'leaseSeconds'],
    [{ leaseSeconds: 3600.5 }, 'leaseSeconds'],
    [{ quotaBytes: -1 }, 'quotaBytes'],
    [{ quotaBytes: '5' }, 'quotaBytes'],
    [{ requireAttestation: 'yes' }, 'requireAttestation'],
    [{ lease: 3600 }, 'lease'],
  ])('refuse %j, naming the field', async (body, field) => {
    const { status, json } = await put('models', body);
    expect({ status, field: json.errors[0].field }).toEqual({ status: 400, field });
  });

  it.each([3600, 90 * 86_400])('take a lease of %i seconds', async (leaseSeconds) => {
    expect((await put('bounds', { leaseSeconds })).json.leaseSeconds).toBe(leaseSeconds);
  });

  it('are for ApiAdmin alone, and names of folders are checked', async () => {
    for (const token of [operator.token, publisher.token]) {
      expect((await get('models', token)).status).toBe(403);
      expect((await put('models', {}, token)).status).toBe(403);
    }
    expect((await put('..%2fmodels', {})).status).toBe(400);
  });

  it('hold at once: for grants that were given before, the catalogue, and open uploads', async () => {
    const given = await grant('quiet', operator.token);
    expect(given.status).toBe(201);
    const upload = await DraftUpload.open(api, publisher, 'quiet/other');
    const draft = upload.draft(await upload.pack(randomBytes(10)));
    await put('quiet', { read: ['Validator'], write: ['ApiAdmin'] });
    const refused = [
      await grant('quiet', operator.token),
      await api.call('GET', `/sealed/grants/${given.json.grantId as string}/segments/root/0`, {
        token: operator.token,
      }),
      await api.call('GET', '/sealed/quiet', { token: operator.token }),
      await api.call('GET', '/sealed/quiet/model', { token: operator.token }),
      await api.call('POST', '/sealed/quiet/new/uploads', { token: publisher.token, body: {} }),
      await upload.commit(draft),
    ];
    expect(refused.map(({ status, json }) => [status, json.code as string])).toEqual(
      refused.map(() => [403, 'folder.forbidden']),
    );
    expect((await grant('quiet', (await api.account('Validator')).token)).status).toBe(201);
  });

  it('set the lease of a device’s grants, and nothing of a person’s', async () => {
    await put('leased', { leaseSeconds: 3600 });
    const life = ({ json }: Answer): number => {
      const claims = JSON.parse(
        Buffer.from((json.grantToken as string).split('.')[1]!, 'base64url').toString(),
      ) as Record<string, number>;
      return claims['notAfter']! - claims['issuedAt']!;
    };
    expect(life(await grant('leased', await device.token(), device.agreement.point))).toBe(3600);
    expect(life(await grant('leased', operator.token))).toBe(900);
  });

  it('leave an administrator who makes grants for devices the word on how long they hold, within the same bounds', async () => {
    await put('carried', { leaseSeconds: 7200 });
    const batch = (body: object): Promise<Answer> =>
      api.call('POST', '/sealed/carried/model/grants/batch', {
        token: api.administrator.token,
        body: { serials: [device.serial], version: 1, ...body },
      });
    const life = async (body: object): Promise<number> => {
      const { json } = await batch(body);
      const claims = JSON.parse(
        Buffer.from((json.grants[0].grantToken as string).split('.')[1]!, 'base64url').toString(),
      ) as Record<string, number>;
      return claims['notAfter']! - claims['issuedAt']!;
    };
    expect(await life({})).toBe(7200);
    expect(await life({ leaseSeconds: 3600 })).toBe(3600);
    expect(await life({ leaseSeconds: 90 * 86_400 })).toBe(90 * 86_400);
    for (const leaseSeconds of [3599, 90 * 86_400 + 1, 3600.5, '3600'])
      expect((await batch({ leaseSeconds })).status).toBe(400);
  });

  it('keep people and unattested devices out where attestation is required', async () => {
    await put('secret', { requireAttestation: true });
    const codes = async (): Promise<Record<string, string>> => {
      const token = await device.token();
      const seen = (headers: Readonly<Record<string, string>>): Promise<Answer> =>
        api.call('GET', '/sealed/secret', { token: operator.token, headers });
      const codeOf = ({ status, json }: Answer): string => (status < 300 ? 'yes' : (json.code as string));
      return {
        device: codeOf(await grant('secret', token, device.agreement.point)),
        person: codeOf(await grant('secret', operator.token)),
        list: codeOf(await seen({})),
        listBehindDevice: codeOf(await seen({ 'azaion-device': token })),
      };
    };
    const no = 'folder.attestation-required';
    expect(await codes()).toEqual({ device: no, person: no, list: no, listBehindDevice: no });
    await api.infrastructure.database.queries
      .updateTable('devices')
      .set({ attested_at: new Date() })
      .where('serial', '=', device.serial)
      .execute();
    expect(await codes()).toEqual({ device: 'yes', person: no, list: no, listBehindDevice: 'yes' });
    await put('secret', { requireAttestation: true, peopleMayRead: true });
    expect(await codes()).toEqual({ device: 'yes', person: 'yes', list: 'yes', listBehindDevice: 'yes' });
  });

  it('are audited when they change', async () => {
    await put('audited', { read: ['Operator'], quotaBytes: 7 });
    const events = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select(['actor', 'details'])
      .where('event', '=', 'folder.policy-changed')
      .where('subject', '=', 'audited')
      .execute();
    expect(events).toEqual([
      {
        actor: api.administrator.id,
        details: {
          read: 'Operator',
          write: 'ResourceUploader ApiAdmin',
          leaseSeconds: 604_800,
          quotaBytes: 7,
          requireAttestation: false,
          peopleMayRead: false,
        },
      },
    ]);
  });

  it.each(['read', 'write', 'leaseSeconds', 'requireAttestation', 'peopleMayRead'])(
    'refuse null for "%s" by name; what stands there stays',
    async (member) => {
      const { token } = api.administrator;
      const before = await api.call('GET', '/folders/of-null', { token });
      const { status, json } = await api.call('PUT', '/folders/of-null', { token, body: { [member]: null } });
      expect({ status, json }).toMatchObject({ status: 400, json: { errors: [{ field: member }] } });
      expect((await api.call('GET', '/folders/of-null', { token })).json).toEqual(before.json);
    },
  );

  it('take null for a quota as none, as they are told', async () => {
    const { token } = api.administrator;
    await api.call('PUT', '/folders/of-quota', { token, body: { quotaBytes: 5 } });
    const { status, json } = await api.call('PUT', '/folders/of-quota', { token, body: { quotaBytes: null } });
    expect({ status, json }).toMatchObject({ status: 200, json: { quotaBytes: null } });
  });
});
