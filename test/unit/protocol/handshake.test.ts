import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import {
  isTlsRequest,
  parseAuthSwitch,
  parseChangeUser,
  parseGreeting,
  parseHandshakeResponse,
  writeAuthSwitch,
  writeChangeUser,
  writeGreeting,
  writeHandshakeResponse,
  writeTlsRequest,
} from '../../../src/protocol/handshake.ts';
import { parseError, parseOk } from '../../../src/protocol/packets.ts';
import { loginVectors } from '../../support/vectors.ts';

const ALL = 0xffffffff;

/** os=ab, program=x, as connection attributes. */
const ATTRIBUTES = Buffer.from('\x02os\x02ab\x07program\x01x');

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
    assert.equal(greeting.extendedCapabilities, 0x1d);
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
      const { plugin, data } = parseAuthSwitch(vector(name));
      assert.equal(plugin, 'mysql_native_password');
      assert.equal(data.length, 21);
      assert.equal(data.indexOf(0), 20);
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
    assert.deepEqual(writeChangeUser(change, ALL & ~Capability.CONNECT_ATTRS), loginVectors['changeUser']);
    const { plugin, data } = parseAuthSwitch(vector('authSwitch'));
    assert.deepEqual(writeAuthSwitch(2, plugin, data), loginVectors['authSwitch']);
  });

  test('a greeting of ours reads back as it was meant', () => {
    const greeting = {
      serverVersion: '5.5.5-10.11.6-MariaDB',
      connectionId: 0x40000001,
      scramble: Buffer.from('abcdefghijklmnopqrst'),
      capabilities: 0x81bff7df,
      extendedCapabilities: 0,
      collation: 45,
      status: 2,
      plugin: 'mysql_native_password',
    };
    assert.deepEqual(parseGreeting(writeGreeting(greeting).subarray(4)), greeting);
    const extended = { ...greeting, capabilities: 0x81bff7de, extendedCapabilities: 0xf000001d };
    assert.deepEqual(parseGreeting(writeGreeting(extended).subarray(4)), extended);
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
    extendedCapabilities: 0,
    attributes: Buffer.alloc(0),
    zstdLevel: 0,
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

  test('one of everything', () => {
    const response = {
      ...base,
      capabilities: (ALL & ~Capability.LONG_PASSWORD & ~Capability.SSL) >>> 0,
      extendedCapabilities: 0x15,
      answer: Buffer.alloc(300, 7),
      database: 'demo',
      plugin: 'caching_sha2_password',
      attributes: ATTRIBUTES,
      zstdLevel: 19,
    };
    const payload = writeHandshakeResponse(1, response).subarray(4);
    assert.deepEqual(parseHandshakeResponse(payload, ALL, ALL), response);
    assert.equal(parseHandshakeResponse(payload, ALL, 0x11).extendedCapabilities, 0x11, 'what was offered');
    assert.equal(parseHandshakeResponse(payload, ALL).extendedCapabilities, 0);
    const unzipped = parseHandshakeResponse(payload, ALL & ~Capability.ZSTD_COMPRESSION, ALL);
    assert.equal(unzipped.zstdLevel, 0);
    for (let length = 0; length < payload.length - 1; length++) {
      try {
        parseHandshakeResponse(payload.subarray(0, length), ALL, ALL);
      } catch (error) {
        assert.ok(isRefusal(error), `cut at ${length}: ${String(error)}`);
      }
    }
  });

  test('extended flags mean nothing in a response with LONG_PASSWORD', () => {
    const capabilities = (base.capabilities | Capability.LONG_PASSWORD) >>> 0;
    const bytes = writeHandshakeResponse(1, { ...base, capabilities, extendedCapabilities: 0x1f });
    assert.equal(parseHandshakeResponse(bytes.subarray(4), ALL, ALL).extendedCapabilities, 0);
  });

  test('attributes whose pairs or whose length lie are refused, and so are too many', () => {
    const capabilities = (base.capabilities | Capability.CONNECT_ATTRS) >>> 0;
    const parsed = (attributes: Buffer): Buffer => {
      const bytes = writeHandshakeResponse(1, { ...base, capabilities, attributes });
      return parseHandshakeResponse(bytes.subarray(4), ALL).attributes;
    };
    assert.deepEqual(parsed(ATTRIBUTES), ATTRIBUTES);
    for (let length = 1; length < ATTRIBUTES.length; length++) {
      const isWhole = length === 6;
      if (isWhole) assert.equal(parsed(ATTRIBUTES.subarray(0, length)).length, length);
      else assert.throws(() => parsed(ATTRIBUTES.subarray(0, length)), { code: 'DBPROXY_MALFORMED_PACKET' });
    }
    const long = Buffer.concat([Buffer.from([1, 0x6b, 0xfd, 0, 0, 1]), Buffer.alloc(65536, 0x76)]);
    assert.throws(() => parsed(long), {
      code: 'DBPROXY_HANDSHAKE',
      message: /65542 bytes of connection attributes/,
    });
    const lying = writeHandshakeResponse(1, { ...base, capabilities, attributes: ATTRIBUTES });
    lying[lying.length - ATTRIBUTES.length - 1] = 0xfa;
    assert.throws(() => parseHandshakeResponse(lying.subarray(4), ALL), { code: 'DBPROXY_MALFORMED_PACKET' });
  });

  test('a level that zstd does not have is refused, and one left out is the default', () => {
    const capabilities = (base.capabilities | Capability.ZSTD_COMPRESSION) >>> 0;
    for (const zstdLevel of [0, 23, 255]) {
      const bytes = writeHandshakeResponse(1, { ...base, capabilities, zstdLevel });
      assert.throws(() => parseHandshakeResponse(bytes.subarray(4), ALL), { code: 'DBPROXY_HANDSHAKE' });
    }
    const bytes = writeHandshakeResponse(1, { ...base, capabilities, zstdLevel: 1 });
    assert.equal(parseHandshakeResponse(bytes.subarray(4, -1), ALL).zstdLevel, 3);
  });

  test('a request for TLS is the head of a response, and nothing else is one', () => {
    const capabilities = (base.capabilities | Capability.SSL) >>> 0;
    const request = writeTlsRequest(1, { ...base, capabilities }).subarray(4);
    assert.equal(request.length, 32);
    assert.equal(isTlsRequest(request), true);
    assert.equal(isTlsRequest(writeTlsRequest(1, base).subarray(4)), false);
    assert.equal(isTlsRequest(writeHandshakeResponse(1, { ...base, capabilities }).subarray(4)), false);
    assert.equal(isTlsRequest(Buffer.alloc(0)), false);
  });

  test('COM_CHANGE_USER with attributes', () => {
    const change = {
      user: 'u',
      answer: Buffer.from('a'),
      database: 'd',
      collation: 0x1234,
      plugin: 'p',
      attributes: ATTRIBUTES,
    };
    const payload = writeChangeUser(change, ALL).subarray(4);
    assert.deepEqual(parseChangeUser(payload, ALL), change);
    for (let length = 1; length < payload.length; length++) {
      try {
        parseChangeUser(payload.subarray(0, length), ALL);
      } catch (error) {
        assert.ok(isRefusal(error), `cut at ${length}: ${String(error)}`);
      }
    }
    const old = writeChangeUser(change, 0).subarray(4);
    assert.deepEqual(parseChangeUser(old, 0), { ...change, plugin: '', attributes: Buffer.alloc(0) });
  });

  test('COM_CHANGE_USER of an old client may end after the database, or after the collation', () => {
    const whole = writeChangeUser(
      {
        user: 'u',
        answer: Buffer.from('a'),
        database: 'd',
        collation: 33,
        plugin: 'p',
        attributes: Buffer.alloc(0),
      },
      Capability.PLUGIN_AUTH,
    );
    assert.deepEqual(parseChangeUser(whole.subarray(4, -4), ALL), {
      user: 'u',
      answer: Buffer.from('a'),
      database: 'd',
      collation: 0,
      plugin: '',
      attributes: Buffer.alloc(0),
    });
    assert.equal(parseChangeUser(whole.subarray(4, -2), ALL).collation, 33);
  });

  test('the answers of before 4.1 are no greeting', () => {
    assert.throws(() => parseGreeting(Buffer.from([9, 0x35, 0])), { code: 'DBPROXY_MALFORMED_PACKET' });
  });
});
