import { readFile } from 'node:fs/promises';

import { generateP256KeyPair, jwkFromPoint, type PrivateJwk, type PublicJwk, signRaw } from '@azaion/crypto';
import {
  authorizedPolicyDigest,
  bootPoliciesToJson,
  checkEvidence,
  EndorsementTrust,
  lockToComponents,
  makeCredential,
  openWithComponents,
  parseBootPolicies,
  parseComponentLock,
  parsePcrSelection,
  parseTpmPublic,
  parseTpmSignature,
  PCR_BYTES,
  pcrDigestOf,
  pointToTpm,
  publicAreaOf,
  quoteBinding,
  signBootPolicy,
  sizedBytes,
  stableComponents,
  type TpmEvidence,
  tpmName,
  type TpmPublic,
  tpmSignature,
  verificationKeyArea,
  xOfTpmPoint,
} from '@azaion/identity';
import { concatBytes, toHex, u32be } from '@azaion/kernel';

import type { FuzzTarget } from './targets.js';

const CERTIFICATES = new URL('../../../libs/identity/src/tpm/fixtures/ek-certificates.json', import.meta.url);
const NOW_MS = Date.UTC(2030, 0);
const PCRS = [0, 2, 4, 7];
const MODEL = 'a';
/** Argon2id at its cheapest: what is tried is the form of the lock, not its cost. */
const CHEAP = { memoryKib: 8, passes: 1 };
/** TPMA_OBJECT: fixed to its TPM and made there; then what a key is for. */
const RESIDENT = 0x32;
const RESTRICTED = 1 << 16;
const DECRYPT = 1 << 17;
const SIGN = 1 << 18;

/** Readers of what a TPM, or somebody in its place, says of itself; and of the files that hold what a device's keys are tied to. */
export async function tpmTargets(): Promise<FuzzTarget[]> {
  return [...(await structures()), ...(await evidence()), ...(await certificates()), ...(await files())];
}

async function structures(): Promise<FuzzTarget[]> {
  const { publicJwk, privateJwk, point } = await generateP256KeyPair();
  const area = verificationKeyArea(publicJwk);
  const signature = tpmSignature(signRaw(privateJwk, area));
  return [
    { name: 'tpm-public', seeds: [Buffer.from(area), rsaArea()], read: (bytes) => parseTpmPublic(bytes) },
    { name: 'tpm-sized-public', seeds: [Buffer.from(sizedBytes(area))], read: (bytes) => publicAreaOf(bytes) },
    { name: 'tpm-signature', seeds: [Buffer.from(signature)], read: (bytes) => parseTpmSignature(bytes) },
    { name: 'tpm-point', seeds: [Buffer.from(pointToTpm(point))], read: (bytes) => xOfTpmPoint(bytes) },
    {
      // Whoever has got a key onto the list of allowed ones may have chosen it oddly.
      name: 'tpm-credential',
      seeds: [rsaArea(), Buffer.from(area)],
      read: (bytes) => makeCredential(parseTpmPublic(bytes), tpmName(area), new Uint8Array(32)),
    },
  ];
}

/** A 2048-bit RSA storage key. Its modulus is only of the right form. */
function rsaArea(): Buffer {
  const modulus = Buffer.alloc(256, 0xc5);
  return Buffer.concat([
    Buffer.from('0001000b000300b20000', 'hex'), // RSA, SHA-256, attributes, no policy
    Buffer.from('000600800043', 'hex'), // AES-128-CFB
    Buffer.from('00100800', 'hex'), // no scheme, bits
    Buffer.from('00000000', 'hex'), // the usual exponent
    sizedBytes(modulus),
  ]);
}

/** The parts of evidence that are changed; what signs and what is signed is made to fit again by who has the keys. */
async function evidence(): Promise<FuzzTarget[]> {
  const [attestation, agreement, signing, policy] = await Promise.all([
    generateP256KeyPair(),
    generateP256KeyPair(),
    generateP256KeyPair(),
    generateP256KeyPair(),
  ]);
  const endorsement = eccArea((await generateP256KeyPair()).publicJwk, RESIDENT | RESTRICTED | DECRYPT);
  const authPolicy = authorizedPolicyDigest(policy.publicJwk, MODEL);
  const areas = [
    endorsement,
    eccArea(attestation.publicJwk, RESIDENT | RESTRICTED | SIGN, undefined, 'ecdsa'),
    eccArea(agreement.publicJwk, RESIDENT | DECRYPT, authPolicy),
    eccArea(signing.publicJwk, RESIDENT | SIGN, authPolicy),
  ];
  const enrolment = {
    serial: 'azj-0001',
    nonce: new Uint8Array(32),
    signingKey: signing.publicJwk,
    agreementKey: agreement.point,
  };
  const values = concatBytes(...PCRS.map(() => new Uint8Array(PCR_BYTES)));
  const certified = (area: Uint8Array): Uint8Array =>
    concatBytes(head(0x8017, new Uint8Array()), sizedBytes(tpmName(area)), sizedBytes(tpmName(area)));
  const selection = Buffer.from('00000001000b03950000', 'hex');
  const quote = concatBytes(
    head(0x8018, quoteBinding(enrolment)),
    selection,
    sizedBytes(pcrDigestOf(PCRS.map(() => new Uint8Array(PCR_BYTES)))),
  );
  const parts = [...areas, certified(areas[2] ?? values), certified(areas[3] ?? values), quote, values];
  return [
    {
      name: 'tpm-evidence',
      seeds: [Buffer.concat(parts.map(framed))],
      read: (bytes) => {
        const [ek, ak, agreementArea, signingArea, agreementSaid, signingSaid, quoted, registers] = unframed(bytes);
        const signed = (statement: Uint8Array | undefined): TpmEvidence['quote'] =>
          signedBy(attestation.privateJwk, statement ?? new Uint8Array());
        const claimed: TpmEvidence = {
          endorsementKey: ek ?? new Uint8Array(),
          endorsementCertificate: undefined,
          attestationKey: ak ?? new Uint8Array(),
          agreementKey: agreementArea ?? new Uint8Array(),
          signingKey: signingArea ?? new Uint8Array(),
          agreementCertified: signed(agreementSaid),
          signingCertified: signed(signingSaid),
          pcrs: PCRS,
          pcrValues: PCRS.map((_, at) => (registers ?? values).slice(at * PCR_BYTES, (at + 1) * PCR_BYTES)),
          quote: signed(quoted),
        };
        return checkEvidence(
          claimed,
          enrolment,
          {
            endorsement: EndorsementTrust.of('', toHex(tpmName(claimed.endorsementKey))),
            pcrs: PCRS,
            allowedPcrDigests: undefined,
            policies: { key: policy.publicJwk, models: [MODEL] },
          },
          NOW_MS,
        );
      },
    },
  ];
}

