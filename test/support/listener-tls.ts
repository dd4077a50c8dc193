/**
 * The configuration of a write endpoint with TLS, on a certificate made for it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigSections } from '../lab/proxy.ts';
import { certificate } from './certificates.ts';

/** Writes certificate and key into `directory`; answers the keys for `[listener write]`. */
export function listenerWithTls(directory: string, tls: 'preferred' | 'required'): ConfigSections {
  const { cert, key } = certificate();
  const files = { tls_cert: join(directory, 'proxy.crt'), tls_key: join(directory, 'proxy.key') };
  writeFileSync(files.tls_cert, cert);
  writeFileSync(files.tls_key, key, { mode: 0o600 });
  return { 'listener write': { tls, ...files } };
}
