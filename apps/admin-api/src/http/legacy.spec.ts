/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-member-access -- answers are looked into as they come */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

import { legacyAesKey, legacyApiKey, legacyDecrypt } from '@azaion/crypto';
import { ManualClock, toBase64Url } from '@azaion/kernel';
import { sql } from 'kysely';

import { AuditLog } from '../audit/audit-log.js';
import { LegacyFiles, MAX_LEGACY_FILE_BYTES } from '../legacy/legacy-files.js';
import { Housekeeping } from '../persistence/housekeeping.js';
import { FolderQuota } from '../sealed/folder-quota.js';
import { TestDevice } from '../testing/device.js';
import { DraftUpload } from '../testing/draft-upload.js';
import { type Account, type Answer, type StartedApi, startApi } from '../testing/started-api.js';
import { PasswordHasher } from '../tokens/password-hasher.js';

interface Vectors {
  inputs: { email: string; password: string };
  derivations: { apiKey: string };
}
const { inputs, derivations } = JSON.parse(
  readFileSync(new URL('../../../../libs/crypto/src/legacy/fixtures/legacy-v1.json', import.meta.url), 'utf8'),
) as Vectors;
const PIECE_BYTES = 1024 * 1024;
/** What one device may store here. */
const DEVICE_BYTES = 1024 * 1024;

