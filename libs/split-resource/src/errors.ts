import { type Culprit, DomainError } from '@azaion/kernel';

/** Every way in which publishing and fetching can fail, and who has to act on it. */
export const RESOURCE_ERRORS = {
  'resource.not-found': 'caller',
  'resource.forbidden': 'caller',
  'resource.rollback-refused': 'caller', // an older version needs an explicit request
  'resource.integrity': 'publisher', // bytes are not what was signed
  'resource.unsupported-format': 'operator', // a newer release is needed
  'resource.no-space': 'operator',
  'resource.range-invalid': 'caller',
  'resource.too-large': 'caller',
  'bundle.invalid': 'publisher', // not a bundle, or parts that do not belong together
  'bundle.unsupported-format': 'operator', // a newer release is needed
  'bundle.not-for-device': 'operator', // it was made for others
  'recipe.invalid': 'publisher',
  'pack.not-found': 'upstream',
  'pack.forbidden': 'upstream', // renew the URL
  'pack.unavailable': 'upstream', // try again later
  'pack.exists': 'caller', // written once: compare the size
  'cdn.missing': 'upstream',
  'cdn.unavailable': 'upstream',
  'api.unauthorized': 'caller', // the token is not accepted
  'api.forbidden': 'caller',
  'api.unreachable': 'upstream',
  'api.unexpected': 'upstream', // an answer outside the contract
  'api.grant-gone': 'upstream', // ask for a new grant
  'upload.not-found': 'caller',
  'upload.conflict': 'caller',
  'upload.pack-gone': 'caller', // seal the named packs again
  'upload.refused': 'publisher', // a commit check failed
  'upload.quota-exceeded': 'operator', // the folder is full
  'upload.too-many-drafts': 'caller', // finish other uploads first
} as const satisfies Record<string, Culprit>;

/** Codes of the split-resource lib. */
export type ResourceErrorCode = keyof typeof RESOURCE_ERRORS;

/** A publish or fetch that could not go on. */
export class ResourceError extends DomainError<ResourceErrorCode> {}
