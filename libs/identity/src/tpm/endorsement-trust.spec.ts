import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { EndorsementTrust } from './endorsement-trust.js';
import { TPM_ALG } from './tpm-algorithms.js';
import type { TpmPublic } from './tpm-public.js';
import { SENTENCE } from '../testing/sentence.js';

/** The generator of P-256 (SEC 2, 2.4.2): some other key. */
const P256_BASE_POINT = Buffer.from(
  '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5',
  'hex',
);
const DURING = Date.UTC(2030, 0);

const refused = (code: string): Error =>
  expect.objectContaining({ code: `attestation.${code}`, message: SENTENCE }) as Error;

interface Fixture {
  readonly endorsementKey: string;
  readonly certificates: Readonly<Record<string, string>>;
}

/** An endorsement key, and certificates by their names. */
interface Certified {
  readonly key: TpmPublic;
  readonly der: (name: string) => Buffer;
  readonly pem: (...names: readonly string[]) => string;
}

async function certifiedIn(fixture: string): Promise<Certified> {
  const text = await readFile(new URL(`fixtures/${fixture}`, import.meta.url), 'utf8');
  const { endorsementKey, certificates } = JSON.parse(text) as Fixture;
  const base64 = (name: string): string => certificates[name] ?? '';
  return {
    key: {
      attributes: 0,
      authPolicy: new Uint8Array(),
      key: { kind: 'ecc', scheme: TPM_ALG.null, point: Buffer.from(endorsementKey, 'hex') },
      name: new Uint8Array(34).fill(7),
    },
    der: (name) => Buffer.from(base64(name), 'base64'),
    pem: (...names) =>
      names.map((name) => `-----BEGIN CERTIFICATE-----\n${base64(name)}\n-----END CERTIFICATE-----\n`).join(''),
  };
}

const { key, der, pem } = await certifiedIn('ek-certificates.json');
const chains = await certifiedIn('ek-chains.json');

describe('EndorsementTrust.check', () => {
  const check = (name: string, trust = EndorsementTrust.of(pem('root'), '')): void =>
    trust.check(key, der(name), DURING);

  it.each(['endorsementKey', 'attestationAndEndorsementKey'])('believes a certificate for an %s', (name) => {
    expect(() => check(name)).not.toThrow();
  });

  // A maker's authority certifies more than endorsement keys, and some of it with keys that leave their TPM.
  it.each(['attestationKey', 'platform', 'withoutUsage', 'authority'])(
    'refuses a certificate of the same authority for the same key that is for something else: %s',
    (name) => {
      expect(() => check(name)).toThrow(refused('ek-untrusted'));
    },
  );

  it('refuses a root in the place of an endorsement key, and certificates of a root that is not trusted', () => {
    expect(() => check('root')).toThrow(refused('ek-untrusted'));
    expect(() => check('endorsementKey', EndorsementTrust.of('', ''))).toThrow(refused('ek-untrusted'));
  });

  it('refuses a certificate that names a trusted root as its issuer and was not signed by it', () => {
    const forged = der('endorsementKey');
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1; // the signature is what ends it
    const trust = EndorsementTrust.of(pem('root'), '');
    expect(() => {
      trust.check(key, forged, DURING);
    }).toThrow(refused('ek-untrusted'));
  });

  it('refuses a certificate that cannot be read, and one of another key', () => {
    const trust = EndorsementTrust.of(pem('root'), '');
    expect(() => trust.check(key, Buffer.of(1, 2, 3), DURING)).toThrow(refused('malformed'));
    const other = { ...key, key: { ...key.key, point: P256_BASE_POINT } } as TpmPublic;
    expect(() => trust.check(other, der('endorsementKey'), DURING)).toThrow(refused('ek-untrusted'));
    expect(() => trust.check(key, undefined, DURING)).toThrow(refused('ek-untrusted'));
  });

  it('asks for no certificate of a key that is on the list', () => {
    const listed = EndorsementTrust.of('', Buffer.from(key.name).toString('hex'));
    expect(() => listed.check(key, der('withoutUsage'), DURING)).not.toThrow();
    expect(() => listed.check(key, undefined, DURING)).not.toThrow();
  });

  it('finds a key on the list in whatever way its name is written', () => {
    const name = Buffer.from(key.name).toString('hex');
    for (const line of [name.toUpperCase(), `  ${name}\t# of the bench`, `# bench\r\n${name}\r\n`])
      expect(() => EndorsementTrust.of('', line).check(key, undefined, DURING)).not.toThrow();
    expect(() => EndorsementTrust.of('', `# ${name}`).check(key, undefined, DURING)).toThrow(refused('ek-untrusted'));
  });

  it('counts the time', () => {
    const trust = EndorsementTrust.of(pem('root'), '');
    for (const nowMs of [Date.UTC(2020, 0), Date.UTC(2200, 0)])
      expect(() => trust.check(key, der('endorsementKey'), nowMs)).toThrow(refused('ek-expired'));
    const { validFromDate, validToDate } = new X509Certificate(der('endorsementKey'));
    const of = (nowMs: number) => () => trust.check(key, der('endorsementKey'), nowMs);
    expect(of(validToDate.getTime())).not.toThrow();
    expect(of(validToDate.getTime() + 1)).toThrow(refused('ek-expired'));
    expect(of(validFromDate.getTime() - 1)).toThrow(refused('ek-expired'));
  });
});

describe('EndorsementTrust.check of chains', () => {
  const check = (leaf: string, ...trusted: readonly string[]): void =>
    EndorsementTrust.of(chains.pem(...trusted), '').check(chains.key, chains.der(leaf), DURING);
  const untrusted = refused('ek-untrusted');
  const issuers = ['issuer1', 'issuer2', 'issuer3', 'issuer4'];

  it('believes six certificates that lead to a root, in whichever order they stand, and not seven', () => {
    expect(() => check('underIssuer4', 'root', ...issuers)).not.toThrow();
    expect(() => check('underIssuer4', ...issuers.toReversed(), 'root')).not.toThrow();
    expect(() => check('underIssuer5', 'root', ...issuers, 'issuer5')).toThrow(untrusted);
  });

  it('refuses a chain with a gap, and one that does not end in a root', () => {
    expect(() => check('underIssuer4', 'root', 'issuer1', 'issuer2', 'issuer4')).toThrow(untrusted);
    expect(() => check('underIssuer4', ...issuers)).toThrow(untrusted);
  });

  it('refuses an issuer that is no authority, though the maker has certified it', () => {
    expect(() => check('underNoAuthority', 'root', 'noAuthority')).toThrow(untrusted);
  });

  it('refuses a key that has certified itself, even where its certificate is trusted', () => {
    expect(() => check('selfSigned', 'root')).toThrow(untrusted);
    expect(() => check('selfSigned', 'root', 'selfSigned')).toThrow(untrusted);
  });
});
