import { hash, randomBytes } from 'node:crypto';

import { generateP256KeyPair, isPrivateJwk, type KeyVault, softwareEcdh } from '@azaion/crypto';
import { ENROLMENT_NONCE_BYTES, type EnrolmentProof, IdentityError, verifyEnrolment } from '@azaion/identity';
import { type Clock, toHex, utf8 } from '@azaion/kernel';

import { type AuditLog } from '../audit/audit-log.js';
import { type Database, isUniqueViolation } from '../persistence/database.js';
import { type Credentials, type LogIn, wrongCredentials } from '../tokens/log-in.js';
import { type Sessions } from '../tokens/sessions.js';

const CHALLENGE_SECONDS = 5 * 60;

/** Registers a device's own keys, once. Source: docs/reference/sealed-wire.md, "Devices". */
export class EnrolDevice {
  constructor(
    private readonly database: Database,
    private readonly vault: KeyVault,
    private readonly logIn: LogIn,
    private readonly sessions: Sessions,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Begins an enrolment with the password of the device's account.
   *
   * @throws IdentityError `login.wrong-credentials` | `login.rate-limited` | `device.already-enrolled` | `device.revoked`.
   */
  async challenge(
    serial: string,
    credentials: Credentials,
  ): Promise<{ readonly nonce: Uint8Array; readonly agreementPoint: Uint8Array }> {
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
    return { nonce, agreementPoint: ephemeral.point };
  }

  /**
   * Ends an enrolment. The challenge is used up whether the proofs hold or not.
   *
   * @throws IdentityError `login.wrong-credentials` for an unknown or expired nonce | `device.already-enrolled` | `device.revoked` | `device.proof-invalid`.
   */
  async run(serial: string, proof: EnrolmentProof, address: string): Promise<void> {
    const nonceHash = hash('sha256', proof.nonce, 'buffer');
    const challenge = await this.database.queries
      .deleteFrom('device_challenges')
      .where('nonce_hash', '=', nonceHash)
      .returningAll()
      .executeTakeFirst();
    if (!challenge || challenge.expires_at.getTime() <= this.clock.nowMs()) throw wrongCredentials();
    const opened = await this.vault.unwrap('service', toHex(nonceHash), challenge.wrapped_ephemeral);
    const ephemeral = JSON.parse(new TextDecoder().decode(opened)) as unknown;
    opened.fill(0);
    if (!isPrivateJwk(ephemeral)) throw wrongCredentials();
    await verifyEnrolment(serial, proof, softwareEcdh(ephemeral));
    try {
      await this.register(serial, challenge.device_id, proof, address);
    } catch (error) {
      if (isUniqueViolation(error))
        throw new IdentityError('device.proof-invalid', 'This agreement key belongs to another device.');
      throw error;
    }
  }

  private async register(serial: string, deviceId: string, proof: EnrolmentProof, address: string): Promise<void> {
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
          signing_key: JSON.stringify(proof.signingKey),
          agreement_key: Buffer.from(proof.agreementKey),
          enrolled_at: new Date(this.clock.nowMs()),
        })
        .where('id', '=', deviceId)
        .execute();
      // Sessions from before were got with the password.
      await this.sessions.endAll(on, device.user_id);
      await this.audit.record(on, {
        event: 'device.enrolled',
        actor: { id: device.user_id, address },
        subject: serial,
      });
    });
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
