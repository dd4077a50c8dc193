import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import {
  parseAuthSwitch,
  parseChangeUser,
  parseGreeting,
  parseHandshakeResponse,
  writeAuthSwitch,
  writeChangeUser,
  writeGreeting,
  writeHandshakeResponse,
} from '../../../src/protocol/handshake.ts';
import { parseError, parseOk } from '../../../src/protocol/packets.ts';
import { loginVectors } from '../../support/vectors.ts';

const ALL = 0xffffffff;

function vector(name: string): Buffer {
  return loginVectors[name]!.subarray(4);
}

suite('packets of a real login', () => {
  test('the greeting of MariaDB 10.11', () => {
    const greeting = parseGreeting(vector('greeting'));
    assert.match(greeting.serverVersion, /^5\.5\.5-10\.11\.\d+-MariaDB/);
    assert.equal(greeting.plugin, 'mysql_native_password');
    assert.equal(greeting.scramble.length, 20);
    assert.equal(greeting.status, 2);
    assert.notEqual(greeting.capabilities & Capability.DEPRECATE_EOF, 0);
    assert.equal(greeting.capabilities & Capability.LONG_PASSWORD, 0);
    assert.ok(greeting.connectionId > 0 && greeting.connectionId < 1000);
  });

  test('the response that it accepted', () => {
    const response = parseHandshakeResponse(vector('response'), ALL);
    assert.equal(response.user, 'app');
    assert.equal(response.database, 'demo');
    assert.equal(response.collation, 45);
    assert.equal(response.answer.length, 20);
    assert.equal(response.plugin, 'mysql_native_password');
  });

  test('its auth switch, at login and after COM_CHANGE_USER', () => {
    for (const name of ['authSwitch', 'changeUserAnswer']) {
      const { plugin, scramble } = parseAuthSwitch(vector(name));
      assert.equal(plugin, 'mysql_native_password');
      assert.equal(scramble.length, 20);
      assert.ok(!scramble.includes(0));
    }
  });

  test('its OK and its refusal', () => {
    assert.deepEqual(parseOk(vector('ok')), { status: 0x4002, warnings: 0 });
    const error = parseError(vector('denied'));
    assert.equal(error.errno, 1045);
    assert.equal(error.sqlState, '28000');
    assert.match(error.message, /^Access denied for user 'app'@/);
  });

  test('what we write of it is the same, byte for byte', () => {
    const response = parseHandshakeResponse(vector('response'), ALL);
    assert.deepEqual(writeHandshakeResponse(1, response), loginVectors['response']);
    const change = parseChangeUser(vector('changeUser'), ALL);
    assert.deepEqual(writeChangeUser(change), loginVectors['changeUser']);
    const { plugin, scramble } = parseAuthSwitch(vector('authSwitch'));
    assert.deepEqual(writeAuthSwitch(2, plugin, scramble), loginVectors['authSwitch']);
  });

  test('a greeting of ours reads back as it was meant', () => {
    const greeting = {
      serverVersion: '5.5.5-10.11.6-MariaDB',
      connectionId: 0x40000001,
      scramble: Buffer.from('abcdefghijklmnopqrst'),
      capabilities: 0x81bff7df,
      collation: 45,
      status: 2,
      plugin: 'mysql_native_password',
    };
    assert.deepEqual(parseGreeting(writeGreeting(greeting).subarray(4)), greeting);
  });
});

