import { generateP256KeyPair, type P256KeyPair, signRaw } from '@azaion/crypto';
import { concatBytes, toHex, u32be } from '@azaion/kernel';

import { authorizedPolicyDigest, pcrDigestOf, tpmSignature } from './boot-policy.js';
import { EndorsementTrust } from './endorsement-trust.js';
import { pcrSelectionBytes, type PcrSelection } from './pcr-selection.js';
import { TPM_ALG, TPM_ECC_NIST_P256, TPMA_OBJECT } from './tpm-algorithms.js';
import {
  type AttestationRules,
  type AttestedEnrolment,
  checkEvidence,
  type CheckedEvidence,
  isEvidenceSource,
  quoteBinding,
  type SignedTpmStatement,
  type TpmEvidence,
} from './tpm-evidence.js';
import { sizedBytes, tpmName, u16be } from './tpm-public.js';
import { SENTENCE } from '../testing/sentence.js';

// What a TPM of this form would say; `tpm-attestation.spec.ts` of the adapters asks one.
const CERTIFY = 0x8017;
const QUOTE = 0x8018;
const PCRS: PcrSelection = [0, 2, 4, 7];
const VALUES = PCRS.map((pcr) => new Uint8Array(32).fill(pcr));
const { fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, restricted, decrypt, sign } =
  TPMA_OBJECT;
const RESIDENT = fixedTpm | fixedParent | sensitiveDataOrigin;

const [endorsement, attestation, agreement, signing, policyKey, stranger] = await Promise.all([
  generateP256KeyPair(),
  generateP256KeyPair(),
  generateP256KeyPair(),
  generateP256KeyPair(),
  generateP256KeyPair(),
  generateP256KeyPair(),
]);
const POLICY = authorizedPolicyDigest(policyKey.publicJwk, 'carrier-a');

interface KeyForm {
  readonly attributes: number;
  readonly policy?: Uint8Array;
  readonly symmetric?: Uint8Array;
  readonly scheme?: Uint8Array;
}

/** `TPMT_PUBLIC` of a key on P-256. */
function areaOf({ point }: P256KeyPair, { attributes, policy = POLICY, symmetric, scheme }: KeyForm): Uint8Array {
  return concatBytes(
    u16be(TPM_ALG.ecc),
    u16be(TPM_ALG.sha256),
    u32be(attributes),
    sizedBytes(policy),
    symmetric ?? u16be(TPM_ALG.null),
    scheme ?? u16be(TPM_ALG.null),
    u16be(TPM_ECC_NIST_P256),
    u16be(TPM_ALG.null),
    sizedBytes(point.subarray(1, 33)),
    sizedBytes(point.subarray(33)),
  );
}

const ECDSA = concatBytes(u16be(TPM_ALG.ecdsa), u16be(TPM_ALG.sha256));
const STORAGE = concatBytes(u16be(TPM_ALG.aes), u16be(128), u16be(TPM_ALG.cfb));
const ENDORSEMENT = areaOf(endorsement, { attributes: RESIDENT | restricted | decrypt, symmetric: STORAGE });
const ATTESTATION = areaOf(attestation, { attributes: RESIDENT | restricted | sign, scheme: ECDSA });
const AGREEMENT: KeyForm = { attributes: RESIDENT | adminWithPolicy | decrypt };
const SIGNING: KeyForm = { attributes: RESIDENT | adminWithPolicy | sign, scheme: ECDSA };

/** `TPMS_ATTEST`, signed by an attestation key. */
function stated(
  kind: number,
  extraData: Uint8Array,
  attested: Uint8Array,
  by: P256KeyPair = attestation,
): SignedTpmStatement {
  const statement = concatBytes(
    u32be(0xff54_4347),
    u16be(kind),
    sizedBytes(tpmName(ATTESTATION)),
    sizedBytes(extraData),
    new Uint8Array(17 + 8),
    attested,
  );
  return { statement, signature: tpmSignature(signRaw(by.privateJwk, statement)) };
}

