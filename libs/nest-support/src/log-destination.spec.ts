import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type TempDirectory, tempDirectory } from '@azaion/testing';

import { KEPT_DAYS, openLog } from './log-destination.js';
import { createLogger } from './logging.js';

const DAY_MS = 86_400_000;

function dayBefore(nowMs: number, days: number): string {
  return new Date(nowMs - days * DAY_MS).toISOString().slice(0, 10);
}

describe('a log directory', () => {
  let directory: TempDirectory;
  beforeEach(async () => {
    directory = await tempDirectory();
  });
  afterEach(() => directory.remove());

  it('holds JSON lines in a file of the day, made when it is not there', async () => {
    const path = join(directory.path, 'logs', 'loader');
    const destination = await openLog({ name: 'loader', terminal: false, directory: path }, Date.now());
    createLogger({ destination, level: 'debug' }).debug({ password: 'geheim' }, 'hello');
    const [file, ...others] = await readdir(path);
    destination.close();
    expect(others).toEqual([]);
    expect(file).toMatch(/^loader\.\d{4}-\d{2}-\d{2}\.1\.log$/);
    const line = await readFile(join(path, file ?? ''), 'utf8');
    expect(JSON.parse(line)).toMatchObject({ msg: 'hello', password: '[redacted]' });
  });

  it('loses at the start what is older than thirty days, and nothing else', async () => {
    const nowMs = Date.now();
    const old = [`loader.${dayBefore(nowMs, KEPT_DAYS + 2)}.1.log`, `loader.${dayBefore(nowMs, 400)}.3.log`];
    const kept = [
      `loader.${dayBefore(nowMs, KEPT_DAYS)}.1.log`,
      `other.${dayBefore(nowMs, 400)}.1.log`,
      'loader.notes.log',
    ];
    for (const file of [...old, ...kept]) await writeFile(join(directory.path, file), '');
    (await openLog({ name: 'loader', terminal: false, directory: directory.path }, nowMs)).close();
    const found = await readdir(directory.path);
    expect(found).toEqual(expect.arrayContaining(kept));
    expect(found.filter((file) => old.includes(file))).toEqual([]);
  });
});
