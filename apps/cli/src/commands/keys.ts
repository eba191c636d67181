import { readFile, stat } from 'node:fs/promises';

import { parseRootKey, type RootKey } from '@azaion/adapters/trust-store';
import {
  CryptoError,
  generateP256KeyPair,
  importSigningKey,
  importVerificationKey,
  isKeyId,
  isPublicJwk,
  type KeyDocument,
  keyThumbprint,
  MAX_STATEMENT_KEYS,
  type NamedPrivateKey,
  needsPassphrase,
  pointFromJwk,
  readKeyDocument,
  readPrivateKey,
  signKeyDocument,
  writePrivateKey,
} from '@azaion/crypto';
import { Secret } from '@azaion/kernel';

import { usageFailure } from '../cli-failure.js';
import { AdminApi } from '../admin-api.js';
import type { CommandContext } from '../command-context.js';
import { failure, systemErrorCode } from '../failure-table.js';
import { contentOf } from '../http.js';
import { writeNewFile } from '../new-file.js';
import { NEW_PASSPHRASE, PASSPHRASE, SecretReader } from '../password.js';

const DAY_SECONDS = 86_400;
const MAX_DAYS = 3650;
const MAX_FILE_CHARS = 512 * 1024;
const MIN_PASSPHRASE_CHARS = 12;
const OTHERS_MAY = 0o077;

type StatementKey = KeyDocument['keys'][number];

/** Options of `azaion keys root create`. */
export interface CreateRootOptions {
  readonly output: string;
  readonly kid?: string;
  readonly passphraseFile?: string;
  /** `false` after `--no-passphrase`. */
  readonly passphrase: boolean;
}

/** Options of `azaion keys sign`. */
export interface SignKeysOptions {
  readonly root: string;
  readonly document?: string;
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
  readonly days: string;
  readonly version?: string;
  readonly passphraseFile?: string;
  readonly output: string;
}

/** Options of `azaion keys show`. */
export interface ShowKeyDocumentOptions {
  readonly root: string;
}

/** Makes the offline root: nothing is ever written over, least of all an older root. */
export async function createRoot(context: CommandContext, options: CreateRootOptions): Promise<void> {
  const { privateJwk, publicJwk } = await generateP256KeyPair();
  const kid = options.kid ?? (await keyThumbprint(publicJwk));
  if (!isKeyId(kid)) throw usageFailure('The name of a key has 1 to 128 characters.');
  const passphrase = options.passphrase
    ? await new SecretReader(context).read(NEW_PASSPHRASE, options.passphraseFile)
    : undefined;
  if (passphrase !== undefined && passphrase.reveal().length < MIN_PASSPHRASE_CHARS)
    throw usageFailure(
      `The passphrase is shorter than ${MIN_PASSPHRASE_CHARS} characters.`,
      'Take several words: whoever finds the file may guess at leisure.',
    );
  const publicPath = `${options.output}.pub.json`;
  await writeNewFile(options.output, await writePrivateKey({ kid, key: new Secret(privateJwk) }, passphrase), 0o600);
  await writeNewFile(publicPath, `${JSON.stringify({ ...publicJwk, kid })}\n`, 0o644);
  context.output.result({ kid, private: options.output, public: publicPath, protected: passphrase !== undefined }, [
    `The root key ${kid} stands in ${options.output}${passphrase === undefined ? ', protected by its permissions alone' : ', under the passphrase'}.`,
    `Its public half is ${publicPath}: STATEMENT_ROOT_KEY_FILE of the Admin API, of Loaders and of people.`,
    'Keep the private file, and a copy of it, where no network reaches. Without it no key document can be made any more.',
  ]);
}