/** A P-256 key's public area as a TPM describes it. */
function eccArea(
  key: PublicJwk,
  attributes: number,
  authPolicy: Uint8Array = new Uint8Array(),
  scheme?: 'ecdsa',
): Uint8Array {
  const bare = Buffer.from(verificationKeyArea(key));
  const rest = bare.subarray(12); // after type, name algorithm, attributes, policy and symmetric cipher
  const symmetric = bare.subarray(10, 12);
  const after = rest.subarray(2); // after the scheme
  return concatBytes(
    bare.subarray(0, 4),
    u32be(attributes),
    sizedBytes(authPolicy),
    symmetric,
    scheme === undefined ? rest.subarray(0, 2) : Buffer.from('0018000b', 'hex'),
    after,
  );
}

/** The beginning of a `TPMS_ATTEST`. */
function head(kind: number, extraData: Uint8Array): Uint8Array {
  const type = Buffer.alloc(2);
  type.writeUInt16BE(kind);
  return concatBytes(
    Buffer.from('ff544347', 'hex'),
    type,
    sizedBytes(new Uint8Array(34)),
    sizedBytes(extraData),
    new Uint8Array(25),
  );
}

function signedBy(key: PrivateJwk, statement: Uint8Array): TpmEvidence['quote'] {
  return { statement, signature: tpmSignature(signRaw(key, statement)) };
}

function framed(part: Uint8Array): Uint8Array {
  return sizedBytes(part);
}

function unframed(bytes: Buffer): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const end = at + 2 + bytes.readUInt16BE(at);
    parts.push(new Uint8Array(bytes.subarray(at + 2, end)));
    at = end;
  }
  return parts;
}

async function certificates(): Promise<FuzzTarget[]> {
  const fixture = JSON.parse(await readFile(CERTIFICATES, 'utf8')) as {
    readonly endorsementKey: string;
    readonly certificates: Readonly<Record<string, string>>;
  };
  const [root = '', ...leaves] = ['root', 'endorsementKey', 'attestationAndEndorsementKey'].map(
    (name) => fixture.certificates[name] ?? '',
  );
  const trust = EndorsementTrust.of(`-----BEGIN CERTIFICATE-----\n${root}\n-----END CERTIFICATE-----`, '');
  const point = new Uint8Array(Buffer.from(fixture.endorsementKey, 'hex'));
  const key: TpmPublic = {
    attributes: 0,
    authPolicy: new Uint8Array(),
    key: { kind: 'ecc', scheme: 0x10, point },
    name: new Uint8Array(34),
  };
  const seeds = leaves.map((leaf) => Buffer.from(leaf, 'base64'));
  return [
    { name: 'tpm-ek-certificate', seeds, read: (bytes) => trust.check(key, bytes, NOW_MS) },
    {
      // A good certificate beside a key that is none.
      name: 'tpm-ek-of-certificate',
      seeds: [Buffer.from(verificationKeyArea(jwkFromPoint(point))), rsaArea()],
      read: (bytes) => trust.check(parseTpmPublic(bytes), seeds[0], NOW_MS),
    },
  ];
}

async function files(): Promise<FuzzTarget[]> {
  const { privateJwk } = await generateP256KeyPair();
  const components = stableComponents({
    boardSerial: '1421021062358',
    cpuFeatures: 'fp asimd',
    mac: '00:00:5e:00:53:01',
    isVirtual: false,
  });
  const lock = await lockToComponents(new Uint8Array(32).fill(3), components, CHEAP);
  const state = { model: MODEL, epoch: 1, pcrs: PCRS, pcrDigest: new Uint8Array(32) };
  return [
    {
      name: 'component-lock',
      seeds: [Buffer.from(JSON.stringify(lock))],
      read: (bytes) => {
        const parsed = parseComponentLock(valueIn(bytes));
        // The secret may come out wrong: then it opens nothing.
        return parsed && openWithComponents({ ...parsed, cost: CHEAP }, components, () => undefined);
      },
    },
    {
      name: 'boot-policies',
      seeds: [Buffer.from(bootPoliciesToJson([signBootPolicy(state, privateJwk)]))],
      read: (bytes) => parseBootPolicies(bytes.toString('utf8')),
    },
    {
      name: 'pcr-selection',
      seeds: [Buffer.from('sha256:0,2,4,7')],
      read: (bytes) => parsePcrSelection(bytes.toString()),
    },
  ];
}

function valueIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
