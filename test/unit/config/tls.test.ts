import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { configNotes, parseConfig } from '../../../src/config/load.ts';
import type { ConfigContext } from '../../../src/config/section.ts';
import { authority, certificate, expiredCertificate } from '../../support/certificates.ts';

const pair = certificate();
const other = certificate();
const old = expiredCertificate();
const files: Readonly<Record<string, string>> = {
  'cert.pem': pair.cert,
  'key.pem': pair.key,
  'other.key': other.key,
  'old.pem': old.cert,
  'old.key': old.key,
  'ca.pem': authority().cert,
  'text.pem': 'no certificate',
};
const context: ConfigContext = {
  file: '/etc/dbproxy/proxy.conf',
  env: {},
  readFile: (path) => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT: no such file');
    return text;
  },
  cores: 2,
  wallMs: Date.now(),
};

function fileWith(given: { listener?: string; backend?: string }): string {
  return `
[admin]
user = admin
password = a
[cluster main]
monitor_user = m
monitor_password = mp
replication_user = r
replication_password = rp
[backend db1]
cluster = main
address = 10.0.0.1:3306
rw_weight = 1
${given.backend ?? ''}
[listener write]
cluster = main
address = 10.0.0.9:3306
${given.listener ?? ''}
[user app]
password = p
`;
}

function problemsOf(given: { listener?: string; backend?: string }): string {
  try {
    parseConfig(fileWith(given), context);
  } catch (error) {
    assert.ok(isRefusal(error));
    return error.message;
  }
  return 'no problem';
}

const PAIR = 'tls_cert = cert.pem\ntls_key = key.pem';

describe('a listener', () => {
  test('has its files as paths beside the configuration', () => {
    const config = parseConfig(fileWith({ listener: `tls = required\n${PAIR}\ntls_ca = ca.pem` }), context);
    const { tls, tlsCert, tlsKey, tlsCa } = config.listeners[0]!;
    assert.deepEqual(
      [tls, tlsCert, tlsKey, tlsCa],
      ['required', '/etc/dbproxy/cert.pem', '/etc/dbproxy/key.pem', '/etc/dbproxy/ca.pem'],
    );
  });

  test('believes the balancers that it names', () => {
    const config = parseConfig(fileWith({ listener: 'proxy_protocol_from = 10.0.0.0/8, ::1' }), context);
    assert.deepEqual(config.listeners[0]!.proxyProtocolFrom, ['10.0.0.0/8', '::1']);
  });

  const wrong: [lines: string, why: RegExp][] = [
    ['tls = preferred', /tls_cert: is missing; tls = preferred needs it[^]*tls_key: is missing/],
    ['tls = required\ntls_cert = cert.pem', /tls_key: is missing; tls = required needs it/],
    [PAIR, /tls_cert: is given, but tls is off/],
    ['tls = required\ntls_cert = nowhere.pem\ntls_key = key.pem', /'nowhere\.pem' cannot be read: ENOENT/],
    ['tls = required\ntls_cert = cert.pem\ntls_key = other.key', /key do not belong together/],
    ['tls = required\ntls_cert = text.pem\ntls_key = key.pem', /tls_cert: there is no certificate/],
    ['tls = required\ntls_cert = cert.pem\ntls_key = text.pem', /no usable private key/],
    [`tls = required\n${PAIR}\ntls_ca = text.pem`, /tls_ca: there is no certificate/],
    ['tls = verify', /'verify' is none of off, preferred, required/],
    ['compression = zlib', /neither on nor off/],
    ['proxy_protocol_from = lb1', /'lb1' is not an address or network/],
  ];
  for (const [lines, why] of wrong) {
    test(`with ${lines.replaceAll('\n', ', ')} is refused`, () => {
      assert.match(problemsOf({ listener: lines }), why);
    });
  }

  test('with an expired certificate serves, and the operator is told', () => {
    const text = fileWith({ listener: 'tls = required\ntls_cert = old.pem\ntls_key = old.key' });
    parseConfig(text, context);
    assert.match(configNotes(text, context).join('\n'), /\[listener write\] tls_cert: has expired on /);
  });
});

describe('a backend', () => {
  test('has encryption, compression and the PROXY header as they are written', () => {
    const lines = `tls = verify\ntls_ca = ca.pem\n${PAIR}\ncompression = zstd\nproxy_protocol = v2`;
    const backend = parseConfig(fileWith({ backend: lines }), context).backends[0]!;
    assert.equal(backend.tls, 'verify');
    assert.equal(backend.tlsCa, '/etc/dbproxy/ca.pem');
    assert.equal(backend.compression, 'zstd');
    assert.equal(backend.proxyProtocol, 'v2');
  });

  test('verifies with the usual authorities when it names none', () => {
    assert.equal(problemsOf({ backend: 'tls = verify' }), 'no problem');
  });

  const wrong: [lines: string, why: RegExp][] = [
    ['tls = required\ntls_ca = ca.pem', /tls_ca: is used by tls = verify only, and tls is required/],
    ['tls = required\ntls_cert = cert.pem', /tls_cert: is given without tls_key/],
    ['tls = required\ntls_key = key.pem', /tls_key: is given without tls_cert/],
    ['tls_ca = ca.pem', /tls_ca: is given, but tls is off/],
    ['compression = on', /'on' is none of off, zlib, zstd/],
  ];
  for (const [lines, why] of wrong) {
    test(`with ${lines.replaceAll('\n', ', ')} is refused`, () => {
      assert.match(problemsOf({ backend: lines }), why);
    });
  }
});
