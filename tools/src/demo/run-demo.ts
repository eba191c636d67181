import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import {
  connectToEmbeddedDatabase,
  directoryObjects,
  embeddedPostgresHome,
  gatherEvidence,
  type PublishedPlaintext,
} from '@azaion/adapters/split-evidence';
import { proveSplit, type SplitProof } from '@azaion/split-resource/adversary';
import { packObjectKey } from '@azaion/split-resource';
import { runCommand } from '@azaion/testing';
import type { Client } from 'pg';

import { AzaionCommand } from './azaion-command.js';
import { writeDemoArchive } from './demo-archive.js';
import { stopLeftoverPostgres } from './demo-database.js';
import { readDemoModel, smallChange } from './demo-model.js';
import type { DemoOptions } from './demo-options.js';
import { DemoReport, megabytes, percent } from './demo-report.js';
import { keptPassword, writePrivately } from './demo-secrets.js';
import { demoPlaces, DemoServices } from './demo-services.js';
import { callService, openService } from './json-client.js';
import { claimDemoDirectory } from './running-demo.js';

const ADMIN = 'admin@azaion.example';
const PUBLISHER = 'publisher@azaion.example';
const OPERATOR = 'operator@azaion.example';
const IMAGE_TAG = 'demo';
const IMAGES = `azaion-${IMAGE_TAG}`;
const MARKER = 'azaion-demo.txt';
const ENGINE_TIMEOUT_MS = 10_000;

/** What the demo leaves running. */
export interface RunningDemo {
  readonly report: DemoReport;
  /** What a person needs to look around. */
  readonly guide: readonly string[];
  /** Fails when a service ends by itself. */
  readonly untilOneEnds: () => Promise<never>;
  /** Ends everything. Safe to call twice. */
  readonly stop: () => Promise<void>;
}

/**
 * Shows the whole system at work (F1 to F5) and then attacks it.
 *
 * @param say - Tells a person what happens.
 * @param signal - Stops the demo between two steps.
 * @throws Error; everything that was started has been stopped then.
 */
