export { type Binding, DeviceIdentity } from './device-identity.js';
export { IDENTITY_ERRORS, IdentityError, type IdentityErrorCode } from './errors.js';
export { parseRole, type Role, ROLES, WORKING_ROLES } from './roles.js';
export { type Caller, TokenVerifier } from './token-verifier.js';
