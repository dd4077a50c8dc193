/**
 * Looks at certificates and keys before they are used: OpenSSL's own complaints come late, at the first
 * client, and do not say which file is wrong.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';

/** What is wrong with a certificate (or chain) and its key, in PEM; null when nothing is. */
export function keyPairProblem(cert: string, key: string): string | null {
  const certificate = firstCertificate(cert);
  if (certificate === null) return 'there is no certificate in this file (PEM, BEGIN CERTIFICATE)';
  try {
    const privateKey = createPrivateKey(key);
    return certificate.checkPrivateKey(privateKey) ? null : 'certificate and key do not belong together';
  } catch {
    return 'the key file has no usable private key (PEM, without a passphrase)';
  }
}

/** What is wrong with a file of certificates that are to be trusted; null when nothing is. */
export function authoritiesProblem(ca: string): string | null {
  return firstCertificate(ca) === null
    ? 'there is no certificate in this file (PEM, BEGIN CERTIFICATE)'
    : null;
}

/** That a certificate has expired or is not valid yet, in words; null when it is in its time. */
export function outOfTime(cert: string, wallMs: number): string | null {
  const certificate = new X509Certificate(cert);
  if (wallMs > certificate.validToDate.getTime()) return `has expired on ${certificate.validTo}`;
  if (wallMs < certificate.validFromDate.getTime()) return `is not valid before ${certificate.validFrom}`;
  return null;
}

function firstCertificate(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}
