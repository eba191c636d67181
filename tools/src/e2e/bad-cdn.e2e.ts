import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { type CdnFault, type FaultyCdn, pseudoRandomBytes, startFaultyCdn, tempDirectory } from '@azaion/testing';

import { AzaionCommand } from '../demo/azaion-command.js';
import { WORKSPACE } from '../started-service.js';
import { type Person, startSystem, type StartedSystem } from './started-system.js';

/** One range, so that every fault hits the content once. */
const SIZE_BYTES = 500_000;
/** One chunk: what damages it leaves nothing that could be sent. */
const CHUNK_BYTES = 30_000;
/** Two ranges, which are fetched beside each other. */
const SHARED_BYTES = 5_000_000;
const CLIENTS = 50;

/** Leaves the first bytes of every object. */
async function cutShort(packs: string): Promise<void> {
  for (const entry of await readdir(packs, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) await truncate(path, 100);
  }
}

describe('a CDN that fails', () => {
  let cdn: FaultyCdn;
  let system: StartedSystem;
  let publisher: Person;
  let token: string;
  let administrator: string;
  let directory: Awaited<ReturnType<typeof tempDirectory>>;

  beforeAll(async () => {
    directory = await tempDirectory('azaion-bad-cdn');
    cdn = await startFaultyCdn();
    system = await startSystem({ adminEnv: { ADMIN_PUBLIC_URL: cdn.url } });
    cdn.leadTo(system.adminUrl);
    publisher = await system.createPerson('ResourceUploader');
    token = await system.login(publisher);
    administrator = await system.loginAtAdmin(system.administrator);
  }, 180_000);
  afterEach(() => cdn.mend());
  afterAll(async () => {
    await system.stop();
    await cdn.stop();
    await directory.remove();
  });

  const load = (name: string): Promise<Response> =>
    fetch(`${system.loaderUrl}/resources/models/${name}`, { headers: { authorization: `Bearer ${token}` } });
  const published = async (name: string, sizeBytes = SIZE_BYTES): Promise<Buffer> => {
    const content = pseudoRandomBytes(name, sizeBytes);
    await system.requests.publish(name, content, token);
    return content;
  };
  const expectWhole = async (name: string, content: Buffer): Promise<void> => {
    const loaded = await load(name);
    expect(loaded.status).toBe(200);
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
  };
  const eventsOf = async (subject: string): Promise<readonly string[]> => {
    const headers = { authorization: `Bearer ${administrator}` };
    const answer = await fetch(`${system.adminUrl}/audit?limit=200`, { headers });
    const { events } = (await answer.json()) as { events: { event: string; subject: string }[] };
    return events.filter((each) => each.subject === subject).map(({ event }) => event);
  };

  it.each<[CdnFault, number]>([
    [403, 1],
    [500, 2],
    [503, 2],
    ['corrupt', 1],
    ['cut', 2],
    ['reset', 2],
  ])('for a while (%s, %i times) is nothing that a reader sees', async (fault, times) => {
    const name = `passing-${fault}.bin`;
    const content = await published(name);
    cdn.failWith(fault, times);
    const before = cdn.requests('GET');
    await expectWhole(name, content);
    expect(cdn.requests('GET') - before).toBeGreaterThan(times);
    cdn.failWith(503);
    await expectWhole(name, content); // what was kept is good
  });

  it.each<[CdnFault, string]>([
    [403, 'cdn.missing'],
    [404, 'cdn.missing'],
    ['corrupt', 'resource.integrity'],
  ])('for good (%s) is said as %s, and over once it is mended', async (fault, code) => {
    const name = `lasting-${fault}.bin`;
    const content = await published(name, CHUNK_BYTES);
    cdn.failWith(fault);
    const refused = await load(name);
    expect([refused.status, await refused.json()]).toEqual([502, expect.objectContaining({ code })]);
    cdn.mend();
    await expectWhole(name, content);
  });

  it.each<[CdnFault]>([['cut'], ['reset']])(
    'and never gets beyond half of what is asked for (%s) gives all of it in the end',
    async (fault) => {
      const name = `half-${fault}.bin`;
      const content = await published(name);
      cdn.failWith(fault);
      await expectWhole(name, content);
    },
  );

  it.each<[CdnFault]>([[500], [503], ['cut'], ['reset']])(
    'while a publisher writes (%s) is nothing that it sees',
    async (fault) => {
      cdn.failWith(fault, 2);
      const before = cdn.requests('PUT');
      const name = `written-${fault}.bin`;
      const content = await published(name);
      expect(cdn.requests('PUT') - before).toBeGreaterThan(2);
      await expectWhole(name, content);
    },
  );

  it.each<[string, (packs: string) => Promise<void>]>([
    ['lost an object', (packs) => rm(packs, { recursive: true })],
    ['cut an object short', cutShort],
  ])('and has %s is reported; the next publish of the same bytes sends it again', async (lost, lose) => {
    const name = `${lost.replaceAll(' ', '-')}.bin`;
    const subject = `models/${name}`;
    const content = await published(name);
    const seen = async (event: string): Promise<void> => {
      while (!(await eventsOf(subject)).includes(event)) await setTimeout(200);
    };
    await seen('version.verified');
    await lose(join(system.adminDataDir, 'objects', 'packs'));
    const refused = await load(name);
    expect([refused.status, await refused.json()]).toEqual([502, expect.objectContaining({ code: 'cdn.missing' })]);
    await seen('chunk.found-bad');
    await published(name);
    const loaded = await load(name);
    expect([loaded.status, loaded.headers.get('x-resource-version')]).toEqual([200, '2']);
    expect(Buffer.from(await loaded.arrayBuffer()).equals(content)).toBe(true);
  });

  it('and damages what it sends is reported; the verifier finds the stored bytes good', async () => {
    const name = 'reported.bin';
    await published(name, CHUNK_BYTES);
    cdn.failWith('corrupt');
    expect((await load(name)).status).toBe(502);
    for (let seen: readonly string[] = []; !seen.includes('chunk.found-good'); seen = await eventsOf(`models/${name}`))
      await setTimeout(200);
    expect(await eventsOf(`models/${name}`)).not.toContain('chunk.found-bad');
  });

  it('is asked for one copy when fifty clients want all of it at once', async () => {
    const content = await published('shared.bin', SHARED_BYTES);
    await system.restartLoader(); // which knows nothing yet of how fast this CDN is
    const before = cdn.deliveredBytes;
    await Promise.all(Array.from({ length: CLIENTS }, () => expectWhole('shared.bin', content)));
    const fetchedBytes = cdn.deliveredBytes - before;
    expect(fetchedBytes).toBeGreaterThan(SHARED_BYTES);
    // A range that takes long beside the others is asked for twice; those that come first have nothing beside them.
    expect(fetchedBytes).toBeLessThan(2 * SHARED_BYTES);
  });

  describe('with two CLIs that publish the same name at the same moment', () => {
    const cli = async (person: Person): Promise<AzaionCommand> => {
      const command = new AzaionCommand(WORKSPACE, join(directory.path, person.email));
      await command.run(['login', '--api', system.adminUrl, '--email', person.email], person.password);
      return command;
    };
    const raced = async (name: string, contents: readonly Buffer[], people: readonly Person[]) => {
      const commands = await Promise.all(people.map(cli));
      const files = contents.map((_, index) => join(directory.path, `${name}-${index}`));
      await Promise.all(files.map((file, index) => writeFile(file, contents[index] ?? '')));
      const publish = (index: number): Promise<Readonly<Record<string, unknown>>> =>
        (commands[index] as AzaionCommand).run(['publish', files[index] ?? '', '--folder', 'models', '--name', name]);
      return { publish, published: await Promise.all(files.map((_, index) => publish(index))) };
    };

    it('gives each a version of its own, in the order of their commits, and has what both sent once it is sent again', async () => {
      const contents = ['one', 'other'].map((seed) => pseudoRandomBytes(`raced ${seed}`, SIZE_BYTES));
      const people = [publisher, await system.createPerson('ResourceUploader')];
      const { publish, published: both } = await raced('raced.bin', contents, people);
      expect(both.map(({ version }) => version).toSorted()).toEqual([1, 2]);
      for (const [index, { version }] of both.entries()) {
        const loaded = await load(`raced.bin?version=${String(version)}`);
        expect(Buffer.from(await loaded.arrayBuffer()).equals(contents[index] as Buffer)).toBe(true);
      }
      const first = both.findIndex(({ version }) => version === 1);
      expect(await publish(first)).toMatchObject({ version: 3, created: true, newBytes: 0, uploadedBytes: 0 });
    });

    it('makes one version of the same bytes', async () => {
      const content = pseudoRandomBytes('raced same', SIZE_BYTES);
      const { published: both } = await raced('same.bin', [content, content], [publisher, publisher]);
      expect(both.map(({ version, created }) => [version, created]).toSorted()).toEqual([
        [1, false],
        [1, true],
      ]);
      await expectWhole('same.bin', content);
    });
  });
});
