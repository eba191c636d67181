import { P256_POINT_BYTES } from '@azaion/crypto';
import {
  ENROLMENT_NONCE_BYTES,
  type EnrolmentChallenge,
  type EnrolmentProof,
  IDENTITY_ERRORS,
  IdentityError,
  type IdentityErrorCode,
  pcrSelectionText,
  type SignedTpmStatement,
  type TpmCredential,
  type TpmEvidence,
} from '@azaion/identity';
import { type DomainError, Secret, toBase64Url } from '@azaion/kernel';

import { fixedToken } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, type ApiProblem } from './api-client.js';

const MAX_TOKEN_CHARS = 8192;
const MAX_ANSWER_BYTES = 64 * 1024;
const TOKEN = /^[A-Za-z0-9_.-]+$/;
const LONGEST_TOKEN_LIFE_SECONDS = 366 * 86_400;

const ACTIVATION_BYTES = 32;
const MAX_CREDENTIAL_BYTES = 1024;

/** What a device's TPM must open before the device is enrolled. */
export interface EnrolmentActivation {
  /** Names this activation, 32 bytes. */
  readonly token: Uint8Array;
  readonly credential: TpmCredential;
}

/** What a login gives. The access token is untrusted until a `TokenVerifier` has accepted it. */
export interface IssuedTokens {
  readonly accessToken: Secret<string>;
  readonly expiresInSeconds: number;
  readonly refreshToken: Secret<string> | undefined;
}

/** Logins and enrolment over HTTP (F1). Every method also throws ResourceError `api.unreachable` | `api.unexpected` and IdentityError `login.rate-limited`. */
export class HttpAuthApi {
  constructor(private readonly client: ApiClient) {}

  /** @see ApiClient.serverTimeMs */
  serverTimeMs(): number | undefined {
    return this.client.serverTimeMs();
  }

  /** Logs a person or an unenrolled device in. @throws IdentityError `login.wrong-credentials`, whatever was wrong. */
  login(email: string, password: Secret<string>): Promise<IssuedTokens> {
    return this.tokens('/login', { email, password: password.reveal() });
  }

  /** Logs an enrolled device in (RFC 7523). @throws IdentityError `login.wrong-credentials`. */
  loginDevice(assertion: string): Promise<IssuedTokens> {
    return this.tokens('/login/device', { assertion });
  }

  /** Trades a refresh token for new tokens; it is used up. @throws IdentityError `login.wrong-credentials`. */
  refresh(refreshToken: Secret<string>): Promise<IssuedTokens> {
    return this.tokens('/token/refresh', { refreshToken: refreshToken.reveal() });
  }

  /** Ends the session of an access token. */
  async logout(accessToken: string): Promise<void> {
    await this.client.call({
      method: 'POST',
      path: '/logout',
      tokens: fixedToken(accessToken),
      expect: [204],
      maxBytes: MAX_ANSWER_BYTES,
    });
  }

  /** Begins an enrolment. @throws IdentityError `login.wrong-credentials` | `device.already-enrolled`. */
  enrolmentChallenge(serial: string, email: string, password: Secret<string>): Promise<EnrolmentChallenge> {
    return this.client.json(
      {
        method: 'POST',
        path: apiPath('devices', serial, 'enrolment', 'challenge'),
        json: { email, password: password.reveal() },
        expect: [200],
        maxBytes: MAX_ANSWER_BYTES,
      },
      (value) => {
        const answer = new ApiAnswer(value);
        return {
          nonce: answer.bytes('nonce', ENROLMENT_NONCE_BYTES),
          agreementPoint: answer.bytes('agreementPoint', P256_POINT_BYTES),
          isEvidenceAsked: answer.has('evidence') && answer.text('evidence', 16, /^[a-z]+$/) === 'tpm',
        };
      },
      authRefusal,
    );
  }

