import { hash } from 'node:crypto';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type EcdhP256, generateP256KeyPair, jwkFromPoint, type PrivateJwk, type PublicJwk } from '@azaion/crypto';
import {
  type AttestedEnrolment,
  authorizedPolicyDigest,
  type Binding,
  bootPolicyDigest,
  bootPolicyMessage,
  DeviceIdentity,
  EPOCH_COUNTER_INDEX,
  epochCounterName,
  epochOperand,
  type EvidenceSource,
  IdentityError,
  isSignedBootPolicy,
  parseTpmPublic,
  parseTpmSignature,
  PCR_BYTES,
  type PcrSelection,
  pcrSelectionText,
  pointToTpm,
  policyReference,
  publicAreaOf,
  type SignedBootPolicy,
  signBootPolicy,
  sizedBytes,
  tpmName,
  type TpmCredential,
  type TpmEvidence,
  tpmSignature,
  verificationKeyArea,
  xOfTpmPoint,
} from '@azaion/identity';
import { equalBytes, toHex } from '@azaion/kernel';

import { makeEvidence, openCredential } from './tpm-attestation.js';
import { takeFile } from './tpm-files.js';
import { readTpmKeys, type TpmKeyBlobs, type TpmKeys, writeTpmKeys } from './tpm-key-file.js';
import type { TpmAccess, TpmTools } from './tpm-tools.js';
import { openTpmWork, type TpmWork } from './tpm-work-directory.js';

const COUNTER = `0x${EPOCH_COUNTER_INDEX.toString(16)}`;
const COUNTER_DEFINITION = 'ownerread|authread|ownerwrite|authwrite|no_da|nt=counter';
/** Never exportable, use only by policy; `noda`: other programs' wrong passwords cannot lock the device out. */
const KEY_ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|noda';
/**
 * The storage key is a default one but for `noda`: a TPM counts every power cut after the use of a guarded object as a wrong password, and
 * devices in the field lose power daily.
 */
const PRIMARY_ATTRIBUTES = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda';
/** Name of the model of a device whose fleet has no policy key. */
const OWN_MODEL = 'this-device';
/** Furthest that a counter is brought forward at once: each step writes to the TPM's own store. */
const MOST_EPOCH_STEPS = 1000;

/** What a fleet says about the boot states of its devices. */
export interface FleetBootPolicy {
  /** Public half of the key that signs boot policies. */
  readonly key: PublicJwk;
  /** The policies at hand, read anew at every call. @throws IdentityError `device.tpm-policy`. */
  policies(): Promise<readonly SignedBootPolicy[]>;
}

/** How the keys are found and made. */
export interface TpmIdentityOptions extends TpmAccess {
  /** Where `tpm-keys.json` stands: wrapped keys, of no use without the TPM. */
  readonly directory: string;
  /** Registers of new keys' policy where the fleet has no policy key. */
  readonly pcrs: PcrSelection;
  /** Without it a key is made for one signature: the keys work in today's boot state only. */
  readonly fleet: FleetBootPolicy | undefined;
  /** Told what an operator should know: a new boot policy, an epoch that ended. */
  readonly log: (message: string) => void;
}

/**
 * The binding `tpm`: both private keys are made inside the TPM, cannot leave it, and work only in a boot state that a policy key has signed
 * (`TPM2_PolicyAuthorize` over `TPM2_PolicyPCR` and a counter that ends old epochs). Source: docs/threat-model.md.
 */
export class TpmDeviceIdentity extends DeviceIdentity implements EvidenceSource {
  override readonly binding: Binding = 'tpm';
  override readonly ecdh: EcdhP256 = (point) => this.agree(point);
  /** Contexts of the loaded keys; lost when the TPM restarts. */
  private loaded = false;

  private readonly tools: TpmTools;

  private constructor(
    private readonly work: TpmWork,
    private readonly options: TpmIdentityOptions,
    private keys: TpmKeys,
  ) {
    super();
    this.tools = work.tools;
  }

  /**
   * Opens the keys, or makes them in the TPM when there is no file. A fitting policy of a later epoch is taken up, and ends the earlier ones.
   *
   * @throws IdentityError `device.key-store` | `device.tpm-absent` | `device.tpm-busy` | `device.tpm-lockout` | `device.tpm-policy` (no signed policy
   *   fits this boot state) | `device.tpm-foreign` (keys of another TPM) | `device.tpm-failed`.
   */
  static async open(options: TpmIdentityOptions): Promise<TpmDeviceIdentity> {
    const work = await openTpmWork(options, options.directory);
    const { tools } = work;
    const path = keyFileOf(options.directory);
    try {
      const known = await readTpmKeys(path);
      const identity = new TpmDeviceIdentity(
        work,
        options,
        known ?? (await tools.exclusive(() => createKeys(tools, options))),
      );
      if (known === undefined) await writeTpmKeys(path, identity.keys);
      await tools.exclusive(async () => {
        await identity.load();
        await identity.takeUpPolicy();
      });
      return identity;
    } catch (error) {
      await work.close();
      throw error;
    }
  }

