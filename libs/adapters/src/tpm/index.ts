export { inspectTpm, type TpmInspection } from './inspect-tpm.js';
export { probeTpm } from './probe-tpm.js';
export { type FleetBootPolicy, hasTpmKeys, TpmDeviceIdentity, type TpmIdentityOptions } from './tpm-device-identity.js';
export { TpmRunningClock } from './tpm-running-clock.js';
export type { TpmAccess } from './tpm-tools.js';
