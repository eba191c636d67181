import { createHash, randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { pseudoRandomBytes } from '@azaion/testing';

import { type Person, startSystem, type StartedSystem } from '../e2e/started-system.js';
import { bodyOf, digestOf } from '../e2e/streams.js';

/** Moments at which each flow is killed: none counts that came before the Loader had begun, or after the end. */
const POINTS = Number(process.env['CRASH_POINTS'] ?? 200);
const RESOURCE_BYTES = 24 * 1024 * 1024;
/** What is on its way at once: eight ranges of 3 MiB. A kill costs no more than those. */
const IN_FLIGHT_BYTES = 8 * 3 * 1024 * 1024;
/** Recipe, grants, tokens, answers to probes, and the headers of all of it, for each start. */
const OVERHEAD_BYTES = 1024 * 1024;
/** Tokens live for 15 minutes, and logins are limited. */
const TOKEN_LIFE_MS = 8 * 60_000;

describe(`A Loader killed with SIGKILL at ${POINTS} random moments`, () => {
  let system: StartedSystem;
  let publisher: Person;
  let token = '';
  let tokenSinceMs = -Infinity;

  beforeAll(async () => {
    system = await startSystem({ linked: true });
    publisher = await system.createPerson('ResourceUploader');
  }, 180_000);

  afterAll(() => system.stop());

  async function freshToken(): Promise<string> {
    if (performance.now() - tokenSinceMs > TOKEN_LIFE_MS) {
      token = await system.login(publisher);
      tokenSinceMs = performance.now();
    }
    return token;
  }

  async function upload(name: string, content: Buffer): Promise<{ readonly version: number }> {
    const answer = await system.requests.upload(name, content, await freshToken());
    const text = await answer.text();
    if (!answer.ok) throw new Error(`upload: ${answer.status} ${text}`);
    return JSON.parse(text) as { version: number };
  }

  /** SHA-256 of the whole; `undefined` when there is no such resource. @throws when the connection breaks. */
  async function load(name: string): Promise<string | undefined> {
    const headers = { authorization: `Bearer ${await freshToken()}` };
    const answer = await fetch(`${system.loaderUrl}/resources/models/${name}`, { headers });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`load: ${answer.status} ${await answer.text()}`);
    return (await digestOf(bodyOf(answer))).sha256;
  }

  const deliveredBytes = (): number => system.link?.deliveredBytes ?? NaN;

  /** Lets the work begin, kills the Loader at a random moment of the time that it usually takes, and starts it again on its data. */
  async function killDuring(
    work: () => Promise<unknown>,
    usualMs: number,
  ): Promise<'not begun' | 'cut off' | 'finished'> {
    const beforeBytes = deliveredBytes();
    let killed = false;
    const finished = work().then(
      () => true,
      (error: unknown) => {
        if (!killed) throw error;
        return false;
      },
    );
    await Promise.race([finished, delay(randomInt(Math.ceil(usualMs)))]);
    const begun = deliveredBytes() > beforeBytes; // it asks the Admin API for something first
    killed = true;
    process.kill(system.loader().pid, 'SIGKILL');
    await system.loader().ended;
    const inTime = await finished;
    await system.restartLoader();
    if (inTime) return 'finished';
    return begun ? 'cut off' : 'not begun';
  }

  async function durationMs(work: () => Promise<unknown>): Promise<number> {
    const begin = performance.now();
    await work();
    return performance.now() - begin;
  }

  it('F2: serves the same bytes afterwards, out of a store that lost and invented nothing', async () => {
    const content = pseudoRandomBytes('fetched', RESOURCE_BYTES);
    await upload('fetched.bin', content);
    const expected = hashOf(content);
    const forget = async (): Promise<void> => {
      await system.loader().stop();
      await rm(join(system.loaderDataDir, 'packs'), { recursive: true, force: true });
      await system.restartLoader();
    };
    await forget();
    const wholeMs = await durationMs(() => load('fetched.bin'));
    await forget();
    let [cutOff, completed, kills] = [0, 0, 0];
    let againBytes = 0;
    let begunAtBytes = deliveredBytes();
    while (cutOff < POINTS) {
      const ended = await killDuring(() => load('fetched.bin'), wholeMs);
      kills++;
      if (ended === 'cut off') cutOff++;
      if (ended !== 'finished') continue;
      const fetchedBytes = deliveredBytes() - begunAtBytes;
      expect(fetchedBytes).toBeLessThanOrEqual(RESOURCE_BYTES + kills * (IN_FLIGHT_BYTES + OVERHEAD_BYTES));
      againBytes += fetchedBytes - RESOURCE_BYTES;
      expect(await load('fetched.bin')).toBe(expected);
      completed++;
      await forget();
      kills = 0;
      begunAtBytes = deliveredBytes();
    }
    expect(await load('fetched.bin')).toBe(expected);
    console.log(
      `${cutOff} loads cut off, usually ${Math.ceil(wholeMs)} ms long, until ${completed} had been complete; ${Math.round(againBytes / cutOff / 1024)} KiB fetched again for each`,
    );
  });

  it('F3: shows a version whole or not at all, and publishes it when asked again', async () => {
    const contentOf = (point: number): Buffer => pseudoRandomBytes(`published ${point}`, RESOURCE_BYTES / 3);
    await upload('first.bin', contentOf(-2));
    await system.restartLoader(); // as at every point
    const wholeMs = await durationMs(() => upload('measured.bin', contentOf(-1)));
    let [cutOff, committed, kills] = [0, 0, 0];
    for (; cutOff < POINTS; kills++) {
      const [name, content] = [`published-${kills}.bin`, contentOf(kills)];
      const ended = await killDuring(() => upload(name, content), wholeMs);
      if (ended === 'cut off') cutOff++;
      const expected = hashOf(content);
      const seen = await load(name);
      if (seen !== undefined) expect(seen).toBe(expected);
      if (ended === 'finished') expect(seen).toBe(expected);
      else if (seen !== undefined) committed++;
      expect(await upload(name, content)).toMatchObject({ version: 1 });
      expect(await load(name)).toBe(expected);
    }
    console.log(
      `${cutOff} of ${kills} kills cut a publish off, usually ${Math.ceil(wholeMs)} ms long; ${committed} times the version was there all the same`,
    );
  });
});

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