  override agreementPoint(): Promise<Uint8Array> {
    return Promise.resolve(pointOf(this.keys.agreement));
  }

  override signingKey(): Promise<PublicJwk> {
    return Promise.resolve(jwkFromPoint(pointOf(this.keys.signing)));
  }

  override async sign(message: Uint8Array): Promise<Uint8Array> {
    const digest = hash('sha256', message, 'buffer');
    const signature = await this.use(async (session) => {
      await this.put('digest.bin', digest);
      const target = ['-c', 'signing.ctx', '-p', `session:${session}`, '-o', 'signature.bin'];
      await this.tools.run('sign', [...target, '-g', 'sha256', '-s', 'ecdsa', '-d', 'digest.bin']);
      return this.take('signature.bin');
    });
    return parseTpmSignature(signature);
  }

  evidenceFor(enrolment: AttestedEnrolment): Promise<TpmEvidence> {
    return this.tools.exclusive(async () => {
      await this.load();
      return makeEvidence(this.tools, this.keys, this.keys.policy.pcrs, enrolment);
    });
  }

  activate(credential: TpmCredential): Promise<Uint8Array> {
    return this.tools.exclusive(() => openCredential(this.tools, credential));
  }

  /** Removes what the process keeps in memory. The keys stay. */
  close(): Promise<void> {
    return this.work.close();
  }

  private async agree(point: Uint8Array): Promise<Uint8Array> {
    jwkFromPoint(point); // a malformed point never gets to the TPM, which would refuse it too
    const shared = await this.use(async (session) => {
      await this.put('point.bin', pointToTpm(point));
      await this.tools.run('ecdhzgen', [
        ...['-c', 'agreement.ctx', '-p', `session:${session}`, '-u', 'point.bin', '-o', 'shared.bin'],
      ]);
      return this.take('shared.bin');
    });
    const x = xOfTpmPoint(shared);
    shared.fill(0);
    return x;
  }

  /** Runs one operation with a policy session. A restarted TPM has forgotten its contexts; a new boot policy may have come: then once more. */
  private use<T>(operation: (session: string) => Promise<T>): Promise<T> {
    return this.tools.exclusive(async () => {
      try {
        if (!this.loaded) await this.load();
        return await operation(await this.satisfyPolicy());
      } catch (error) {
        if (!(error instanceof IdentityError)) throw error;
        await this.tools.tidy();
        if (error.code === 'device.tpm-policy') {
          if (!(await this.takeUpPolicy())) throw error;
        } else if (error.code === 'device.tpm-failed' || error.code === 'device.tpm-foreign') {
          await this.load(); // throws by itself when the keys are not this TPM's
        } else throw error;
        return operation(await this.satisfyPolicy());
      }
    });
  }

  /** A session in which the TPM has found the boot state to be the one that was signed. */
  private async satisfyPolicy(): Promise<string> {
    const { policy, policyKey, ticket } = this.keys;
    const { tools } = this;
    await this.put('epoch.bin', epochOperand(policy.epoch));
    await this.put('approved.bin', bootPolicyDigest(policy));
    await this.put('reference.bin', policyReference(policy.model));
    await this.put('policy-key.name', tpmName(verificationKeyArea(policyKey)));
    await this.put('ticket.bin', ticket);
    const session = await tools.openSession();
    await tools.run('policypcr', ['-S', session, '-l', pcrSelectionText(policy.pcrs)]);
    await tools.run('policynv', ['-S', session, '-C', COUNTER, '-i', 'epoch.bin', COUNTER, 'ule']);
    await tools.run('policyauthorize', [
      ...['-S', session, '-i', 'approved.bin', '-q', 'reference.bin', '-n', 'policy-key.name', '-t', 'ticket.bin'],
    ]);
    return session;
  }

