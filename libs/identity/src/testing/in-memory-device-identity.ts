import { generateSoftwareKeys, SoftwareDeviceIdentity } from '../software-keys.js';

/** A device identity that lives as long as the object. */
export class InMemoryDeviceIdentity extends SoftwareDeviceIdentity {
  /** An identity with new keys. */
  static async create(): Promise<InMemoryDeviceIdentity> {
    return new InMemoryDeviceIdentity('credentials', await generateSoftwareKeys());
  }
}