/** Signs the next key document. */
export async function signKeys(context: CommandContext, options: SignKeysOptions): Promise<void> {
  const root = await readPrivateKeyFile(context, options.root, options.passphraseFile);
  const before = options.document === undefined ? undefined : await previous(options.document, root);
  const version = nextVersion(before, options.version);
  const removed = new Set(options.remove ?? []);
  const keys = new Map((before?.keys ?? []).map((key) => [key.kid, key]));
  for (const kid of removed)
    if (!keys.delete(kid))
      throw usageFailure(`The document in force names no key ${kid}.`, 'See "azaion keys show" for those it names.');
  for (const path of options.add ?? []) {
    const key = await readStatementKey(path);
    if (removed.has(key.kid)) throw usageFailure(`The key ${key.kid} is both added and removed.`);
    keys.set(key.kid, key);
  }
  if (keys.size === 0) throw usageFailure('The document would name no key.', 'Give a statement key with --add.');
  if (keys.size > MAX_STATEMENT_KEYS) throw usageFailure(`A document names at most ${MAX_STATEMENT_KEYS} keys.`);
  const document: KeyDocument = {
    version,
    expiresAt: Math.floor(Date.now() / 1000) + daysOf(options.days) * DAY_SECONDS,
    keys: [...keys.values()],
  };
  const jws = await signKeyDocument(document, await importSigningKey(root.kid, root.key.reveal()));
  await writeNewFile(options.output, `${jws}\n`, 0o644);
  context.output.result({ ...factsOf(document), removed: [...removed], document: options.output }, [
    `Signed ${options.output}.`,
    ...linesOf(document),
    ...[...removed].map((kid) => `  left out: ${kid}`),
    'Hand it in with "azaion keys publish", or as STATEMENT_KEY_DOCUMENT_FILE of an Admin API that has none yet.',
  ]);
}

/** Shows a key document, of any age. */
export async function showKeyDocument(
  context: CommandContext,
  path: string,
  options: ShowKeyDocumentOptions,
): Promise<void> {
  const root = await readPublicRoot(options.root);
  const text = await readText(path);
  const document = await readKeyDocument(text.trim(), await importVerificationKey(root.kid, root.key));
  context.output.result({ ...factsOf(document) }, linesOf(document));
}

/** Lists the Admin API's statement keys. */
export async function listStatementKeys(context: CommandContext, options: { readonly api?: string }): Promise<void> {
  const { routes } = await AdminApi.open(context, options.api);
  const answer = contentOf(await routes.GET('/statement-keys'));
  context.output.result(answer, [
    `Key document version ${String(answer.documentVersion)}, good until ${answer.documentExpiresAt}.`,
    ...answer.keys.map(
      ({ kid, createdAt, inDocument, signs }) =>
        `  ${kid}  made ${createdAt}  ${signs ? 'signs' : inDocument ? 'trusted' : 'not in the document'}`,
    ),
  ]);
}

/** Lets the Admin API make a statement key. */
export async function makeStatementKey(
  context: CommandContext,
  options: { readonly api?: string; readonly output?: string },
): Promise<void> {
  const { routes } = await AdminApi.open(context, options.api);
  const made = parseStatementKey(contentOf(await routes.POST('/statement-keys')));
  if (made === undefined) throw failure('service.unexpected', 'The Admin API answered outside its contract.');
  const text = JSON.stringify(made);
  if (options.output !== undefined) await writeNewFile(options.output, `${text}\n`, 0o644);
  context.output.result({ ...made }, [
    options.output === undefined ? text : `The new statement key ${made.kid} stands in ${options.output}.`,
    ...(options.output === undefined ? [] : ['Carry it to the offline root: "azaion keys sign --add".']),
  ]);
}

/** Hands a key document in. */
export async function publishKeyDocument(
  context: CommandContext,
  path: string,
  options: { readonly api?: string },
): Promise<void> {
  const document = (await readText(path)).trim();
  const { routes } = await AdminApi.open(context, options.api);
  const answer = contentOf(await routes.PUT('/statement-keys/document', { body: { document } }));
  context.output.result(answer, [
    `Key document version ${String(answer.version)} is in force until ${answer.expiresAt}.`,
    `${String(answer.signedAnew)} statements by keys that it leaves out were signed anew.`,
  ]);
}