  /**
   * Registers a device's keys.
   *
   * @param evidence - Of the device's TPM.
   * @returns What the TPM must open before the device is enrolled; `undefined` when it is enrolled.
   * @throws IdentityError `device.already-enrolled` | `device.proof-invalid` | `login.wrong-credentials` | `attestation.…`.
   */
  enrol(serial: string, proof: EnrolmentProof, evidence?: TpmEvidence): Promise<EnrolmentActivation | undefined> {
    const call = {
      method: 'POST',
      path: apiPath('devices', serial, 'enrolment'),
      json: {
        nonce: toBase64Url(proof.nonce),
        signingKey: proof.signingKey,
        agreementKey: toBase64Url(proof.agreementKey),
        signingProof: toBase64Url(proof.signingProof),
        agreementProof: toBase64Url(proof.agreementProof),
        ...(evidence === undefined ? {} : { evidence: evidenceJson(evidence) }),
      },
      maxBytes: MAX_ANSWER_BYTES,
    } as const;
    return this.client.json(
      { ...call, expect: [202, 204] },
      (value, status) => {
        if (status === 204) return undefined;
        const answer = new ApiAnswer(value);
        return {
          token: answer.bytes('activation', ACTIVATION_BYTES),
          credential: {
            credentialBlob: answer.bytes('credentialBlob', 1, MAX_CREDENTIAL_BYTES),
            encryptedSecret: answer.bytes('encryptedSecret', 1, MAX_CREDENTIAL_BYTES),
          },
        };
      },
      enrolmentRefusal,
    );
  }

  /** Ends an enrolment with what the TPM took out of its credential. @throws IdentityError as {@link enrol}. */
  async activateEnrolment(serial: string, token: Uint8Array, secret: Uint8Array): Promise<void> {
    await this.client.call(
      {
        method: 'POST',
        path: apiPath('devices', serial, 'enrolment', 'activation'),
        json: { activation: toBase64Url(token), secret: toBase64Url(secret) },
        expect: [204],
        maxBytes: MAX_ANSWER_BYTES,
      },
      enrolmentRefusal,
    );
  }

  private tokens(path: string, json: object): Promise<IssuedTokens> {
    return this.client.json(
      { method: 'POST', path, json, expect: [200], maxBytes: MAX_ANSWER_BYTES },
      (value) => {
        const answer = new ApiAnswer(value);
        return {
          accessToken: new Secret(answer.text('access_token', MAX_TOKEN_CHARS, TOKEN)),
          expiresInSeconds: answer.count('expires_in', 1, LONGEST_TOKEN_LIFE_SECONDS),
          refreshToken: answer.has('refresh_token')
            ? new Secret(answer.text('refresh_token', MAX_TOKEN_CHARS, TOKEN))
            : undefined,
        };
      },
      authRefusal,
    );
  }
}

function evidenceJson(evidence: TpmEvidence): object {
  const statement = (it: SignedTpmStatement): object => ({
    statement: toBase64Url(it.statement),
    signature: toBase64Url(it.signature),
  });
  const { endorsementCertificate } = evidence;
  return {
    endorsementKey: toBase64Url(evidence.endorsementKey),
    ...(endorsementCertificate === undefined ? {} : { endorsementCertificate: toBase64Url(endorsementCertificate) }),
    attestationKey: toBase64Url(evidence.attestationKey),
    agreementKey: toBase64Url(evidence.agreementKey),
    signingKey: toBase64Url(evidence.signingKey),
    agreementCertified: statement(evidence.agreementCertified),
    signingCertified: statement(evidence.signingCertified),
    pcrs: pcrSelectionText(evidence.pcrs),
    pcrValues: evidence.pcrValues.map(toBase64Url),
    quote: statement(evidence.quote),
  };
}

/** Refused evidence says why by its code; everything else as in a login. */
function enrolmentRefusal(problem: ApiProblem): DomainError | undefined {
  const code = Object.keys(IDENTITY_ERRORS).find((one) => one === problem.code && one.startsWith('attestation.'));
  return code === undefined
    ? authRefusal(problem)
    : new IdentityError(code as IdentityErrorCode, `The Admin API does not accept the evidence of the TPM (${code}).`, {
        cause: { status: problem.status },
      });
}

function authRefusal(problem: ApiProblem): DomainError | undefined {
  const options = { cause: { status: problem.status, code: problem.code } };
  switch (problem.status) {
    case 409:
      if (problem.code === 'device.already-enrolled')
        return new IdentityError(
          'device.already-enrolled',
          'The device is enrolled already: an administrator must reset it first.',
          options,
        );
      return new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.', options);
    case 400: // a form that no account can have
    case 401:
    case 403:
      return problem.code === 'device.revoked'
        ? new IdentityError('device.revoked', 'This device has been revoked: ask an administrator.', options)
        : new IdentityError('login.wrong-credentials', 'The e-mail address or the password is wrong.', options);
    case 422:
      return new IdentityError(
        'device.proof-invalid',
        'The Admin API did not accept the proof of the device keys.',
        options,
      );
    default:
      return undefined;
  }
}
