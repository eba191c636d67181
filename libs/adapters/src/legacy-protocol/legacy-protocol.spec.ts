import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { describeLegacyBigParts } from '@azaion/split-resource/testing';
import { type TempDirectory, tempDirectory } from '@azaion/testing';
import fc from 'fast-check';

import { parseCdnConfig } from './cdn-config.js';
import { DirectoryLegacyParts } from './directory-legacy-parts.js';

const COMPLETE = `
# The CDN of the company
host: cdn.example.com   # without a scheme
downloader_access_key: DOWN
downloader_access_secret: "down # secret"
uploader_access_key: 'UP'
uploader_access_secret: up/secret+x=
`;

describe('cdn.yaml', () => {
  it('names the CDN and its keys, quoted or not, beside comments', () => {
    const config = parseCdnConfig(COMPLETE);
    expect(config?.endpoint).toBe('https://cdn.example.com');
    expect(config?.downloader.accessKeyId).toBe('DOWN');
    expect(config?.downloader.secretAccessKey.reveal()).toBe('down # secret');
    expect(config?.uploader?.accessKeyId).toBe('UP');
    expect(config?.uploader?.secretAccessKey.reveal()).toBe('up/secret+x=');
  });

  it.each(['http://10.0.0.1:9000', 'https://cdn.example.com'])('takes the scheme from the host: %s', (host) =>
    expect(parseCdnConfig(COMPLETE.replace('cdn.example.com', host))?.endpoint).toBe(host),
  );

  it('may lack the keys to upload', () =>
    expect(parseCdnConfig(COMPLETE.replace(/uploader.*/g, ''))).toMatchObject({ uploader: undefined }));

  it.each([
    ['no host', COMPLETE.replace('host', 'hostess')],
    ['a host that is none', COMPLETE.replace('cdn.example.com', 'a b')],
    ['no keys to download', COMPLETE.replace('downloader_access_secret', 'downloader_secret')],
    ['nothing', ''],
    ['a page', '<html><body>Not here</body></html>'],
    ['too much', `${COMPLETE}${'#'.repeat(20_000)}`],
  ])('is refused with %s', (_, text) => expect(parseCdnConfig(text)).toBeUndefined());

  it('is read or refused, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, after) => {
        expect(() => parseCdnConfig(`${before}${COMPLETE}${after}`)).not.toThrow();
      }),
    );
  });

  it('prints no secret', () => expect(JSON.stringify(parseCdnConfig(COMPLETE))).not.toContain('secret+x'));
});

describe('a directory of the device', () => {
  let directory: TempDirectory;
  beforeAll(async () => {
    directory = await tempDirectory();
  });
  afterAll(() => directory.remove());

  describeLegacyBigParts('DirectoryLegacyParts', () =>
    Promise.resolve({
      parts: new DirectoryLegacyParts(directory.path),
      put: async ({ folder, name }, content) => {
        const path = join(directory.path, folder, `${name}.big`);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, content);
      },
    }),
  );
});
