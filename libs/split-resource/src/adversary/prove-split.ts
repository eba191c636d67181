import { hash } from 'node:crypto';

import { LEGACY_RESOURCE_KEY } from '@azaion/crypto';
import { toHex } from '@azaion/kernel';

import { CandidateKeys } from './candidate-keys.js';
import { type KeyTrial, type SealedTarget, tryKeys } from './key-trial.js';
import { legacyBigPart, openLegacyBigPart } from './legacy-control.js';
import { PlaintextWindows } from './plaintext-windows.js';
import type { OpenedVersion } from './sealed-control.js';
import { readings, type StoredBytes } from './stored-bytes.js';
import { tryKeks, type WrappedSecret } from './wrapped-secret.js';

/** How much of a long object is taken apart for keys, at either end: nobody writes keys into packs, and every offset of gigabytes would take days. */
const OBJECT_EDGE_BYTES = 4096;
/** Objects up to this length are taken apart as a whole: packs are longer, mostly, and what was left behind is not. */
const WHOLE_OBJECT_BYTES = 16 * 1024;

/** A published plaintext, known to the harness. */
export interface KnownPlaintext {
  readonly bytes: Uint8Array;
}

/** Everything the attacks and controls work on. */
export interface SplitEvidence {
  readonly plaintexts: readonly KnownPlaintext[];
  /** Every object of the CDN, read one after another: there may be more than fits into memory. */
  readonly objects: () => AsyncIterable<StoredBytes>;
  /** Every value of every row of the database. */
  readonly rows: readonly StoredBytes[];
  /** What anybody may read beside the objects: statements, key documents. */
  readonly publicMetadata: readonly StoredBytes[];
  /** Names and digests that published plaintexts and public metadata both say rightly. Finding them proves nothing. */
  readonly publicTexts: readonly Uint8Array[];
  /** The versions of those plaintexts, opened with both stores and the KEK: what the keys are tried on. */
  readonly opened: readonly OpenedVersion[];
  /** Everything in the database that a KEK wrapped. */
  readonly wrapped: readonly WrappedSecret[];
  readonly keks: readonly Uint8Array[];
}

/** One attack or control. */
export interface SplitTrial {
  readonly name: string;
  /** Attacks must recover nothing, controls must recover everything that they promise. */
  readonly kind: 'attack' | 'control';
  readonly bytesSearched: number;
  readonly keys: number;
  readonly keyTrials: number;
  /** Pieces of plaintext and sealed things that were recovered. */
  readonly recovered: number;
  readonly ok: boolean;
  readonly detail: string;
}

/** The proof, or its failure. */
export interface SplitProof {
  readonly ok: boolean;
  /** Pieces of plaintext that were searched for. */
  readonly windows: number;
  /** Every run of plaintext of this length is found. */
  readonly surelyFoundBytes: number;
  /** Which objects are taken apart for keys as a whole, and how much of either end of longer ones. Rows always are as a whole. */
  readonly keysFrom: { readonly wholeObjectBytes: number; readonly objectEdgeBytes: number };
  readonly trials: readonly SplitTrial[];
}

/**
 * Shows that neither store alone gives anything away, and that the same search does find what can be found.
 * Source: docs/formats/sealed-resource.md, "What tests must show", 1.
 */
