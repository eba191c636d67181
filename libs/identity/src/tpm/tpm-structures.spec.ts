import { generateP256KeyPair } from '@azaion/crypto';
import { concatBytes, u32be } from '@azaion/kernel';
import fc from 'fast-check';

import { EndorsementTrust } from './endorsement-trust.js';
import { TPM_ALG } from './tpm-algorithms.js';
import { parseTpmStatement } from './tpm-attest.js';
import {
  MAX_PUBLIC_AREA_BYTES,
  parseTpmPublic,
  parseTpmSignature,
  pointToTpm,
  publicAreaOf,
  sizedBytes,
  tpmName,
  u16be,
  verificationKeyArea,
  xOfTpmPoint,
} from './tpm-public.js';
import { SENTENCE } from '../testing/sentence.js';

const MALFORMED = expect.objectContaining({ code: 'attestation.malformed', message: SENTENCE }) as Error;
const PARSERS = { parseTpmPublic, publicAreaOf, parseTpmSignature, xOfTpmPoint, parseTpmStatement };
/** More in a long run: `FUZZ_CASES=1000000`. */
const CASES = Number(process.env['FUZZ_CASES'] ?? 2000);

async function samples(): Promise<Readonly<Record<keyof typeof PARSERS, Uint8Array>>> {
  const { publicJwk, point } = await generateP256KeyPair();
  const area = verificationKeyArea(publicJwk);
  const head = concatBytes(
    u32be(0xff544347),
    u16be(0x8018),
    sizedBytes(tpmName(area)),
    sizedBytes(new Uint8Array(32)),
    new Uint8Array(25),
  );
  const selection = concatBytes(u32be(1), u16be(0x000b), Uint8Array.of(3, 0x95, 0, 0));
  return {
    parseTpmPublic: area,
    publicAreaOf: sizedBytes(area),
    parseTpmSignature: concatBytes(
      u16be(0x18),
      u16be(0x0b),
      sizedBytes(new Uint8Array(32)),
      sizedBytes(new Uint8Array(32)),
    ),
    xOfTpmPoint: pointToTpm(point),
    parseTpmStatement: concatBytes(head, selection, sizedBytes(new Uint8Array(32))),
  };
}

describe.each(Object.keys(PARSERS) as readonly (keyof typeof PARSERS)[])('%s', (name) => {
  const parse: (bytes: Uint8Array) => unknown = PARSERS[name];
  const orRefused = (bytes: Uint8Array): void => {
    try {
      parse(bytes);
    } catch (error) {
      expect(error).toEqual(MALFORMED);
    }
  };
  let whole: Uint8Array;
  beforeAll(async () => {
    whole = (await samples())[name];
  });

  it('reads what a TPM writes, and no byte more or less', () => {
    expect(parse(whole)).toBeDefined();
    for (let length = 0; length < whole.length; length += 1)
      expect(() => parse(whole.subarray(0, length))).toThrow(MALFORMED);
    expect(() => parse(concatBytes(whole, new Uint8Array(1)))).toThrow(MALFORMED);
  });

  it('reads or refuses any bytes, and never does anything else', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 2 * MAX_PUBLIC_AREA_BYTES }), orRefused), { numRuns: CASES });
  });

  it('reads or refuses what was changed in any few places', () => {
    const change = fc.record({ at: fc.nat(), to: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(whole);
        for (const { at, to } of changes) bytes[at % bytes.length] = to;
        orRefused(bytes);
      }),
      { numRuns: CASES },
    );
  });

  it('does not believe lengths', () => {
    for (let at = 0; at + 1 < whole.length; at += 1) {
      const bytes = Uint8Array.from(whole);
      bytes.set([0xff, 0xff], at);
      orRefused(bytes);
    }
  });
});