  /**
   * Takes up the fleet's latest policy for the present boot state and brings the counter to its epoch, so that earlier policies are dead.
   *
   * @returns Whether it is another one than before.
   */
  private async takeUpPolicy(): Promise<boolean> {
    const { fleet, log } = this.options;
    if (fleet === undefined) return false;
    const { policyKey, policy: known } = this.keys;
    const best = await latestFitting(this.tools, fleet, policyKey, known.model);
    if (best === undefined || best.epoch < known.epoch) return false;
    const isNew = best.epoch > known.epoch || !equalBytes(bootPolicyDigest(best), bootPolicyDigest(known));
    if (isNew) {
      const ticket = await verifiedInTpm(this.tools, policyKey, best);
      this.keys = { ...this.keys, policy: best, ticket };
      await this.satisfyPolicy();
      await this.tools.tidy();
      await writeTpmKeys(keyFileOf(this.options.directory), this.keys);
      log(`The boot policy of epoch ${best.epoch} for ${best.model} has been taken up.`);
    }
    if (await advanceCounter(this.tools, best.epoch)) log(`Boot policies of epochs before ${best.epoch} are over.`);
    return isNew;
  }

  private async load(): Promise<void> {
    const { tools } = this;
    await createPrimary(tools);
    for (const [name, blobs] of Object.entries({ agreement: this.keys.agreement, signing: this.keys.signing })) {
      await this.put(`${name}.pub`, blobs.public);
      await this.put(`${name}.priv`, blobs.private);
      await tools.run('load', ['-C', 'primary.ctx', '-u', `${name}.pub`, '-r', `${name}.priv`, '-c', `${name}.ctx`]);
      await tools.tidy();
    }
    this.loaded = true;
  }

  private put(name: string, bytes: Uint8Array): Promise<void> {
    return writeFile(join(this.tools.directory, name), bytes, { mode: 0o600 });
  }

  private async take(name: string): Promise<Uint8Array> {
    return takeFile(this.tools, name);
  }
}

/** Whether keys of a TPM stand in a directory. */
export async function hasTpmKeys(directory: string): Promise<boolean> {
  return access(keyFileOf(directory)).then(
    () => true,
    () => false,
  );
}

async function createKeys(tools: TpmTools, options: TpmIdentityOptions): Promise<TpmKeys> {
  const epoch = await openCounter(tools);
  const { policyKey, policy } = await firstPolicy(tools, options, epoch);
  await writeFile(join(tools.directory, 'authorized.bin'), authorizedPolicyDigest(policyKey, policy.model));
  await createPrimary(tools);
  const agreement = await createKey(tools, 'agreement', 'ecc256:ecdh', 'decrypt');
  const signing = await createKey(tools, 'signing', 'ecc256:ecdsa-sha256', 'sign');
  return { agreement, signing, policyKey, policy, ticket: await verifiedInTpm(tools, policyKey, policy) };
}

/** The policy that the new keys start with: the fleet's for this boot state, or one of this boot state alone under a key that is forgotten. */
async function firstPolicy(
  tools: TpmTools,
  { fleet, pcrs }: TpmIdentityOptions,
  counter: number,
): Promise<{ readonly policyKey: PublicJwk; readonly policy: SignedBootPolicy }> {
  if (fleet === undefined) {
    const once: PrivateJwk = (await generateP256KeyPair()).privateJwk;
    const { kty, crv, x, y } = once;
    const state = { model: OWN_MODEL, epoch: counter, pcrs, pcrDigest: await currentPcrDigest(tools, pcrs) };
    return { policyKey: { kty, crv, x, y }, policy: signBootPolicy(state, once) };
  }
  const policy = await latestFitting(tools, fleet, fleet.key, undefined);
  if (policy === undefined || policy.epoch < counter)
    throw new IdentityError(
      'device.tpm-policy',
      policy === undefined
        ? 'No signed boot policy fits the state that this device has booted into: sign one for it.'
        : 'The boot policy for this state is of an epoch that is over on this TPM: sign one of a later epoch.',
      { details: { counter } },
    );
  return { policyKey: fleet.key, policy };
}

async function latestFitting(
  tools: TpmTools,
  fleet: FleetBootPolicy,
  policyKey: PublicJwk,
  model: string | undefined,
): Promise<SignedBootPolicy | undefined> {
  const digests = new Map<string, Uint8Array>();
  let best: SignedBootPolicy | undefined;
  for (const policy of await fleet.policies()) {
    if (model !== undefined && policy.model !== model) continue;
    if (best !== undefined && policy.epoch <= best.epoch) continue;
    const selection = pcrSelectionText(policy.pcrs);
    const current = digests.get(selection) ?? (await currentPcrDigest(tools, policy.pcrs));
    digests.set(selection, current);
    if (equalBytes(current, policy.pcrDigest) && isSignedBootPolicy(policy, policyKey)) best = policy;
  }
  return best;
}

