/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-return -- answers are looked into as they come */
import { randomBytes } from 'node:crypto';

import { generateP256KeyPair } from '@azaion/crypto';
import { toBase64Url } from '@azaion/kernel';
import { sql } from 'kysely';

import { type EnrolmentBody, TestDevice } from '../testing/device.js';
import { type Answer, type StartedApi, startApi } from '../testing/started-api.js';

describe('devices over HTTP', () => {
  let api: StartedApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api.stop());
  const register = (body: object, headers: Record<string, string> = {}) =>
    api.call('POST', '/devices', { token: api.administrator.token, body, headers });

  describe('an enrolment with evidence of another form', () => {
    const signed = { statement: 'AAAA', signature: 'AAAA' };
    const good = {
      endorsementKey: 'AAAA',
      attestationKey: 'AAAA',
      agreementKey: 'AAAA',
      signingKey: 'AAAA',
      agreementCertified: signed,
      signingCertified: signed,
      pcrs: 'sha256:0',
      pcrValues: [toBase64Url(randomBytes(32))],
      quote: signed,
    };
    let body: EnrolmentBody;
    beforeAll(async () => {
      body = await (await TestDevice.register(api)).enrolment();
    });

    it.each([
      ['a list', []],
      ['a list in a list', [[good]]],
      ['a text', 'evidence'],
      ['without its quote', { ...good, quote: undefined }],
      ['with a list for its quote', { ...good, quote: [] }],
      ['with a list of statements', { ...good, signingCertified: [signed] }],
      ['with null for a statement', { ...good, agreementCertified: null }],
    ])('%s is refused by name', async (_, evidence) => {
      const answer = await api.call('POST', '/devices/azj-0000/enrolment', { body: { ...body, evidence } });
      expect({ status: answer.status, code: answer.json.code }).toEqual({ status: 400, code: 'request.invalid' });
      expect(answer.text).toContain('evidence');
    });
  });

  describe('POST /devices', () => {
    it('numbers devices without gaps in form, race or reuse', async () => {
      const answers = await Promise.all(Array.from({ length: 6 }, () => register({})));
      expect(new Set(answers.map(({ json }) => json.Serial as string)).size).toBe(6);
      for (const { status, json } of answers) {
        expect(status).toBe(201);
        expect(json.Serial).toMatch(/^azj-\d{4}$/);
        expect(json.Email).toBe(`${json.Serial as string}@azaion.com`);
        expect(json.Password).toMatch(/^[0-9a-f]{32}$/);
      }
    });

    it('returns the same device with a fresh password for the same Idempotency-Key, also at once', async () => {
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => register({}, { 'idempotency-key': 'retry-1' })),
      );
      expect(new Set(answers.map(({ json }) => json.Serial as string)).size).toBe(1);
      expect(new Set(answers.map(({ json }) => json.Password as string)).size).toBe(4);
    });

    it('refuses another serial under a used Idempotency-Key, and ends what the older password began', async () => {
      const key = { 'idempotency-key': 'retry-2' };
      const { json: device } = await register({ serial: 'retried' }, key);
      const { json: session } = await api.logIn(device.Email as string, device.Password as string);
      const other = await register({ serial: 'another' }, key);
      expect({ status: other.status, code: other.json.code }).toEqual({ status: 409, code: 'device.exists' });
      expect((await register({}, key)).json.Serial).toBe('retried');
      expect((await register({ serial: 'retried' }, key)).json.Serial).toBe('retried');
      const refreshed = await api.call('POST', '/token/refresh', { body: { refreshToken: session.refresh_token } });
      expect(refreshed.status).toBe(401);
    });

    it('skips a number that was taken by hand, and refuses to take it twice', async () => {
      const last = (await register({})).json.Serial as string;
      const next = `azj-${String(Number(last.slice(4)) + 1).padStart(4, '0')}`;
      expect((await register({ serial: next })).status).toBe(201);
      expect((await register({ serial: next })).json.code).toBe('device.exists');
      expect((await register({})).json.Serial).not.toBe(next);
    });

    it('are listed page by page', async () => {
      const token = api.administrator.token;
      const serials: string[] = [];
      for (let path = '/devices?limit=2'; path !== '';) {
        const { json } = await api.call('GET', path, { token });
        expect(json.devices.length).toBeLessThanOrEqual(2);
        serials.push(...(json.devices as { serial: string }[]).map(({ serial }) => serial));
        path = json.cursor === undefined ? '' : `/devices?limit=2&cursor=${encodeURIComponent(json.cursor as string)}`;
      }
      const { count } = await api.infrastructure.database.queries
        .selectFrom('devices')
        .select((select) => select.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow();
      expect(new Set(serials).size).toBe(count);
      expect(serials).toHaveLength(count);
    });

    it.each([{ serial: '../x' }, { serial: '' }, { serial: 'A B' }, { hardware: 'x' }])('refuses %j', async (body) => {
      expect((await register(body)).status).toBe(400);
    });
  });

  describe('enrolment', () => {
    it('takes good proofs once; then the key logs in and the password does not', async () => {
      const device = await TestDevice.register(api);
      expect((await api.logIn(device.email, device.password)).status).toBe(200);
      const body = await device.enrolment();
      expect((await device.enrol(body)).status).toBe(204);
      expect((await device.enrol(body)).status).toBe(401); // the nonce is used up
      expect((await api.logIn(device.email, device.password)).status).toBe(401);
      expect((await device.challenge()).json.code).toBe('device.already-enrolled');
      const { status, json } = await device.logIn(await device.assertion());
      expect(status).toBe(200);
      const claims = JSON.parse(Buffer.from((json.access_token as string).split('.')[1]!, 'base64url').toString());
      expect(claims).toMatchObject({ role: 'CompanionPC', device: device.serial, unique_name: device.email });
      const { json: shown } = await api.call('GET', `/devices/${device.serial}`, { token: api.administrator.token });
      expect(shown).toMatchObject({ status: 'enrolled', serial: device.serial });
    });

    it('refuses a wrong password, and another device’s', async () => {
      const [device, other] = [await TestDevice.register(api), await TestDevice.register(api)];
      expect((await device.challenge('0'.repeat(32))).status).toBe(401);
      const body = { email: other.email, password: other.password };
      expect((await api.call('POST', `/devices/${device.serial}/enrolment/challenge`, { body })).status).toBe(401);
    });

    const flipped = (text: string): string => {
      const bytes = Buffer.from(text, 'base64url');
      bytes[5]! ^= 1;
      return bytes.toString('base64url');
    };
    const attacks: [string, (body: EnrolmentBody, device: TestDevice) => Promise<void> | void][] = [
      ['a changed signing proof', (body) => void (body.signingProof = flipped(body.signingProof))],
      ['a changed agreement proof', (body) => void (body.agreementProof = flipped(body.agreementProof))],
      ['another signing key', async (body) => void (body.signingKey = (await generateP256KeyPair()).publicJwk)],
      [
        'another agreement key',
        async (body) =>
          void (body.agreementKey = Buffer.from((await generateP256KeyPair()).point).toString('base64url')),
      ],
      [
        'an agreement key off the curve',
        (body) => void (body.agreementKey = Buffer.concat([Buffer.of(4), randomBytes(64)]).toString('base64url')),
      ],
      [
        'proofs made for another serial',
        async (body, device) => void Object.assign(body, await device.enrolment('azj-9999')),
      ],
    ];
    it.each(attacks)('refuses %s with 422, and uses the challenge up', async (_name, attack) => {
      const device = await TestDevice.register(api);
      const body = await device.enrolment();
      const good = { ...body };
      await attack(body, device);
      const { status, json } = await device.enrol(body);
      expect({ status, code: json.code }).toEqual({ status: 422, code: 'device.proof-invalid' });
      if (body.nonce === good.nonce) expect((await device.enrol(good)).status).toBe(401);
    });

    it('refuses the agreement key of another device, and one key for both purposes', async () => {
      const [first, second] = [await TestDevice.enrolled(api), await TestDevice.register(api)];
      Object.assign(second, { agreement: first.agreement });
      expect((await second.enrol(await second.enrolment())).status).toBe(422);
      Object.assign(second, { agreement: second.signing });
      expect((await second.enrol(await second.enrolment())).status).toBe(422);
    });

    it.each(['nonce', 'signingKey', 'agreementKey', 'signingProof', 'agreementProof'] as const)(
      'refuses a %s of another form with 400',
      async (member) => {
        const device = await TestDevice.register(api);
        const body = { ...(await device.enrolment()), [member]: 'AAAA' };
        expect((await device.enrol(body)).status).toBe(400);
      },
    );
  });

  describe('POST /login/device', () => {
    it('takes an assertion once', async () => {
      const device = await TestDevice.enrolled(api);
      const assertion = await device.assertion();
      expect((await device.logIn(assertion)).status).toBe(200);
      expect((await device.logIn(assertion)).status).toBe(401);
    });

    it('records the first of a day and of an address: more would fill the log, which keeps everything', async () => {
      const device = await TestDevice.enrolled(api);
      const { queries } = api.infrastructure.database;
      const recorded = async (): Promise<number> => {
        expect((await device.logIn(await device.assertion())).status).toBe(200);
        const events = queries.selectFrom('audit_events').select('id').where('event', '=', 'device.logged-in');
        return (await events.where('subject', '=', device.serial).execute()).length;
      };
      const before = (change: { login_recorded_at?: Date; login_recorded_from?: string }) =>
        queries.updateTable('devices').set(change).where('serial', '=', device.serial).execute();
      expect(await recorded()).toBe(1);
      expect(await recorded()).toBe(1);
      await before({ login_recorded_at: new Date(Date.now() - 24 * 60 * 60_000) });
      expect(await recorded()).toBe(2);
      await before({ login_recorded_from: '10.0.0.1' });
      expect(await recorded()).toBe(3);
      await queries
        .updateTable('devices')
        .set({ enrolled_at: new Date() })
        .where('serial', '=', device.serial)
        .execute();
      expect(await recorded()).toBe(4);
      expect(await recorded()).toBe(4);
    });

    const nowSeconds = Math.floor(Date.now() / 1000);
    it.each([
      ['another audience', { aud: 'elsewhere' }],
      ['a list of audiences', { aud: ['azaion', 'elsewhere'] }],
      ['another subject', { sub: 'azj-0001' }],
      ['an unknown device', { iss: 'nobody', sub: 'nobody' }],
      ['a long life', { exp: nowSeconds + 3600 }],
      ['an end in the past', { iat: nowSeconds - 300, exp: nowSeconds - 240 }],
      ['a start in the future', { iat: nowSeconds + 3600, exp: nowSeconds + 3660 }],
      ['no id', { jti: undefined }],
      ['an id with U+0000', { jti: '\0' }],
      ['a serial with U+0000', { iss: '\0', sub: '\0' }],
      ['no times', { iat: undefined, exp: undefined }],
    ])('refuses %s', async (_name, claims) => {
      const device = await TestDevice.enrolled(api);
      const { status, json } = await device.logIn(await device.assertion(claims));
      expect({ status, code: json.code }).toEqual({ status: 401, code: 'login.wrong-credentials' });
    });

    it('answers unknown, unenrolled, forged and malformed alike, and records each', async () => {
      const [device, bare] = [await TestDevice.enrolled(api), await TestDevice.register(api)];
      const answers = [
        await device.logIn('x'),
        await device.logIn(await device.assertion({ iss: 'nobody', sub: 'nobody' })),
        await device.logIn(await device.assertion({}, device.agreement)),
        await bare.logIn(await bare.assertion()),
      ];
      const shapes = answers.map(({ status, json }) => ({ status, ...json, requestId: '' }));
      for (const shape of shapes) expect(shape).toEqual(shapes[0]);
      const events = await api.infrastructure.database.queries
        .selectFrom('audit_events')
        .select(['actor', 'subject', 'address'])
        .where('event', '=', 'device.login-failed')
        .orderBy('id', 'desc')
        .limit(4)
        .execute();
      expect(events.map(({ subject }) => subject)).toEqual([bare.serial, device.serial, 'unknown', 'unknown']);
      for (const { address } of events) expect(address).toBe('127.0.0.1');
    });

    it('refuses another key’s signature, and a text that is none', async () => {
      const device = await TestDevice.enrolled(api);
      expect((await device.logIn(await device.assertion({}, await generateP256KeyPair()))).status).toBe(401);
      expect((await device.logIn(await device.assertion({}, device.agreement))).status).toBe(401);
      expect((await device.logIn('a.b.c')).status).toBe(401);
    });
  });

  it('an invented activation is refused and fills no log', async () => {
    const { serial } = await TestDevice.register(api);
    const invented = () => toBase64Url(randomBytes(32));
    const { status, json } = await api.call('POST', `/devices/${serial}/enrolment/activation`, {
      body: { activation: invented(), secret: invented() },
    });
    expect({ status, code: json.code as string }).toEqual({ status: 422, code: 'attestation.activation-failed' });
    const recorded = await api.infrastructure.database.queries
      .selectFrom('audit_events')
      .select('event')
      .where('subject', '=', serial)
      .where('event', '=', 'device.attestation-refused')
      .execute();
    expect(recorded).toEqual([]);
  });

  describe('POST /devices/:serial/revoke and reset', () => {
    /** Lets a login run into a revocation that has not ended yet. */
    const duringRevocation = async (serial: string, logIn: () => Promise<Answer>): Promise<Answer> => {
      const { answer } = await api.infrastructure.database.transaction(async (on) => {
        await on.updateTable('devices').set({ status: 'revoked' }).where('serial', '=', serial).execute();
        const over = new AbortController();
        const answer = logIn().finally(() => over.abort());
        while (!over.signal.aborted) {
          const { rows } = await sql<{
            waiting: number;
          }>`select count(*) as waiting from pg_locks where not granted`.execute(on);
          if ((rows[0]?.waiting ?? 0) > 0) break;
        }
        return { answer };
      });
      return answer;
    };

    it('end a login with the password that is under way', async () => {
      const { serial, email, password } = await TestDevice.register(api);
      expect((await duringRevocation(serial, () => api.logIn(email, password))).status).toBe(401);
    });

    it('end a login with the key that is under way', async () => {
      const device = await TestDevice.enrolled(api);
      const assertion = await device.assertion();
      expect((await duringRevocation(device.serial, () => device.logIn(assertion))).status).toBe(401);
    });

    it('ends logins and refreshes at once; a reset lets the device enrol again', async () => {
      const device = await TestDevice.enrolled(api);
      const { json } = await device.logIn(await device.assertion());
      const asAdministrator = { token: api.administrator.token, body: {} };
      expect((await api.call('POST', `/devices/${device.serial}/revoke`, asAdministrator)).status).toBe(204);
      expect((await device.logIn(await device.assertion())).json.code).toBe('device.revoked');
      const refreshed = await api.call('POST', '/token/refresh', { body: { refreshToken: json.refresh_token } });
      expect(refreshed.status).toBe(401);
      expect((await api.call('POST', `/devices/${device.serial}/reset`, asAdministrator)).status).toBe(204);
      expect((await device.logIn(await device.assertion())).status).toBe(401);
      expect((await device.enrol(await device.enrolment())).status).toBe(204);
      expect((await device.logIn(await device.assertion())).status).toBe(200);
      expect((await api.call('POST', '/devices/nobody/revoke', asAdministrator)).status).toBe(404);
    });
  });
});
