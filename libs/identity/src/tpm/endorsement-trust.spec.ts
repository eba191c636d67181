import { readFile } from 'node:fs/promises';

import { EndorsementTrust } from './endorsement-trust.js';
import { TPM_ALG } from './tpm-algorithms.js';
import { type TpmPublic } from './tpm-public.js';

const DURING = Date.UTC(2030, 0);

interface Fixture {
  readonly endorsementKey: string;
  readonly certificates: Readonly<Record<string, string>>;
}

describe('EndorsementTrust.check', () => {
  let certificates: Readonly<Record<string, string>>;
  let key: TpmPublic;
  beforeAll(async () => {
    const text = await readFile(new URL('fixtures/ek-certificates.json', import.meta.url), 'utf8');
    const fixture = JSON.parse(text) as Fixture;
    certificates = fixture.certificates;
    key = {
      attributes: 0,
      authPolicy: new Uint8Array(),
      key: { kind: 'ecc', scheme: TPM_ALG.null, point: Buffer.from(fixture.endorsementKey, 'hex') },
      name: new Uint8Array(34).fill(7),
    };
  });

  const der = (name: string): Buffer => Buffer.from(certificates[name] ?? '', 'base64');
  const pem = (name: string): string =>
    `-----BEGIN CERTIFICATE-----\n${certificates[name] ?? ''}\n-----END CERTIFICATE-----\n`;
  const refused = (code: string): Error => expect.objectContaining({ code: `attestation.${code}` }) as Error;
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

  it('asks for no certificate of a key that is on the list', () => {
    const listed = EndorsementTrust.of('', Buffer.from(key.name).toString('hex'));
    expect(() => listed.check(key, der('withoutUsage'), DURING)).not.toThrow();
    expect(() => listed.check(key, undefined, DURING)).not.toThrow();
  });

  it('counts the time', () => {
    const trust = EndorsementTrust.of(pem('root'), '');
    for (const nowMs of [Date.UTC(2020, 0), Date.UTC(2200, 0)])
      expect(() => trust.check(key, der('endorsementKey'), nowMs)).toThrow(refused('ek-expired'));
  });
});