export async function proveSplit(evidence: SplitEvidence): Promise<SplitProof> {
  const windows = new PlaintextWindows(evidence.plaintexts.map(({ bytes }) => bytes));
  for (const text of evidence.publicTexts) windows.exclude(text);
  const chunks = differentTargets(evidence.opened.flatMap(({ chunkTargets }) => chunkTargets));
  const segments = evidence.opened.flatMap(({ segmentTargets }) => segmentTargets);

  const cdn = await examine(windows, both(evidence.objects(), evidence.publicMetadata), edges);
  const database = await examine(windows, evidence.rows, (row) => [row]);
  const recipes = evidence.opened.flatMap(({ recipe }) => recipe);
  const guesses = guessableKeys(cdn.places);

  const fromCdn = [...guesses, ...cdn.keys];
  const fromDatabase = [...guesses, ...database.keys];

  const trials = [
    attack('the whole CDN and what is public, nothing else', cdn, fromCdn, [tryKeys(fromCdn, chunks)]),
    attack('the whole database, nothing else', database, fromDatabase, [
      tryKeys(fromDatabase, segments),
      tryKeks(fromDatabase, evidence.wrapped),
    ]),
    attack('both stores without the KEK', NOTHING, fromDatabase, [tryKeys(fromDatabase, chunks)]),
    keysWithoutContent(evidence, await examine(windows, recipes, () => [])),
    await legacyControl(evidence, windows),
    sealedControl(evidence),
    kekControl(evidence, guesses),
  ];
  return {
    ok: trials.every(({ ok }) => ok),
    windows: windows.count,
    surelyFoundBytes: windows.surelyFoundBytes,
    keysFrom: { wholeObjectBytes: WHOLE_OBJECT_BYTES, objectEdgeBytes: OBJECT_EDGE_BYTES },
    trials,
  };
}

/** What can be read from a store without a key. */
interface Examined {
  readonly bytes: number;
  /** Where the stored things lie. */
  readonly places: readonly string[];
  /** Pieces of plaintext that were found. */
  readonly hits: number;
  readonly found: readonly string[];
  readonly keys: CandidateKeys;
}

const NOTHING: Examined = { bytes: 0, places: [], hits: 0, found: [], keys: new CandidateKeys() };

/** @param keyPlaces - The parts of a stored thing that are taken apart for keys. */
async function examine(
  windows: PlaintextWindows,
  stored: AsyncIterable<StoredBytes> | Iterable<StoredBytes>,
  keyPlaces: (item: StoredBytes) => readonly StoredBytes[],
): Promise<Examined> {
  const keys = new CandidateKeys();
  const places: string[] = [];
  const found: string[] = [];
  let bytes = 0;
  let hits = 0;
  for await (const item of stored) {
    bytes += item.bytes.length;
    places.push(item.where);
    for (const reading of readings(item)) {
      const search = windows.search(reading.bytes);
      hits += search.hits;
      if (search.hits > 0) found.push(reading.where);
    }
    for (const reading of keyPlaces(item).flatMap(readings)) keys.addFrom(reading);
  }
  return { bytes, places, hits, found, keys };
}

function attack(
  name: string,
  { bytes, hits, found }: Examined,
  keys: readonly Buffer[],
  tried: readonly KeyTrial[],
): SplitTrial {
  const opened = tried.flatMap((trial) => trial.opened);
  const recovered = hits + opened.length;
  const places = [...found, ...opened].slice(0, 5).join('; ');
  return {
    name,
    kind: 'attack',
    bytesSearched: bytes,
    keys: keys.length,
    keyTrials: tried.reduce((sum, { trials }) => sum + trials, 0),
    recovered,
    ok: recovered === 0,
    detail: recovered === 0 ? 'nothing recovered' : `RECOVERED from: ${places}`,
  };
}

/** What the database and the KEK give: the key and the hash of every chunk, with which a guess of its content is told from a wrong one, and no content. */
function keysWithoutContent({ opened }: SplitEvidence, { bytes, hits, found }: Examined): SplitTrial {
  const chunks = opened.flatMap((version) => version.chunks);
  const keys = new Set(chunks.map(({ key }) => toHex(key))).size;
  const hashes = new Set(chunks.map(({ h }) => toHex(h)));
  const confirms = (guess: Uint8Array): boolean => hashes.has(hash('sha256', guess));
  const right = chunks.every(({ plaintext }) => confirms(plaintext));
  const wrong = chunks.some(({ plaintext }) => confirms(withLastBitChanged(plaintext)));
  const tells = keys > 0 && right && !wrong;
  return {
    name: 'database and KEK without the CDN',
    kind: 'attack',
    bytesSearched: bytes,
    keys,
    keyTrials: 0,
    recovered: hits,
    ok: hits === 0 && tells,
    detail:
      hits > 0
        ? `RECOVERED from: ${found.slice(0, 5).join('; ')}`
        : `${keys} keys found, 0 bytes of content; ${tells ? 'a right guess is confirmed, a wrong one is not' : 'GUESSES ARE NOT TOLD APART'}`,
  };
}

