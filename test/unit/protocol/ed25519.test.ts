import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519KeyOf, signEd25519, verifyEd25519 } from '../../../src/protocol/ed25519.ts';
import { pluginLogins } from '../../support/vectors.ts';

const message = Buffer.alloc(32, 7);

test('the key of a password is what MariaDB 10.11 stores for it', () => {
  assert.equal(ed25519KeyOf('app').toString('base64'), 'A6JsKXS3kEXnObMR3UnBsXJpYq9wDTms6ThPMr/0Eyw=');
  assert.equal(
    ed25519KeyOf('a rather long pässword, longer than thirty-two bytes').toString('base64'),
    'HJkngn4X05l5MfZ3rMux5ueKWeg/cDBcdvp1J6Iflk4=',
  );
});

test('a signature that MariaDB accepted is made again, byte for byte, and verified', () => {
  const { packets } = pluginLogins.find(({ name }) => name === 'client_ed25519')!;
  const scramble = packets.find(({ bytes }) => bytes[4] === 0xfe)!.bytes.subarray(-32);
  const signature = packets.findLast(({ fromServer }) => !fromServer)!.bytes.subarray(4);
  assert.deepEqual(signEd25519('app', scramble), signature);
  assert.equal(verifyEd25519(ed25519KeyOf('app'), scramble, signature), true);
});

test('only the signature of the password and of the message is accepted', () => {
  for (const password of ['', 'app', 'x'.repeat(32), 'ü'.repeat(100)]) {
    const signature = signEd25519(password, message);
    const key = ed25519KeyOf(password);
    assert.equal(signature.length, 64);
    assert.equal(verifyEd25519(key, message, signature), true);
    assert.equal(verifyEd25519(key, Buffer.alloc(32, 8), signature), false);
    assert.equal(verifyEd25519(ed25519KeyOf(`${password}!`), message, signature), false);
    assert.equal(verifyEd25519(key, message, signature.subarray(0, 63)), false);
    assert.equal(verifyEd25519(key, message, Buffer.alloc(0)), false);
  }
});

test('what is no key has no signatures', () => {
  const signature = signEd25519('app', message);
  for (const key of [Buffer.alloc(0), Buffer.alloc(31), Buffer.alloc(32, 0xff), Buffer.alloc(33)]) {
    assert.equal(verifyEd25519(key, message, signature), false);
  }
});
