import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DEFAULT_PLUGIN, findPlugin, newScramble, secretOf } from '../../../src/protocol/auth.ts';
import { parseGreeting, parseHandshakeResponse } from '../../../src/protocol/handshake.ts';
import { loginVectors } from '../../support/vectors.ts';

const plugin = DEFAULT_PLUGIN;
const scramble = Buffer.from('abcdefghijklmnopqrst');

/** As mysql.user stores the password `app`. */
function storedHash(password: string): string {
  const sha1 = (bytes: Buffer): Buffer => createHash('sha1').update(bytes).digest();
  return `*${sha1(sha1(Buffer.from(password)))
    .toString('hex')
    .toUpperCase()}`;
}

test('an answer to a scramble is accepted by its password and by its stored hash, and by no other', () => {
  for (const password of ['app', 'ünï', 'a b', 'x'.repeat(200)]) {
    const answer = plugin.respond(scramble, { password })!;
    assert.equal(plugin.verify(scramble, answer, { password }).accepted, true);
    assert.equal(plugin.verify(scramble, answer, secretOf({ auth: storedHash(password) })).accepted, true);
    assert.equal(plugin.verify(scramble, answer, { password: `${password}!` }).accepted, false);
    assert.equal(plugin.verify(Buffer.alloc(20, 1), answer, { password }).accepted, false);
  }
});

test('what a check has learned is enough to answer another server', () => {
  const answer = plugin.respond(scramble, { password: 'app' })!;
  const verdict = plugin.verify(scramble, answer, secretOf({ auth: storedHash('app') }));
  assert.ok(verdict.accepted);
  const other = Buffer.alloc(20, 0x42);
  assert.deepEqual(plugin.respond(other, verdict.learned), plugin.respond(other, { password: 'app' }));
});

test('the empty password is answered with nothing, and only nothing is accepted for it', () => {
  assert.equal(plugin.respond(scramble, { password: '' })!.length, 0);
  assert.equal(plugin.verify(scramble, Buffer.alloc(0), { password: '' }).accepted, true);
  assert.equal(plugin.verify(scramble, Buffer.alloc(20), { password: '' }).accepted, false);
  assert.equal(plugin.verify(scramble, Buffer.alloc(0), { password: 'app' }).accepted, false);
});

test('an answer of a wrong length and a user without a secret are refused', () => {
  for (const length of [1, 19, 21, 32]) {
    assert.equal(plugin.verify(scramble, Buffer.alloc(length), { password: 'app' }).accepted, false);
  }
  assert.equal(plugin.verify(scramble, plugin.respond(scramble, { password: 'app' })!, {}).accepted, false);
});

test('a stored hash alone does not let us answer a server', () => {
  assert.equal(plugin.respond(scramble, secretOf({ auth: storedHash('app') })), undefined);
});

test('the answer of a recorded login, which a real server accepted, is accepted', () => {
  const greeting = parseGreeting(loginVectors['greeting']!.subarray(4));
  const response = parseHandshakeResponse(loginVectors['response']!.subarray(4), 0xffffffff);
  assert.equal(plugin.verify(greeting.scramble, response.answer, { password: 'app' }).accepted, true);
});

test('a scramble holds neither NUL nor dollar', () => {
  for (let round = 0; round < 500; round++) {
    const fresh = newScramble();
    assert.equal(fresh.length, 20);
    assert.ok(fresh.every((byte) => byte !== 0 && byte !== 0x24 && byte < 0x80));
  }
});

test('an unknown plugin is not found', () => {
  assert.equal(findPlugin('mysql_native_password'), plugin);
  assert.equal(findPlugin('dialog'), undefined);
});