describe('older clients', () => {
  let api: StartedApi;
  let publisher: Account;
  let operator: Account;
  /** The account of the vectors, as an older installation holds it. */
  let older: Pick<Account, 'email' | 'password' | 'token'>;
  const clock = new ManualClock(Date.now());
  beforeAll(async () => {
    api = await startApi(
      {
        ACCESS_TOKEN_SECONDS: '86400',
        TRUSTED_PROXIES: '127.0.0.1',
        LEGACY_DEVICE_MAX_BYTES: String(DEVICE_BYTES),
      },
      clock,
    );
    publisher = await api.account('ResourceUploader');
    operator = await api.account('Operator');
    await api.infrastructure.database.queries
      .insertInto('users')
      .values({
        id: randomUUID(),
        email: inputs.email,
        password_hash: createHash('sha384').update(inputs.password).digest('base64'),
        role: 'Operator',
        created_at: new Date(),
        is_enabled: true,
      })
      .execute();
    older = { ...inputs, token: (await api.logIn(inputs.email, inputs.password)).json.access_token as string };
  });
  afterAll(() => api.stop());

  const form = (name: string, content: Uint8Array, part = 'data'): FormData => {
    const body = new FormData();
    body.append(part, new Blob([new Uint8Array(content)]), name);
    return body;
  };
  const post = async (path: string, token: string, body: FormData): Promise<Answer> => {
    const answer = await fetch(`${api.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body,
    });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: JSON.parse(text) };
  };
  const store = (path: string, content: Uint8Array, token = publisher.token): Promise<Answer> => {
    const [folder = '', name] = path.includes('/') ? path.split('/') : ['', path];
    return post(`/resources${folder === '' ? '' : `/${folder}`}`, token, form(name!, content));
  };
  const get = (
    folder: string,
    body: unknown,
    account: Pick<Account, 'token'> = operator,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${api.url}/resources/get${folder === '' ? '' : `/${folder}`}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.token}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  const refusal = async (answer: Promise<Response>): Promise<Answer['json']> => (await answer).json();
  const opened = async (
    path: string,
    account: Pick<Account, 'email' | 'password' | 'token'> = operator,
  ): Promise<Buffer> => {
    const [folder = '', fileName] = path.includes('/') ? path.split('/') : ['', path];
    const answer = await get(folder, { password: account.password, fileName }, account);
    if (answer.status !== 200) throw new Error(await answer.text());
    const sealed = Buffer.from(await answer.arrayBuffer());
    expect(answer.headers.get('content-length')).toBe(String(sealed.length));
    expect(answer.headers.get('content-type')).toBe('application/octet-stream');
    const key = legacyAesKey(legacyApiKey(account.email, account.password));
    return buffer(Readable.from([sealed]).pipe(legacyDecrypt(key)));
  };
  const list = async (path: string, token = operator.token): Promise<Answer> =>
    api.call('GET', `/resources/list${path}`, { token });
  const rows = async (table: 'legacy_contents' | 'legacy_pieces'): Promise<number> =>
    (
      await sql<{ count: number }>`select count(*) as count from ${sql.table(table)}`.execute(
        api.infrastructure.database.queries,
      )
    ).rows[0]!.count;

  it('get a file under the key that another implementation derives from e-mail and password', async () => {
    const content = randomBytes(3072);
    expect((await store('models/vector.small', content)).json).toEqual({ fileName: 'vector.small', sizeBytes: 3072 });
    const answer = await get('models', { password: inputs.password, fileName: 'vector.small' }, older);
    const sealed = Buffer.from(await answer.arrayBuffer());
    const plain = await buffer(Readable.from([sealed]).pipe(legacyDecrypt(legacyAesKey(derivations.apiKey))));
    expect(plain.equals(content)).toBe(true);
  });

  it.each([0, 1, 15, 16, 17, 3072, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3_000_000])(
    'get %i bytes back as they were stored',
    async (sizeBytes) => {
      const content = randomBytes(sizeBytes);
      expect((await store('sizes/file.bin', content)).status).toBe(200);
      expect((await opened('sizes/file.bin')).equals(content)).toBe(true);
    },
  );

  it('may leave the folder out', async () => {
    await store('cdn.yaml', Buffer.from('host: cdn.example'));
    expect((await opened('cdn.yaml')).toString()).toBe('host: cdn.example');
    expect((await list('')).json).toEqual(['cdn.yaml']);
  });

  it.each([
    { Password: true, FileName: true },
    { PASSWORD: true, FILENAME: true },
    { password: true, filename: true },
  ])('may write members as they like: %j', async (names) => {
    await store('cases/file.bin', Buffer.from('x'));
    const [password, fileName] = Object.keys(names);
    const body = { [password!]: operator.password, [fileName!]: 'file.bin' };
    expect((await get('cases', body)).status).toBe(200);
  });

  it.each([
    [{ password: 'x', fileName: 'a', hardware: 'CPU: …' }, 'hardware'],
    [{ password: 'x', fileName: 'a', Hardware: null }, 'Hardware'],
    [{ password: 'x', fileName: 'a', color: 'red' }, 'color'],
    [{ password: 'x', Password: 'y', fileName: 'a' }, 'Password'],
    [{ fileName: 'a' }, 'password'],
    [{ password: 'x' }, 'fileName'],
    [{ password: 1, fileName: 'a' }, 'password'],
    [{ password: 'x'.repeat(257), fileName: 'a' }, 'password'],
    [{ password: 'x\0', fileName: 'a' }, 'password'],
    [{ password: 'x', fileName: '../a' }, 'fileName'],
    [[], 'body'],
    ['text', 'body'],
  ])('are refused the body %j by the name of the field', async (body, field) => {
    const { status, errors } = await refusal(get('models', body));
    expect({ status, field: errors[0].field }).toEqual({ status: 400, field });
  });

  it('are told a wrong password before a missing file, and pay one hash', async () => {
    const hasher = api.app.get(PasswordHasher);
    const before = hasher.computations;
    const wrong = await refusal(get('models', { password: 'a wrong password', fileName: 'missing' }));
    expect({ status: wrong.status, number: wrong.ErrorCode }).toEqual({ status: 409, number: 30 });
    expect(hasher.computations - before).toBe(1);
    const missing = await refusal(get('models', { password: operator.password, fileName: 'missing' }));
    expect({ status: missing.status, number: missing.ErrorCode }).toEqual({ status: 404, number: 50 });
  });

  it('may download as often as they like; wrong passwords are counted like those of logins', async () => {
    const account = await api.account('Operator');
    await store('counted/file.bin', Buffer.from('x'));
    const ask = async (password: string, address = '192.0.2.30'): Promise<number> =>
      (await get('counted', { password, fileName: 'file.bin' }, account, { 'x-forwarded-for': address })).status;
    for (let times = 0; times < 12; times++) expect(await ask(account.password)).toBe(200);
    for (let times = 0; times < 5; times++) expect(await ask('a guess')).toBe(409);
    expect(await ask('a guess')).toBe(429);
    expect(await ask(account.password)).toBe(429); // a right guess is not told from a wrong one
    expect(await ask(account.password, '192.0.2.31')).toBe(200);
    clock.advance(5 * 60_000);
    expect(await ask(account.password)).toBe(200);
  });

  it('cannot guess passwords past the limit by sending all guesses at once', async () => {
    const account = await api.account('Operator');
    await store('raced/file.bin', Buffer.from('x'));
    const hasher = api.app.get(PasswordHasher);
    const before = hasher.computations;
    const passwords = [...Array.from({ length: 50 }, (_, index) => `guess ${String(index)}`), account.password];
    const headers = { 'x-forwarded-for': '192.0.2.40' };
    const statuses = await Promise.all(
      passwords.map(
        async (password) => (await get('raced', { password, fileName: 'file.bin' }, account, headers)).status,
      ),
    );
    // One may have been the right one: it starts the counts over.
    expect(hasher.computations - before).toBeLessThanOrEqual(10);
    expect(statuses.filter((status) => status === 409).length).toBe(
      hasher.computations - before - statuses.filter((status) => status === 200).length,
    );
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(41);
  });

  it('find names by a part of them; a folder that does not exist is empty', async () => {
    for (const name of ['a.small', 'B.small', 'c_d', 'cxd']) await store(`listed/${name}`, Buffer.from(name));
    expect((await list('/listed')).json).toEqual(['B.small', 'a.small', 'c_d', 'cxd']);
    expect((await list('/listed?search=SMALL')).json).toEqual(['B.small', 'a.small']);
    expect((await list('/listed?search=c_')).json).toEqual(['c_d']);
    expect((await list('/nothing-here')).json).toEqual([]);
  });

  it('are told all names of a folder, however many, in one list', async () => {
    await store('crowded/0', randomBytes(1));
    await sql`insert into legacy_files (folder, name, owner, content_id, updated_at)
      select folder, number::text, owner, content_id, updated_at from legacy_files, generate_series(1, 20000) as number
      where folder = 'crowded'`.execute(api.infrastructure.database.queries);
    const { headers, json } = await list('/crowded');
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(new Set(json as string[])).toEqual(new Set(Array.from({ length: 20_001 }, (_, number) => String(number))));
    expect(json).toHaveLength(20_001);
    expect((await list('/crowded?search=1999')).json).toHaveLength(12); // 1999, 11999, and 19990 to 19999
  });

  it('replace a file all at once: who reads the one before reads it to its end', async () => {
    const files = api.app.get(LegacyFiles);
    const [before, after] = [randomBytes(3 * PIECE_BYTES), randomBytes(3 * PIECE_BYTES)];
    await store('replaced/file.bin', before);
    const reading = (await files.open('replaced', 'file.bin')).content[Symbol.asyncIterator]();
    const read = [(await reading.next()).value as Buffer];
    await store('replaced/file.bin', after);
    await api.app.get(Housekeeping).run();
    for (let next = await reading.next(); next.done !== true; next = await reading.next()) read.push(next.value);
    expect(Buffer.concat(read).equals(before)).toBe(true);
    expect((await opened('replaced/file.bin')).equals(after)).toBe(true);
  });

  it('leave nothing of a replaced file behind after an hour, nor of one that was cut off', async () => {
    await store('swept/file.bin', randomBytes(100));
    await store('swept/file.bin', randomBytes(100));
    const before = await rows('legacy_contents');
    const length = 2 * PIECE_BYTES;
    await new Promise<void>((done) => {
      const sending = request(
        `${api.url}/resources/swept`,
        {
          method: 'POST',
          headers: {
            authorization: `Bearer ${publisher.token}`,
            'content-type': 'multipart/form-data; boundary=x',
            'content-length': length + 1000,
          },
        },
        () => undefined,
      );
      sending.on('error', () => {
        done();
      });
      sending.write('--x\r\ncontent-disposition: form-data; name="data"; filename="cut.bin"\r\n\r\n');
      sending.write(Buffer.alloc(length), () => sending.destroy(new Error('cut off')));
    });
    clock.advance(25 * 3_600_000);
    await api.app.get(Housekeeping).run();
    expect(await rows('legacy_contents')).toBeLessThan(before);
    const left = await sql<{ stray: number }>`select count(*) as stray from legacy_contents
      where id not in (select content_id from legacy_files)`.execute(api.infrastructure.database.queries);
    expect(left.rows[0]?.stray).toBe(0);
    // The clock is a day on: fresh tokens for the tests that follow.
    for (const account of [publisher, operator, api.administrator])
      Object.assign(account, { token: (await api.logIn(account.email, account.password)).json.access_token as string });
  });

  it('store up to 200 MiB and not a byte more; the file before stays, and nothing of the larger one', async () => {
    expect(MAX_LEGACY_FILE_BYTES).toBe(209_715_200);
    const { database, vault } = api.infrastructure;
    const limitBytes = PIECE_BYTES + 1000; // stands for it: the same code counts
    const bounds = { fileBytes: limitBytes, deviceBytes: 0 };
    const files = new LegacyFiles(database, vault, api.app.get(FolderQuota), new AuditLog(clock), clock, bounds);
    const upload = { folder: 'large', name: 'file.bin' };
    const actor = { id: publisher.id, address: '' };
    const whole = randomBytes(limitBytes);
    expect(await files.write(upload, Readable.from([whole]), actor)).toBe(limitBytes);
    const before = await rows('legacy_contents');
    const larger = Readable.from([whole, Buffer.alloc(1)]);
    await expect(files.write(upload, larger, actor)).rejects.toMatchObject({ code: 'request.too-large' });
    expect((await opened('large/file.bin')).equals(whole)).toBe(true);
    expect(await rows('legacy_contents')).toBe(before);
  });

  describe('within bounds', () => {
    const FILE_BYTES = 100_000;
    let folders = 0;
    const withQuota = async (quotaBytes: number): Promise<string> => {
      const folder = `quota-${String(folders++)}`;
      const body = { quotaBytes };
      await api.call('PUT', `/folders/${folder}`, { token: api.administrator.token, body });
      return folder;
    };
    const refused = ({ status, json }: Answer): object => ({ status, code: json.code });
    const FULL = { status: 413, code: 'upload.quota-exceeded' };
    /** Sends the beginning of a body. @returns What ends the request. */
    const begun = async (folder: string, headers: Readonly<Record<string, string>>): Promise<() => Promise<void>> => {
      const sending = request(`${api.url}/resources/${folder}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${publisher.token}`,
          'content-type': 'multipart/form-data; boundary=x',
          ...headers,
        },
      });
      const ended = new Promise<void>((done) => sending.on('error', () => undefined).on('close', done));
      const before = await rows('legacy_contents');
      sending.write('--x\r\ncontent-disposition: form-data; name="data"; filename="slow.bin"\r\n\r\n');
      sending.write(Buffer.alloc(1000)); // the part shows with its first bytes
      while ((await rows('legacy_contents')) === before);
      return async () => {
        sending.destroy();
        await ended;
        while ((await rows('legacy_contents')) > before);
      };
    };

    it('fill a folder up to its quota, under however many names', async () => {
      const folder = await withQuota(3 * FILE_BYTES);
      const content = randomBytes(FILE_BYTES - 1000); // the frame of the form counts until the file is here
      for (const name of ['a', 'b', 'c']) expect((await store(`${folder}/${name}`, content)).status).toBe(200);
      expect(refused(await store(`${folder}/d`, content))).toEqual(FULL);
      expect((await list(`/${folder}`)).json).toEqual(['a', 'b', 'c']);
    });

    it('fill it no further with one name again and again: what was replaced counts until it is gone', async () => {
      const folder = await withQuota(3 * FILE_BYTES);
      const contents = [1, 2, 3, 4].map(() => randomBytes(FILE_BYTES - 1000));
      for (const content of contents.slice(0, 3)) expect((await store(`${folder}/one`, content)).status).toBe(200);
      expect(refused(await store(`${folder}/one`, contents[3]!))).toEqual(FULL);
      expect((await opened(`${folder}/one`)).equals(contents[2]!)).toBe(true);
      clock.advance(3_600_001);
      await api.app.get(Housekeeping).run();
      expect((await store(`${folder}/one`, contents[3]!)).status).toBe(200);
    });

    it('fill it no further at the same moment', async () => {
      const folder = await withQuota(3 * FILE_BYTES);
      const content = randomBytes(FILE_BYTES - 1000);
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, index) => store(`${folder}/${String(index)}`, content)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 413, 413, 413, 413, 413]);
    });

    it('take the room of a file when it begins, and give it back when it is cut off', async () => {
      const folder = await withQuota(3 * FILE_BYTES);
      const cut = await begun(folder, { 'content-length': String(3 * FILE_BYTES) });
      expect(refused(await store(`${folder}/other`, Buffer.from('x')))).toEqual(FULL);
      await cut();
      expect((await store(`${folder}/other`, Buffer.from('x'))).status).toBe(200);
    });

    it('take the room of the largest file when they do not say how long theirs is', async () => {
      const folder = await withQuota(MAX_LEGACY_FILE_BYTES + FILE_BYTES);
      const cut = await begun(folder, { 'transfer-encoding': 'chunked' });
      const content = randomBytes(FILE_BYTES);
      expect(refused(await store(`${folder}/other`, content))).toEqual(FULL);
      await cut();
      expect((await store(`${folder}/other`, content)).status).toBe(200);
    });

    it('share the quota with what is published', async () => {
      const folder = await withQuota(3 * FILE_BYTES);
      await store(`${folder}/older`, randomBytes(2 * FILE_BYTES));
      const upload = await DraftUpload.open(api, publisher, `${folder}/sealed`);
      const announced = await upload.call('POST', '/packs', {
        sizeBytes: 2 * FILE_BYTES,
        sha256: toBase64Url(randomBytes(32)),
        md5: toBase64Url(randomBytes(16)),
      });
      expect(refused(announced)).toEqual(FULL);
      const draft = upload.draft(await upload.pack(randomBytes(FILE_BYTES / 2)));
      expect((await upload.commit(draft)).status).toBe(201);
      expect(refused(await store(`${folder}/more`, randomBytes(FILE_BYTES / 2)))).toEqual(FULL);
      expect((await store(`${folder}/more`, randomBytes(FILE_BYTES / 4))).status).toBe(200);
      const another = await DraftUpload.open(api, publisher, `${folder}/another`);
      const pack = await another.pack(randomBytes(1000));
      await api.call('PUT', `/folders/${folder}`, {
        token: api.administrator.token,
        body: { quotaBytes: 2 * FILE_BYTES },
      });
      expect(refused(await another.commit(another.draft(pack)))).toEqual(FULL);
    });

    it('that are devices have a share each, over all folders, of which the smallest file takes 64 KiB', async () => {
      const account = async (): Promise<string> => {
        const device = await TestDevice.register(api);
        return (await api.logIn(device.email, device.password)).json.access_token as string;
      };
      const token = await account();
      const policy = { write: ['CompanionPC', 'ResourceUploader'] };
      for (const folder of ['bounded', 'others'])
        await api.call('PUT', `/folders/${folder}`, { token: api.administrator.token, body: policy });
      const most = DEVICE_BYTES / (64 * 1024);
      for (let index = 0; index < most; index++)
        expect(
          (await store(`${index % 2 === 0 ? 'engines' : 'others'}/${String(index)}`, Buffer.from('x'), token)).status,
        ).toBe(200);
      expect(refused(await store('bounded/more', Buffer.from('x'), token))).toEqual(FULL);
      expect(refused(await store('bounded/0', Buffer.from('x'), token))).toEqual(FULL);
      expect((await store('bounded/0', Buffer.from('x'), await account())).status).toBe(200);
      expect((await store('bounded/0', randomBytes(DEVICE_BYTES + 1))).status).toBe(200); // everybody's
      expect(refused(await store('bounded/0', randomBytes(DEVICE_BYTES + 1), await account()))).toEqual(FULL);
    });
  });

  it('clear a folder and no other', async () => {
    await store('cleared/a', Buffer.from('a'));
    await store('kept/a', Buffer.from('a'));
    for (const token of [publisher.token, operator.token])
      expect((await api.call('POST', '/resources/clear/cleared', { token })).status).toBe(403);
    expect((await api.call('POST', '/resources/clear/cleared', { token: api.administrator.token })).status).toBe(204);
    expect((await list('/cleared')).json).toEqual([]);
    expect((await list('/kept')).json).toEqual(['a']);
  });

  it.each([
    ['another part', () => form('a', Buffer.from('x'), 'file')],
    [
      'a field',
      () => {
        const body = new FormData();
        body.append('hardware', 'x');
        return body;
      },
    ],
    ['no part', () => new FormData()],
    [
      'a part too many',
      () => {
        const body = form('a', Buffer.from('x'));
        body.append('hardware', 'x');
        return body;
      },
    ],
    [
      'two files',
      () => {
        const body = form('a', Buffer.from('x'));
        body.append('data', new Blob(['y']), 'b');
        return body;
      },
    ],
  ])('are refused an upload with %s, and nothing is stored', async (_case, body) => {
    const before = await rows('legacy_contents');
    expect((await post('/resources/odd', publisher.token, body())).status).toBe(400);
    expect((await list('/odd')).json).toEqual([]);
    expect(await rows('legacy_contents')).toBe(before);
  });

  it.each(['../escape', '..', 'a/b', '.hidden', 'ä', 'x'.repeat(201)])('are refused the file name %j', async (name) => {
    expect((await post('/resources/odd', publisher.token, form(name, Buffer.from('x')))).status).toBe(422);
  });

  it.each(['get', 'list', 'clear'])('can’t name a folder %s', async (folder) => {
    const answer = await post(`/resources/${folder}`, publisher.token, form('a', Buffer.from('x')));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect((await list(`/${folder}`)).json).toEqual([]);
  });

  it.each(['/resources/check', '/resources/%63heck', '/resources/check?x=1'])(
    'find nothing at POST %s',
    async (path) => {
      const answer = await post(path, publisher.token, form('a', Buffer.from('x')));
      expect({ status: answer.status, code: answer.json.code }).toEqual({ status: 404, code: 'route.not-found' });
    },
  );

  it('need the folder’s permission', async () => {
    await store('closed/file.bin', Buffer.from('x'));
    expect((await store('closed/other', Buffer.from('x'), operator.token)).json.code).toBe('folder.forbidden');
    await api.call('PUT', '/folders/closed', { token: api.administrator.token, body: { read: ['Validator'] } });
    const body = { password: operator.password, fileName: 'file.bin' };
    expect((await refusal(get('closed', body))).code).toBe('folder.forbidden');
    expect((await list('/closed')).json.code).toBe('folder.forbidden');
  });

  it('that are devices use their password until they are enrolled', async () => {
    await store('devices/file.bin', Buffer.from('for devices'));
    const device = await TestDevice.register(api);
    const { json } = await api.logIn(device.email, device.password);
    const account = { email: device.email, password: device.password, token: json.access_token as string };
    expect((await opened('devices/file.bin', account)).toString()).toBe('for devices');
    const enrolled = await TestDevice.enrolled(api);
    const { password } = enrolled;
    const refused = await refusal(
      get('devices', { password, fileName: 'file.bin' }, { token: json.access_token as string }),
    );
    expect(refused.ErrorCode).toBe(30);
    expect((await api.logIn(enrolled.email, password)).status).toBe(401);
  });

  it('that are devices store for themselves alone: nobody is handed what another device stored', async () => {
    const [mine, yours] = await Promise.all([1, 2].map(() => TestDevice.register(api)));
    const account = async (device: TestDevice | undefined): Promise<Pick<Account, 'email' | 'password' | 'token'>> => {
      const { email = '', password = '' } = device ?? {};
      return { email, password, token: (await api.logIn(email, password)).json.access_token as string };
    };
    const [one, other] = [await account(mine), await account(yours)];
    await store('engines/shared.engine', Buffer.from('for everybody'));
    for (const name of ['shared.engine', 'own.engine'])
      expect((await store(`engines/${name}`, Buffer.from('of one device'), one.token)).status).toBe(200);
    expect((await opened('engines/shared.engine', one)).toString()).toBe('of one device');
    expect((await opened('engines/own.engine', one)).toString()).toBe('of one device');
    for (const reader of [other, operator]) {
      expect((await opened('engines/shared.engine', reader)).toString()).toBe('for everybody');
      const missing = await get('engines', { password: reader.password, fileName: 'own.engine' }, reader);
      expect(missing.status).toBe(404);
      expect((await api.call('GET', '/resources/list/engines', { token: reader.token })).json).toEqual([
        'shared.engine',
      ]);
    }
    const own = await api.call('GET', '/resources/list/engines', { token: one.token });
    expect(own.json).toEqual(['own.engine', 'shared.engine']);
    await api.call('POST', '/resources/clear/engines', { token: api.administrator.token });
    expect((await api.call('GET', '/resources/list/engines', { token: one.token })).json).toEqual([]);
  });

  it('leave nothing readable in the database, and pieces that were moved do not open', async () => {
    const marker = 'a marker that stands in the file';
    const { queries } = api.infrastructure.database;
    await store('sealed/file.bin', Buffer.concat([Buffer.from(marker), randomBytes(2 * PIECE_BYTES)]));
    const pieces = await queries
      .selectFrom('legacy_pieces')
      .innerJoin('legacy_files', 'legacy_files.content_id', 'legacy_pieces.content_id')
      .select('sealed')
      .where('folder', '=', 'sealed')
      .execute();
    expect(pieces).toHaveLength(3);
    expect(pieces.some(({ sealed }) => sealed.includes(marker))).toBe(false);
    const content = (from: string) =>
      sql`(select content_id from legacy_files where folder = 'sealed' and name = ${from})`;
    await sql`update legacy_pieces set index = case index when 0 then 101 else 100 end
      where content_id = ${content('file.bin')} and index < 2`.execute(queries);
    await sql`update legacy_pieces set index = index - 100
      where content_id = ${content('file.bin')} and index >= 100`.execute(queries);
    await expect(opened('sealed/file.bin')).rejects.toThrow();
  });

  it('are recorded: what was stored, released and cleared', async () => {
    await store('recorded/file.bin', Buffer.from('x'));
    await opened('recorded/file.bin');
    const { json } = await api.call('GET', '/audit?subject=recorded/file.bin', { token: api.administrator.token });
    expect((json.events as { event: string; actor: string }[]).map(({ event, actor }) => [event, actor])).toEqual([
      ['legacy.file-released', operator.id],
      ['legacy.file-stored', publisher.id],
    ]);
  });

  describe('and key fragments', () => {
    const fragment = async (query: string, token: string): Promise<[number, string]> => {
      const answer = await fetch(`${api.url}/binary-split/key-fragment${query}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return [answer.status, Buffer.from(await answer.arrayBuffer()).toString('hex')];
    };
    const register = async (name: string, token: string): Promise<[number, string]> => {
      const answer = await fetch(`${api.url}/binary-split/archives/${name}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${token}` },
      });
      return [answer.status, Buffer.from(await answer.arrayBuffer()).toString('hex')];
    };

    it('are made once per archive, and released to who may unlock', async () => {
      expect((await fragment('', operator.token))[0]).toBe(404);
      const [status, made] = await register('images', publisher.token);
      expect(status).toBe(201);
      expect(made).toMatch(/^[0-9a-f]{64}$/);
      expect(await fragment('', operator.token)).toEqual([200, made]);
      expect(await fragment('?archive=images', operator.token)).toEqual([200, made]);
      expect(await register('images', publisher.token)).toEqual([200, made]);
      expect(await register('images', api.administrator.token)).toEqual([200, made]);
      expect((await register('other', publisher.token))[1]).not.toBe(made);
    });

    it('are made once when many register at once', async () => {
      const answers = await Promise.all(Array.from({ length: 6 }, () => register('raced', publisher.token)));
      expect(new Set(answers.map(([, made]) => made)).size).toBe(1);
      expect(answers.map(([status]) => status).sort()).toEqual([200, 200, 200, 200, 200, 201]);
    });

    it('stay with who registered the archive', async () => {
      const other = await api.account('ResourceUploader');
      await register('owned', publisher.token);
      expect((await register('owned', other.token))[0]).toBe(409);
    });

    it.each(['Validator', 'ResourceUploader', 'Service'] as const)('are not released to %s', async (role) => {
      expect((await fragment('', (await api.account(role)).token))[0]).toBe(403);
    });

    it('are not registered by others than publishers', async () => {
      expect((await register('mine', operator.token))[0]).toBe(403);
    });

    it('are recorded at each release, and lie wrapped', async () => {
      const [, made] = await register('wrapped', publisher.token);
      await fragment('?archive=wrapped', operator.token);
      const { json } = await api.call('GET', '/audit?subject=wrapped', { token: api.administrator.token });
      expect((json.events as { event: string }[]).map(({ event }) => event)).toEqual([
        'key-fragment.released',
        'key-fragment.created',
      ]);
      const stored = await api.infrastructure.database.queries.selectFrom('key_fragments').select('wrapped').execute();
      expect(stored.some(({ wrapped }) => wrapped.toString('hex').includes(made))).toBe(false);
    });
  });
});
