import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ed25519KeyOf } from '../../../src/protocol/ed25519.ts';
import {
  digest,
  doubleSha1Of,
  doubleSha256Of,
  withoutPassword,
  type Secret,
} from '../../../src/protocol/auth.ts';
import { parseGreeting, parseHandshakeResponse } from '../../../src/protocol/handshake.ts';
import { CACHING_SHA2, findPlugin, NATIVE_PASSWORD, newScramble } from '../../../src/protocol/plugins.ts';
import { loginVectors, pluginLogins } from '../../support/vectors.ts';

const PASSWORDS = ['app', 'ünï', 'a b', 'x'.repeat(200)];

/** What a server stores of a password for the plugin's own check. */
function stored(name: string, password: string): Secret {
  switch (name) {
    case 'mysql_native_password':
      return { doubleSha1: doubleSha1Of({ password })! };
    case 'caching_sha2_password':
      return { doubleSha256: doubleSha256Of({ password })! };
    default:
      return { password };
  }
}

for (const name of ['mysql_native_password', 'caching_sha2_password', 'client_ed25519']) {
  const plugin = findPlugin(name)!;
  const scramble = newScramble(plugin.scrambleBytes);

  suite(name, () => {
    test('an answer is accepted by its password and by what is stored of it, and by no other', () => {
      for (const password of PASSWORDS) {
        const answer = plugin.respond(scramble, { password })!;
        const accepted = (secret: Secret, to = scramble): boolean =>
          plugin.verify(to, answer, secret).accepted;
        assert.ok(plugin.canVerify(stored(name, password)));
        assert.equal(accepted({ password }), true);
        assert.equal(accepted(stored(name, password)), true);
        assert.equal(accepted({ password: `${password}!` }), false);
        assert.equal(accepted({ password: '' }), false);
        assert.equal(accepted({ password }, newScramble(plugin.scrambleBytes)), false, 'another scramble');
      }
    });

    test('an answer of a wrong length and a user of whom nothing is known are refused', () => {
      for (const length of [1, 2, 19, 21, 31, 33, 63, 65, 300]) {
        assert.equal(plugin.verify(scramble, Buffer.alloc(length), { password: 'app' }).accepted, false);
      }
      const answer = plugin.respond(scramble, { password: 'app' })!;
      assert.equal(plugin.canVerify({}), false);
      assert.equal(plugin.verify(scramble, answer, {}).accepted, false);
    });

    test('what is stored at a server does not let us answer another one', () => {
      const secret = stored(name, 'app');
      delete secret.password;
      assert.equal(plugin.respond(scramble, { ...secret, ed25519Key: ed25519KeyOf('app') }), undefined);
    });
  });
}

for (const plugin of [NATIVE_PASSWORD, CACHING_SHA2]) {
  suite(`${plugin.name}, from answer to answer`, () => {
    const scramble = newScramble();

    test('what a check has learned is enough to answer another server', () => {
      const answer = plugin.respond(scramble, { password: 'app' })!;
      const verdict = plugin.verify(scramble, answer, stored(plugin.name, 'app'));
      assert.ok(verdict.accepted);
      const other = newScramble();
      assert.deepEqual(plugin.respond(other, verdict.learned), plugin.respond(other, { password: 'app' }));
      const kept = withoutPassword({ password: 'app' });
      assert.deepEqual(plugin.respond(other, kept), plugin.respond(other, { password: 'app' }));
    });

    test('only a client without a password gets into an account without one', () => {
      const nothing = plugin.respond(scramble, { password: '' })!;
      for (const answer of [nothing, Buffer.alloc(0), Buffer.alloc(1)]) {
        assert.equal(plugin.verify(scramble, answer, { password: '' }).accepted, true);
        assert.equal(plugin.verify(scramble, answer, { password: 'app' }).accepted, false);
        assert.equal(plugin.verify(scramble, answer, {}).accepted, false);
      }
      // The answer that a client of the empty password would make if it were one like others.
      const hashes = { sha1: digest('sha1', ''), sha256: digest('sha256', '') };
      const empty = plugin.respond(scramble, hashes)!;
      assert.equal(plugin.verify(scramble, empty, { password: '' }).accepted, false);
    });
  });
}

test('the answers of recorded logins, which real servers accepted, are accepted', () => {
  const greeting = parseGreeting(loginVectors['greeting']!.subarray(4));
  const response = parseHandshakeResponse(loginVectors['response']!.subarray(4), 0xffffffff);
  assert.equal(
    NATIVE_PASSWORD.verify(greeting.scramble, response.answer, { password: 'app' }).accepted,
    true,
  );
  const { packets } = pluginLogins.find(({ name }) => name === 'caching_sha2_password, fast path')!;
  const caching = parseGreeting(packets[0]!.bytes.subarray(4));
  const { answer } = parseHandshakeResponse(packets[1]!.bytes.subarray(4), 0xffffffff);
  assert.equal(CACHING_SHA2.verify(caching.scramble, answer, { password: 'app' }).accepted, true);
});

test('a scramble holds neither NUL nor dollar, and none comes twice', () => {
  const seen = new Set<string>();
  for (let round = 0; round < 500; round++) {
    const fresh = newScramble(round % 2 === 0 ? 20 : 32);
    assert.ok(fresh.every((byte) => byte !== 0 && byte !== 0x24 && byte < 0x80));
    seen.add(fresh.toString('hex'));
  }
  assert.equal(seen.size, 500);
});

test('an unknown plugin is not found', () => {
  assert.equal(findPlugin('mysql_native_password'), NATIVE_PASSWORD);
  assert.equal(findPlugin('dialog'), undefined);
  assert.equal(findPlugin('mysql_clear_password'), undefined, 'a clear password is no answer to a scramble');
});
