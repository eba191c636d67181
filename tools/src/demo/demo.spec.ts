import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';

import { freePort, tempDirectory } from '@azaion/testing';

import { DEMO_HELP, parseDemoOptions } from './demo-options.js';
import { DemoReport, megabytes, percent } from './demo-report.js';
import { smallChange } from './demo-model.js';
import { keptPassword } from './demo-secrets.js';
import { preferredPort } from './preferred-port.js';

describe('parseDemoOptions', () => {
  it('stays up, speaks to people and keeps its data unless told otherwise', () => {
    expect(parseDemoOptions([], '/data')).toEqual({ exit: false, json: false, fresh: false, directory: '/data' });
    expect(parseDemoOptions(['--exit', '--json', '--fresh', '--data', '/x'], '/data')).toEqual({
      exit: true,
      json: true,
      fresh: true,
      directory: '/x',
    });
  });

  it('gives nothing when help is asked for, and the help names every option', () => {
    expect(parseDemoOptions(['--help'], '/data')).toBeUndefined();
    for (const option of ['--exit', '--json', '--fresh', '--data', '--help']) expect(DEMO_HELP).toContain(option);
  });

  it.each([['--nonsense'], ['word'], ['--data']])('refuses %s', (argument) => {
    expect(() => parseDemoOptions([argument], '/data')).toThrow(/option|argument/i);
  });
});

describe('DemoReport', () => {
  const figure = (key: string, ok: boolean): Parameters<DemoReport['add']>[0] => ({
    key,
    what: `what ${key} is`,
    value: 7,
    figure: '7 of 7',
    ok,
  });

  it('is not fine before anything was shown', () => {
    expect(new DemoReport().ok).toBe(false);
  });

  it('is fine when everything is, and gives every figure to people and machines', () => {
    const report = new DemoReport();
    report.add(figure('a', true));
    report.add(figure('b', true));
    expect(report.json()).toEqual({ ok: true, a: 7, b: 7, failed: [] });
    const lines = report.table().split('\n');
    expect(lines).toHaveLength(6);
    expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
    expect(lines[3]).toContain('what a is');
  });

  it('names what failed', () => {
    const report = new DemoReport();
    report.add(figure('a', true));
    report.add(figure('b', false));
    expect(report.json()).toMatchObject({ ok: false, failed: ['b'] });
    expect(report.table()).toContain('FAILED');
  });
});

describe('figures', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [10_822_323, '10.8 MB'],
  ])('%i bytes are %s', (bytes, text) => {
    expect(megabytes(bytes)).toBe(text);
  });

  it.each([
    [0, 0, '0 %'],
    [1, 2, '50.0 %'],
    [6, 10_000, '0.06 %'],
  ])('%i of %i are %s', (part, whole, text) => {
    expect(percent(part, whole)).toBe(text);
  });
});

describe('smallChange', () => {
  it('changes 1000 bytes, inserts 100 and leaves the rest and its argument alone', () => {
    const model = Buffer.alloc(100_000, 7);
    const changed = smallChange(model);
    expect(model.equals(Buffer.alloc(100_000, 7))).toBe(true);
    expect(changed).toHaveLength(100_100);
    const different = changed.filter((byte) => byte !== 7).length;
    expect(different).toBeGreaterThan(1000);
    expect(different).toBeLessThanOrEqual(1100);
    expect(smallChange(model).equals(changed)).toBe(false);
  });
});

describe('keptPassword', () => {
  it('makes one once, for its owner only', async () => {
    const directory = await tempDirectory();
    try {
      const path = join(directory.path, 'passwords', 'admin');
      const password = await keptPassword(path);
      expect(password.length).toBeGreaterThanOrEqual(12);
      expect(await keptPassword(path)).toBe(password);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
    } finally {
      await directory.remove();
    }
  });
});

describe('preferredPort', () => {
  it('is the preferred one when nobody listens there', async () => {
    const port = await freePort();
    expect(await preferredPort(port)).toBe(port);
  });

  it('is another one when somebody does', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    expect(await preferredPort(port)).not.toBe(port);
    server.close();
  });
});
