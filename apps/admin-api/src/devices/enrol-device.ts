import { hash, randomBytes } from 'node:crypto';

import { generateP256KeyPair, isPrivateJwk, type KeyVault, type PublicJwk, softwareEcdh } from '@azaion/crypto';
import {
  type AttestationRules,
  type CheckedEvidence,
  checkEvidence,
  ENROLMENT_NONCE_BYTES,
  type EnrolmentProof,
  IdentityError,
  makeCredential,
  pcrSelectionText,
  type TpmCredential,
  type TpmEvidence,
  verifyEnrolment,
} from '@azaion/identity';
import { type Clock, equalBytes, toHex, utf8 } from '@azaion/kernel';
import type { Selectable } from 'kysely';

import type { AuditLog } from '../audit/audit-log.js';
import { type Database, isUniqueViolation, type Queries } from '../persistence/database.js';
import type { DeviceAttestationsTable, DeviceChallengesTable } from '../persistence/schema.js';
import { type Credentials, type LogIn, wrongCredentials } from '../tokens/log-in.js';
import type { Sessions } from '../tokens/sessions.js';
import { keepReference, type Registers, registersOf } from './reference-boot-state.js';

const CHALLENGE_SECONDS = 5 * 60;
/** Length of an activation's token and of the secret that its credential holds. */
export const ACTIVATION_BYTES = 32;

/** What a device's TPM must open before the device is enrolled. */
export interface Activation {
  /** Names this activation. */
  readonly token: Uint8Array;
  readonly credential: TpmCredential;
}

/** What the evidence of a device has shown. */
interface Attested extends Pick<Selectable<DeviceAttestationsTable>, 'endorsement_name' | 'pcrs' | 'pcr_digest'> {
  readonly registers: Registers;
}

interface EnrolledKeys {
  readonly deviceId: string;
  readonly signingKey: PublicJwk;
  /** 65-byte point. */
  readonly agreementKey: Uint8Array;
}

