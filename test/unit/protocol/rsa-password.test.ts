import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { decryptPassword, encryptPassword } from '../../../src/protocol/rsa-password.ts';

const scramble = Buffer.from('abcdefghijklmnopqrst');

function keyPair(bits: number) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return { privateKey, pem: Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })) };
}

const { privateKey, pem } = keyPair(2048);

test('a password comes back with its NUL, whatever its length', () => {
  for (const password of ['', 'app', 'ü'.repeat(60)]) {
    const encrypted = encryptPassword(password, scramble, pem);
    assert.equal(encrypted.length, 256);
    assert.deepEqual(decryptPassword(encrypted, scramble, privateKey), Buffer.from(`${password}\0`));
  }
});

test('another scramble makes another password of it: a recorded packet is worth nothing', () => {
  const encrypted = encryptPassword('app', scramble, pem);
  const other = decryptPassword(encrypted, Buffer.alloc(20, 1), privateKey);
  assert.notDeepEqual(other, Buffer.from('app\0'));
});

test('what was not encrypted for the key is no password', () => {
  const encrypted = encryptPassword('app', scramble, keyPair(2048).pem);
  for (const bytes of [
    encrypted,
    Buffer.alloc(0),
    Buffer.from('app\0'),
    Buffer.alloc(256),
    Buffer.alloc(257),
  ]) {
    assert.equal(decryptPassword(bytes, scramble, privateKey), undefined);
  }
});

test('a server that gives no RSA key, a weak one or a huge text is not answered', () => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const texts = [
    Buffer.alloc(0),
    Buffer.from('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'),
    Buffer.from(ec.export({ type: 'spki', format: 'pem' })),
    keyPair(512).pem,
    Buffer.concat([pem, Buffer.alloc(5000, 0x0a)]),
  ];
  for (const text of texts) {
    assert.throws(() => encryptPassword('app', scramble, text), { code: 'DBPROXY_MALFORMED_PACKET' });
  }
});

test('a password too long for the key is refused in words', () => {
  assert.throws(() => encryptPassword('x'.repeat(240), scramble, pem), /too short for the password/);
});
