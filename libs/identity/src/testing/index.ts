export { FixedHardwareProbe } from './fixed-hardware-probe.js';
export { describeDeviceIdentity } from './device-identity-contract.js';
export { InMemoryDeviceIdentity } from './in-memory-device-identity.js';
export { InMemoryJwksSource } from './in-memory-jwks-source.js';
