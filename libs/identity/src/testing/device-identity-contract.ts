/// <reference types="jest" />
import { pointFromJwk, softwareEcdh, generateP256KeyPair, jwkFromPoint, verifyRaw } from '@azaion/crypto';
import { ManualClock, utf8 } from '@azaion/kernel';

import { signDeviceAssertion, verifyDeviceAssertion } from '../device-assertion.js';
import type { DeviceIdentity } from '../device-identity.js';
import { proveEnrolment, verifyEnrolment } from '../enrolment.js';

/**
 * What every {@link DeviceIdentity} must do.
 *
 * @param createIdentity - An identity with keys of its own at every call.
 */
export function describeDeviceIdentity(name: string, createIdentity: () => Promise<DeviceIdentity>): void {
  describe(`${name} as a device identity`, () => {
    it('has two different keys on P-256 that stay the same', async () => {
      const identity = await createIdentity();
      const agreement = await identity.agreementPoint();
      const signing = pointFromJwk(await identity.signingKey());
      expect(jwkFromPoint(agreement)).toBeDefined();
      expect(agreement).not.toEqual(signing);
      expect(await identity.agreementPoint()).toEqual(agreement);
      expect(pointFromJwk(await identity.signingKey())).toEqual(signing);
    });

    it('shows no private member with its public key', async () => {
      const identity = await createIdentity();
      expect(Object.keys(await identity.signingKey()).sort()).toEqual(['crv', 'kty', 'x', 'y']);
    });

    it('shares no key with another identity', async () => {
      const [one, other] = [await createIdentity(), await createIdentity()];
      expect(await one.agreementPoint()).not.toEqual(await other.agreementPoint());
      expect(await one.signingKey()).not.toEqual(await other.signingKey());
    });

    it.each([0, 1, 1000])('signs %i bytes so that its public key verifies them and nothing else', async (sizeBytes) => {
      const identity = await createIdentity();
      const message = new Uint8Array(sizeBytes).fill(7);
      const signature = await identity.sign(message);
      expect(signature).toHaveLength(64);
      expect(verifyRaw(await identity.signingKey(), message, signature)).toBe(true);
      expect(verifyRaw(await identity.signingKey(), utf8('another message'), signature)).toBe(false);
    });

    it('agrees with the other side on the same 32 bytes', async () => {
      const identity = await createIdentity();
      const other = await generateP256KeyPair();
      const shared = await identity.ecdh(other.point);
      expect(shared).toHaveLength(32);
      expect(shared).toEqual(await softwareEcdh(other.privateJwk)(await identity.agreementPoint()));
    });

    it('refuses points that are not on the curve', async () => {
      const identity = await createIdentity();
      const off = (await generateP256KeyPair()).point;
      off[64]! ^= 1;
      for (const bad of [off, new Uint8Array(65), off.subarray(0, 33), new Uint8Array(0)])
        await expect(identity.ecdh(bad)).rejects.toThrow();
    });

    it('can enrol and log in', async () => {
      const identity = await createIdentity();
      const server = await generateP256KeyPair();
      const challenge = { nonce: new Uint8Array(32).fill(9), agreementPoint: server.point };
      const proof = await proveEnrolment(identity, 'azj-0000', challenge);
      await expect(verifyEnrolment('azj-0000', proof, softwareEcdh(server.privateJwk))).resolves.toBeUndefined();
      const clock = new ManualClock(1_800_000_000_000);
      const assertion = await signDeviceAssertion(identity, 'azj-0000', 'azaion', clock);
      expect(verifyDeviceAssertion(assertion, proof.signingKey, 'azaion', clock).serial).toBe('azj-0000');
    });
  });
}
