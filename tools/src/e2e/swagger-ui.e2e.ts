import { buffer } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';

import {
  describeWith,
  imageArchive,
  pseudoRandomBytes,
  startBrowser,
  type TestBrowser,
  type WatchedPage,
} from '@azaion/testing';

import { type Person, postJson, type StartedSystem, startSystem } from './started-system.js';

/** One operation of Swagger UI, driven as a newcomer would. */
class Operation {
  private readonly block;

  constructor(watched: WatchedPage, method: string, path: string) {
    this.block = watched.page
      .locator(`.opblock-${method}`)
      .filter({ has: watched.page.locator(`.opblock-summary-path[data-path="${path}"]`) });
  }

  /** Opens it and presses "Try it out". */
  async tryOut(): Promise<void> {
    await this.block.locator('.opblock-summary-control').click();
    await this.block.locator('.try-out__btn').click();
  }

  async body(value: object): Promise<void> {
    await this.block.locator('textarea.body-param__text').fill(JSON.stringify(value));
  }

  async parameter(name: string, value: string): Promise<void> {
    await this.block.locator(`tr[data-param-name="${name}"] input`).first().fill(value);
  }

  /** Fills a field of a form. */
  async field(name: string, value: string): Promise<void> {
    await this.block.locator(`tr[data-property-name="${name}"] input`).first().fill(value);
  }

  /** Chooses one of a parameter's values. */
  async choice(name: string, value: string): Promise<void> {
    await this.block.locator(`tr[data-param-name="${name}"] select`).selectOption(value);
  }

  /** Chooses the media type of the body. */
  async contentType(type: string): Promise<void> {
    await this.block.locator('.opblock-section-request-body select.content-type').selectOption(type);
  }

  async file(name: string, content: Buffer): Promise<void> {
    const file = { name, mimeType: 'application/octet-stream', buffer: content };
    await this.block.locator('input[type=file]').setInputFiles(file);
  }

  /** Presses "Execute". @returns Status and text of the answer. */
  async execute(): Promise<{ readonly status: string; readonly text: string }> {
    await this.block.locator('button.execute').click();
    const answer = this.block.locator('.live-responses-table .response');
    await answer.waitFor();
    return {
      status: (await answer.locator('.response-col_status').innerText()).trim(),
      text: await answer.locator('.response-col_description').innerText(),
    };
  }
}

