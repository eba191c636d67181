import { P256_POINT_BYTES } from '@azaion/crypto';
import { ENROLMENT_NONCE_BYTES, type EnrolmentChallenge, type EnrolmentProof, IdentityError } from '@azaion/identity';
import { type DomainError, Secret, toBase64Url } from '@azaion/kernel';

import { fixedToken } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, type ApiProblem } from './api-client.js';

const MAX_TOKEN_CHARS = 8192;
const MAX_ANSWER_BYTES = 64 * 1024;
const TOKEN = /^[A-Za-z0-9_.-]+$/;
const LONGEST_TOKEN_LIFE_SECONDS = 366 * 86_400;

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
        };
      },
      authRefusal,
    );
  }

  /** Registers a device's keys. @throws IdentityError `device.already-enrolled` | `device.proof-invalid` | `login.wrong-credentials`. */
  async enrol(serial: string, proof: EnrolmentProof): Promise<void> {
    await this.client.call(
      {
        method: 'POST',
        path: apiPath('devices', serial, 'enrolment'),
        json: {
          nonce: toBase64Url(proof.nonce),
          signingKey: proof.signingKey,
          agreementKey: toBase64Url(proof.agreementKey),
          signingProof: toBase64Url(proof.signingProof),
          agreementProof: toBase64Url(proof.agreementProof),
        },
        expect: [204],
        maxBytes: MAX_ANSWER_BYTES,
      },
      authRefusal,
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
