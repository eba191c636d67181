export {
  ACCESS_TOKEN_TYPE,
  type AccessTokenClaims,
  AccessTokenIssuer,
  type AccessTokenProfile,
  LOCAL_TOKEN_TYPE,
} from './access-token.js';
export {
  ASSERTION_TOLERANCE_SECONDS,
  type DeviceAssertion,
  MAX_ASSERTION_SECONDS,
  readDeviceAssertion,
  signDeviceAssertion,
  verifyDeviceAssertion,
} from './device-assertion.js';
export { type DeviceConf, formatDeviceConf, parseDeviceConf } from './device-conf.js';
export { type Binding, DeviceIdentity } from './device-identity.js';
export { DeviceStateKey, type DeviceStatePurpose } from './device-state-key.js';
export {
  ENROLMENT_NONCE_BYTES,
  type EnrolmentChallenge,
  type EnrolmentProof,
  proveEnrolment,
  verifyEnrolment,
} from './enrolment.js';
export { IDENTITY_ERRORS, IdentityError, type IdentityErrorCode } from './errors.js';
export {
  defaultFolderPolicy,
  ENGINES_FOLDER,
  type FolderAccess,
  type FolderPolicy,
  type FolderReader,
  isAttestedFor,
  MAX_LEASE_SECONDS,
  mayOpenAttested,
  mayRead,
  mayWrite,
  MIN_LEASE_SECONDS,
} from './folder-policy.js';
export {
  type ComponentLock,
  GUESS_COST,
  type GuessCost,
  LOCKED_SECRET_BYTES,
  lockToComponents,
  openWithComponents,
  parseComponentLock,
  whyNotLockable,
} from './hardware/component-lock.js';
export { type HardwareFacts, HardwareProbe } from './hardware/hardware-probe.js';
export { legacyFingerprint } from './hardware/legacy-fingerprint.js';
export { type ComponentKind, type HardwareComponent, stableComponents } from './hardware/stable-components.js';
export { type JwksKey, JwksSource, parseJwks } from './jwks.js';
export {
  CLOCK_TOLERANCE_SECONDS,
  JWKS_COOLDOWN_MS,
  JWKS_MAX_AGE_MS,
  JwksTokenVerifier,
  type TokenExpectation,
} from './jwks-token-verifier.js';
export { LOCAL_TOKEN_SECONDS, type LocalAccount, LocalTokens } from './local-tokens.js';
export { parseRole, type Role, ROLES, WORKING_ROLES } from './roles.js';
export { generateSoftwareKeys, isSoftwareKeys, SoftwareDeviceIdentity, type SoftwareKeys } from './software-keys.js';
export {
  authorizedPolicyDigest,
  bootPoliciesToJson,
  bootPolicyDigest,
  bootPolicyMessage,
  type BootState,
  EPOCH_COUNTER_INDEX,
  epochCounterName,
  epochOperand,
  isEpoch,
  isSignedBootPolicy,
  parseBootPolicies,
  pcrDigestOf,
  policyReference,
  type SignedBootPolicy,
  signBootPolicy,
  tpmSignature,
} from './tpm/boot-policy.js';
export { EndorsementTrust, MAX_CERTIFICATE_BYTES } from './tpm/endorsement-trust.js';
export { makeCredential, type TpmCredential } from './tpm/make-credential.js';
export { parsePcrSelection, PCR_BYTES, type PcrSelection, pcrSelectionText } from './tpm/pcr-selection.js';
export {
  type AttestationRules,
  type AttestedEnrolment,
  checkEvidence,
  type CheckedEvidence,
  type EvidenceSource,
  isEvidenceSource,
  quoteBinding,
  type SignedTpmStatement,
  type TpmEvidence,
} from './tpm/tpm-evidence.js';
export {
  parseTpmPublic,
  parseTpmSignature,
  pointToTpm,
  publicAreaOf,
  sizedBytes,
  tpmName,
  type TpmPublic,
  verificationKeyArea,
  xOfTpmPoint,
} from './tpm/tpm-public.js';
export { type Caller, TokenVerifier } from './token-verifier.js';
