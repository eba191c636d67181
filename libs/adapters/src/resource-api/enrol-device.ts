import { type DeviceIdentity, IdentityError, isEvidenceSource, proveEnrolment } from '@azaion/identity';
import type { Secret } from '@azaion/kernel';

import type { HttpAuthApi } from './http-auth-api.js';

/** The account that a device enrols with. */
export interface DeviceAccountCredentials {
  readonly serial: string;
  readonly email: string;
  readonly password: Secret<string>;
}

/** What came of an enrolment. */
export interface Enrolment {
  readonly attested: boolean;
  /** Why not, where the Admin API would have looked at evidence. */
  readonly whyNot: string | undefined;
}

/** What an enrolment needs of the Admin API. */
export type EnrolmentApi = Pick<HttpAuthApi, 'activateEnrolment' | 'enrol' | 'enrolmentChallenge'>;

/**
 * Enrols a device: proves both keys, and with a TPM shows its evidence where the Admin API asks for it.
 * A TPM that cannot make evidence enrols without; evidence that is refused ends the enrolment.
 *
 * @throws IdentityError `login.wrong-credentials` | `device.already-enrolled` | `device.revoked` | `device.proof-invalid` | `attestation.…`; ResourceError `api.unreachable`.
 */
export async function enrolDevice(
  api: EnrolmentApi,
  identity: DeviceIdentity,
  { serial, email, password }: DeviceAccountCredentials,
): Promise<Enrolment> {
  const challenge = await api.enrolmentChallenge(serial, email, password);
  const proof = await proveEnrolment(identity, serial, challenge);
  const isAsked = challenge.isEvidenceAsked === true;
  if (!isAsked || !isEvidenceSource(identity)) {
    await api.enrol(serial, proof);
    return { attested: false, whyNot: isAsked ? `the binding is ${identity.binding}` : undefined };
  }
  const evidence = await identity.evidenceFor({ ...proof, serial }).catch((error: unknown) => {
    if (error instanceof IdentityError) return error;
    throw error;
  });
  if (evidence instanceof IdentityError) {
    await api.enrol(serial, proof);
    return { attested: false, whyNot: evidence.message };
  }
  const activation = await api.enrol(serial, proof, evidence);
  if (activation === undefined) return { attested: false, whyNot: 'the Admin API did not look at the evidence' };
  await api.activateEnrolment(serial, activation.token, await identity.activate(activation.credential));
  return { attested: true, whyNot: undefined };
}
