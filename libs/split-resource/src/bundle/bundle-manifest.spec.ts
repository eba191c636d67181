import {
  BUNDLE_FORMAT,
  type BundleManifest,
  encodeManifest,
  grantPath,
  isBundlePath,
  KEY_DOCUMENT_PATH,
  packPath,
  parseManifest,
  segmentPath,
  statementPath,
} from './bundle-manifest.js';
import { refusal } from '../testing/refusal.js';

const FOLDER_ID = 'd955a364-7317-42c7-8a48-fed77b31f69f';
const ROOT_HASH = '0f'.repeat(32);
const PACK_ID = 'ab'.repeat(16);
const RESOURCE = {
  folder: 'models',
  name: 'detector.onnx',
  version: 1,
  kind: 'file',
  totalBytes: 0,
  folderId: FOLDER_ID,
  rootHash: ROOT_HASH,
} as const;
const FILE = { path: packPath(FOLDER_ID, PACK_ID), sizeBytes: 33 * 1024 * 1024, sha256: ROOT_HASH };
const MANIFEST: BundleManifest = {
  createdAt: 1_800_000_000,
  resources: [RESOURCE, { ...RESOURCE, kind: 'images', totalBytes: 2 ** 43, rootHash: '1f'.repeat(32) }],
  serials: ['azj-0001', `A${'.'.repeat(63)}`],
  files: [FILE, { ...FILE, path: KEY_DOCUMENT_PATH, sizeBytes: 0 }],
};

/** The manifest's text with these members in place of its own; `undefined` leaves one out. */
function textOf(changed: object): string {
  return JSON.stringify({ format: BUNDLE_FORMAT, ...MANIFEST, ...changed });
}

function without(from: object, name: string): object {
  return { ...from, [name]: undefined };
}

describe('the paths of a bundle', () => {
  it.each([
    [KEY_DOCUMENT_PATH, 'key-document.jws'],
    [statementPath(ROOT_HASH), `statements/${ROOT_HASH}.jws`],
    [segmentPath(ROOT_HASH, 'root', 0), `segments/${ROOT_HASH}/root/0`],
    [segmentPath(ROOT_HASH, 'chunks', 999_999), `segments/${ROOT_HASH}/chunks/999999`],
    [segmentPath(ROOT_HASH, 'packs', 63), `segments/${ROOT_HASH}/packs/63`],
    [packPath(FOLDER_ID, PACK_ID), `packs/${FOLDER_ID}/${PACK_ID}`],
    [grantPath('azj-0001', ROOT_HASH), `grants/azj-0001/${ROOT_HASH}.json`],
  ])('hold %s', (path, layout) => {
    expect(path).toBe(layout);
    expect(isBundlePath(path)).toBe(true);
  });

  it.each([
    '',
    'bundle.json',
    '../key-document.jws',
    '/key-document.jws',
    'key-document.jws/',
    'key-documentxjws',
    'key-document.jws\n',
    `statements/${ROOT_HASH}`,
    `statements/${ROOT_HASH}xjws`,
    `statements/${ROOT_HASH.toUpperCase()}.jws`,
    `statements/${'0f'.repeat(31)}.jws`,
    `statements/${'0f'.repeat(33)}.jws`,
    `segments/${ROOT_HASH}/root`,
    `segments/${ROOT_HASH}/root/`,
    `segments/${ROOT_HASH}/root/00`,
    `segments/${ROOT_HASH}/root/-1`,
    `segments/${ROOT_HASH}/root/1000000`,
    `segments/${ROOT_HASH}/other/0`,
    `segments/../${ROOT_HASH}/root/0`,
    `packs/${PACK_ID}`,
    `packs/${FOLDER_ID}/${PACK_ID}0`,
    `packs/${FOLDER_ID}/../${PACK_ID}`,
    `packs/${FOLDER_ID}0/${PACK_ID}`,
    `grants/${ROOT_HASH}.json`,
    `grants/../${ROOT_HASH}.json`,
    `grants/.hidden/${ROOT_HASH}.json`,
    `grants/a b/${ROOT_HASH}.json`,
    `grants/${'a'.repeat(65)}/${ROOT_HASH}.json`,
    `grants/azj-0001/${ROOT_HASH}xjson`,
  ])('do not hold %j', (path) => {
    expect(isBundlePath(path)).toBe(false);
  });
});

