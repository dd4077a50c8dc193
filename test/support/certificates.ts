/**
 * Certificates for tests: an authority, what it signs, and what is wrong in one way each. Made once a
 * process, when first asked for.
 */
import {
  makeCertificate,
  type CertificateRequest,
  type CertificateWithKey,
} from '../../src/setup/certificate.ts';

const DAY_MS = 86_400_000;
const NOW_MS = Date.now();

/** A certificate for this machine, valid now; with `changes`. */
export function certificate(changes: Partial<CertificateRequest> = {}): CertificateWithKey {
  return makeCertificate({
    commonName: 'db.test',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    notBefore: new Date(NOW_MS - DAY_MS),
    notAfter: new Date(NOW_MS + 30 * DAY_MS),
    ...changes,
  });
}

/** One that was good until yesterday; with `changes`. */
export function expiredCertificate(changes: Partial<CertificateRequest> = {}): CertificateWithKey {
  return certificate({
    notBefore: new Date(NOW_MS - 30 * DAY_MS),
    notAfter: new Date(NOW_MS - DAY_MS),
    ...changes,
  });
}

/** An authority that may sign others. */
export function authority(commonName = 'Test Authority'): CertificateWithKey {
  return certificate({ commonName, dnsNames: [], ipAddresses: [] });
}
