import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { generateP256KeyPair, type P256KeyPair, signRaw } from '@azaion/crypto';
import {
  type AttestationRules,
  type AttestedEnrolment,
  checkEvidence,
  EndorsementTrust,
  makeCredential,
  parseTpmPublic,
  pcrDigestOf,
  type SignedTpmStatement,
  signBootPolicy,
  type TpmEvidence,
  tpmSignature,
} from '@azaion/identity';
import { toHex } from '@azaion/kernel';
import {
  describeWith,
  type SoftwareTpm,
  startSoftwareTpm,
  type TempDirectory,
  tempDirectory,
  testTpmAuthority,
  type TestTpmAuthority,
} from '@azaion/testing';

import { TpmDeviceIdentity } from './tpm-device-identity.js';

const PCRS = [0, 2, 4, 7];
const SECRET = new Uint8Array(32).fill(0x5a);
const zero = new Uint8Array(32);

describeWith('tpm', 'the evidence of a TPM', () => {
  let authority: TestTpmAuthority;
  let stranger: TestTpmAuthority;
  let tpm: SoftwareTpm;
  let other: SoftwareTpm;
  let directory: TempDirectory;
  let device: TpmDeviceIdentity;
  let otherDevice: TpmDeviceIdentity;
  let pem: string;
  let enrolment: AttestedEnrolment;
  let evidence: TpmEvidence;
  let otherEvidence: TpmEvidence;
  let policyKey: P256KeyPair;

  beforeAll(async () => {
    authority = await testTpmAuthority();
    stranger = await testTpmAuthority();
    directory = await tempDirectory();
    policyKey = await generateP256KeyPair();
    tpm = await startSoftwareTpm({ endorsement: authority });
    other = await startSoftwareTpm({ endorsement: stranger });
    pem = (await Promise.all(authority.certificateFiles.map((file) => readFile(file, 'utf8')))).join('\n');
    device = await identityOf(tpm, 'a');
    otherDevice = await identityOf(other, 'b');
    enrolment = await enrolmentOf(device);
    evidence = await device.evidenceFor(enrolment);
    otherEvidence = await otherDevice.evidenceFor(await enrolmentOf(otherDevice));
  }, 120_000);
  afterAll(async () => {
    await device.close();
    await otherDevice.close();
    await tpm.remove();
    await other.remove();
    await authority.remove();
    await stranger.remove();
    await directory.remove();
  });

  const identityOf = (its: SoftwareTpm, name: string): Promise<TpmDeviceIdentity> =>
    TpmDeviceIdentity.open({
      tcti: its.tcti,
      timeoutMs: 20_000,
      directory: join(directory.path, name),
      pcrs: PCRS,
      fleet: {
        key: policyKey.publicJwk,
        policies: () =>
          Promise.resolve([
            signBootPolicy(
              { model: 'a', epoch: 1, pcrs: PCRS, pcrDigest: pcrDigestOf([zero, zero, zero, zero]) },
              policyKey.privateJwk,
            ),
          ]),
      },
      log: () => undefined,
    });
  const enrolmentOf = async (identity: TpmDeviceIdentity): Promise<AttestedEnrolment> => ({
    serial: 'azj-0001',
    nonce: new Uint8Array(32).fill(7),
    signingKey: await identity.signingKey(),
    agreementKey: await identity.agreementPoint(),
  });
  const rules = (changes: Partial<AttestationRules> = {}): AttestationRules => ({
    endorsement: EndorsementTrust.of(pem, ''),
    pcrs: PCRS,
    allowedPcrDigests: undefined,
    policies: { key: policyKey.publicJwk, models: ['a'] },
    ...changes,
  });
  const check = (
    changes: Partial<TpmEvidence> = {},
    { rules: its = rules(), about = enrolment, nowMs = Date.now() } = {},
  ): unknown => checkEvidence({ ...evidence, ...changes }, about, its, nowMs);
  const refused = (code: string): unknown => expect.objectContaining({ code: `attestation.${code}` });

  it('holds: a maker has certified the TPM, the keys are its own, the state was quoted for this enrolment', () => {
    expect(check()).toMatchObject({ pcrs: PCRS, pcrDigest: pcrDigestOf([zero, zero, zero, zero]) });
    expect(parseTpmPublic(evidence.endorsementKey).key.kind).toBe('rsa');
  });

  describe('is completed by activation', () => {
    it('which only the TPM with both keys can do', async () => {
      const { endorsement, attestation } = checkEvidence(evidence, enrolment, rules(), Date.now());
      const credential = await makeCredential(endorsement, attestation.name, SECRET);
      expect(await device.activate(credential)).toEqual(SECRET);
      await expect(otherDevice.activate(credential)).rejects.toEqual(refused('activation-failed'));
      const foreign = await makeCredential(endorsement, parseTpmPublic(otherEvidence.attestationKey).name, SECRET);
      await expect(device.activate(foreign)).rejects.toEqual(refused('activation-failed'));
      expect([...(await tpm.handles()), ...(await other.handles())]).toEqual([]);
    });

    it('also where the endorsement key is on a curve', async () => {
      const at = (name: string): string => join(directory.path, name);
      await tpm.tool('createek', '-G', 'ecc', '-c', at('ek.ctx'), '-u', at('ek.tss'), '-f', 'tss');
      await tpm.tool('flushcontext', '-t');
      await tpm.tool('readpublic', '-c', at('ek.ctx'), '-n', at('ek.name'), '-f', 'tss', '-o', at('ek.pub'));
      await tpm.tool('flushcontext', '-t');
      const area = (await readFile(at('ek.pub'))).subarray(2);
      await tpm.tool(
        'createak',
        '-C',
        at('ek.ctx'),
        '-c',
        at('ak.ctx'),
        '-G',
        'ecc',
        '-g',
        'sha256',
        '-s',
        'ecdsa',
        '-n',
        at('ak.name'),
      );
      await tpm.tool('flushcontext', '-t');
      await tpm.tool('flushcontext', '-l');
      const credential = await makeCredential(parseTpmPublic(area), await readFile(at('ak.name')), SECRET);
      const header = Buffer.from('badcc0de00000001', 'hex');
      await writeFile(at('cred'), Buffer.concat([header, credential.credentialBlob, credential.encryptedSecret]));
      await tpm.tool('startauthsession', '--policy-session', '-S', at('session'));
      await tpm.tool('policysecret', '-S', at('session'), '-c', 'e');
      await tpm.tool(
        ...['activatecredential', '-c', at('ak.ctx'), '-C', at('ek.ctx'), '-i', at('cred'), '-o', at('opened')],
        ...['-P', `session:${at('session')}`],
      );
      expect(new Uint8Array(await readFile(at('opened')))).toEqual(SECRET);
      await tpm.tool('flushcontext', '-t');
      await tpm.tool('flushcontext', at('session')).catch(() => tpm.tool('flushcontext', '-l'));
    });
  });

  describe('is refused', () => {
    it('for another nonce, serial or key: what was quoted yesterday does not count today', async () => {
      const others: readonly Partial<AttestedEnrolment>[] = [{ nonce: new Uint8Array(32) }, { serial: 'azj-0002' }];
      for (const change of others)
        expect(() => check({}, { about: { ...enrolment, ...change } })).toThrow(refused('wrong-nonce') as Error);
      for (const change of [
        { signingKey: (await generateP256KeyPair()).publicJwk },
        { agreementKey: (await generateP256KeyPair()).point },
      ])
        expect(() => check({}, { about: { ...enrolment, ...change } })).toThrow(refused('foreign-key') as Error);
    });

    it("with another TPM's attestation key, certification or quote", () => {
      const { attestationKey, agreementCertified, signingCertified, quote } = otherEvidence;
      for (const change of [{ attestationKey }, { agreementCertified }, { signingCertified }, { quote }])
        expect(() => check(change)).toThrow(refused('foreign-key') as Error);
    });

    it('with statements in the place of one another', () => {
      const { agreementCertified, signingCertified, quote } = evidence;
      for (const change of [
        { agreementCertified: signingCertified },
        { signingCertified: agreementCertified },
        { signingCertified: quote },
        { quote: signingCertified },
      ])
        expect(() => check(change)).toThrow(refused('foreign-key') as Error);
    });

    it('with statements that software signed in the name of the key', async () => {
      const forger = await generateP256KeyPair();
      const forged: SignedTpmStatement = {
        statement: evidence.quote.statement,
        signature: tpmSignature(signRaw(forger.privateJwk, evidence.quote.statement)),
      };
      expect(() => check({ quote: forged })).toThrow(refused('foreign-key') as Error);
    });

    it('with altered registers', () => {
      const altered = [zero, zero, zero, new Uint8Array(32).fill(1)];
      expect(() => check({ pcrValues: altered })).toThrow(refused('pcr-refused') as Error);
      expect(() => check({ pcrs: [0, 2, 4], pcrValues: altered.slice(1) })).toThrow(refused('pcr-refused') as Error);
      expect(() => check({ pcrs: [0, 2, 4, 8] })).toThrow(refused('pcr-refused') as Error);
      expect(() => check({}, { rules: rules({ pcrs: [0, 2, 4, 7, 9] }) })).toThrow(refused('pcr-refused') as Error);
    });

    it('for a boot state that is not on the list', () => {
      const digest = toHex(pcrDigestOf([zero, zero, zero, zero]));
      expect(check({}, { rules: rules({ allowedPcrDigests: new Set([digest]) }) })).toBeDefined();
      const elsewhere = rules({ allowedPcrDigests: new Set([toHex(zero)]) });
      expect(() => check({}, { rules: elsewhere })).toThrow(refused('pcr-refused') as Error);
    });

    it.each([
      ['agreementKey', 1],
      ['agreementKey', 4],
      ['agreementKey', 5],
      ['agreementKey', 6],
      ['agreementKey', 11],
      ['agreementKey', 16],
      ['agreementKey', 18],
      ['signingKey', 1],
      ['signingKey', 17],
      ['attestationKey', 1],
      ['attestationKey', 16],
      ['endorsementKey', 1],
      ['endorsementKey', 18],
    ] as const)('when an attribute of the %s is another (bit %i)', (key, bit) => {
      const area = Uint8Array.from(evidence[key]);
      const attributes = new DataView(area.buffer, 4, 4); // after type and name algorithm
      attributes.setUint32(0, attributes.getUint32(0) ^ (1 << bit));
      expect(() => check({ [key]: area })).toThrow(refused('key-attributes') as Error);
    });

    it("when the keys obey another policy key than the fleet's, or another model's policies", async () => {
      const strange = { key: (await generateP256KeyPair()).publicJwk, models: ['a'] };
      expect(() => check({}, { rules: rules({ policies: strange }) })).toThrow(refused('key-attributes') as Error);
      const model = { key: policyKey.publicJwk, models: ['b', 'c'] };
      expect(() => check({}, { rules: rules({ policies: model }) })).toThrow(refused('key-attributes') as Error);
    });

    it('when no trusted maker has certified the TPM, unless its key is on the list', async () => {
      const about = await enrolmentOf(otherDevice);
      const ofOther = (its: AttestationRules): unknown => checkEvidence(otherEvidence, about, its, Date.now());
      expect(() => ofOther(rules())).toThrow(refused('ek-untrusted') as Error);
      const name = toHex(parseTpmPublic(otherEvidence.endorsementKey).name);
      const listed = rules({ endorsement: EndorsementTrust.of(pem, `# a bench device\n${name.toUpperCase()}\n`) });
      expect(ofOther(listed)).toBeDefined();
    });

    it('without a certificate, with that of another TPM, and with one that cannot be read', () => {
      expect(() => check({ endorsementCertificate: undefined })).toThrow(refused('ek-untrusted') as Error);
      const { endorsementCertificate } = otherEvidence;
      expect(() => check({ endorsementCertificate })).toThrow(refused('ek-untrusted') as Error);
      expect(() => check({ endorsementCertificate: new Uint8Array(9) })).toThrow(refused('malformed') as Error);
    });

    it('when the issuers do not lead to a root that is trusted', async () => {
      const issuer = await readFile(authority.certificateFiles[1]!, 'utf8');
      const lonely = rules({ endorsement: EndorsementTrust.of(issuer, '') });
      expect(() => check({}, { rules: lonely })).toThrow(refused('ek-untrusted') as Error);
    });

    it('outside the time for which the certificate was made', () => {
      const { validFromDate, validToDate } = new X509Certificate(evidence.endorsementCertificate!);
      for (const nowMs of [validFromDate.getTime() - 86_400_000, validToDate.getTime() + 86_400_000])
        expect(() => check({}, { nowMs })).toThrow(refused('ek-expired') as Error);
    });
  });
});