describeWith('browser', 'Swagger UI', () => {
  let browser: TestBrowser;
  let system: StartedSystem;
  let watched: WatchedPage;

  beforeAll(async () => {
    [browser, system] = await Promise.all([
      startBrowser(),
      startSystem({ loaderEnv: { UNLOCK_RUNTIME: 'directory' } }),
    ]);
  });
  afterAll(async () => {
    await browser.stop();
    await system.stop();
  });
  afterEach(async () => {
    const { foreignRequests, errors } = watched;
    await watched.close();
    expect({ foreignRequests, errors }).toEqual({ foreignRequests: [], errors: [] });
  });

  async function open(url: string): Promise<void> {
    watched = await browser.open(`${url}/docs`, { width: 1280, height: 1400 });
    await watched.page.locator('.opblock').first().waitFor();
  }

  /** Logs in by trying the operation out, and pastes the token where "Authorize" asks for it. */
  async function logIn(person: Person): Promise<void> {
    const login = new Operation(watched, 'post', '/login');
    await login.tryOut();
    await login.body(person);
    const { status, text } = await login.execute();
    expect(status).toBe('200');
    const token = /"(?:access_token|token)":\s*"([^"]+)"/.exec(text)?.[1] ?? '';
    const { page } = watched;
    await page.locator('.btn.authorize').click();
    await page.locator('.auth-container input').fill(token);
    await page.locator('.modal-btn.auth.authorize').click();
    await page.locator('.modal-btn.auth.btn-done').click();
  }

  it('of the Loader: log in, authorize, publish a file, load it, unlock', async () => {
    await open(system.loaderUrl);
    await logIn(await system.createPerson('ApiAdmin'));

    const upload = new Operation(watched, 'post', '/upload/{filename}');
    await upload.tryOut();
    await upload.parameter('filename', 'swagger.bin');
    await upload.file('swagger.bin', pseudoRandomBytes('swagger', 5000));
    expect(await upload.execute()).toMatchObject({
      status: '200',
      text: expect.stringContaining('"version": 1') as string,
    });

    const load = new Operation(watched, 'post', '/load/{filename}');
    await load.tryOut();
    await load.parameter('filename', 'swagger.bin');
    await load.body({ filename: 'swagger.bin', folder: 'models' });
    const loaded = await load.execute();
    expect(loaded.status).toBe('200');
    expect(loaded.text).toContain('content-length: 5000');

    const unlock = new Operation(watched, 'post', '/unlock');
    await unlock.tryOut();
    await unlock.body({});
    expect(await unlock.execute()).toMatchObject({
      status: '404',
      text: expect.stringContaining('Encrypted archive not found') as string,
    });
  });

  it('of the Loader: publish a file as it is, without a form: the bytes of the file, and nothing around them', async () => {
    await open(system.loaderUrl);
    const person = await system.createPerson('ApiAdmin');
    await logIn(person);
    const content = pseudoRandomBytes('raw', 7000);
    const upload = new Operation(watched, 'post', '/upload/{filename}');
    await upload.tryOut();
    await upload.parameter('filename', 'raw.bin');
    await upload.parameter('folder', 'models');
    await upload.contentType('application/octet-stream');
    await upload.file('raw.bin', content);
    expect(await upload.execute()).toEqual({ status: '200', text: expect.stringContaining('"bytes": 7000') as string });
    const { access_token: token } = await postJson<{ access_token: string }>(`${system.loaderUrl}/login`, person);
    const headers = { authorization: `Bearer ${token}` };
    const loaded = await fetch(`${system.loaderUrl}/resources/models/raw.bin`, { headers });
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
  });

  it('of the Loader: publish an image archive, unlock it, see that it is ready', async () => {
    await open(system.loaderUrl);
    await logIn(await system.createPerson('ApiAdmin'));
    const archive = await imageArchive([
      { name: 'azaion/swagger:latest', layers: [{ seed: 'swagger', sizeBytes: 50_000 }] },
    ]);
    const upload = new Operation(watched, 'post', '/upload/{filename}');
    await upload.tryOut();
    await upload.parameter('filename', 'azaion-latest');
    await upload.field('folder', 'images');
    await upload.choice('kind', 'images');
    await upload.file('azaion-latest', await buffer(archive.open()));
    expect(await upload.execute()).toEqual({ status: '200', text: expect.stringContaining('"version": 1') as string });

    const unlock = new Operation(watched, 'post', '/unlock');
    await unlock.tryOut();
    await unlock.body({});
    expect(await unlock.execute()).toMatchObject({ status: '200' });
    const state = async (): Promise<string> =>
      ((await (await fetch(`${system.loaderUrl}/unlock/status`)).json()) as { state: string }).state;
    while (!['ready', 'error'].includes(await state())) await setTimeout(100);
    const status = new Operation(watched, 'get', '/unlock/status');
    await status.tryOut();
    expect(await status.execute()).toMatchObject({
      status: '200',
      text: expect.stringContaining('"state": "ready"') as string,
    });
  });

  it('of the Loader: says what is missing without a token', async () => {
    await open(system.loaderUrl);
    const list = new Operation(watched, 'get', '/resources/{folder}');
    await list.tryOut();
    await list.parameter('folder', 'models');
    expect(await list.execute()).toMatchObject({
      status: '401',
      text: expect.stringContaining('token.missing') as string,
    });
  });

  it('of the Admin API: log in, authorize, list the users', async () => {
    await open(system.adminUrl);
    await logIn(system.administrator);
    const users = new Operation(watched, 'get', '/users');
    await users.tryOut();
    const { status, text } = await users.execute();
    expect(status).toBe('200');
    expect(text).toContain(system.administrator.email);
  });

  it('of the Admin API: store a file as older clients do, and see it listed', async () => {
    await open(system.adminUrl);
    await logIn(system.administrator);
    const upload = new Operation(watched, 'post', '/resources/{dataFolder}');
    await upload.tryOut();
    await upload.parameter('dataFolder', 'models');
    await upload.file('older.bin', pseudoRandomBytes('older', 3000));
    expect(await upload.execute()).toMatchObject({
      status: '200',
      text: expect.stringContaining('older.bin') as string,
    });
    const list = new Operation(watched, 'get', '/resources/list/{dataFolder}');
    await list.tryOut();
    await list.parameter('dataFolder', 'models');
    expect(await list.execute()).toMatchObject({ status: '200', text: expect.stringContaining('older.bin') as string });
  });
});