function certified(area: Uint8Array, by?: P256KeyPair): SignedTpmStatement {
  return stated(CERTIFY, new Uint8Array(), concatBytes(sizedBytes(tpmName(area)), sizedBytes(new Uint8Array(34))), by);
}

const ENROLMENT: AttestedEnrolment = {
  serial: 'azj-0001',
  nonce: new Uint8Array(32).fill(7),
  signingKey: signing.publicJwk,
  agreementKey: agreement.point,
};

function quoted(
  values: readonly Uint8Array[] = VALUES,
  pcrs: PcrSelection = PCRS,
  binding: Uint8Array = quoteBinding(ENROLMENT),
): SignedTpmStatement {
  return stated(QUOTE, binding, concatBytes(pcrSelectionBytes(pcrs), sizedBytes(pcrDigestOf(values))));
}

/** A device's keys in these forms, with their certificates. */
function keysOf(forms: { agreement?: KeyForm; signing?: KeyForm }): Partial<TpmEvidence> {
  const agreementKey = areaOf(agreement, forms.agreement ?? AGREEMENT);
  const signingKey = areaOf(signing, forms.signing ?? SIGNING);
  return {
    agreementKey,
    signingKey,
    agreementCertified: certified(agreementKey),
    signingCertified: certified(signingKey),
  };
}

const EVIDENCE = {
  endorsementKey: ENDORSEMENT,
  endorsementCertificate: undefined,
  attestationKey: ATTESTATION,
  ...keysOf({}),
  pcrs: PCRS,
  pcrValues: VALUES,
  quote: quoted(),
} as TpmEvidence;
const RULES: AttestationRules = {
  endorsement: EndorsementTrust.of('', toHex(tpmName(ENDORSEMENT))),
  pcrs: PCRS,
  allowedPcrDigests: undefined,
  policies: { key: policyKey.publicJwk, models: ['carrier-b', 'carrier-a'] },
};

function check(
  changed: Partial<TpmEvidence> = {},
  rules: Partial<AttestationRules> = {},
  about: Partial<AttestedEnrolment> = {},
): CheckedEvidence {
  return checkEvidence({ ...EVIDENCE, ...changed }, { ...ENROLMENT, ...about }, { ...RULES, ...rules }, 0);
}

const refused = (code: string): Error =>
  expect.objectContaining({ code: `attestation.${code}`, message: SENTENCE }) as Error;

