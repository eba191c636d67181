import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

import {
  type ComponentLock,
  type GuessCost,
  generateSoftwareKeys,
  type HardwareComponent,
  type HardwareProbe,
  IdentityError,
  isSoftwareKeys,
  LOCKED_SECRET_BYTES,
  lockToComponents,
  openWithComponents,
  parseComponentLock,
  SoftwareDeviceIdentity,
  type SoftwareKeys,
  stableComponents,
  whyNotLockable,
} from '@azaion/identity';
import { concatBytes, fromBase64Url, toBase64Url, utf8 } from '@azaion/kernel';

import { replaceDurably } from '../file-store/replace-durably.js';
import { createKeyFile, damagedKeyFile, keyStoreError, readKeyJson } from '../software-identity/private-file.js';

const FORMAT = 1;
const MAX_FILE_BYTES = 16 * 1024;
const MAX_SEALED_BYTES = 4096;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const AAD = utf8('azaion-hardware-keys-v1');

/** How the keys are found. */
export interface HardwareIdentityOptions {
  /** The key file. Its directory is made when missing. */
  readonly path: string;
  readonly probe: HardwareProbe;
  /** Longest time that looking at the machine may take. */
  readonly probeTimeoutMs: number;
  /** Told when a part was replaced. */
  readonly log: (message: string) => void;
  /** Lower in tests only. */
  readonly cost?: GuessCost;
}

interface KeyFile {
  readonly lock: ComponentLock;
  /** `nonce ‖ AES-256-GCM ‖ tag` over both private keys. */
  readonly sealed: Uint8Array;
}

/**
 * The binding `hardware`: the file with both private keys opens on this machine only, also after any one of its parts was replaced. It deters
 * who copies the disk; who can also guess the parts gets in. Source: docs/threat-model.md.
 */
export class HardwareDeviceIdentity extends SoftwareDeviceIdentity {
  /**
   * Opens the keys, or makes them when there is no file. After the replacement of one part the file is locked anew to the parts of today.
   *
   * @throws IdentityError `device.hardware-unknown` when this machine names too few parts | `device.hardware-changed` when more than one is another
   *   than before | `device.key-store` for a file that is damaged, open to other users or not readable. The file is never given up.
   */
  static async open(options: HardwareIdentityOptions): Promise<HardwareDeviceIdentity> {
    const components = stableComponents(await options.probe.facts(options.probeTimeoutMs));
    try {
      const file = await readFile(options.path);
      const keys = file === undefined ? await create(options, components) : await unlocked(options, file, components);
      return new HardwareDeviceIdentity('hardware', keys);
    } catch (error) {
      if (error instanceof IdentityError) throw error;
      throw keyStoreError('The file with the device keys cannot be read or made.', error);
    }
  }
}

/** Whether a machine names enough parts of its own for the binding `hardware`. @returns What stands in the way; `undefined` when it will do. */
export async function whyNoHardwareBinding(probe: HardwareProbe, timeoutMs: number): Promise<string | undefined> {
  const facts = await probe.facts(timeoutMs);
  if (facts.isVirtual) return 'this is a virtual machine or a container, and its parts are settings';
  return whyNotLockable(stableComponents(facts));
}

async function create(
  options: HardwareIdentityOptions,
  components: readonly HardwareComponent[],
): Promise<SoftwareKeys> {
  const why = whyNotLockable(components);
  if (why !== undefined)
    throw new IdentityError(
      'device.hardware-unknown',
      `No keys can be tied to the parts of this machine, because ${why}. Let the Loader see them (the serial of the board is root's to read, and hidden in containers), or use LOADER_BINDING=tpm, or credentials.`,
      { details: { found: components.map(({ kind }) => kind) } },
    );
  const keys = await generateSoftwareKeys();
  if (await createKeyFile(options.path, await lockedText(keys, components, options.cost))) return keys;
  const winner = await readFile(options.path);
  if (winner === undefined) throw keyStoreError('The file with the device keys was removed while it was opened.');
  return unlocked(options, winner, components);
}

async function unlocked(
  { path, log, cost }: HardwareIdentityOptions,
  { lock, sealed }: KeyFile,
  components: readonly HardwareComponent[],
): Promise<SoftwareKeys> {
  const opened = await openWithComponents(lock, components, (secret) => unsealed(secret, sealed));
  if (opened === undefined)
    throw new IdentityError(
      'device.hardware-changed',
      'More than one part of this machine is another than when the device keys were made: put one back, or have the device reset, remove the key file and enrol again.',
    );
  opened.secret.fill(0);
  if (!isSoftwareKeys(opened.value)) throw damagedKeyFile();
  const known = new Set(lock.shares.map(({ kind }) => kind));
  const isGrown = components.some(({ kind }) => !known.has(kind));
  const isChanged = opened.changed.length > 0;
  if (whyNotLockable(components) !== undefined) {
    if (isChanged)
      log(
        `This machine does not name its ${opened.changed.join(', ')} any more: the device keys still open, but not after a further change.`,
      );
  } else if (isChanged || isGrown) {
    await replaceDurably(path, await lockedText(opened.value, components, cost));
    log(
      isChanged
        ? `A part of this machine was replaced (${opened.changed.join(', ')}): the device keys are tied to the new one now.`
        : 'This machine names more of its parts than before: the device keys are tied to them too.',
    );
  }
  return opened.value;
}

async function readFile(path: string): Promise<KeyFile | undefined> {
  const json = await readKeyJson(path, MAX_FILE_BYTES);
  if (json === undefined) return undefined;
  const { format, lock, sealed } = Object(json.value) as Record<string, unknown>;
  const parsed = parseComponentLock(lock);
  const bytes = typeof sealed === 'string' ? fromBase64Url(sealed, MAX_SEALED_BYTES) : undefined;
  if (format !== FORMAT || parsed === undefined || bytes === undefined) throw damagedKeyFile();
  if (bytes.length < NONCE_BYTES + TAG_BYTES) throw damagedKeyFile();
  return { lock: parsed, sealed: bytes };
}

/** The whole file. Its secret is new each time: an older copy of the file tells nothing about this one. */
async function lockedText(
  keys: SoftwareKeys,
  components: readonly HardwareComponent[],
  cost: GuessCost | undefined,
): Promise<string> {
  const secret = new Uint8Array(randomBytes(LOCKED_SECRET_BYTES));
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, secret, nonce).setAAD(AAD);
  const sealed = concatBytes(nonce, cipher.update(JSON.stringify(keys), 'utf8'), cipher.final(), cipher.getAuthTag());
  const lock = await lockToComponents(secret, components, cost);
  secret.fill(0);
  return JSON.stringify({ format: FORMAT, lock, sealed: toBase64Url(sealed) });
}

function unsealed(secret: Uint8Array, sealed: Uint8Array): unknown {
  const tagStart = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, secret, sealed.subarray(0, NONCE_BYTES)).setAAD(AAD);
  decipher.setAuthTag(sealed.subarray(tagStart));
  try {
    const text = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, tagStart)), decipher.final()]);
    return JSON.parse(text.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