suite('packets cut short', () => {
  const readers: Record<string, (payload: Buffer) => unknown> = {
    greeting: parseGreeting,
    response: (payload) => parseHandshakeResponse(payload, ALL),
    authSwitch: parseAuthSwitch,
    changeUser: (payload) => parseChangeUser(payload, ALL),
    denied: parseError,
    ok: parseOk,
  };
  /** The end of the part that cannot be left out. */
  const needed: Record<string, string> = {
    greeting: '?',
    response: 'demo',
    authSwitch: 'mysql_native_password',
    changeUser: 'demo',
  };

  for (const [name, read] of Object.entries(readers)) {
    test(`every prefix of ${name} is refused or read, never worse`, () => {
      const whole = vector(name);
      for (let length = 0; length < whole.length; length++) {
        try {
          read(whole.subarray(0, length));
        } catch (error) {
          assert.ok(isRefusal(error), `${name} cut at ${length}: ${String(error)}`);
        }
      }
    });
  }

  for (const [name, last] of Object.entries(needed)) {
    test(`${name} without what it needs is refused`, () => {
      const whole = vector(name);
      const end = whole.indexOf(last);
      assert.ok(end > 0);
      for (let length = 1; length < end; length++) {
        const cut = whole.subarray(0, length);
        assert.throws(() => readers[name]!(cut), { code: /MALFORMED|OLD_CLIENT/ }, `cut at ${length}`);
      }
    });
  }
});

suite('responses of other clients', () => {
  const base = {
    capabilities: (Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION) >>> 0,
    maxPacketBytes: 1,
    collation: 8,
    user: 'app',
    answer: Buffer.alloc(20, 3),
    database: '',
    plugin: '',
  };

  test('one without plugins and without a database', () => {
    const response = parseHandshakeResponse(writeHandshakeResponse(1, base).subarray(4), ALL);
    assert.deepEqual(response, base);
  });

  test('one whose database and plugin end with the packet', () => {
    const capabilities = base.capabilities | Capability.CONNECT_WITH_DB;
    const bytes = writeHandshakeResponse(1, { ...base, capabilities, database: 'demo' });
    const response = parseHandshakeResponse(bytes.subarray(4, -1), ALL);
    assert.equal(response.database, 'demo');
  });

  test('one with a long answer in the length-encoded form', () => {
    const head = writeHandshakeResponse(1, { ...base, answer: Buffer.alloc(0) }).subarray(4, -1);
    head.writeUInt32LE(base.capabilities | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA, 0);
    const answer = Buffer.alloc(300, 7);
    const payload = Buffer.concat([head, Buffer.from([0xfc, 300 & 0xff, 300 >> 8]), answer]);
    assert.deepEqual(parseHandshakeResponse(payload, ALL).answer, answer);
  });

  test('flags that were not offered are not agreed on', () => {
    const asked = (base.capabilities | Capability.COMPRESS | Capability.DEPRECATE_EOF) >>> 0;
    const bytes = writeHandshakeResponse(1, { ...base, capabilities: asked });
    const offered = (base.capabilities | Capability.DEPRECATE_EOF) >>> 0;
    assert.equal(parseHandshakeResponse(bytes.subarray(4), offered).capabilities, offered);
  });

  test('one older than protocol 4.1, or without secure authentication, is told so', () => {
    for (const capabilities of [0, Capability.PROTOCOL_41, Capability.SECURE_CONNECTION]) {
      const bytes = writeHandshakeResponse(1, { ...base, capabilities });
      assert.throws(() => parseHandshakeResponse(bytes.subarray(4), ALL), { code: 'DBPROXY_OLD_CLIENT' });
    }
  });

  test('a wish for TLS that was not offered is told so', () => {
    const request = Buffer.alloc(32);
    request.writeUInt32LE(base.capabilities | Capability.SSL);
    assert.throws(() => parseHandshakeResponse(request, ALL & ~Capability.SSL), {
      code: 'DBPROXY_HANDSHAKE',
      message: /TLS/,
    });
  });

  test('COM_CHANGE_USER of an old client may end after the database, or after the collation', () => {
    const whole = writeChangeUser({
      user: 'u',
      answer: Buffer.from('a'),
      database: 'd',
      collation: 33,
      plugin: 'p',
    });
    assert.deepEqual(parseChangeUser(whole.subarray(4, -4), ALL), {
      user: 'u',
      answer: Buffer.from('a'),
      database: 'd',
      collation: 0,
      plugin: '',
    });
    assert.equal(parseChangeUser(whole.subarray(4, -2), ALL).collation, 33);
  });

  test('the answers of before 4.1 are no greeting', () => {
    assert.throws(() => parseGreeting(Buffer.from([9, 0x35, 0])), { code: 'DBPROXY_MALFORMED_PACKET' });
  });
});