/** Reads a private key file, asking for its passphrase. @throws CliFailure when others may read it. */
export async function readPrivateKeyFile(
  context: CommandContext,
  path: string,
  passphraseFile?: string,
): Promise<NamedPrivateKey> {
  const text = await readText(path);
  if (needsPassphrase(text))
    return readPrivateKey(text, await new SecretReader(context).read(PASSPHRASE, passphraseFile));
  const { mode } = await stat(path);
  if (process.platform !== 'win32' && (mode & OTHERS_MAY) !== 0)
    throw failure('keys.exposed', `Other users of this machine can read the private key ${path}.`);
  return readPrivateKey(text, undefined);
}

async function readPublicRoot(path: string): Promise<RootKey> {
  const text = await readText(path);
  return parseRootKey(text).catch((cause: unknown) => {
    throw failure('trust.root-invalid', `${path} does not hold a public root key.`, { cause });
  });
}

async function previous(path: string, root: NamedPrivateKey): Promise<KeyDocument> {
  const { kty, crv, x, y } = root.key.reveal();
  const text = await readText(path);
  return readKeyDocument(text.trim(), await importVerificationKey(root.kid, { kty, crv, x, y }));
}

function nextVersion(before: KeyDocument | undefined, option: string | undefined): number {
  const least = (before?.version ?? 0) + 1;
  if (option === undefined) return least;
  const version = Number(option);
  if (!/^[0-9]{1,9}$/.test(option) || version < least)
    throw usageFailure(`"${option}" cannot be the version.`, `It must be a whole number from ${least}.`);
  return version;
}

function daysOf(text: string): number {
  const days = Number(text);
  if (!/^[0-9]{1,4}$/.test(text) || days < 1 || days > MAX_DAYS)
    throw usageFailure(`"${text}" is not a number of days.`, `Give 1 to ${MAX_DAYS}.`);
  return days;
}

async function readStatementKey(path: string): Promise<StatementKey> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readText(path));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  const key = parseStatementKey(parsed);
  if (key !== undefined) return key;
  throw usageFailure(
    `${path} does not hold a statement key.`,
    'Take what "azaion keys new" or "node apps/admin-api/dist/main.js statement-key" printed.',
  );
}

/** @returns `undefined` for everything but `{kid, alg: "ES256", key}` with a point on P-256. Further members are ignored. */
function parseStatementKey(value: unknown): StatementKey | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kid, alg, key } = value as Record<string, unknown>;
  if (!isKeyId(kid) || alg !== 'ES256' || !isPublicJwk(key)) return undefined;
  try {
    pointFromJwk(key);
  } catch (error) {
    if (error instanceof CryptoError) return undefined;
    throw error;
  }
  return { kid, alg, key };
}

function factsOf({ version, expiresAt, keys }: KeyDocument): Readonly<Record<string, unknown>> {
  return { version, expiresAt, keys: keys.map(({ kid }) => kid) };
}

function linesOf({ version, expiresAt, keys }: KeyDocument): string[] {
  const expired = expiresAt * 1000 <= Date.now();
  return [
    `Version ${version}, ${expired ? 'EXPIRED at' : 'good until'} ${new Date(expiresAt * 1000).toISOString()}, ${keys.length} ${keys.length === 1 ? 'key' : 'keys'}:`,
    ...keys.map(({ kid }) => `  ${kid}`),
  ];
}

async function readText(path: string): Promise<string> {
  try {
    const text = await readFile(path, 'utf8');
    if (text.length <= MAX_FILE_CHARS) return text;
  } catch (cause) {
    if (systemErrorCode(cause) === undefined) throw cause;
  }
  throw usageFailure(`The file ${path} cannot be read.`, 'Check the path and its permissions.');
}
