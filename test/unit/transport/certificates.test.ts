import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  CertificateWatch,
  type CertificateNews,
  type ListenerCertificates,
} from '../../../src/transport/certificates.ts';
import { openRsaKeys } from '../../../src/transport/rsa-keys.ts';
import { authority, certificate, expiredCertificate } from '../../support/certificates.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const directories: string[] = [];
after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true });
});

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-tls-'));
  directories.push(directory);
  return directory;
}

const first = certificate({ commonName: 'first' });
const second = certificate({ commonName: 'second' });

/** A watch over one listener's files, and what it told. */
function watch() {
  const directory = newDirectory();
  const files = {
    listener: 'write',
    certPath: join(directory, 'cert.pem'),
    keyPath: join(directory, 'key.pem'),
    caPath: null,
  };
  // Written beside and renamed, as programs that renew certificates do: another file, whatever the time.
  const write = (path: string, text: string): void => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  };
  write(files.certPath, first.cert);
  write(files.keyPath, first.key);
  const clock = new FakeClock();
  clock.jump(Date.now());
  const loaded: ListenerCertificates[] = [];
  const news: CertificateNews[] = [];
  const watching = new CertificateWatch({
    listeners: [files],
    clock,
    onLoaded: (certificates) => loaded.push(certificates),
    onNews: (one) => news.push(one),
  });
  return { ...files, write, clock, loaded, news, watching };
}

describe('the watch over certificates', () => {
  test('has the first ones at once and is silent while nothing changes', () => {
    const { watching, clock, loaded, news } = watch();
    assert.deepEqual(watching.current(), [{ listener: 'write', ...first, ca: null }]);
    clock.advance(60_000);
    assert.deepEqual([loaded, news], [[], []]);
  });

  test('keeps the old pair while a new one is half written, says so once, and takes it when it is whole', () => {
    const { watching, clock, loaded, news, write, certPath, keyPath } = watch();
    write(certPath, second.cert);
    clock.advance(10_000);
    assert.deepEqual(news, [
      {
        listener: 'write',
        result: 'failed',
        detail: 'certificate and key do not belong together; the old certificate stays',
      },
    ]);
    assert.equal(watching.current()[0]!.cert, first.cert);
    write(keyPath, second.key);
    clock.advance(2000);
    assert.deepEqual(loaded, [{ listener: 'write', ...second, ca: null }]);
    assert.deepEqual(watching.current(), loaded);
    assert.equal(news.at(-1)!.result, 'reloaded');
  });

  test('a file that is gone or no certificate is a failure, too', () => {
    const { clock, news, write, certPath } = watch();
    rmSync(certPath);
    clock.advance(2000);
    assert.match(news[0]!.detail, /ENOENT.*; the old certificate stays/);
    write(certPath, 'no certificate');
    clock.advance(2000);
    assert.match(news[1]!.detail, /there is no certificate in this file/);
    assert.equal(news.length, 2);
  });

  test('an expired one is taken, and told', () => {
    const { clock, loaded, news, write, certPath, keyPath } = watch();
    const old = expiredCertificate();
    write(keyPath, old.key);
    write(certPath, old.cert);
    clock.advance(2000);
    assert.equal(loaded.length, 1);
    assert.match(news[0]!.detail, /^the certificate has expired on /);
  });

  test('RELOAD reads them whether they have changed or not', () => {
    const { watching, write, certPath, keyPath, clock, loaded } = watch();
    assert.equal(watching.reload()[0]!.result, 'unchanged');
    write(certPath, second.cert);
    write(keyPath, second.key);
    assert.equal(watching.reload()[0]!.result, 'reloaded');
    clock.advance(2000);
    assert.equal(loaded.length, 1);
  });

  test('does not begin with a pair that cannot be used', () => {
    const { write, certPath, keyPath, clock } = watch();
    write(certPath, second.cert);
    const listeners = [{ listener: 'read', certPath, keyPath, caPath: null }];
    const make = (): unknown =>
      new CertificateWatch({ listeners, clock, onLoaded: () => undefined, onNews: () => undefined });
    assert.throws(make, /listener 'read': certificate and key do not belong together/);
  });

  test('the authorities of clients are read with it', () => {
    const { write, certPath, keyPath, clock } = watch();
    const caPath = `${certPath}.ca`;
    const ca = authority().cert;
    write(caPath, ca);
    const listeners = [{ listener: 'read', certPath, keyPath, caPath }];
    const watching = new CertificateWatch({
      listeners,
      clock,
      onLoaded: () => undefined,
      onNews: () => undefined,
    });
    assert.equal(watching.current()[0]!.ca, ca);
    write(caPath, 'nothing');
    assert.equal(watching.reload()[0]!.result, 'failed');
  });

  test('looks no more when it is closed', () => {
    const { watching, clock } = watch();
    watching.close();
    assert.equal(clock.pending, 0);
  });
});

describe('the RSA key of the state directory', () => {
  test('is made once, for its owner alone, and kept', () => {
    const directory = join(newDirectory(), 'state');
    const keys = openRsaKeys(directory);
    assert.match(keys.rsaPublicKeyPem, /^-----BEGIN PUBLIC KEY-----/);
    assert.match(keys.rsaPrivateKeyPem, /^-----BEGIN PRIVATE KEY-----/);
    assert.equal(statSync(join(directory, 'private_key.pem')).mode & 0o777, 0o600);
    assert.deepEqual(openRsaKeys(directory), keys);
  });

  test('one that cannot be used is not replaced silently', () => {
    const directory = newDirectory();
    writeFileSync(join(directory, 'private_key.pem'), 'something else');
    assert.throws(() => openRsaKeys(directory), /private_key\.pem holds no RSA key; remove it/);
  });
});