/** Registers a device's own keys, once. Source: docs/reference/sealed-wire.md, "Devices". */
export class EnrolDevice {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly logIn: LogIn,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    /** `undefined` where no device is attested. */
    private readonly rules: AttestationRules | undefined,
  ) {}

  /**
   * Begins an enrolment with the password of the device's account.
   *
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited` | `device.already-enrolled` | `device.revoked`.
   */
  async challenge(
    serial: string,
    credentials: Credentials,
  ): Promise<{ readonly nonce: Uint8Array; readonly agreementPoint: Uint8Array; readonly isEvidenceAsked: boolean }> {
    const device = await this.database.queries
      .selectFrom('devices')
      .select(['id', 'user_id', 'status'])
      .where('serial', '=', serial)
      .executeTakeFirst();
    const user = await this.logIn.authenticate(credentials, 'enrolment');
    if (device?.user_id !== user.id) throw wrongCredentials();
    assertMayEnrol(device.status);
    const nonce = randomBytes(ENROLMENT_NONCE_BYTES);
    const nonceHash = hash('sha256', nonce, 'buffer');
    const ephemeral = await generateP256KeyPair();
    const wrapped = await this.vault.wrap('service', toHex(nonceHash), utf8(JSON.stringify(ephemeral.privateJwk)));
    const nowMs = this.clock.nowMs();
    await this.database.transaction(async (on) => {
      await on.deleteFrom('device_challenges').where('expires_at', '<', new Date(nowMs)).execute();
      await on.deleteFrom('used_challenges').where('expires_at', '<', new Date(nowMs)).execute();
      await on
        .insertInto('device_challenges')
        .values({
          nonce_hash: nonceHash,
          device_id: device.id,
          wrapped_ephemeral: Buffer.from(wrapped),
          expires_at: new Date(nowMs + CHALLENGE_SECONDS * 1000),
        })
        .execute();
    });
    return { nonce, agreementPoint: ephemeral.point, isEvidenceAsked: this.rules !== undefined };
  }

  /**
   * Ends an enrolment, or with a TPM's evidence goes on to its activation. The challenge is used up whether the proofs hold or not.
   *
   * @param evidence - Untrusted. Ignored where this fleet trusts no makers of TPMs.
   * @returns What the TPM must open before the device is enrolled; `undefined` when it is enrolled.
   * @throws IdentityError `login.wrong-credentials` for an unknown or expired nonce | `device.already-enrolled` | `device.revoked` |
   *   `device.proof-invalid` | `attestation.replayed` | what `checkEvidence` throws.
   */
  async run(
    serial: string,
    proof: EnrolmentProof,
    evidence: TpmEvidence | undefined,
    address: string,
  ): Promise<Activation | undefined> {
    const nonceHash = hash('sha256', proof.nonce, 'buffer');
    const challenge = await this.takeChallenge(nonceHash);
    if (challenge === undefined) throw await this.unknownNonce(nonceHash, evidence);
    const opened = await this.vault.unwrap('service', toHex(nonceHash), challenge.wrapped_ephemeral);
    const ephemeral = JSON.parse(new TextDecoder().decode(opened)) as unknown;
    opened.fill(0);
    if (!isPrivateJwk(ephemeral)) throw wrongCredentials();
    await verifyEnrolment(serial, proof, softwareEcdh(ephemeral));
    const keys = { deviceId: challenge.device_id, signingKey: proof.signingKey, agreementKey: proof.agreementKey };
    if (evidence === undefined || this.rules === undefined) {
      await this.register(serial, keys, undefined, address);
      return undefined;
    }
    let checked: CheckedEvidence;
    try {
      checked = checkEvidence(evidence, { ...proof, serial }, this.rules, this.clock.nowMs());
    } catch (error) {
      await this.recordRefusal(serial, error, address);
      throw error;
    }
    return this.awaitActivation(keys, checked);
  }

  /**
   * Ends an enrolment with the answer that only the TPM of the evidence can give. It may be tried once.
   *
   * @throws IdentityError `attestation.activation-failed` | `attestation.tpm-taken` | `attestation.pcr-refused` | `device.already-enrolled` |
   *   `device.revoked`.
   */
  async activate(serial: string, token: Uint8Array, secret: Uint8Array, address: string): Promise<void> {
    const pending = await this.database.queries
      .deleteFrom('pending_attestations')
      .where('token_hash', '=', hash('sha256', token, 'buffer'))
      .returningAll()
      .executeTakeFirst();
    const isAnswered =
      pending !== undefined &&
      pending.expires_at.getTime() > this.clock.nowMs() &&
      equalBytes(pending.secret_hash, hash('sha256', secret, 'buffer'));
    if (!isAnswered) {
      const error = new IdentityError(
        'attestation.activation-failed',
        'The TPM has not shown that it holds both keys: start the enrolment again.',
      );
      // What was invented is nobody's attempt yet: strangers must not fill the log.
      if (pending !== undefined) await this.recordRefusal(serial, error, address);
      throw error;
    }
    const keys = {
      deviceId: pending.device_id,
      signingKey: pending.signing_key,
      agreementKey: new Uint8Array(pending.agreement_key),
    };
    try {
      await this.register(serial, keys, pending, address);
    } catch (error) {
      if (error instanceof IdentityError && error.code.startsWith('attestation.'))
        await this.recordRefusal(serial, error, address);
      throw error;
    }
  }

  private async takeChallenge(nonceHash: Buffer): Promise<Selectable<DeviceChallengesTable> | undefined> {
    const challenge = await this.database.queries
      .deleteFrom('device_challenges')
      .where('nonce_hash', '=', nonceHash)
      .returningAll()
      .executeTakeFirst();
    if (challenge === undefined) return undefined;
    await this.database.queries
      .insertInto('used_challenges')
      .values({ nonce_hash: nonceHash, expires_at: challenge.expires_at })
      .execute();
    return challenge.expires_at.getTime() <= this.clock.nowMs() ? undefined : challenge;
  }

  /** Evidence that comes twice is told apart: it is somebody's attempt, not a slow device. */
  private async unknownNonce(nonceHash: Buffer, evidence: TpmEvidence | undefined): Promise<IdentityError> {
    const used = await this.database.queries
      .selectFrom('used_challenges')
      .select('expires_at')
      .where('nonce_hash', '=', nonceHash)
      .executeTakeFirst();
    return evidence === undefined || used === undefined || used.expires_at.getTime() <= this.clock.nowMs()
      ? wrongCredentials()
      : new IdentityError('attestation.replayed', 'This evidence has been sent before: start the enrolment again.');
  }

  private async awaitActivation(
    keys: EnrolledKeys,
    { endorsement, attestation, pcrs, pcrValues, pcrDigest }: CheckedEvidence,
  ): Promise<Activation> {
    const token = randomBytes(ACTIVATION_BYTES);
    const secret = randomBytes(ACTIVATION_BYTES);
    const nowMs = this.clock.nowMs();
    await this.database.transaction(async (on) => {
      await on.deleteFrom('pending_attestations').where('expires_at', '<', new Date(nowMs)).execute();
      await on
        .insertInto('pending_attestations')
        .values({
          token_hash: hash('sha256', token, 'buffer'),
          device_id: keys.deviceId,
          secret_hash: hash('sha256', secret, 'buffer'),
          signing_key: JSON.stringify(keys.signingKey),
          agreement_key: Buffer.from(keys.agreementKey),
          endorsement_name: Buffer.from(endorsement.name),
          pcrs: pcrSelectionText(pcrs),
          pcr_digest: Buffer.from(pcrDigest),
          registers: JSON.stringify(registersOf(pcrs, pcrValues)),
          expires_at: new Date(nowMs + CHALLENGE_SECONDS * 1000),
        })
        .execute();
    });
    return { token, credential: await makeCredential(endorsement, attestation.name, secret) };
  }

  private async recordRefusal(serial: string, error: unknown, address: string): Promise<void> {
    if (!(error instanceof IdentityError)) return;
    await this.audit.record(this.database.queries, {
      event: 'device.attestation-refused',
      actor: { id: serial, address },
      subject: serial,
      details: { code: error.code },
    });
  }

  private async register(
    serial: string,
    { deviceId, signingKey, agreementKey }: EnrolledKeys,
    attested: Attested | undefined,
    address: string,
  ): Promise<void> {
    const now = new Date(this.clock.nowMs());
    try {
      await this.database.transaction(async (on) => {
        const device = await on
          .selectFrom('devices')
          .select(['id', 'user_id', 'serial', 'status'])
          .where('id', '=', deviceId)
          .forUpdate()
          .executeTakeFirst();
        if (device?.serial !== serial) throw wrongCredentials();
        assertMayEnrol(device.status);
        await on
          .updateTable('devices')
          .set({
            status: 'enrolled',
            signing_key: JSON.stringify(signingKey),
            agreement_key: Buffer.from(agreementKey),
            enrolled_at: now,
            attested_at: attested === undefined ? null : now,
          })
          .where('id', '=', deviceId)
          .execute();
        if (attested !== undefined) await this.attest(on, deviceId, attested, now);
        // Sessions from before were got with the password.
        await this.sessions.endAll(on, device.user_id);
        await this.audit.record(on, {
          event: 'device.enrolled',
          actor: { id: device.user_id, address },
          subject: serial,
          details: { attested: attested !== undefined },
        });
      });
    } catch (error) {
      if (isUniqueViolation(error))
        throw new IdentityError('device.proof-invalid', 'This agreement key belongs to another device.');
      throw error;
    }
  }

  private async attest(
    on: Queries,
    deviceId: string,
    { endorsement_name, pcrs, pcr_digest, registers }: Attested,
    now: Date,
  ): Promise<void> {
    const { numInsertedOrUpdatedRows } = await on
      .insertInto('device_attestations')
      .values({ device_id: deviceId, endorsement_name, pcrs, pcr_digest })
      .onConflict((conflict) => conflict.column('endorsement_name').doNothing())
      .executeTakeFirst();
    if (numInsertedOrUpdatedRows === 0n)
      throw new IdentityError(
        'attestation.tpm-taken',
        'This TPM stands for another device already: an administrator must reset that one first.',
      );
    if (this.rules !== undefined)
      await keepReference(on, { deviceId, endorsementName: endorsement_name, registers }, this.rules, now);
  }
}

function assertMayEnrol(status: 'registered' | 'enrolled' | 'revoked'): void {
  if (status === 'enrolled')
    throw new IdentityError(
      'device.already-enrolled',
      'The device is enrolled already: an administrator must reset it first.',
    );
  if (status === 'revoked')
    throw new IdentityError('device.revoked', 'This device has been revoked: ask an administrator.');
}
