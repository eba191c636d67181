import { argon2, type Argon2Parameters, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

import { concatBytes, fromBase64Url, toBase64Url, utf8 } from '@azaion/kernel';
import { combine, split } from 'shamir-secret-sharing';

import { COMPONENT_KINDS, type ComponentKind, type HardwareComponent, UNIT_KINDS } from './stable-components.js';

/** Fewest parts: with fewer, all-but-one would be a single one, and that could be guessed by itself. */
const MIN_COMPONENTS = 3;
/** Length of the secret that is locked. */
export const LOCKED_SECRET_BYTES = 32;
const SALT_BYTES = 16;
const LABEL = utf8('azaion-component-v1\0');
const MAX_MEMORY_KIB = 1024 * 1024;
const MAX_PASSES = 16;

/** What one guess of a part costs (Argon2id, RFC 9106). */
export interface GuessCost {
  readonly memoryKib: number;
  readonly passes: number;
}

/** What a device pays once at its start for each part, and an attacker for each guess. */
export const GUESS_COST: GuessCost = { memoryKib: 64 * 1024, passes: 2 };

/** A share of the secret, hidden by one part. There is no tag: a wrong part gives another share, and nothing here tells. */
export interface HiddenShare {
  readonly kind: ComponentKind;
  /** Base64url, 16 bytes. */
  readonly salt: string;
  /** Place of the share; not secret. */
  readonly x: number;
  /** Base64url, 32 bytes: the share XOR Argon2id of the part. */
  readonly hidden: string;
}

/** A secret that all parts of a machine but any one open (Shamir). */
export interface ComponentLock {
  readonly cost: GuessCost;
  readonly shares: readonly HiddenShare[];
}

/** A secret that has been opened. */
export interface OpenedLock<T> {
  readonly value: T;
  readonly secret: Uint8Array;
  /** Parts that are others than when it was locked, or that are missing now: at most one. */
  readonly changed: readonly ComponentKind[];
}

const hashOf = promisify<'argon2id', Argon2Parameters, Buffer>(argon2);

/**
 * Why nothing can be locked to these parts. All but one of them open a lock: with fewer than two that differ within a model, a copied disk
 * would open on every machine of that model.
 *
 * @returns `undefined` when they will do.
 */
export function whyNotLockable(components: readonly HardwareComponent[]): string | undefined {
  const found = components.map(({ kind }) => kind);
  if (found.length < MIN_COMPONENTS)
    return `the machine names only ${String(found.length)} of its parts (${found.join(', ') || 'none'}), ${String(MIN_COMPONENTS)} are needed`;
  const missing = UNIT_KINDS.filter((kind) => !found.includes(kind));
  return missing.length === 0
    ? undefined
    : `the machine does not name its ${missing.join(' and ')}, without which it is like any other of its model`;
}

/**
 * Locks a secret to the parts of this machine.
 *
 * @param secret - {@link LOCKED_SECRET_BYTES} random bytes: anything that can be recognised would let parts be guessed one by one.
 * @param components - Parts that {@link whyNotLockable} has nothing against, each kind once.
 * @throws RangeError for others.
 */
export async function lockToComponents(
  secret: Uint8Array,
  components: readonly HardwareComponent[],
  cost: GuessCost = GUESS_COST,
): Promise<ComponentLock> {
  const why = whyNotLockable(components);
  if (why !== undefined) throw new RangeError(why);
  const pieces = await split(secret, components.length, components.length - 1);
  const shares = await Promise.all(
    components.map(async (component, at) => {
      const piece = pieces[at] ?? new Uint8Array();
      const salt = randomBytes(SALT_BYTES);
      const hidden = xor(piece.subarray(0, LOCKED_SECRET_BYTES), await maskOf(component, salt, cost));
      return {
        kind: component.kind,
        salt: toBase64Url(salt),
        x: piece[LOCKED_SECRET_BYTES] ?? 0,
        hidden: toBase64Url(hidden),
      };
    }),
  );
  return { cost, shares };
}

/**
 * Opens a lock with the parts that are here now. All but one must be what they were.
 *
 * @param verify - Says whether a candidate is the secret, by opening what the secret protects; `undefined` when it is not.
 * @returns `undefined` when more than one part differs.
 */
export async function openWithComponents<T>(
  { cost, shares }: ComponentLock,
  components: readonly HardwareComponent[],
  verify: (candidate: Uint8Array) => T | undefined,
): Promise<OpenedLock<T> | undefined> {
  const pieces = new Map<ComponentKind, Uint8Array>();
  await Promise.all(
    shares.map(async ({ kind, salt, x, hidden }) => {
      const component = components.find((one) => one.kind === kind);
      if (component === undefined) return;
      const mask = await maskOf(component, bytesOf(salt, SALT_BYTES), cost);
      pieces.set(kind, concatBytes(xor(bytesOf(hidden, LOCKED_SECRET_BYTES), mask), Uint8Array.of(x)));
    }),
  );
  const right = new Set<ComponentKind>();
  let opened: { readonly value: T; readonly secret: Uint8Array } | undefined;
  for (const { kind: leftOut } of shares) {
    const rest = shares.flatMap(({ kind }) => (kind === leftOut ? [] : [kind]));
    const parts = rest.flatMap((kind) => pieces.get(kind) ?? []);
    if (parts.length < rest.length) continue;
    const secret = await combine(parts);
    const value = verify(secret);
    if (value === undefined) continue;
    opened = { value, secret };
    for (const kind of rest) right.add(kind);
  }
  return opened === undefined
    ? undefined
    : { ...opened, changed: shares.flatMap(({ kind }) => (right.has(kind) ? [] : [kind])) };
}

/** Reads a lock from parsed JSON. @returns `undefined` for anything else, and for costs that no device pays. */
export function parseComponentLock(value: unknown): ComponentLock | undefined {
  const { cost, shares } = Object(value) as Record<string, unknown>;
  const { memoryKib, passes } = Object(cost) as Record<string, unknown>;
  if (!isWithin(memoryKib, 8, MAX_MEMORY_KIB) || !isWithin(passes, 1, MAX_PASSES)) return undefined;
  if (!Array.isArray(shares) || shares.length < MIN_COMPONENTS || shares.length > COMPONENT_KINDS.length)
    return undefined;
  const read = (shares as unknown[]).map(parseShare);
  const whole = read.filter((share) => share !== undefined);
  const isDistinct = new Set(whole.map(({ kind }) => kind)).size === read.length;
  const hasOwnPlaces = new Set(whole.map(({ x }) => x)).size === read.length;
  return isDistinct && hasOwnPlaces ? { cost: { memoryKib, passes }, shares: whole } : undefined;
}

function parseShare(value: unknown): HiddenShare | undefined {
  const { kind, salt, x, hidden } = Object(value) as Record<string, unknown>;
  const known = COMPONENT_KINDS.find((one) => one === kind);
  if (known === undefined || typeof salt !== 'string' || typeof hidden !== 'string' || !isWithin(x, 1, 255))
    return undefined;
  if (fromBase64Url(salt, SALT_BYTES)?.length !== SALT_BYTES) return undefined;
  return fromBase64Url(hidden, LOCKED_SECRET_BYTES)?.length === LOCKED_SECRET_BYTES
    ? { kind: known, salt, x, hidden }
    : undefined;
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

async function maskOf(
  { kind, value }: HardwareComponent,
  salt: Uint8Array,
  { memoryKib, passes }: GuessCost,
): Promise<Uint8Array> {
  const message = concatBytes(LABEL, utf8(`${kind}\0${value}`));
  const parameters = {
    message,
    nonce: salt,
    parallelism: 1,
    tagLength: LOCKED_SECRET_BYTES,
    memory: memoryKib,
    passes,
  };
  return new Uint8Array(await hashOf('argon2id', parameters));
}

function bytesOf(text: string, length: number): Uint8Array {
  return fromBase64Url(text, length) ?? new Uint8Array(length);
}

function xor(left: Uint8Array, right: Uint8Array): Uint8Array {
  return left.map((byte, at) => byte ^ (right[at] ?? 0));
}
