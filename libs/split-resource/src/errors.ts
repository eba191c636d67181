import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which publishing and fetching can fail, and who has to act on it. */
export const RESOURCE_ERRORS = {
  'resource.not-found': 'caller',
  'resource.forbidden': 'caller',
  'resource.rollback-refused': 'caller', // it must be asked for by number
  'resource.integrity': 'publisher', // bytes are not what was signed
  'resource.unsupported-format': 'operator', // made by a newer one
  'resource.no-space': 'operator',
  'resource.range-invalid': 'caller',
  'resource.too-large': 'caller',
  'bundle.invalid': 'publisher', // not a bundle, or parts that do not belong together
  'bundle.unsupported-format': 'operator', // made by a newer release
  'bundle.not-for-device': 'operator', // it holds no grant for this device
  'recipe.invalid': 'publisher', // the recipe is not what was signed
  'pack.not-found': 'upstream', // the CDN does not have a pack
  'pack.truncated': 'upstream', // the CDN has the beginning of a pack only
  'pack.forbidden': 'upstream', // the signed URL is no longer good
  'pack.unavailable': 'upstream', // the CDN cannot be reached, or does not answer as it must
  'pack.exists': 'caller', // a pack is written once
  'cdn.missing': 'upstream', // the object store does not have an object, or not all of it
  'cdn.unavailable': 'upstream',
  'api.unauthorized': 'caller', // the token is not accepted
  'api.forbidden': 'caller',
  'api.unreachable': 'upstream', // no answer, or none that is good for anything
  'api.unexpected': 'upstream', // outside the contract
  'api.grant-gone': 'upstream', // it was used up, or withdrawn in the middle
  'upload.not-found': 'caller', // it was given up, or is somebody else's
  'upload.conflict': 'caller', // it has been completed, or changed meanwhile
  'upload.pack-gone': 'caller', // what it was to reuse was deleted meanwhile
  'upload.refused': 'publisher', // a commit check failed
  'upload.quota-exceeded': 'operator', // the quota of the folder or device
  'upload.too-many-drafts': 'caller', // of this account
} as const satisfies Record<string, Culprit>;

/** Codes of the split-resource lib. */
export type ResourceErrorCode = keyof typeof RESOURCE_ERRORS;

/** A publish or fetch that could not go on. */
export class ResourceError extends DomainError<ResourceErrorCode> {}
