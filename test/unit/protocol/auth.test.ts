import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  doubleSha1Of,
  doubleSha256Of,
  fitsSecret,
  isEmptySecret,
  secretOf,
  secretOfPassword,
  withoutPassword,
  type Secret,
} from '../../../src/protocol/auth.ts';

/** Of the password `app`, as real servers store it. */
const NATIVE = '*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3';
const ED25519 = 'A6JsKXS3kEXnObMR3UnBsXJpYq9wDTms6ThPMr/0Eyw';
const SHA2 =
  '244124303041242F01291554531E0E7A525B147E31625739290173304154704D5A69744C74684E452E69495A444C4279734742525643477930687051572E757A342E35524737';

const app = Buffer.from('app');

function twice(algorithm: string, text: string): Buffer {
  const once = createHash(algorithm).update(text).digest();
  return createHash(algorithm).update(once).digest();
}

test('every form in which a server stores a password checks it, and no other', () => {
  const forms: Secret[] = [
    { password: 'app' },
    secretOf({ auth: NATIVE }),
    secretOf({ auth: NATIVE.toLowerCase().slice(1) }),
    secretOf({ auth: ED25519 }),
    secretOf({ auth: `0x${SHA2}` }),
    secretOf({ auth: Buffer.from(SHA2, 'hex').toString('latin1') }),
    { doubleSha256: twice('sha256', 'app') },
    withoutPassword({ password: 'app' }),
  ];
  for (const secret of forms) {
    assert.equal(isEmptySecret(secret), false);
    assert.equal(fitsSecret(app, secret), true);
    assert.equal(fitsSecret(Buffer.from('apq'), secret), false);
    assert.equal(fitsSecret(Buffer.alloc(0), secret), false);
  }
});

test('what no server stores gives a secret that nothing fits', () => {
  for (const auth of ['*', 'app', '*5BCB3E', '$A$005$', '0x2441', '0xzz', `${ED25519}=`, '$B$', '*LK*']) {
    const secret = secretOf({ auth });
    assert.ok(isEmptySecret(secret), auth);
    assert.equal(fitsSecret(app, secret), false);
  }
  assert.ok(isEmptySecret(secretOf({})));
});

test('an account whose stored hash is empty has no password', () => {
  assert.deepEqual(secretOf({ auth: '' }), { password: '' });
  assert.equal(fitsSecret(Buffer.alloc(0), { password: '' }), true);
  assert.equal(fitsSecret(app, { password: '' }), false);
});

test('a remembered form that has grown old does not keep the right password out', () => {
  const secret = { ...secretOf({ auth: `0x${SHA2}` }), doubleSha256: twice('sha256', 'before') };
  assert.equal(fitsSecret(app, secret), true);
});

test('without its password a secret still has all that logs in without it', () => {
  const kept = withoutPassword({ password: 'app', sha2Hash: Buffer.from(SHA2, 'hex') });
  assert.equal('password' in kept, false);
  assert.deepEqual(kept.doubleSha1, twice('sha1', 'app'));
  assert.deepEqual(kept.doubleSha256, twice('sha256', 'app'));
  assert.deepEqual(kept.sha1, createHash('sha1').update('app').digest());
  assert.deepEqual(kept.sha256, createHash('sha256').update('app').digest());
  assert.ok(kept.sha2Hash !== undefined);
  assert.deepEqual(withoutPassword({ password: '' }), { password: '' }, 'the empty one is no secret');
  assert.deepEqual(withoutPassword({ sha1: app }), { sha1: app });
});

test('the double hashes follow from the single ones', () => {
  assert.deepEqual(doubleSha1Of({ sha1: createHash('sha1').update('x').digest() }), twice('sha1', 'x'));
  assert.deepEqual(
    doubleSha256Of({ sha256: createHash('sha256').update('x').digest() }),
    twice('sha256', 'x'),
  );
  assert.equal(doubleSha1Of({ sha256: app }), undefined);
  assert.equal(doubleSha256Of({ doubleSha1: app }), undefined);
});

test('a password that is not UTF-8 is known by its hashes alone', () => {
  const bytes = Buffer.from([0x61, 0xff, 0x62]);
  const secret = secretOfPassword(bytes);
  assert.equal('password' in secret, false);
  assert.equal(fitsSecret(bytes, secret), true);
  assert.equal(fitsSecret(bytes, { doubleSha1: secret.doubleSha1! }), true);
  assert.equal(fitsSecret(bytes, secretOf({ auth: ED25519 })), false);
  assert.equal(secretOfPassword(app).password, 'app');
});
