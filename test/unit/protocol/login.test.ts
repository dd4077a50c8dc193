/**
 * The two sides of a login, each against the other and against what goes wrong.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { doubleSha1Of, type Secret } from '../../../src/protocol/auth.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import { writeAuthSwitch, writeHandshakeResponse } from '../../../src/protocol/handshake.ts';
import { ClientLogin, type ClientStep } from '../../../src/protocol/login-client.ts';
import { ServerLogin, type LoginStep } from '../../../src/protocol/login-server.ts';
import { writeError, writeOk } from '../../../src/protocol/packets.ts';
import { loginVectors } from '../../support/vectors.ts';

const OFFER = 0x1bff7df >>> 0;

function server(accounts: Record<string, Secret> = { app: { password: 'app' } }): ServerLogin {
  return new ServerLogin({
    connectionId: 7,
    serverVersion: '10.11.6-MariaDB',
    capabilities: OFFER,
    collation: 45,
    clientAddress: () => '10.0.0.9',
    findSecret: (user) => accounts[user],
  });
}

function client(change: Partial<{ user: string; secret: Secret; database: string }> = {}): ClientLogin {
  return new ClientLogin({
    user: 'app',
    secret: { password: 'app' },
    database: 'demo',
    collation: 33,
    capabilities: Capability.DEPRECATE_EOF,
    ...change,
  });
}

/** Lets the client answer until the server has decided. */
function negotiate(ours: ServerLogin, theirs: ClientLogin, first: Buffer): LoginStep {
  let packet = first;
  for (let round = 0; round < 10; round++) {
    const answer = theirs.receive(packet.subarray(4), packet[3]!);
    assert.equal(answer.kind, 'send');
    const { bytes } = answer;
    let step = ours.receive(bytes.subarray(4), bytes[3]!);
    if (step.kind === 'unproven') step = ours.deny();
    if (step.kind !== 'send') return step;
    packet = step.bytes;
  }
  throw new Error('no end');
}

function refusedWith(step: LoginStep, code: string): Extract<LoginStep, { kind: 'refused' }> {
  assert.equal(step.kind, 'refused');
  const refused = step;
  assert.equal(refused.error.code, code);
  return refused;
}

suite('as a server', () => {
  test('accepts the right password and says who and what was agreed', () => {
    const ours = server();
    const step = negotiate(ours, client(), ours.greeting());
    assert.equal(step.kind, 'accepted');
    const { login, sequence } = step;
    assert.equal(sequence, 2);
    assert.equal(login.user, 'app');
    assert.equal(login.database, 'demo');
    assert.equal(login.collation, 33);
    assert.notEqual(login.capabilities & Capability.DEPRECATE_EOF, 0);
    assert.equal(login.capabilities & Capability.LOCAL_FILES, 0);
  });

  test('refuses a wrong password and an unknown user with the same words', () => {
    const messages = [{ secret: { password: 'wrong' } }, { user: 'nobody' }].map((change) => {
      const ours = server();
      const step = negotiate(ours, client(change), ours.greeting());
      const { error, sequence } = refusedWith(step, 'DBPROXY_ACCESS_DENIED');
      assert.equal(sequence, 2);
      return error.message.replace(/'nobody'/, "'app'");
    });
    assert.equal(messages[0], messages[1]);
    assert.match(messages[0]!, /'app'@'10\.0\.0\.9' \(using password: YES\)/);
  });

  test('says that no password was used when none was', () => {
    const ours = server();
    const step = negotiate(ours, client({ secret: { password: '' } }), ours.greeting());
    assert.match(refusedWith(step, 'DBPROXY_ACCESS_DENIED').error.message, /using password: NO/);
  });

  test('asks a client with another plugin for one that it can check, with a fresh scramble', () => {
    const ours = server({ app: { doubleSha1: doubleSha1Of({ password: 'app' })! } });
    const greeting = ours.greeting();
    const bytes = writeHandshakeResponse(1, {
      capabilities: OFFER,
      maxPacketBytes: 1,
      collation: 0,
      user: 'app',
      answer: Buffer.alloc(32, 1),
      database: '',
      plugin: 'caching_sha2_password',
      extendedCapabilities: 0,
      attributes: Buffer.alloc(0),
      zstdLevel: 0,
    });
    const step = ours.receive(bytes.subarray(4), 1);
    assert.equal(step.kind, 'send');
    const { bytes: request } = step;
    assert.equal(request[3], 2);
    assert.ok(!greeting.includes(request.subarray(-21, -13)), 'the first scramble is not used again');
    const theirs = client();
    theirs.receive(greeting.subarray(4), 0);
    const answer = theirs.receive(request.subarray(4), 2) as Extract<ClientStep, { kind: 'send' }>;
    const end = ours.receive(answer.bytes.subarray(4), answer.bytes[3]!);
    assert.equal(end.kind, 'accepted');
    const { login, sequence } = end;
    assert.equal(sequence, 4);
    assert.equal(login.collation, 45, 'a client that names no collation gets the default');
  });

  test('refuses a packet with a wrong number', () => {
    const ours = server();
    const { error, sequence } = refusedWith(ours.receive(Buffer.alloc(40), 5), 'DBPROXY_PACKET_OUT_OF_ORDER');
    assert.equal(error.errno, 1156);
    assert.equal(sequence, 6);
  });

  test('refuses every prefix of a good response without throwing', () => {
    const response = loginVectors['response']!.subarray(4);
    for (let length = 0; length < response.length - 30; length++) {
      const step = server().receive(response.subarray(0, length), 1);
      assert.equal(step.kind, 'refused', `cut at ${length}`);
    }
  });

  test('refuses what comes after the end', () => {
    const ours = server();
    negotiate(ours, client(), ours.greeting());
    refusedWith(ours.receive(Buffer.alloc(3), 3), 'DBPROXY_HANDSHAKE');
  });
});

