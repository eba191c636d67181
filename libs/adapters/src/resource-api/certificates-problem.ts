import { X509Certificate } from 'node:crypto';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * Checks a file of certificates, one after another in PEM form (RFC 7468). TLS itself takes anything for an authority, and then trusts nobody.
 *
 * @returns What is wrong with it, as the end of a sentence that starts with its name; never the content. `undefined` when it may be used.
 */
export function certificatesProblem(text: string): string | undefined {
  const certificates = text.match(CERTIFICATE);
  if (certificates === null) return 'the file holds no certificate in PEM form';
  const bad = certificates.findIndex((pem) => !isCertificate(pem));
  return bad < 0 ? undefined : `the file's certificate number ${String(bad + 1)} cannot be read`;
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}