describe('parseTpmPublic of an RSA key', () => {
  const area = (bits: number, modulusBytes: number, exponent: number, scheme: Uint8Array): Uint8Array =>
    concatBytes(
      u16be(TPM_ALG.rsa),
      u16be(TPM_ALG.sha256),
      u32be(7),
      sizedBytes(Uint8Array.of(1, 2)),
      u16be(TPM_ALG.null),
      scheme,
      u16be(bits),
      u32be(exponent),
      sizedBytes(new Uint8Array(modulusBytes).fill(0xff)),
    );
  const none = u16be(TPM_ALG.null);

  it.each([
    [0, 65_537],
    [3, 3],
  ])('reads the exponent %i as %i', (written, exponent) => {
    expect(parseTpmPublic(area(2048, 256, written, none))).toMatchObject({
      attributes: 7,
      authPolicy: Uint8Array.of(1, 2),
      key: { kind: 'rsa', scheme: TPM_ALG.null, exponent, modulus: new Uint8Array(256).fill(0xff) },
    });
  });

  it.each([
    [TPM_ALG.rsaes, u16be(TPM_ALG.rsaes)],
    [TPM_ALG.rsassa, concatBytes(u16be(TPM_ALG.rsassa), u16be(TPM_ALG.sha256))],
    [TPM_ALG.ecdaa, concatBytes(u16be(TPM_ALG.ecdaa), u16be(TPM_ALG.sha256), u16be(0))],
  ])('reads the scheme %i with what belongs to it', (scheme, bytes) => {
    expect(parseTpmPublic(area(3072, 384, 0, bytes)).key).toMatchObject({ kind: 'rsa', scheme });
  });

  it.each([
    ['fewer than 2048 bits', 2040, 255],
    ['another length than it says', 2048, 255],
    ['another length than it says', 2048, 257],
    ['more than 4096 bits', 4104, 513],
  ])('refuses one of %s: %i bits in %i bytes', (_, bits, modulusBytes) => {
    expect(() => parseTpmPublic(area(bits, modulusBytes, 0, none))).toThrow(MALFORMED);
  });
});

describe('parseTpmStatement', () => {
  it.each([0x8014, 0x8016, 0x8019, 0])('refuses a statement of another kind: %i', async (kind) => {
    const bytes = Uint8Array.from((await samples()).parseTpmStatement);
    bytes.set(u16be(kind), 4);
    expect(() => parseTpmStatement(bytes)).toThrow(MALFORMED);
  });

  it('refuses a statement that no TPM has made', async () => {
    const bytes = Uint8Array.from((await samples()).parseTpmStatement);
    bytes[0] = 0;
    expect(() => parseTpmStatement(bytes)).toThrow(MALFORMED);
  });

  it('reads selections of 16 banks of 32 bytes, and no more', async () => {
    const whole = (await samples()).parseTpmStatement;
    const head = whole.subarray(0, whole.length - 4 - 6 - 34);
    const quote = (banks: number, selectBytes: number): Uint8Array =>
      concatBytes(
        head,
        u32be(banks),
        ...Array.from({ length: banks }, () =>
          concatBytes(u16be(0x000b), Uint8Array.of(selectBytes), new Uint8Array(selectBytes)),
        ),
        sizedBytes(new Uint8Array(32)),
      );
    expect(parseTpmStatement(quote(16, 32)).attested).toMatchObject({ kind: 'quote' });
    for (const [banks, selectBytes] of [
      [17, 3],
      [1, 33],
    ] as const)
      expect(() => parseTpmStatement(quote(banks, selectBytes))).toThrow(MALFORMED);
  });
});

describe('pointToTpm', () => {
  it('writes both coordinates, each with its length, and the length of both (Part 2, 11.2.5.2)', async () => {
    const { point } = await generateP256KeyPair();
    const [x, y] = [point.subarray(1, 33), point.subarray(33)];
    const bytes = pointToTpm(point);
    expect(bytes).toEqual(concatBytes(u16be(68), u16be(32), x, u16be(32), y));
    expect(xOfTpmPoint(bytes)).toEqual(x);
  });
});

describe('EndorsementTrust.of', () => {
  it.each([
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', ''],
    ['not a certificate', ''],
    ['', 'not a name'],
    ['', '000b00'],
  ])('refuses files that are none: %p %p', (pem, names) => {
    expect(() => EndorsementTrust.of(pem, names)).toThrow(/./);
  });

  it('accepts empty files, and trusts nobody then', async () => {
    const key = parseTpmPublic((await samples()).parseTpmPublic);
    const trust = EndorsementTrust.of('', '# nobody\n\n');
    expect(() => trust.check(key, undefined, 0)).toThrow(
      expect.objectContaining({ code: 'attestation.ek-untrusted' }) as Error,
    );
  });
});
