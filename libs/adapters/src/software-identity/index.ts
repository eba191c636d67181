export { CredentialsDeviceIdentity } from './credentials-device-identity.js';
