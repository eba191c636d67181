export {
  chooseBinding,
  type ChosenIdentity,
  type IdentitySettings,
  openDeviceIdentity,
} from './open-device-identity.js';
