/**
 * Makes a certificate with its key, for a first pair, the demo and tests: no program outside and no authority is
 * needed. It is self-signed unless an issuer is given.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import forge from 'node-forge';

/** PEM texts. */
export interface CertificateWithKey {
  cert: string;
  key: string;
}

export interface CertificateRequest {
  commonName: string;
  dnsNames: readonly string[];
  ipAddresses: readonly string[];
  notBefore: Date;
  notAfter: Date;
  /** Who signs; undefined: it signs itself, and may sign others. */
  issuer?: CertificateWithKey;
}

// GeneralName of RFC 5280, section 4.2.1.6.
const DNS_NAME = 2;
const IP_ADDRESS = 7;

/** Makes a certificate of 2048 bit RSA. */
export function makeCertificate(request: CertificateRequest): CertificateWithKey {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const { issuer } = request;
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(publicKey);
  // A serial number is positive: the first byte keeps its highest bit clear.
  certificate.serialNumber = `01${randomBytes(8).toString('hex')}`;
  certificate.validity.notBefore = request.notBefore;
  certificate.validity.notAfter = request.notAfter;
  const subject = [{ name: 'commonName', value: request.commonName }];
  certificate.setSubject(subject);
  certificate.setIssuer(
    issuer === undefined ? subject : forge.pki.certificateFromPem(issuer.cert).subject.attributes,
  );
  const altNames = [
    ...request.dnsNames.map((value) => ({ type: DNS_NAME, value })),
    ...request.ipAddresses.map((ip) => ({ type: IP_ADDRESS, ip })),
  ];
  certificate.setExtensions([
    { name: 'basicConstraints', cA: issuer === undefined },
    ...(altNames.length > 0 ? [{ name: 'subjectAltName', altNames }] : []),
  ]);
  certificate.sign(forge.pki.privateKeyFromPem(issuer?.key ?? privateKey), forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(certificate), key: privateKey };
}
