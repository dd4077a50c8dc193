/**
 * Why a TLS handshake failed, in words that a database administrator understands. OpenSSL's codes say what
 * it could not parse; these sentences say what is wrong and on which side.
 */
import { refusal, type ProxyError } from '../base/errors.ts';

/** Who is on the other side. */
export type TlsPeer = 'client' | 'server';

/** Sentences by code, `%` being the peer. */
const sentences: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "the %'s certificate has expired; it needs a new one",
  CERT_NOT_YET_VALID: "the %'s certificate is not valid yet; see the clocks of both machines",
  CERT_SIGNATURE_FAILURE: "the signature of the %'s certificate is wrong",
  CERT_REVOKED: "the %'s certificate has been revoked",
  INVALID_PURPOSE: "the %'s certificate is not made for a %",
  DEPTH_ZERO_SELF_SIGNED_CERT:
    "the %'s certificate is self-signed; put it, or the certificate of who should sign it, into tls_ca",
  SELF_SIGNED_CERT_IN_CHAIN: "the %'s certificate is signed by an authority that is not in tls_ca",
  UNABLE_TO_GET_ISSUER_CERT: "the %'s certificate is signed by an authority that is not in tls_ca",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the %'s certificate is signed by an authority that is not in tls_ca",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the %'s certificate is signed by an authority that is not in tls_ca",
  ERR_SSL_WRONG_VERSION_NUMBER: 'the % sent plain text where TLS was to begin',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the % sent plain text where TLS was to begin',
  ERR_SSL_HTTP_REQUEST: 'the % speaks HTTP, not TLS',
  ERR_SSL_BAD_RECORD_TYPE: 'the % sent plain text where TLS was to begin',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the % knows only versions of TLS before 1.2',
  ERR_SSL_VERSION_TOO_LOW: 'the % knows only versions of TLS before 1.2',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the % accepts none of the versions 1.2 and 1.3',
  ERR_SSL_NO_SHARED_CIPHER: 'the % has no cipher in common with dbproxy',
  ERR_SSL_SSL_TLS_ALERT_HANDSHAKE_FAILURE: 'the % has no cipher in common with dbproxy',
  ERR_SSL_SSL_TLS_ALERT_BAD_CERTIFICATE: "the % does not accept dbproxy's certificate",
  ERR_SSL_SSL_TLS_ALERT_CERTIFICATE_UNKNOWN: "the % does not accept dbproxy's certificate",
  ERR_SSL_SSL_TLS_ALERT_CERTIFICATE_EXPIRED: "the % says that dbproxy's certificate has expired",
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: "the % does not know the authority that signed dbproxy's certificate",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'the % asks for a certificate; give it tls_cert and tls_key',
  ECONNRESET: 'the % closed the connection in the middle of the handshake',
  EPIPE: 'the % closed the connection in the middle of the handshake',
};

/** The error for a handshake with `peer` that ended with `cause` (undefined: it just closed). */
export function tlsFailure(cause: Error | undefined, peer: TlsPeer): ProxyError {
  return refusal('DBPROXY_TLS', `the ${peer}`, reasonOf(cause, peer));
}

function reasonOf(cause: Error | undefined, peer: TlsPeer): string {
  const code = cause === undefined ? 'ECONNRESET' : codeOf(cause);
  // Node.js says which names the certificate has.
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the ${peer}'s certificate does not name it: ${reasonProperty(cause)}`;
  }
  // OpenSSL 3 renamed its alerts; both forms are about.
  const sentence = sentences[code] ?? sentences[code.replace('_SSLV3_ALERT_', '_SSL_TLS_ALERT_')];
  return sentence?.replaceAll('%', peer) ?? cause?.message ?? code;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function reasonProperty(error: Error | undefined): string {
  return error !== undefined && 'reason' in error ? String(error.reason) : '';
}
