/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHmac, createPublicKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { generateP256KeyPair } from '@azaion/crypto';
import { type Role, WORKING_ROLES } from '@azaion/identity';
import { toBase64Url } from '@azaion/kernel';
import { accessTable, listRoutes, type RouteRule, undeclaredRoutes } from '@azaion/nest-support';

import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';

const DOCS = join(import.meta.dirname, '../../../../docs');

/** One test or more for each risk of the list of 2023; docs/owasp-api-top-ten.md says what else holds. */
describe('OWASP API top ten', () => {
  let api: StartedApi;
  const accounts = new Map<Role, Account>();
  const of = (role: Role): Account => accounts.get(role)!;
  beforeAll(async () => {
    api = await startApi();
    for (const role of WORKING_ROLES) accounts.set(role, await api.account(role));
  });
  afterAll(() => api.stop());

  const parameters: Readonly<Record<string, string>> = {
    email: 'nobody@example.com',
    role: 'Operator',
    id: '0b6f2c5e-3f3f-4c53-9a5e-2f8f7a3d1c11',
    packId: '5f2b8a0c9d3e4f60718293a4b5c6d7e8',
    kind: 'root',
    index: '0',
    version: '1',
    serial: 'azj-9999',
  };
  const callRoute = ({ method, path }: RouteRule, token?: string): Promise<Answer> =>
    api.call(
      method,
      path.replace(/:([^/]+)/g, (_, name: string) => parameters[name] ?? 'x'),
      {
        token,
        ...(method === 'GET' ? {} : { body: {} }),
      },
    );
  const guarded = (): readonly RouteRule[] => listRoutes(api.app).filter(({ rule }) => rule?.kind === 'roles');

  it('API1 broken object level authorization: what belongs to another does not exist', async () => {
    const [owner, other] = [of('ResourceUploader'), await api.account('ResourceUploader')];
    const upload = await DraftUpload.open(api, owner, 'models/owned');
    const foreign = (method: string, path: string, body?: object): Promise<Answer> =>
      api.call(method, `/sealed/uploads/${upload.id}${path}`, { token: other.token, body });
    const answers = [
      await foreign('GET', ''),
      await foreign('DELETE', ''),
      await foreign('PUT', '/heartbeat'),
      await foreign('POST', '/known-chunks', { ids: ['AAECAwQFBgcICQoLDA0ODw'] }),
      await foreign('POST', '/commit', { recipeKey: 'A'.repeat(43), kind: 'file', chunkSegments: 1, packSegments: 1 }),
    ];
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 404));
    await upload.commit(upload.draft(await upload.pack(randomBytes(10))));
    const { point } = await generateP256KeyPair();
    const grant = await api.call('POST', '/sealed/models/owned/grants', {
      token: owner.token,
      body: { recipientPublicKey: toBase64Url(point), nonce: toBase64Url(randomBytes(16)) },
    });
    const segment = `/sealed/grants/${grant.json.grantId as string}/segments/root/0`;
    expect((await api.call('GET', segment, { token: owner.token })).status).toBe(200);
    expect((await api.call('GET', segment, { token: other.token })).status).toBe(404);
  });

  it('API2 broken authentication: no token but one that this API signed opens anything', async () => {
    const { token } = of('ApiAdmin');
    const [header = '', claims = '', signature = ''] = token.split('.');
    const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString());
    const { json } = await api.call('GET', '/.well-known/jwks.json');
    const publicKey = createPublicKey({ key: json.keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const hs256 = `${encoded({ alg: 'HS256', kid, typ: 'at+jwt' })}.${claims}`;
    const forged = [
      `${encoded({ alg: 'none', kid, typ: 'at+jwt' })}.${claims}.`,
      `${hs256}.${createHmac('sha256', publicKey).update(hs256).digest('base64url')}`,
      `${header}.${claims}.${signature.split('').reverse().join('')}`,
      `${encoded({ alg: 'ES256', kid, typ: 'JWT' })}.${claims}.${signature}`,
    ];
    for (const bad of [undefined, '', 'x', ...forged])
      for (const route of guarded().slice(0, 5)) expect((await callRoute(route, bad)).status).toBe(401);
  });

  it('API3 broken object property level authorization: no member is taken or given that the contract does not name', async () => {
    const user = { email: 'assigned@example.com', password: 'a long password', role: 'Operator' };
    for (const extra of [{ id: parameters['id'] }, { isEnabled: true }, { password_hash: 'x' }, { hardware: 'x' }])
      expect(
        (await api.call('POST', '/users', { token: api.administrator.token, body: { ...user, ...extra } })).status,
      ).toBe(400);
    const listed = await api.call('GET', '/users?limit=1', { token: api.administrator.token });
    expect(Object.keys(listed.json.users[0] as object).sort()).toEqual(
      ['createdAt', 'email', 'id', 'isEnabled', 'lastLogin', 'role', 'roleId'].filter(
        (name) => name in (listed.json.users[0] as object),
      ),
    );
  });

  it('API4 unrestricted resource consumption: bodies, pages, lists, nesting and guesses have an end', async () => {
    const { token } = api.administrator;
    const upload = await DraftUpload.open(api, of('ResourceUploader'), 'models/limits');
    const ids = Array.from({ length: 4097 }, () => 'AAECAwQFBgcICQoLDA0ODw');
    const nested = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    const answers = [
      await api.call('POST', '/users', { token, body: { email: 'x'.repeat(1024 * 1024) } }),
      await api.call('GET', '/users?limit=201', { token }),
      await api.call('GET', '/audit?limit=201', { token }),
      await upload.call('POST', '/known-chunks', { ids }),
      await api.call('POST', '/login', { body: `{"email":${nested},"password":"x"}` }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([413, 400, 400, 400, 400]);
    const victim = await api.account('Operator');
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 6; attempt++) statuses.push((await api.logIn(victim.email, 'guess')).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
  });

  it('API5 broken function level authorization: every route has a rule, and refuses every role that it does not name', async () => {
    expect(undeclaredRoutes(api.app)).toEqual([]);
    const wrong: string[] = [];
    for (const route of guarded()) {
      if (route.rule?.kind !== 'roles') continue;
      const { roles } = route.rule;
      if ((await callRoute(route)).status !== 401) wrong.push(`${route.method} ${route.path} without a token`);
      for (const role of WORKING_ROLES.filter((one) => !roles.includes(one))) {
        const { status, json } = await callRoute(route, of(role).token);
        if (status !== 403 || json.code !== 'role.forbidden') wrong.push(`${route.method} ${route.path} as ${role}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('API6 unrestricted access to sensitive business flows: a device enrols once, and its password is worth nothing then', async () => {
    const device = await TestDevice.enrolled(api);
    expect((await device.challenge()).status).toBe(409);
    expect((await api.logIn(device.email, device.password)).status).toBe(401);
  });

  it('API7 server side request forgery: no request names an address to fetch from', async () => {
    const { json } = await api.call('GET', '/docs/json');
    const bodies = JSON.stringify(
      Object.values(json.paths as Record<string, Record<string, { requestBody?: object; parameters?: object }>>).map(
        (operations) => Object.values(operations).map(({ requestBody, parameters: names }) => [requestBody, names]),
      ),
    );
    const used = [...bodies.matchAll(/#\/components\/schemas\/(?<name>\w+)/g)].map(({ groups }) => groups!['name']!);
    expect(used.length).toBeGreaterThan(10);
    for (const name of used)
      for (const member of Object.keys((json.components.schemas[name].properties ?? {}) as object))
        expect(member).not.toMatch(/ur[il]|host|endpoint|callback|webhook/i);
  });

  it('API8 security misconfiguration: headers on every answer, nothing about the inside, no foreign origin', async () => {
    const answers = [
      await api.call('GET', '/users/current', {
        token: of('Operator').token,
        headers: { origin: 'https://evil.example' },
      }),
      await api.call('GET', '/nothing/here'),
      await api.call('POST', '/login', { body: '{' }),
      await api.call('OPTIONS', '/users', {
        headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      }),
    ];
    for (const { headers, text } of answers) {
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('access-control-allow-origin')).toBeNull();
      expect([headers.get('server'), headers.get('x-powered-by')]).toEqual([null, null]);
      expect(text).not.toMatch(/node_modules|at .*\.[jt]s:\d|Error:/);
    }
  });

  it('API9 improper inventory management: every route is documented with who may call it, and retired ones are gone', async () => {
    const { json } = await api.call('GET', '/docs/json');
    const paths = json.paths as Record<string, Record<string, Record<string, unknown>>>;
    for (const { method, path, rule } of listRoutes(api.app)) {
      if (path.startsWith('/objects/')) continue; // signed URLs: not an interface for people
      expect([method, path, paths[path.replace(/:([^/]+)/g, '{$1}')]?.[method.toLowerCase()]?.['x-access']]).toEqual([
        method,
        path,
        rule,
      ]);
    }
    expect(readFileSync(join(DOCS, 'reference/access.md'), 'utf8')).toContain(accessTable(json as never));
    for (const [method, path] of [
      ['PUT', '/users/hardware/set'],
      ['POST', '/resources/check'],
    ] as const)
      expect((await api.call(method, path, { token: api.administrator.token, body: {} })).status).toBe(404);
  });

  it('API10 unsafe consumption of APIs: what the object store holds counts, not what a publisher says it does', async () => {
    const upload = await DraftUpload.open(api, of('ResourceUploader'), 'models/never-written');
    const pack = await upload.announce(randomBytes(100));
    await upload.register(pack);
    const { status, json } = await upload.commit(upload.draft(pack));
    expect({ status, code: json.code }).toEqual({ status: 409, code: 'upload.pack-gone' });
  });

  it('is gone through in the documentation, risk by risk, with these tests', () => {
    const page = readFileSync(join(DOCS, 'owasp-api-top-ten.md'), 'utf8');
    for (let risk = 1; risk <= 10; risk++) expect(page).toContain(`| API${String(risk)} `);
  });
});
