import { X509Certificate } from 'node:crypto';

import { toHex } from '@azaion/kernel';

import { IdentityError } from '../errors.js';
import { keyObjectOf } from './make-credential.js';
import type { TpmPublic } from './tpm-public.js';

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const NAME = /^[0-9a-f]{68}$/;
const MAX_CERTIFICATES = 256;
const MAX_DEPTH = 6;
/** `tcg-kp-EKCertificate`, the extended key usage of an endorsement key's certificate (TCG EK Credential Profile 2.5, 3.2.16). */
const EK_CERTIFICATE_USAGE = '2.23.133.8.1';
/** Longest certificate of an endorsement key that is read. */
export const MAX_CERTIFICATE_BYTES = 4096;

/** Which TPMs are believed to be TPMs: by the makers' certificates, or by name. */
export class EndorsementTrust {
  private constructor(
    private readonly certificates: readonly X509Certificate[],
    private readonly allowed: ReadonlySet<string>,
  ) {}

  /**
   * @param pem - Certificates of the makers: the roots, which are trusted, and the issuers between, which must lead to a root.
   * @param allowList - Names of endorsement keys in hexadecimal, one a line; `#` starts a comment.
   * @throws TypeError when either cannot be read.
   */
  static of(pem: string, allowList: string): EndorsementTrust {
    const blocks = pem.match(PEM) ?? [];
    if (blocks.length > MAX_CERTIFICATES) throw new TypeError('too many certificates');
    if (blocks.length === 0 && pem.trim() !== '') throw new TypeError('no certificate in it');
    const names = allowList
      .split(/\r?\n/)
      .map((line) => line.replace(/#.*$/, '').trim().toLowerCase())
      .filter((line) => line !== '');
    if (names.some((name) => !NAME.test(name))) throw new TypeError('not a list of names of endorsement keys');
    return new EndorsementTrust(
      blocks.map((block) => new X509Certificate(block)),
      new Set(names),
    );
  }

  /**
   * Whether this is the endorsement key of a TPM.
   *
   * @param certificateDer - Untrusted; `undefined` where the TPM has none.
   * @throws IdentityError `attestation.ek-untrusted` | `attestation.ek-expired` | `attestation.malformed`.
   */
  check(endorsement: TpmPublic, certificateDer: Uint8Array | undefined, nowMs: number): void {
    if (this.allowed.has(toHex(endorsement.name))) return;
    if (certificateDer === undefined) throw untrusted('has no certificate and is not on the list');
    const leaf = parsed(certificateDer);
    // A maker's authority certifies other things too: platforms, attestation keys, its own services.
    if (leaf.ca || !isForEndorsementKeys(leaf))
      throw untrusted(
        'has a certificate that was made for something else (its extended key usage is not 2.23.133.8.1)',
      );
    if (!leaf.publicKey.equals(keyObjectOf(endorsement))) throw untrusted('is not the one in its certificate');
    this.checkChain(leaf, nowMs);
  }

  private checkChain(leaf: X509Certificate, nowMs: number): void {
    const path = [leaf];
    for (let at = leaf; !isRoot(at, this.certificates);) {
      const issuer = this.certificates.find((one) => one.ca && at.checkIssued(one) && at.verify(one.publicKey));
      if (issuer === undefined || path.length >= MAX_DEPTH)
        throw untrusted('was not certified by a maker that is trusted here');
      path.push(issuer);
      at = issuer;
    }
    for (const { validFromDate, validToDate } of path)
      if (nowMs < validFromDate.getTime() || nowMs > validToDate.getTime())
        throw new IdentityError(
          'attestation.ek-expired',
          'The certificate of the TPM, or one of its issuers, is not valid at this time.',
        );
  }
}

/** Node calls the extended usages `keyUsage`; a certificate without any has none, whatever its type says. */
function isForEndorsementKeys({ keyUsage }: { readonly keyUsage: readonly string[] | undefined }): boolean {
  return keyUsage?.includes(EK_CERTIFICATE_USAGE) === true;
}

function isRoot(certificate: X509Certificate, trusted: readonly X509Certificate[]): boolean {
  return (
    trusted.some(({ fingerprint256 }) => fingerprint256 === certificate.fingerprint256) &&
    certificate.ca &&
    certificate.checkIssued(certificate) &&
    certificate.verify(certificate.publicKey)
  );
}

function parsed(der: Uint8Array): X509Certificate {
  try {
    const certificate = new X509Certificate(der);
    // The key is decoded when it is first asked for: now, while a failure is still that of the certificate.
    certificate.publicKey.export({ format: 'der', type: 'spki' });
    return certificate;
  } catch (cause) {
    throw new IdentityError('attestation.malformed', 'The certificate of the TPM cannot be read.', { cause });
  }
}

function untrusted(why: string): IdentityError {
  return new IdentityError('attestation.ek-untrusted', `The endorsement key of this TPM ${why}: ask an administrator.`);
}
