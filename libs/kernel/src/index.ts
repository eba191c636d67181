export { type ByteRange, wantedRange } from './byte-range.js';
export {
  concatBytes,
  copyBytes,
  equalBytes,
  fromBase64Url,
  releaseBytes,
  toBase64Url,
  toHex,
  u32be,
  utf8,
} from './bytes.js';
export { Clock, ManualClock, SystemClock } from './clock.js';
export { type Culprit, DomainError, type SafeDetails } from './domain-error.js';
export {
  isValidName,
  NAME_ERRORS,
  NAME_PATTERN,
  NameError,
  type NameErrorCode,
  type ResourceName,
  resourceName,
  resourcePath,
  UUID_PATTERN,
} from './names.js';
export { Secret } from './secret.js';