async function currentPcrDigest(tools: TpmTools, pcrs: PcrSelection): Promise<Uint8Array> {
  await tools.run('pcrread', ['-o', 'pcrs.bin', pcrSelectionText(pcrs)]);
  const values = await takeFile(tools, 'pcrs.bin');
  if (values.length !== pcrs.length * PCR_BYTES)
    throw new IdentityError('device.tpm-failed', 'The TPM has no SHA-256 registers: enable that bank in the firmware.');
  return hash('sha256', values, 'buffer');
}

/** Has the TPM check a policy's signature. @returns Its ticket, good until the TPM is cleared. */
async function verifiedInTpm(tools: TpmTools, key: PublicJwk, policy: SignedBootPolicy): Promise<Uint8Array> {
  const at = (name: string): string => join(tools.directory, name);
  await writeFile(at('policy-key.pub'), sizedBytes(verificationKeyArea(key)));
  await writeFile(at('policy.message'), bootPolicyMessage(policy));
  await writeFile(at('policy.signature'), tpmSignature(policy.signature));
  await tools.run('loadexternal', ['-C', 'o', '-u', 'policy-key.pub', '-c', 'policy-key.ctx']);
  await tools.tidy();
  await tools.run('verifysignature', [
    ...['-c', 'policy-key.ctx', '-g', 'sha256', '-m', 'policy.message', '-s', 'policy.signature', '-t', 'ticket.new'],
  ]);
  await tools.tidy();
  return takeFile(tools, 'ticket.new');
}

/** Finds or makes the counter of epochs. @returns Its value. */
async function openCounter(tools: TpmTools): Promise<number> {
  const indices = (await tools.run('getcap', ['handles-nv-index'])).toLowerCase();
  if (!indices.includes(COUNTER)) {
    await tools.run('nvdefine', ['-C', 'o', '-a', COUNTER_DEFINITION, COUNTER]);
    await tools.run('nvincrement', ['-C', COUNTER, COUNTER]);
  }
  const description = (await tools.run('nvreadpublic', [COUNTER])).toLowerCase();
  if (!description.includes(toHex(epochCounterName())))
    throw new IdentityError('device.tpm-failed', `Another program uses the place of the epoch counter (${COUNTER}).`);
  return readCounter(tools);
}

async function readCounter(tools: TpmTools): Promise<number> {
  await tools.run('nvread', ['-C', COUNTER, '-o', 'counter.bin', COUNTER]);
  const bytes = await takeFile(tools, 'counter.bin');
  return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
}

async function advanceCounter(tools: TpmTools, epoch: number): Promise<boolean> {
  const from = await readCounter(tools);
  if (epoch - from > MOST_EPOCH_STEPS)
    throw new IdentityError(
      'device.tpm-policy',
      `The boot policy's epoch is more than ${MOST_EPOCH_STEPS} ahead of this TPM: sign one of a nearer epoch.`,
    );
  for (let value = from; value < epoch; value += 1) await tools.run('nvincrement', ['-C', COUNTER, COUNTER]);
  return from < epoch;
}

/** The storage key of the owner: the same at each call until the TPM is cleared. */
async function createPrimary(tools: TpmTools): Promise<void> {
  const template = ['-C', 'o', '-G', 'ecc256', '-g', 'sha256', '-a', PRIMARY_ATTRIBUTES];
  await tools.run('createprimary', [...template, '-c', 'primary.ctx']);
  await tools.tidy();
}

async function createKey(tools: TpmTools, name: string, algorithm: string, purpose: string): Promise<TpmKeyBlobs> {
  await tools.run('create', [
    ...['-C', 'primary.ctx', '-G', algorithm, '-g', 'sha256', '-a', `${KEY_ATTRIBUTES}|${purpose}`],
    ...['-L', 'authorized.bin', '-u', `${name}.pub`, '-r', `${name}.priv`],
  ]);
  await tools.tidy();
  return { public: await takeFile(tools, `${name}.pub`), private: await takeFile(tools, `${name}.priv`) };
}

function pointOf(blobs: TpmKeyBlobs): Uint8Array {
  const { key } = parseTpmPublic(publicAreaOf(blobs.public));
  if (key.kind !== 'ecc') throw new IdentityError('device.key-store', 'The file with the keys of the TPM is damaged.');
  return key.point;
}

function keyFileOf(directory: string): string {
  return join(directory, 'tpm-keys.json');
}
