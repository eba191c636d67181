import { MAX_SIGNED_DOCUMENT_CHARS, P256_POINT_BYTES } from '@azaion/crypto';
import { IdentityError } from '@azaion/identity';
import { type DomainError, type ResourceName, UUID_PATTERN } from '@azaion/kernel';
import { type GrantAnswer, ResourceError } from '@azaion/split-resource';

import type { AccessTokens } from './access-tokens.js';
import { ApiAnswer } from './api-answer.js';
import { type ApiClient, apiPath, type ApiProblem } from './api-client.js';

const JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const MAX_BATCH = 256;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_SEALED_KEY_BYTES = 1024;

/** Grants that an ApiAdmin makes for devices, to be carried to them. */
export class HttpDeviceGrants {
  constructor(
    private readonly client: ApiClient,
    private readonly tokens: AccessTokens,
    private readonly signal?: AbortSignal,
  ) {}

  /**
   * Asks for grants, in batches. Nothing in them has been verified.
   *
   * @param leaseSeconds - How long they hold, an hour to 90 days; what the folder says when left out.
   * @throws ResourceError `resource.not-found` | `resource.forbidden` and as every call; IdentityError `device.not-enrolled` | `device.revoked`.
   */
  async of(
    resource: ResourceName,
    version: number,
    serials: readonly string[],
    leaseSeconds?: number,
  ): Promise<ReadonlyMap<string, Omit<GrantAnswer, 'urls'>>> {
    const grants = new Map<string, Omit<GrantAnswer, 'urls'>>();
    for (let from = 0; from < serials.length; from += MAX_BATCH)
      for (const [serial, grant] of await this.batch(
        resource,
        version,
        serials.slice(from, from + MAX_BATCH),
        leaseSeconds,
      ))
        grants.set(serial, grant);
    return grants;
  }

  private batch(
    resource: ResourceName,
    version: number,
    serials: readonly string[],
    leaseSeconds: number | undefined,
  ): Promise<readonly (readonly [string, Omit<GrantAnswer, 'urls'>])[]> {
    return this.client.json(
      {
        method: 'POST',
        path: apiPath('sealed', resource.folder, resource.name, 'grants', 'batch'),
        tokens: this.tokens,
        signal: this.signal,
        json: { version, serials, ...(leaseSeconds === undefined ? {} : { leaseSeconds }) },
        expect: [200],
        maxBytes: MAX_ANSWER_BYTES,
      },
      (value) =>
        new ApiAnswer(value).list('grants', serials.length).map((answer) => {
          const sealed = answer.object('sealedRecipeKey');
          return [
            answer.text('serial', 64),
            {
              grantId: answer.text('grantId', 36, UUID_PATTERN),
              statement: answer.text('statement', MAX_SIGNED_DOCUMENT_CHARS, JWS),
              grantToken: answer.text('grantToken', MAX_SIGNED_DOCUMENT_CHARS, JWS),
              sealedRecipeKey: {
                enc: sealed.bytes('enc', P256_POINT_BYTES),
                ciphertext: sealed.bytes('ciphertext', 1, MAX_SEALED_KEY_BYTES),
              },
              verified: false,
            },
          ] as const;
        }),
      deviceRefusal,
    );
  }
}

function deviceRefusal(problem: ApiProblem): DomainError | undefined {
  const options = { cause: { status: problem.status, code: problem.code } };
  switch (problem.code) {
    case 'device.not-found':
      return new ResourceError('resource.not-found', 'One of the named devices does not exist.', options);
    case 'device.not-enrolled':
      return new IdentityError(
        'device.not-enrolled',
        'One of the named devices is not enrolled: it has no key yet.',
        options,
      );
    case 'device.revoked':
      return new IdentityError('device.revoked', 'One of the named devices has been revoked.', options);
    case 'folder.forbidden':
    case 'folder.attestation-required':
      return new ResourceError('resource.forbidden', 'One of the named devices may not read this folder.', options);
    default:
      return problem.status === 404
        ? new ResourceError('resource.not-found', 'There is no such resource or version.', options)
        : undefined;
  }
}