describe('checkEvidence', () => {
  it('finds keys that a TPM made, for this enrolment, in the state that it quotes', () => {
    const found = check();
    expect(found).toMatchObject({ pcrs: PCRS, pcrValues: VALUES, pcrDigest: pcrDigestOf(VALUES) });
    expect([found.endorsement.name, found.attestation.name]).toEqual([tpmName(ENDORSEMENT), tpmName(ATTESTATION)]);
  });

  it('refuses a TPM that nobody trusts', () => {
    expect(() => check({}, { endorsement: EndorsementTrust.of('', '') })).toThrow(refused('ek-untrusted'));
  });

  describe('refuses with other attributes', () => {
    const bits = Array.from({ length: 32 }, (_, bit) => bit);
    const decisive = [
      fixedTpm,
      fixedParent,
      sensitiveDataOrigin,
      TPMA_OBJECT.encryptedDuplication,
      restricted,
      decrypt,
      sign,
    ];
    const isDecisive = (bit: number): boolean => decisive.includes(1 << bit);

    it.each(bits.filter(isDecisive))('an endorsement or attestation key, bit %i', (bit) => {
      const trusting = { check: () => undefined } as unknown as EndorsementTrust;
      const flipped = (area: Uint8Array): Uint8Array => {
        const changed = Uint8Array.from(area);
        const attributes = new DataView(changed.buffer, 4, 4);
        attributes.setUint32(0, (attributes.getUint32(0) ^ (1 << bit)) >>> 0);
        return changed;
      };
      for (const changed of [{ endorsementKey: flipped(ENDORSEMENT) }, { attestationKey: flipped(ATTESTATION) }])
        expect(() => check(changed, { endorsement: trusting })).toThrow(refused('key-attributes'));
    });

    it.each(bits.filter((bit) => isDecisive(bit) || 1 << bit === userWithAuth))(
      'a key of the device, bit %i',
      (bit) => {
        for (const forms of [
          { agreement: { ...AGREEMENT, attributes: AGREEMENT.attributes ^ (1 << bit) } },
          { signing: { ...SIGNING, attributes: SIGNING.attributes ^ (1 << bit) } },
        ])
          expect(() => check(keysOf(forms))).toThrow(refused('key-attributes'));
      },
    );

    it('no key for a bit that says nothing about where it may go and what it may do', () => {
      expect(
        check(keysOf({ agreement: { ...AGREEMENT, attributes: AGREEMENT.attributes | TPMA_OBJECT.noDa } })),
      ).toBeDefined();
    });
  });

  it('refuses an attestation key that signs otherwise than by ECDSA on P-256', () => {
    for (const scheme of [u16be(TPM_ALG.null), concatBytes(u16be(TPM_ALG.rsassa), u16be(TPM_ALG.sha256))])
      expect(() =>
        check({ attestationKey: areaOf(attestation, { attributes: RESIDENT | restricted | sign, scheme }) }),
      ).toThrow(refused('key-attributes'));
  });

  describe('refuses keys that obey', () => {
    it('no policy at all, whatever the fleet demands', () => {
      for (const forms of [
        { agreement: { ...AGREEMENT, policy: new Uint8Array() } },
        { signing: { ...SIGNING, policy: new Uint8Array() } },
      ])
        expect(() => check(keysOf(forms), { policies: undefined })).toThrow(refused('key-attributes'));
    });

    it('another policy than the fleet’s, where it has one', () => {
      const policy = new Uint8Array(32).fill(1);
      for (const forms of [{ agreement: { ...AGREEMENT, policy } }, { signing: { ...SIGNING, policy } }]) {
        expect(() => check(keysOf(forms))).toThrow(refused('key-attributes'));
        expect(check(keysOf(forms), { policies: undefined })).toBeDefined();
      }
      for (const policies of [
        { key: stranger.publicJwk, models: ['carrier-a'] },
        { key: policyKey.publicJwk, models: ['carrier-b'] },
        { key: policyKey.publicJwk, models: [] },
      ])
        expect(() => check({}, { policies })).toThrow(refused('key-attributes'));
    });
  });

  describe('refuses for other keys than those that enrol', () => {
    it.each([
      ['signing', { signingKey: stranger.publicJwk }],
      ['agreement', { agreementKey: stranger.point }],
    ])('another %s key', (_, about) => {
      // The quote is bound to the keys as well: made anew, only the keys are wrong.
      const quote = quoted(VALUES, PCRS, quoteBinding({ ...ENROLMENT, ...about }));
      expect(() => check({ quote }, {}, about)).toThrow(refused('foreign-key'));
    });

    it('a key of another kind', () => {
      const rsa = concatBytes(
        u16be(TPM_ALG.rsa),
        u16be(TPM_ALG.sha256),
        u32be(AGREEMENT.attributes),
        sizedBytes(POLICY),
        u16be(TPM_ALG.null),
        u16be(TPM_ALG.null),
        u16be(2048),
        u32be(0),
        sizedBytes(new Uint8Array(256).fill(0xff)),
      );
      expect(() => check({ agreementKey: rsa, agreementCertified: certified(rsa) })).toThrow(refused('foreign-key'));
      const quoting = { attestationKey: Uint8Array.from(rsa) };
      new DataView(quoting.attestationKey.buffer, 4, 4).setUint32(0, RESIDENT | restricted | sign);
      expect(() => check(quoting)).toThrow(refused('key-attributes'));
      // The scheme's number alone makes no key of it.
      const pretending = concatBytes(
        rsa.subarray(0, 10 + POLICY.length),
        u16be(TPM_ALG.null),
        ECDSA,
        rsa.subarray(10 + POLICY.length + 4),
      );
      new DataView(pretending.buffer, 4, 4).setUint32(0, RESIDENT | restricted | sign);
      expect(() => check({ attestationKey: pretending })).toThrow(refused('key-attributes'));
    });
  });

  describe('refuses statements', () => {
    const { agreementCertified, signingCertified, quote } = EVIDENCE;

    it('in the place of one another', () => {
      for (const changed of [
        { agreementCertified: signingCertified },
        { signingCertified: agreementCertified },
        { agreementCertified: quote },
        { quote: signingCertified },
      ])
        expect(() => check(changed)).toThrow(refused('foreign-key'));
    });

    it('that another key has signed', () => {
      for (const changed of [
        { agreementCertified: certified(EVIDENCE.agreementKey, stranger) },
        { signingCertified: certified(EVIDENCE.signingKey, stranger) },
        { quote: { ...quote, signature: signingCertified.signature } },
      ])
        expect(() => check(changed)).toThrow(refused('foreign-key'));
    });
  });

  it('refuses a quote that was made for another enrolment', () => {
    for (const about of [{ nonce: new Uint8Array(32) }, { serial: 'azj-0002' }, { serial: 'azj-000' }])
      expect(() => check({}, {}, about)).toThrow(refused('wrong-nonce'));
  });

  it('binds a quote to every part of the enrolment', () => {
    const others: readonly Partial<AttestedEnrolment>[] = [
      {},
      { nonce: new Uint8Array(32) },
      { serial: 'azj-0002' },
      { signingKey: stranger.publicJwk },
      { agreementKey: stranger.point },
    ];
    const bindings = others.map((changed) => toHex(quoteBinding({ ...ENROLMENT, ...changed })));
    expect(new Set(bindings).size).toBe(others.length);
  });

  describe('refuses registers', () => {
    it('that are not those that were quoted', () => {
      const changed = VALUES.map((value, at) => (at === 3 ? new Uint8Array(32) : value));
      expect(() => check({ pcrValues: changed })).toThrow(refused('pcr-refused'));
      expect(() => check({ pcrs: [0, 2, 4, 8] })).toThrow(refused('pcr-refused'));
      expect(() => check({ pcrs: [0, 2, 4, 7, 8] })).toThrow(refused('pcr-refused'));
    });

    it('that were cut at other places, so that their digest is the same', () => {
      const all = concatBytes(...VALUES);
      expect(() => check({ pcrValues: [all] })).toThrow(refused('pcr-refused'));
      expect(() =>
        check({ pcrValues: [all.subarray(0, 31), all.subarray(31, 64), all.subarray(64, 96), all.subarray(96)] }),
      ).toThrow(refused('pcr-refused'));
      expect(() => check({ pcrValues: [...VALUES, new Uint8Array()] })).toThrow(refused('pcr-refused'));
    });

    it('that leave out what is required, and take more than that', () => {
      const rules = { pcrs: [0, 7] };
      expect(check({}, rules)).toBeDefined();
      expect(() => check({}, { pcrs: [0, 7, 9] })).toThrow(refused('pcr-refused'));
    });

    it('of a state that is not on the list, where there is one', () => {
      const allowed = new Set(['00'.repeat(32), toHex(pcrDigestOf(VALUES))]);
      expect(check({}, { allowedPcrDigests: allowed })).toBeDefined();
      for (const others of [new Set<string>(), new Set(['00'.repeat(32)])])
        expect(() => check({}, { allowedPcrDigests: others })).toThrow(refused('pcr-refused'));
    });
  });
});

describe('isEvidenceSource', () => {
  const evidenceFor = (): undefined => undefined;
  const activate = (): undefined => undefined;

  it('takes who can show evidence and activate, and nobody else', () => {
    expect(isEvidenceSource({ evidenceFor, activate })).toBe(true);
    for (const other of [{}, { evidenceFor }, { activate }]) expect(isEvidenceSource(other)).toBe(false);
  });
});