suite('COM_CHANGE_USER', () => {
  test('asks for an answer to a fresh scramble, and then accepts or refuses', () => {
    for (const password of ['app', 'wrong']) {
      const ours = server();
      const greeting = ours.greeting();
      const theirs = client({ secret: { password } });
      theirs.receive(greeting.subarray(4), 0);
      const change = theirs.changeUser(theirs.greeting!, OFFER) as Extract<ClientStep, { kind: 'send' }>;
      const step = ours.changeUser(change.bytes.subarray(4), OFFER);
      assert.equal(step.kind, 'send');
      const { bytes } = step;
      assert.equal(bytes[3], 1);
      const answer = theirs.receive(bytes.subarray(4), 1) as Extract<ClientStep, { kind: 'send' }>;
      const end = ours.receive(answer.bytes.subarray(4), answer.bytes[3]!);
      assert.equal(end.kind, password === 'app' ? 'accepted' : 'unproven');
    }
  });

  test('of a client without plugins is checked against the scramble it was greeted with', () => {
    const ours = server();
    const theirs = client();
    const greeting = ours.greeting();
    theirs.receive(greeting.subarray(4), 0);
    const capabilities = OFFER & ~Capability.PLUGIN_AUTH;
    const change = theirs.changeUser(theirs.greeting!, capabilities) as Extract<ClientStep, { kind: 'send' }>;
    const step = ours.changeUser(change.bytes.subarray(4), capabilities);
    assert.equal(step.kind, 'accepted');
  });

  test('that is malformed is refused', () => {
    refusedWith(server().changeUser(Buffer.from([0x11, 0x61]), OFFER), 'DBPROXY_MALFORMED_PACKET');
  });
});

suite('as a client', () => {
  const greeted = (): ClientLogin => {
    const login = client();
    login.receive(loginVectors['greeting']!.subarray(4), 0);
    return login;
  };

  test('answers the recorded greeting as the recorded login did', () => {
    const login = new ClientLogin({
      user: 'app',
      secret: { password: 'app' },
      database: 'demo',
      collation: 45,
      capabilities: loginVectors['response']!.readUInt32LE(4),
    });
    const step = login.receive(loginVectors['greeting']!.subarray(4), 0);
    assert.deepEqual(step, { kind: 'send', bytes: loginVectors['response'] });
    assert.deepEqual(login.receive(loginVectors['ok']!.subarray(4), 2), {
      kind: 'ok',
      status: 0x4002,
      warnings: 0,
      payload: loginVectors['ok']!.subarray(4),
    });
  });

  test('answers the recorded auth switch as the recorded login did', () => {
    assert.deepEqual(greeted().receive(loginVectors['authSwitch']!.subarray(4), 2), {
      kind: 'send',
      bytes: loginVectors['switchAnswer'],
    });
  });

  test('asks for no flag that the server lacks', () => {
    const login = client();
    login.receive(loginVectors['greeting']!.subarray(4), 0);
    assert.equal(login.capabilities & Capability.SSL, 0);
    assert.equal(login.capabilities & ~login.greeting!.capabilities & ~Capability.LONG_PASSWORD, 0);
  });

  test('fails with what the server says, in the place of a greeting and after it', () => {
    const early = writeError(0, { errno: 1040, sqlState: '', message: 'Too many connections' }, false);
    const step = client().receive(early.subarray(4), 0);
    assert.deepEqual(step, {
      kind: 'failed',
      error: { errno: 1040, sqlState: '', message: 'Too many connections' },
    });
    const late = greeted().receive(loginVectors['denied']!.subarray(4), 2);
    assert.equal(late.kind, 'failed');
  });

  test('fails in words when the server asks for what is not there', () => {
    const cases: [Buffer, RegExp][] = [
      [writeAuthSwitch(2, 'dialog', Buffer.alloc(20, 1)).subarray(4), /plugin dialog/],
      [Buffer.from([0xfe]), /before MySQL 4\.1/],
      [Buffer.from([0x01, 4]), /goes on in a way that plugin mysql_native_password/],
      [Buffer.from([0x02, 0x61, 0]), /second factor/],
      [writeAuthSwitch(2, 'mysql_native_password', Buffer.alloc(19, 1)).subarray(4), /scramble of 19 bytes/],
      [writeAuthSwitch(2, 'mysql_clear_password', Buffer.alloc(0)).subarray(4), /channel is not secure/],
      [Buffer.from([0x42]), /0x42/],
      [Buffer.alloc(0), /unexpected packet/],
    ];
    for (const [payload, words] of cases) {
      const step = greeted().receive(payload, 2);
      assert.equal(step.kind, 'failed');
      assert.match(step.error.message, words);
    }
  });

  test('refuses a greeting and an OK that are cut short', () => {
    const greeting = loginVectors['greeting']!.subarray(4);
    for (let length = 1; length < 60; length++) {
      assert.throws(() => client().receive(greeting.subarray(0, length), 0), {
        code: 'DBPROXY_MALFORMED_PACKET',
      });
    }
    const ok = writeOk(2).subarray(4);
    for (let length = 1; length < ok.length; length++) {
      assert.throws(() => greeted().receive(ok.subarray(0, length), 2), { code: 'DBPROXY_MALFORMED_PACKET' });
    }
  });
});
