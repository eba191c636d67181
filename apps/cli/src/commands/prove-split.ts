import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  connectToDatabase,
  connectToEmbeddedDatabase,
  directoryObjects,
  gatherEvidence,
  s3Objects,
  type StoredObjects,
} from '@azaion/adapters/split-evidence';
import { Secret } from '@azaion/kernel';
import { proveSplit, type SplitProof, type SplitTrial } from '@azaion/split-resource/adversary';

import { usageFailure } from '../cli-failure.js';
import type { CommandContext } from '../command-context.js';
import { failure } from '../failure-table.js';
import { formatBytes } from '../format.js';
import { parseResourceReference } from '../resource-reference.js';

/** Plaintext that is held in memory for the search. */
const MAX_PLAINTEXT_BYTES = 512 * 1024 ** 2;

/** Where an Admin API in the workspace keeps its data, and the demo's: its KEK lies apart. */
const USUAL_PLACES: readonly AdminPlace[] = [
  { data: '.azaion/admin-api', kek: '.azaion/admin-api/keys/kek' },
  { data: '.azaion/demo/admin-api', kek: '.azaion/demo/admin-keys/kek' },
];

interface AdminPlace {
  readonly data: string;
  readonly kek: string;
}

/** Options of `azaion prove-split`. */
export interface ProveSplitOptions {
  readonly data?: string;
  readonly kek?: string;
  readonly resource?: readonly string[];
}

/**
 * Plays everybody who gets hold of one of the stores of an installation: searches every stored byte for the plaintext and tries every stored
 * key, then shows that the same search does find what can be found: in the older format, and with both stores and the KEK. Where the stores are
 * is known from the Admin API's own settings in the environment, or from its data directory.
 *
 * @throws CliFailure exit `integrity` when an attack recovered something, or a control did not.
 */
export async function proveSplitOf(context: CommandContext, options: ProveSplitOptions): Promise<void> {
  const { data, kek } = await placeOf(context, options);
  await assertThere(kek, `There are no key-encryption keys at ${kek}.`);
  const objects = await objectsOf(context, data);
  const wanted = new Set(
    (options.resource ?? []).map((text) => {
      const { folder, name } = parseResourceReference(text);
      return `${folder}/${name}`;
    }),
  );
  const databaseUrl = await setting(context, 'DATABASE_URL');
  const connecting = databaseUrl === undefined ? connectToEmbeddedDatabase(data) : connectToDatabase(databaseUrl);
  const client = await connecting.catch((cause: unknown) => {
    throw failure('prove-split.no-database', 'The database does not answer.', { cause });
  });
  let heldBytes = 0;
  let proof: SplitProof;
  try {
    const evidence = await gatherEvidence({ client, objects, kek }, (resource, _version, totalBytes) => {
      if ((wanted.size > 0 && !wanted.has(resource)) || heldBytes + totalBytes > MAX_PLAINTEXT_BYTES) return false;
      heldBytes += totalBytes;
      return true;
    });
    if (evidence.opened.every(({ bytes }) => bytes === 0))
      throw usageFailure(
        'There is nothing published to attack.',
        'Publish something first, or name another --resource.',
      );
    context.output.note(`Attacking ${evidence.opened.length} versions, ${formatBytes(heldBytes)} of plaintext …`);
    proof = await proveSplit(evidence);
  } finally {
    await client.end();
    objects.close();
  }
  const facts = {
    windows: proof.windows,
    surelyFoundBytes: proof.surelyFoundBytes,
    trials: proof.trials,
    keysFrom: proof.keysFrom,
  };
  if (!proof.ok)
    throw failure(
      'prove-split.failed',
      `The proof failed: ${proof.trials
        .filter(({ ok }) => !ok)
        .map(({ name, detail }) => `${name}: ${detail}`)
        .join('; ')}.`,
    );
  context.output.result(facts, [...table(proof), '', 'The split holds: neither store alone gives anything away.']);
}

