import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';

import {
  describeWith,
  imageArchive,
  pseudoRandomBytes,
  startBrowser,
  type TestBrowser,
  type WatchedPage,
} from '@azaion/testing';

import { type Person, type StartedSystem, startSystem } from './started-system.js';

/** For whoever wants to look at the page: pictures of it are written there. */
const PICTURES = process.env['AZAION_SCREENSHOT_DIR'];
const PHONE = { width: 360, height: 780 };

describeWith('browser', 'the status page', () => {
  let browser: TestBrowser;
  let system: StartedSystem;
  let operator: Person;
  let watched: WatchedPage;

  beforeAll(async () => {
    [browser, system] = await Promise.all([
      startBrowser(),
      startSystem({
        loaderEnv: { UNLOCK_RUNTIME: 'directory', LOADER_LOCAL_TRUST: 'session' },
        adminEnv: { LOGIN_ATTEMPTS_PER_ADDRESS: '1000' }, // everybody here has one address
      }),
    ]);
    operator = await system.createPerson('Operator');
  });
  afterAll(async () => {
    await browser.stop();
    await system.stop();
  });
  afterEach(async () => {
    const { foreignRequests, errors } = watched;
    await watched.close();
    // Nothing was asked of anybody else, and the content security policy refused nothing.
    expect({ foreignRequests, errors }).toEqual({ foreignRequests: [], errors: [] });
  });

  async function signIn({ email, password }: Person): Promise<void> {
    const { page } = watched;
    await page.click('#sign-in');
    await page.fill('#login-email', email);
    await page.fill('#login-password', password);
    await page.click('#login-form button.primary');
  }

  async function picture(name: string): Promise<void> {
    if (PICTURES !== undefined) await watched.page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  }

  async function publish(name: string, content: Buffer, query?: string): Promise<void> {
    const token = await system.login(await system.createPerson('ApiAdmin'));
    await system.requests.publish(name, content, token, query);
  }

  it('says at a glance that all is well, to everybody', async () => {
    watched = await browser.open(system.loaderUrl);
    const { page } = watched;
    await page.getByRole('heading', { name: 'Everything is ready' }).waitFor();
    await page.getByText('Not started').waitFor();
    expect(await page.textContent('#cache-limit')).toMatch(/^of \d/);
    expect(await page.isVisible('#people')).toBe(false);
    expect(await page.isVisible('#unlock-start')).toBe(false);
    await picture('signed-out');
  });

  it('refuses wrong credentials with a sentence, and keeps its secrets', async () => {
    watched = await browser.open(system.loaderUrl);
    await signIn({ ...operator, password: 'not the password' });
    const alert = watched.page.getByRole('alert');
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/password/i);
    expect(await watched.page.isVisible('#people')).toBe(false);
  });

  it('shows an operator who is logged in, what was served and what failed', async () => {
    await publish('weights.onnx', pseudoRandomBytes('weights', 300_000));
    const token = await system.login(operator);
    await (await system.requests.load('weights.onnx', token)).arrayBuffer();
    expect((await system.requests.load('missing.onnx', token)).status).toBe(404);

    watched = await browser.open(system.loaderUrl);
    const { page } = watched;
    await signIn(operator);
    await page.locator('#people li', { hasText: operator.email }).first().waitFor();
    await page.locator('#resources li', { hasText: 'models/weights.onnx' }).waitFor();
    await page.locator('#failures li', { hasText: 'resource.not-found' }).waitFor();
    await picture('signed-in');
    await page.click('#sign-out');
    await page.locator('#people').waitFor({ state: 'hidden' });
  });

  it('shows by name what lies on the device: complete, or still to be fetched', async () => {
    const asDevice = async (filename: string): Promise<void> => {
      const loaded = await system.requests.load(filename);
      expect([loaded.status, (await loaded.arrayBuffer()).byteLength]).toEqual([200, 400_000]);
    };
    for (const name of ['gone.onnx', 'kept.onnx']) await publish(name, pseudoRandomBytes(name, 400_000));
    await asDevice('gone.onnx');
    await system.loader().stop();
    await rm(join(system.loaderDataDir, 'packs'), { recursive: true });
    await system.restartLoader();
    await asDevice('kept.onnx');

    watched = await browser.open(system.loaderUrl);
    const { page } = watched;
    await signIn(operator);
    const rowOf = (name: string): ReturnType<typeof page.locator> => page.locator('#held li', { hasText: name });
    await rowOf('models/kept.onnx').getByText('Complete').waitFor();
    await rowOf('models/gone.onnx').getByText('Not fetched yet').waitFor();
    expect(await rowOf('kept.onnx').textContent()).toMatch(/version 1, 400 KB, opens offline until /);
    expect(await rowOf('gone.onnx').textContent()).toMatch(/0 B of 400 KB/);
    await picture('held');
  });

  it('unlocks at the press of a button and follows it live', async () => {
    const archive = await imageArchive([
      { name: 'azaion/detections:latest', layers: [{ seed: 'one', sizeBytes: 4_000_000 }] },
      { name: 'azaion/flights:latest', layers: [{ seed: 'two', sizeBytes: 3_000_000 }] },
    ]);
    await publish('azaion-latest', await buffer(archive.open()), 'folder=images&kind=images');
    watched = await browser.open(system.loaderUrl);
    const { page } = watched;
    await signIn(operator);
    await page.click('#unlock-start');
    await page.locator('#unlock-state', { hasText: 'Ready' }).waitFor();
    await page.locator('#unlock-images li[data-present]', { hasText: 'azaion/flights:latest' }).waitFor();
    await picture('unlocked');
  });

  it.each([false, true])('fits a phone without scrolling sideways (dark: %p)', async (dark) => {
    watched = await browser.open(system.loaderUrl, PHONE, dark);
    const { page } = watched;
    await page.getByRole('heading', { name: 'Everything is ready' }).waitFor();
    await signIn(operator);
    await page.locator('#failures li').first().waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(PHONE.width);
    await picture(dark ? 'phone-dark' : 'phone');
  });
});