/** The older format: its big part alone opens with the key that everybody has. */
async function legacyControl({ plaintexts }: SplitEvidence, windows: PlaintextWindows): Promise<SplitTrial> {
  const largest = plaintexts.reduce((best, each) => (each.bytes.length > best.bytes.length ? each : best));
  const big = await legacyBigPart(largest.bytes);
  const sealedHits = windows.search(big).hits;
  const recovered = windows.search(openLegacyBigPart(big)).hits;
  const possible = windows.search(largest.bytes).hits;
  const share = possible === 0 ? 0 : recovered / possible;
  return {
    name: 'control: the older format, CDN part and shared key',
    kind: 'control',
    bytesSearched: big.length,
    keys: 1,
    keyTrials: 1,
    recovered,
    ok: sealedHits === 0 && share > 0.95,
    detail: `${(share * 100).toFixed(1)} % of the plaintext recovered, as it must be`,
  };
}

/** This format with both stores and the KEK: everything opens, byte for byte. */
function sealedControl({ opened, plaintexts }: SplitEvidence): SplitTrial {
  const expected = new Set(plaintexts.map(({ bytes }) => hash('sha256', bytes, 'hex')));
  const got = new Set(opened.map(({ sha256 }) => sha256));
  const recovered = [...expected].filter((sha256) => got.has(sha256)).length;
  return {
    name: 'control: both stores and the KEK',
    kind: 'control',
    bytesSearched: opened.reduce((sum, { bytes }) => sum + bytes, 0),
    keys: opened.length,
    keyTrials: opened.length,
    recovered,
    ok: recovered === expected.size,
    detail: `${recovered} of ${expected.size} plaintexts recovered byte for byte`,
  };
}

/** The KEK among other candidates, tried as they are: every wrapped secret opens. */
function kekControl({ keks, wrapped }: SplitEvidence, guesses: CandidateKeys): SplitTrial {
  const keys = [...guesses, ...keks.map((kek) => Buffer.from(kek))];
  const { trials, opened } = tryKeks(keys, wrapped);
  return {
    name: 'control: the KEK, tried like any other key',
    kind: 'control',
    bytesSearched: 0,
    keys: keys.length,
    keyTrials: trials,
    recovered: opened.length,
    ok: wrapped.length > 0 && opened.length === wrapped.length,
    detail: `${opened.length} of ${wrapped.length} wrapped secrets opened`,
  };
}

/** Versions share most of their chunks; each is attacked once. */
function differentTargets(targets: readonly SealedTarget[]): readonly SealedTarget[] {
  return [
    ...new Map(targets.map((target) => [`${toHex(target.nonce)} ${target.derivation?.by ?? ''}`, target])).values(),
  ];
}

/** What an attacker tries without having found it anywhere. */
function guessableKeys(places: readonly string[]): CandidateKeys {
  const keys = new CandidateKeys();
  keys.add(new Uint8Array(32));
  keys.addPassphrase(LEGACY_RESOURCE_KEY);
  for (const where of places) for (const part of [where, ...where.split('/')]) keys.addPassphrase(part);
  return keys;
}

function edges({ where, bytes }: StoredBytes): StoredBytes[] {
  if (bytes.length <= WHOLE_OBJECT_BYTES) return [{ where, bytes }];
  return [
    { where, bytes: bytes.subarray(0, OBJECT_EDGE_BYTES) },
    { where, bytes: bytes.subarray(bytes.length - OBJECT_EDGE_BYTES) },
  ];
}

async function* both(first: AsyncIterable<StoredBytes>, second: Iterable<StoredBytes>): AsyncGenerator<StoredBytes> {
  yield* first;
  yield* second;
}

function withLastBitChanged(bytes: Uint8Array): Buffer {
  const changed = Buffer.from(bytes);
  const last = changed.length - 1;
  changed.writeUInt8(changed.readUInt8(last) ^ 1, last);
  return changed;
}