export async function runDemo(
  options: DemoOptions,
  workspace: string,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<RunningDemo> {
  await assertOwnDirectory(options.directory);
  const lock = await claimDemoDirectory(resolve(options.directory));
  const services = new DemoServices(demoPlaces(options.directory), say);
  try {
    if (options.fresh) await deleteDemoData(options.directory);
    await mkdir(options.directory, { recursive: true, mode: 0o755 }); // PostgreSQL's own user must get through
    await writeFile(join(options.directory, MARKER), 'Data of the demo. "npm start -- --fresh" deletes it.\n');
    const demo = new Demo(options.directory, workspace, services, say, signal);
    const guide = await demo.run();
    return {
      report: demo.report,
      guide,
      untilOneEnds: () => services.untilOneEnds(),
      stop: async () => {
        await services.stop();
        await lock.release();
      },
    };
  } catch (error) {
    await services.stop();
    await lock.release();
    throw error;
  }
}

/** A directory with other things in it must not be written to, and never deleted. */
async function assertOwnDirectory(directory: string): Promise<void> {
  const entries = await readdir(directory).catch((): string[] => []);
  if (entries.length > 0 && !entries.includes(MARKER))
    throw new Error(`${directory} holds something else: choose an empty directory with --data.`);
}

/** Deletes everything of earlier runs, also the database where its own user could not reach the demo's directory. */
async function deleteDemoData(directory: string): Promise<void> {
  const { adminData } = demoPlaces(directory);
  await stopLeftoverPostgres(adminData);
  await rm(await embeddedPostgresHome(adminData), { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
}

interface Published {
  readonly version: number;
  readonly uploadedBytes: number;
  readonly recipeBytes: number;
}

class Demo {
  readonly report = new DemoReport();
  private readonly places;

  constructor(
    private readonly directory: string,
    private readonly workspace: string,
    private readonly services: DemoServices,
    private readonly say: (text: string) => void,
    private readonly signal: AbortSignal,
  ) {
    this.places = demoPlaces(directory);
  }

  async run(): Promise<readonly string[]> {
    const startedMs = performance.now();
    const passwords = {
      admin: await keptPassword(this.places.adminPasswordFile),
      publisher: await keptPassword(join(this.directory, 'passwords', 'publisher')),
      operator: await keptPassword(join(this.directory, 'passwords', 'operator')),
    };
    const runtime = (await engineAnswers()) ? 'engine' : 'directory';

    await mkdir(this.places.images, { recursive: true }); // a device is shipped with its disk in place
    const admin = await this.step('Starting the Admin API with an embedded PostgreSQL', () =>
      this.services.startAdminApi(ADMIN),
    );
    await this.step('Provisioning a publisher, an operator and a device', () => this.provision(admin.url, passwords));
    const loader = await this.step('Starting the Loader; at its first start it enrols', () =>
      this.services.startLoader(admin.url, IMAGE_TAG, runtime),
    );
    const publisher = await this.person('publisher', ['--api', admin.url], PUBLISHER, passwords.publisher);
    const operator = await this.person('operator', ['--loader', loader.url], OPERATOR, passwords.operator);

    const model = await readDemoModel();
    const changed = smallChange(model.bytes);
    const work = await mkdtemp(join(this.directory, 'work-'));
    try {
      const first = await this.publishAndLoad(publisher, operator.token, loader.url, work, model.name, model.bytes);
      const second = await this.publishSmallChange(publisher, operator.token, loader.url, work, model.name, changed);

      const archivePath = join(work, 'images.tar');
      const ids = await writeDemoArchive(archivePath, IMAGE_TAG);
      const archive = await readFile(archivePath);
      const client = await connectToEmbeddedDatabase(this.places.adminData);
      try {
        const images = await this.publishAndUnlock(
          client,
          publisher,
          operator.command,
          loader.url,
          archivePath,
          runtime,
          ids,
        );
        await this.attack(client, [
          { folder: 'models', resource: model.name, version: first, bytes: model.bytes },
          { folder: 'models', resource: model.name, version: second, bytes: changed },
          { folder: 'images', resource: IMAGES, version: images, bytes: archive },
        ]);
      } finally {
        await client.end();
      }
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    const seconds = (performance.now() - startedMs) / 1000;
    this.report.add({
      key: 'seconds',
      what: 'the whole demo',
      value: Number(seconds.toFixed(1)),
      figure: `${seconds.toFixed(1)} s`,
      ok: true,
    });
    return guide(admin.url, loader.url, passwords);
  }

  /** The administrator makes the accounts; at a second start they are there. */
  private async provision(
    api: string,
    passwords: Readonly<Record<'admin' | 'publisher' | 'operator', string>>,
  ): Promise<void> {
    const { body } = await callService('POST', `${api}/login`, { body: { email: ADMIN, password: passwords.admin } });
    const token = String(body['access_token']);
    const people = [
      { email: PUBLISHER, password: passwords.publisher, role: 'ResourceUploader' },
      { email: OPERATOR, password: passwords.operator, role: 'Operator' },
    ];
    for (const person of people) await callService('POST', `${api}/users`, { token, body: person, expect: [201, 409] });
    if (await exists(this.places.deviceConf)) return;
    const device = await callService('POST', `${api}/devices`, { token, body: {} });
    const { Email: email, Password: password } = device.body;
    await writePrivately(
      this.places.deviceConf,
      `AZAION_DEVICE_EMAIL=${String(email)}\nAZAION_DEVICE_PASSWORD=${String(password)}\n`,
    );
  }

  /** Logs somebody in with the `azaion` command (F1). */
  private async person(
    who: string,
    service: readonly string[],
    email: string,
    password: string,
  ): Promise<{ readonly command: AzaionCommand; readonly token: string }> {
    const profile = join(this.directory, 'profiles', `${who}.json`);
    const command = new AzaionCommand(this.workspace, profile);
    await this.step(`Logging in as ${email}`, () => command.run(['login', ...service, '--email', email], password));
    const { sessions } = JSON.parse(await readFile(profile, 'utf8')) as {
      sessions: readonly { accessToken: string }[];
    };
    return { command, token: sessions.at(-1)?.accessToken ?? '' };
  }

  /** F3, F2: what was published comes back byte for byte. @returns The version. */
  private async publishAndLoad(
    publisher: { readonly command: AzaionCommand },
    token: string,
    loader: string,
    work: string,
    name: string,
    bytes: Buffer,
  ): Promise<number> {
    const { version, uploadedBytes } = await this.publish(publisher.command, join(work, name), bytes, [
      '--folder',
      'models',
    ]);
    const loaded = await this.load(loader, token, name, version, bytes);
    this.report.add({
      key: 'model_bytes',
      what: `ONNX model published and loaded through the Loader (version ${version})`,
      value: bytes.length,
      figure: `${megabytes(bytes.length)}, ${loaded ? 'every byte equal' : 'DIFFERENT'}`,
      ok: loaded,
    });
    this.report.add({
      key: 'model_uploaded_bytes',
      what: 'sent to the CDN for it',
      value: uploadedBytes,
      figure: `${megabytes(uploadedBytes)} (${percent(uploadedBytes, bytes.length)})`,
      ok: true,
    });
    return version;
  }

  /** A small change is a small transfer. @returns The version. */
  private async publishSmallChange(
    publisher: { readonly command: AzaionCommand },
    token: string,
    loader: string,
    work: string,
    name: string,
    bytes: Buffer,
  ): Promise<number> {
    const { version, uploadedBytes, recipeBytes } = await this.publish(publisher.command, join(work, name), bytes, [
      '--folder',
      'models',
    ]);
    const loaded = await this.load(loader, token, name, version, bytes);
    this.report.add({
      key: 'update_uploaded_bytes',
      what: `1100 bytes changed: sent to the CDN for version ${version}`,
      value: uploadedBytes,
      figure: `${megabytes(uploadedBytes)} (${percent(uploadedBytes, bytes.length)})`,
      ok: loaded && uploadedBytes < bytes.length / 4,
    });
    this.report.add({
      key: 'update_recipe_bytes',
      what: 'recipe sent to the Admin API for it',
      value: recipeBytes,
      figure: `${megabytes(recipeBytes)} (${percent(recipeBytes, bytes.length)})`,
      ok: true,
    });
    return version;
  }

  /** F4, F5: a sealed image archive that lies on the device is opened and handed to the engine. @returns The version. */
  private async publishAndUnlock(
    client: Client,
    publisher: { readonly command: AzaionCommand },
    operator: AzaionCommand,
    loader: string,
    archivePath: string,
    runtime: 'engine' | 'directory',
    imageIds: readonly string[],
  ): Promise<number> {
    const name = IMAGES;
    const { version } = await this.step('Publishing an image archive', () =>
      publishFile(publisher.command, archivePath, ['--folder', 'images', '--name', name, '--kind', 'images']),
    );
    const deployed = await this.step('Putting its encrypted packs onto the device', () =>
      this.predeploy(client, name, version),
    );
    const states = await this.step('Unlocking', () => this.unlock(operator, loader));
    const ok = states.at(-1) === 'ready';
    this.report.add({
      key: 'unlock',
      what: `images unlocked ${runtime === 'engine' ? 'into the Docker engine' : 'into a directory (no Docker engine answers)'}`,
      value: ok,
      figure: `${imageIds.length} images from ${megabytes(deployed)} of packs: ${states.join(' → ')}`,
      ok,
    });
    return version;
  }

  private async publish(
    command: AzaionCommand,
    path: string,
    bytes: Buffer,
    options: readonly string[],
  ): Promise<Published> {
    await writeFile(path, bytes);
    return this.step(`Publishing ${megabytes(bytes.length)}`, () => publishFile(command, path, options));
  }

  /** Loads as an edge service does and compares every byte. */
  private async load(loader: string, token: string, name: string, version: number, expected: Buffer): Promise<boolean> {
    return this.step('Loading it through the Loader', async () => {
      const response = await openService('POST', `${loader}/load/${name}`, {
        token,
        body: { filename: name, folder: 'models' },
      });
      const loaded = Buffer.from(await response.arrayBuffer());
      return response.headers.get('x-resource-version') === String(version) && loaded.equals(expected);
    });
  }

  /** What shipping a device with its images on board does: the packs, and nothing else, lie on its disk. */
  private async predeploy(client: Client, name: string, version: number): Promise<number> {
    const { rows } = await client.query<{ folder_id: string; pack_id: string }>(
      `select r.folder_id, p.pack_id from version_packs p join resources r on r.id = p.resource_id
       join folders f on f.id = r.folder_id where f.name = 'images' and r.name = $1 and p.version = $2`,
      [name, version],
    );
    await rm(join(this.places.images, 'packs'), { recursive: true, force: true });
    let bytes = 0;
    for (const { folder_id: folderId, pack_id: packId } of rows) {
      const key = packObjectKey(folderId, packId);
      const target = join(this.places.images, key);
      await mkdir(dirname(target), { recursive: true });
      await cp(join(this.objects, key), target);
      bytes += (await stat(target)).size;
    }
    return bytes;
  }

  private async unlock(operator: AzaionCommand, loader: string): Promise<readonly string[]> {
    const { states } = await operator.run(['unlock', '--loader', loader]);
    return states as readonly string[];
  }

  /** The adversary, with the controls that must succeed. */
  private async attack(client: Client, plaintexts: readonly PublishedPlaintext[]): Promise<void> {
    const proof = await this.step('Attacking: the CDN alone, the database alone, and the controls', async () =>
      proveSplit(
        await gatherEvidence({ client, objects: directoryObjects(this.objects), kek: this.places.kek }, plaintexts),
      ),
    );
    this.reportProof(proof);
  }

  private reportProof(proof: SplitProof): void {
    for (const [index, trial] of proof.trials.entries()) {
      const searched = trial.bytesSearched > 0 ? `${megabytes(trial.bytesSearched)} searched, ` : '';
      const tried = trial.keyTrials > 1 ? `${trial.keyTrials.toLocaleString('en')} key trials, ` : '';
      this.report.add({
        key: `${trial.kind}_${index + 1}_recovered`,
        what: trial.kind === 'attack' ? `attack with ${trial.name}` : trial.name,
        value: trial.recovered,
        figure: `${searched}${tried}${trial.detail}`,
        ok: trial.ok,
      });
    }
    this.report.add({
      key: 'attack_windows',
      what: 'pieces of plaintext searched for',
      value: proof.windows,
      figure: `${proof.windows.toLocaleString('en')}; any ${proof.surelyFoundBytes} bytes in a row are found`,
      ok: proof.windows > 0,
    });
  }

  private get objects(): string {
    return join(this.places.adminData, 'objects');
  }

  private async step<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    const startedMs = performance.now();
    this.say(`${what} …`);
    const result = await Promise.race([work(), this.services.untilOneEnds()]);
    this.say(`  done in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
    return result;
  }
}

async function publishFile(command: AzaionCommand, path: string, options: readonly string[]): Promise<Published> {
  const { version, uploadedBytes, recipeBytes } = await command.run(['publish', path, ...options]);
  return { version: Number(version), uploadedBytes: Number(uploadedBytes), recipeBytes: Number(recipeBytes) };
}

async function engineAnswers(): Promise<boolean> {
  try {
    await runCommand('docker', ['version', '--format', '{{.Server.Version}}'], ENGINE_TIMEOUT_MS);
    return true;
  } catch {
    return false;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function guide(
  api: string,
  loader: string,
  passwords: Readonly<Record<'admin' | 'publisher' | 'operator', string>>,
): readonly string[] {
  return [
    `Admin API  ${api}/docs`,
    `Loader     ${loader}/docs`,
    '',
    'Accounts of this demo (POST /login, then "Authorize" with the access_token):',
    `  ${ADMIN}      ${passwords.admin}   ApiAdmin`,
    `  ${PUBLISHER}  ${passwords.publisher}   ResourceUploader`,
    `  ${OPERATOR}   ${passwords.operator}   Operator`,
    '',
    'Try it from another terminal:',
    `  npx azaion login --api ${api} --email ${PUBLISHER}`,
    '  npx azaion publish README.md --folder models',
    '  npx azaion fetch models/README.md -o /tmp/README.md',
  ];
}
