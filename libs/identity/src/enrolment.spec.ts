import { generateP256KeyPair, type P256KeyPair, softwareEcdh } from '@azaion/crypto';

import { type EnrolmentProof, proveEnrolment, verifyEnrolment } from './enrolment.js';
import { generateSoftwareKeys, SoftwareDeviceIdentity } from './software-keys.js';
import { describeDeviceIdentity } from './testing/device-identity-contract.js';
import { InMemoryDeviceIdentity } from './testing/in-memory-device-identity.js';
import { SENTENCE } from './testing/sentence.js';

const SERIAL = 'azj-0001';
const NONCE = new Uint8Array(32).fill(5);
const REFUSED = { code: 'device.proof-invalid', message: SENTENCE };

describeDeviceIdentity('InMemoryDeviceIdentity', () => InMemoryDeviceIdentity.create());

describe('verifyEnrolment', () => {
  let server: P256KeyPair;
  let proof: EnrolmentProof;

  beforeEach(async () => {
    server = await generateP256KeyPair();
    const device = await InMemoryDeviceIdentity.create();
    proof = await proveEnrolment(device, SERIAL, { nonce: NONCE, agreementPoint: server.point });
  });

  const verify = (changed: Partial<EnrolmentProof>, serial = SERIAL): Promise<void> =>
    verifyEnrolment(serial, { ...proof, ...changed }, softwareEcdh(server.privateJwk));

  it('accepts the proof of a device that holds both keys', async () => {
    await expect(verify({})).resolves.toBeUndefined();
  });

  it('refuses the proof for another serial or another nonce', async () => {
    await expect(verify({}, 'azj-0002')).rejects.toMatchObject(REFUSED);
    await expect(verify({}, '')).rejects.toMatchObject(REFUSED);
    await expect(verify({ nonce: new Uint8Array(32) })).rejects.toMatchObject(REFUSED);
    await expect(verify({ nonce: NONCE.subarray(1) })).rejects.toMatchObject(REFUSED);
  });

  it('refuses one good proof beside one for another serial or another nonce', async () => {
    const device = await InMemoryDeviceIdentity.create();
    const agreementPoint = server.point;
    const whole = await proveEnrolment(device, SERIAL, { nonce: NONCE, agreementPoint });
    await expect(verify(whole)).resolves.toBeUndefined();
    for (const { signingProof, agreementProof } of [
      await proveEnrolment(device, 'azj-0002', { nonce: NONCE, agreementPoint }),
      await proveEnrolment(device, SERIAL, { nonce: new Uint8Array(32), agreementPoint }),
    ]) {
      await expect(verify({ ...whole, signingProof })).rejects.toMatchObject(REFUSED);
      await expect(verify({ ...whole, agreementProof })).rejects.toMatchObject(REFUSED);
    }
  });

  it('refuses a nonce of another length, though both proofs are about it', async () => {
    const device = await InMemoryDeviceIdentity.create();
    for (const sizeBytes of [0, 31, 33]) {
      const nonce = new Uint8Array(sizeBytes).fill(5);
      await expect(
        verify(await proveEnrolment(device, SERIAL, { nonce, agreementPoint: server.point })),
      ).rejects.toMatchObject(REFUSED);
    }
  });

  it('refuses keys of somebody else beside proofs of its own', async () => {
    const other = await InMemoryDeviceIdentity.create();
    await expect(verify({ signingKey: await other.signingKey() })).rejects.toMatchObject(REFUSED);
    await expect(verify({ agreementKey: await other.agreementPoint() })).rejects.toMatchObject(REFUSED);
  });

  it('refuses an agreement key that was only seen, not held', async () => {
    const [victim, thief] = [await InMemoryDeviceIdentity.create(), await InMemoryDeviceIdentity.create()];
    const stolenPoint = new (class extends SoftwareDeviceIdentity {
      override agreementPoint(): Promise<Uint8Array> {
        return victim.agreementPoint();
      }
      override signingKey(): ReturnType<SoftwareDeviceIdentity['signingKey']> {
        return thief.signingKey();
      }
      override sign(message: Uint8Array): Promise<Uint8Array> {
        return thief.sign(message);
      }
    })('credentials', await generateSoftwareKeys());
    const forged = await proveEnrolment(stolenPoint, SERIAL, { nonce: NONCE, agreementPoint: server.point });
    await expect(verify(forged)).rejects.toMatchObject(REFUSED);
  });

  it('refuses one key in both places', async () => {
    const { agreement } = await generateSoftwareKeys();
    const single = new SoftwareDeviceIdentity('credentials', { agreement, signing: agreement });
    const forged = await proveEnrolment(single, SERIAL, { nonce: NONCE, agreementPoint: server.point });
    await expect(verify(forged)).rejects.toMatchObject(REFUSED);
  });

  it('refuses a proof that was made for another ephemeral key', async () => {
    const other = await generateP256KeyPair();
    await expect(verifyEnrolment(SERIAL, proof, softwareEcdh(other.privateJwk))).rejects.toMatchObject(REFUSED);
  });

  it('refuses changed, short and missing proofs and keys off the curve', async () => {
    const flipped = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
    const changes: Partial<EnrolmentProof>[] = [
      { signingProof: flipped(proof.signingProof) },
      { signingProof: proof.signingProof.subarray(1) },
      { signingProof: new Uint8Array(64) },
      { agreementProof: flipped(proof.agreementProof) },
      { agreementProof: new Uint8Array(0) },
      { agreementKey: flipped(proof.agreementKey) },
      { agreementKey: new Uint8Array(65) },
      { signingKey: { ...proof.signingKey, x: proof.signingKey.y } },
    ];
    for (const change of changes) await expect(verify(change)).rejects.toMatchObject(REFUSED);
  });
});