describe('parseManifest', () => {
  it('reads what encodeManifest writes, and nothing is written twice', () => {
    expect(parseManifest(encodeManifest(MANIFEST))).toEqual(MANIFEST);
    expect(JSON.parse(encodeManifest(MANIFEST))).toEqual({ format: 1, ...MANIFEST });
  });

  it('reads a bundle that holds nothing', () => {
    const empty = { createdAt: 0, resources: [], serials: [], files: [] };
    expect(parseManifest(encodeManifest(empty))).toEqual(empty);
  });

  it.each(['', '{', 'null', '7', '"text"', '[]', '[{}]', 'true'])('refuses %s', (text) => {
    expect(() => parseManifest(text)).toThrow(expect.objectContaining(refusal('bundle.invalid')) as Error);
  });

  it.each([0, 2, 2 ** 53 - 1])('names the format %i, which a later release reads', (format) => {
    const details = { formatVersion: format, supportedVersion: 1 };
    for (const text of [textOf({ format }), JSON.stringify({ format, whatever: 'it holds' })])
      expect(() => parseManifest(text)).toThrow(
        expect.objectContaining({ code: 'bundle.unsupported-format', details }) as Error,
      );
  });

  const counts = [-1, 0.5, 2 ** 53, '1', null, undefined];
  const texts = ['', 'x', 7, null, undefined];
  const files = (changed: object): object => ({ files: [{ ...FILE, ...changed }] });
  const resources = (changed: object): object => ({ resources: [{ ...RESOURCE, ...changed }] });
  it.each([
    ...counts.map((format) => ({ format })),
    ...counts.map((createdAt) => ({ createdAt })),
    { more: 1 },
    ...['resources', 'serials', 'files'].flatMap((name) => [
      without(MANIFEST, name),
      { [name]: {} },
      { [name]: null },
      { [name]: [null] },
      { [name]: [[]] },
      { [name]: [{}] },
      { [name]: ['../'] },
    ]),
    ...[...counts, 0].map((version) => resources({ version })),
    ...counts.map((totalBytes) => resources({ totalBytes })),
    ...['', '..', 7, null, undefined].flatMap((name) => [resources({ name }), resources({ folder: name })]),
    ...texts.map((kind) => resources({ kind })),
    ...[...texts, `${FOLDER_ID}0`, FOLDER_ID.toUpperCase()].map((folderId) => resources({ folderId })),
    ...[...texts, `${ROOT_HASH}0`, ROOT_HASH.toUpperCase()].flatMap((sum) => [
      resources({ rootHash: sum }),
      files({ sha256: sum }),
    ]),
    resources({ more: 1 }),
    files({ more: 1 }),
    ...[...texts, 'bundle.json', `packs/../${FOLDER_ID}/${PACK_ID}`].map((path) => files({ path })),
    ...[...counts, FILE.sizeBytes + 1].map((sizeBytes) => files({ sizeBytes })),
    ...['', '-a', 'a/b', 'a'.repeat(65), 7, null].map((serial) => ({ serials: [serial] })),
    { files: [FILE, { ...FILE, sizeBytes: 1 }] },
    { serials: ['azj-0001', 'azj-0002', 'azj-0001'] },
    { resources: [RESOURCE, { ...RESOURCE, name: 'other' }] },
  ])('refuses %p in it', (changed) => {
    expect(() => parseManifest(textOf(changed))).toThrow(expect.objectContaining(refusal('bundle.invalid')) as Error);
  });

  it('takes 100,000 devices and 10,000 resources, and not one more', () => {
    const serials = Array.from({ length: 100_001 }, (_, index) => `azj-${index}`);
    const resources = Array.from({ length: 10_001 }, (_, index) => ({
      ...RESOURCE,
      rootHash: index.toString(16).padStart(64, '0'),
    }));
    const most = parseManifest(textOf({ serials: serials.slice(1), resources: resources.slice(1) }));
    expect([most.serials.length, most.resources.length]).toEqual([100_000, 10_000]);
    for (const changed of [{ serials }, { resources }])
      expect(() => parseManifest(textOf(changed))).toThrow(expect.objectContaining(refusal('bundle.invalid')) as Error);
  });
});
