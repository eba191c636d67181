import { generateP256KeyPair } from '@azaion/crypto';
import { concatBytes, u32be } from '@azaion/kernel';
import fc from 'fast-check';

import { EndorsementTrust } from './endorsement-trust.js';
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

const MALFORMED = expect.objectContaining({ code: 'attestation.malformed' }) as Error;
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

describe('EndorsementTrust.of', () => {
  it.each([
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', ''],
    ['not a certificate', ''],
    ['', 'not a name'],
    ['', '000b00'],
  ])('refuses files that are none: %p %p', (pem, names) => {
    expect(() => EndorsementTrust.of(pem, names)).toThrow();
  });

  it('accepts empty files, and trusts nobody then', async () => {
    const key = parseTpmPublic((await samples()).parseTpmPublic);
    const trust = EndorsementTrust.of('', '# nobody\n\n');
    expect(() => trust.check(key, undefined, 0)).toThrow(
      expect.objectContaining({ code: 'attestation.ek-untrusted' }) as Error,
    );
  });
});