async function placeOf({ env }: CommandContext, options: ProveSplitOptions): Promise<AdminPlace> {
  const named = options.data ?? env['ADMIN_DATA_DIR'];
  const kek = options.kek ?? env['ADMIN_KEK_FILE'];
  if (named !== undefined) return { data: named, kek: kek ?? join(named, 'keys', 'kek') };
  for (const { data, kek: usual } of USUAL_PLACES) {
    const found = await access(join(data, 'objects')).then(
      () => true,
      () => false,
    );
    if (found) return { data, kek: kek ?? usual };
  }
  if (kek !== undefined && env['S3_BUCKET'] !== undefined) return { data: '.', kek };
  throw usageFailure(
    'There is no Admin API to attack here.',
    'Run "npm start" in another terminal and this in the same directory, or give --data and --kek, or the settings of an Admin API in the environment: DATABASE_URL, S3_BUCKET and so on, ADMIN_KEK_FILE.',
  );
}

/** What stands for the CDN: the bucket of the Admin API's settings, else its own file store. */
async function objectsOf(context: CommandContext, data: string): Promise<StoredObjects & { close(): void }> {
  const bucket = await setting(context, 'S3_BUCKET');
  if (bucket === undefined) {
    const root = join(data, 'objects');
    await assertThere(root, `${data} is not the data directory of an Admin API with a store of its own.`);
    return { ...directoryObjects(root), close: () => undefined };
  }
  const accessKeyId = await setting(context, 'S3_ACCESS_KEY_ID');
  const secretAccessKey = await setting(context, 'S3_SECRET_ACCESS_KEY');
  if (accessKeyId === undefined || secretAccessKey === undefined)
    throw usageFailure('S3_BUCKET is set, S3_ACCESS_KEY_ID or S3_SECRET_ACCESS_KEY is not.', 'Set all of them.');
  const region = (await setting(context, 'S3_REGION')) ?? 'us-east-1';
  const client = { region, accessKeyId, secretAccessKey: new Secret(secretAccessKey) };
  return s3Objects(client, await setting(context, 'S3_ENDPOINT'), bucket);
}

/** A setting as the Admin API reads it: the variable, or the file that it names with `_FILE`. @throws CliFailure exit `usage`. */
async function setting({ env }: CommandContext, name: string): Promise<string | undefined> {
  const path = env[`${name}_FILE`];
  if (path === undefined) return env[name] === '' ? undefined : env[name];
  return readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => {
      throw usageFailure(`The file that ${name}_FILE names cannot be read.`, 'Check its path and who may read it.');
    },
  );
}

async function assertThere(path: string, problem: string): Promise<void> {
  await access(path).catch(() => {
    throw usageFailure(
      problem,
      'Give --data, the ADMIN_DATA_DIR of a running Admin API, and --kek where ADMIN_KEK_FILE is set; its other settings are read from the environment.',
    );
  });
}

/** Who has what, and what that gives away in either format. */
function table({ trials, windows, surelyFoundBytes, keysFrom }: SplitProof): string[] {
  const [legacy, everything, kek] = trials.filter(({ kind }) => kind === 'control');
  const attacks = trials.filter(({ kind }) => kind === 'attack');
  const rows = [
    ['who has', 'older format', 'sealed format', 'searched'],
    ...attacks.map((trial, index) => [
      trial.name,
      index === 0 ? (legacy?.detail ?? '') : '–',
      trial.detail,
      effort(trial),
    ]),
    ['both stores and the KEK', '–', everything?.detail ?? '', everything === undefined ? '' : effort(everything)],
    ['the KEK, tried like any other key', '–', kek?.detail ?? '', kek === undefined ? '' : effort(kek)],
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = rows;
  return [
    `${windows.toLocaleString('en')} pieces of plaintext were searched for; every run of ${surelyFoundBytes} bytes is found.`,
    `Keys were taken from all of the database, of what is public, and of objects of up to ${formatBytes(keysFrom.wholeObjectBytes)}; of longer objects from the first and last ${formatBytes(keysFrom.objectEdgeBytes)}.`,
    '',
    line(head),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...body.map(line),
  ];
}

function effort({ bytesSearched, keyTrials }: SplitTrial): string {
  const tried = keyTrials > 1 ? `${keyTrials.toLocaleString('en')} key trials` : '';
  return [bytesSearched > 0 ? formatBytes(bytesSearched) : '', tried].filter((part) => part !== '').join(', ');
}
