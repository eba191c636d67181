export {
  HardwareDeviceIdentity,
  type HardwareIdentityOptions,
  whyNoHardwareBinding,
} from './hardware-device-identity.js';
export { SystemHardwareProbe } from './system-hardware-probe.js';
