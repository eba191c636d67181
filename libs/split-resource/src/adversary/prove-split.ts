import { hash } from 'node:crypto';

import { LEGACY_RESOURCE_KEY } from '@azaion/crypto';

import { CandidateKeys } from './candidate-keys.js';
import { type SealedTarget, tryKeys } from './key-trial.js';
import { legacyBigPart, openLegacyBigPart } from './legacy-control.js';
import { PlaintextWindows } from './plaintext-windows.js';
import { type OpenedVersion } from './sealed-control.js';
import { readings, type StoredBytes } from './stored-bytes.js';

/** How much of each object is taken apart for keys: nobody writes keys into packs, and every offset of gigabytes would take days. */
const OBJECT_EDGE_BYTES = 4096;

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
  /** What anybody may know: statements, names. Finding it proves nothing. */
  readonly publicTexts: readonly Uint8Array[];
  /** The versions of those plaintexts, opened with both stores and the KEK: what the keys are tried on. */
  readonly opened: readonly OpenedVersion[];
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

  const unwrapped = evidence.opened.flatMap(({ recipe }) => recipe);
  const cdn = await examine(windows, evidence.objects(), edges);
  const database = await examine(windows, evidence.rows, (row) => [row]);
  const recipes = await examine(windows, unwrapped, () => []);
  const guesses = guessableKeys(cdn.places);

  const trials = [
    attack('the whole CDN, nothing else', cdn, [...guesses, ...cdn.keys], chunks),
    attack('the whole database, nothing else', database, [...guesses, ...database.keys], segments),
    attack('both stores without the KEK', NOTHING, [...guesses, ...database.keys], chunks),
    attack('database and KEK without the CDN', recipes, [], []),
    await legacyControl(evidence, windows),
    sealedControl(evidence),
  ];
  return {
    ok: trials.every(({ ok }) => ok),
    windows: windows.count,
    surelyFoundBytes: windows.surelyFoundBytes,
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
  targets: readonly SealedTarget[],
): SplitTrial {
  const trial = tryKeys(keys, targets);
  const recovered = hits + trial.opened.length;
  const places = [...found, ...trial.opened].slice(0, 5).join('; ');
  return {
    name,
    kind: 'attack',
    bytesSearched: bytes,
    keys: keys.length,
    keyTrials: trial.trials,
    recovered,
    ok: recovered === 0,
    detail: recovered === 0 ? 'nothing recovered' : `RECOVERED from: ${places}`,
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

/** Versions share most of their chunks; each is attacked once. */
function differentTargets(targets: readonly SealedTarget[]): readonly SealedTarget[] {
  return [...new Map(targets.map((target) => [Buffer.from(target.nonce).toString('hex'), target])).values()];
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
  return [
    { where, bytes: bytes.subarray(0, OBJECT_EDGE_BYTES) },
    { where, bytes: bytes.subarray(Math.max(OBJECT_EDGE_BYTES, bytes.length - OBJECT_EDGE_BYTES)) },
  ];
}
