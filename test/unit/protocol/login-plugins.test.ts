/**
 * Whole logins by every plugin: our server's side against our client's side, over channels that are secure or
 * not, with all that may be known of an account; and the logins recorded from real servers.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { suite, test } from 'node:test';
import { refusal } from '../../../src/base/errors.ts';
import {
  doubleSha1Of,
  doubleSha256Of,
  secretOf,
  secretOfPassword,
  withoutPassword,
  type Secret,
} from '../../../src/protocol/auth.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import { ed25519KeyOf } from '../../../src/protocol/ed25519.ts';
import { isTlsRequest, writeAuthSwitch, writeHandshakeResponse } from '../../../src/protocol/handshake.ts';
import { ClientLogin, type ClientLoginOptions, type ClientStep } from '../../../src/protocol/login-client.ts';
import {
  ServerLogin,
  type AcceptedLogin,
  type LoginStep,
  type ServerLoginOptions,
} from '../../../src/protocol/login-server.ts';
import { writeOk } from '../../../src/protocol/packets.ts';
import { pluginLogins } from '../../support/vectors.ts';

const OFFER = 0x1ffffdf;
const PASSWORD = { password: 'app' };
const NATIVE: Secret = { doubleSha1: doubleSha1Of(PASSWORD)! };
const FAST: Secret = { doubleSha256: doubleSha256Of(PASSWORD)! };
/** Of `app`, as MySQL 9.7 stored it. */
const STORED = secretOf({
  auth: '0x244224303041241C0D1E63494E52355B1C45045C226E6F327168034A5534524734695472465255352B73364A776D696839755A2F4C69726C6F67315A346C6D5648442B573536616C444C746A574E78434F56556B464853624D462F4B6C7257364771434A39776B332F7746695A6D416F513D3D',
});
const ED25519: Secret = { ed25519Key: ed25519KeyOf('app') };

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const RSA = { privateKey, publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString() };

interface Meeting {
  server?: Partial<ServerLoginOptions>;
  client?: Partial<ClientLoginOptions>;
  account?: ReturnType<ServerLoginOptions['findSecret']>;
  /** What the accounts say after they were read again. */
  fresh?: Secret;
  /** The server behind wants the password. */
  asksPassword?: boolean;
}

interface Outcome {
  /** What went over the channel, by kind: `tls`, `switch PLUGIN`, `more BYTE`. */
  rounds: string[];
  login: AcceptedLogin | null;
  refused: string | null;
  /** What the client's last step was. */
  client: ClientStep;
}

/** Lets both sides speak until one has decided; the sequence numbers must be right all the way. */
function meet({ server = {}, client = {}, account, fresh, asksPassword = false }: Meeting): Outcome {
  let known = account;
  const rounds: string[] = [];
  const ours = new ServerLogin({
    connectionId: 7,
    serverVersion: '9.7.4',
    capabilities: OFFER,
    collation: 45,
    clientAddress: () => '10.0.0.9',
    findSecret: () => known,
    ...server,
  });
  const theirs = new ClientLogin({
    user: 'app',
    secret: PASSWORD,
    database: '',
    collation: 45,
    capabilities: 0,
    ...client,
  });
  let asks = asksPassword;
  let next = 0;
  const deliver = (bytes: Buffer): ClientStep => {
    assert.equal(bytes[3], next++, 'number of a packet of the server');
    return theirs.receive(bytes.subarray(4), bytes[3]);
  };
  const outcome = (step: ClientStep, login: AcceptedLogin | null, refused: string | null): Outcome => ({
    rounds,
    login,
    refused,
    client: step,
  });
  let answer = deliver(ours.greeting());
  for (let round = 0; round < 12; round++) {
    if (answer.kind !== 'send' && answer.kind !== 'tls') return outcome(answer, null, null);
    const { bytes } = answer;
    assert.equal(bytes[3], next++, 'number of a packet of the client');
    let step: LoginStep = ours.receive(bytes.subarray(4), bytes[3]);
    if (step.kind === 'tls') {
      rounds.push('tls');
      assert.equal(answer.kind, 'tls');
      assert.ok(isTlsRequest(bytes.subarray(4)));
      ours.secured();
      answer = theirs.secured();
      continue;
    }
    if (step.kind === 'unproven') {
      rounds.push('unproven');
      known = fresh ?? known;
      step = fresh === undefined ? ours.deny() : ours.recheck();
      if (step.kind === 'unproven') step = ours.deny();
    }
    if (step.kind === 'accepted' && asks) {
      asks = false;
      rounds.push('ask');
      step = ours.askPassword();
    }
    switch (step.kind) {
      case 'send':
        rounds.push(nameOf(step.bytes.subarray(4)));
        answer = deliver(step.bytes);
        break;
      case 'accepted':
        if (step.prelude !== null) {
          rounds.push(nameOf(step.prelude.subarray(4)));
          assert.equal(deliver(step.prelude).kind, 'wait');
        }
        return outcome(deliver(writeOk(step.sequence)), step.login, null);
      case 'refused':
        assert.equal(step.sequence, next);
        return outcome(answer, null, step.error.code);
      case 'tls':
      case 'unproven':
        assert.fail(`a second ${step.kind}`);
    }
  }
  return assert.fail('no end');
}

function nameOf(payload: Buffer): string {
  return payload[0] === 0xfe
    ? `switch ${payload.toString('latin1', 1, payload.indexOf(0))}`
    : `more ${payload[1]!}`;
}

const CACHING = { defaultPlugin: 'caching_sha2_password' };
const TLS: Meeting = { client: { tls: 'required' } };

suite('what is known of the account decides what the client is asked for', () => {
  const cases: { name: string; meeting: Meeting; rounds: string[]; knows: string[] }[] = [
    {
      name: 'SHA1(SHA1): native, and SHA1 is learned',
      meeting: { account: NATIVE },
      rounds: [],
      knows: ['doubleSha1', 'sha1'],
    },
    {
      name: 'SHA1(SHA1), client on another plugin: switched to native',
      meeting: { account: NATIVE, server: CACHING },
      rounds: ['switch mysql_native_password'],
      knows: ['doubleSha1', 'sha1'],
    },
    {
      name: 'SHA256(SHA256): the fast path, and SHA256 is learned',
      meeting: { account: FAST, server: CACHING },
      rounds: ['more 3'],
      knows: ['doubleSha256', 'sha256'],
    },
    {
      name: 'SHA256(SHA256), client on another plugin: switched to the fast path',
      meeting: { account: FAST },
      rounds: ['switch caching_sha2_password', 'more 3'],
      knows: ['doubleSha256', 'sha256'],
    },
    {
      name: 'a stored hash, TLS: the full path, and all is learned',
      meeting: { account: STORED, server: CACHING, ...TLS },
      rounds: ['tls', 'more 4'],
      knows: ['sha2Hash', 'password', 'sha1', 'doubleSha1', 'sha256', 'doubleSha256'],
    },
    {
      name: 'a stored hash, no TLS: the full path by RSA',
      meeting: { account: STORED, server: { ...CACHING, rsa: RSA } },
      rounds: ['more 4', 'more 45'],
      knows: ['sha2Hash', 'password', 'sha1', 'doubleSha1', 'sha256', 'doubleSha256'],
    },
    {
      name: 'a stored hash, a Unix socket: the full path in clear',
      meeting: { account: STORED, server: { ...CACHING, isSecure: () => true }, client: { secure: true } },
      rounds: ['more 4'],
      knows: ['sha2Hash', 'password', 'sha1', 'doubleSha1', 'sha256', 'doubleSha256'],
    },
    {
      name: 'a stored hash and what was remembered: the fast path',
      meeting: { account: { ...STORED, ...FAST }, server: CACHING },
      rounds: ['more 3'],
      knows: ['sha2Hash', 'doubleSha256', 'sha256'],
    },
    {
      name: 'a stored hash, and something old remembered: the full path decides',
      meeting: { account: { ...STORED, doubleSha256: Buffer.alloc(32, 1) }, server: CACHING, ...TLS },
      rounds: ['tls', 'more 4'],
      knows: ['sha2Hash', 'doubleSha256', 'password', 'sha1', 'doubleSha1', 'sha256'],
    },
    {
      name: 'a key of ed25519: the full path, as a signature would teach nothing',
      meeting: { account: ED25519, ...TLS },
      rounds: ['tls', 'switch caching_sha2_password', 'more 4'],
      knows: ['ed25519Key', 'password', 'sha1', 'doubleSha1', 'sha256', 'doubleSha256'],
    },
    {
      name: 'the password: whatever the client begins with',
      meeting: { account: PASSWORD, server: CACHING },
      rounds: ['more 3'],
      knows: ['password', 'sha256', 'doubleSha256'],
    },
    {
      name: 'no password: nothing is asked for',
      meeting: { account: { password: '' }, client: { secret: { password: '' } }, server: CACHING },
      rounds: [],
      knows: ['password'],
    },
  ];

  for (const { name, meeting, rounds, knows } of cases) {
    test(name, () => {
      const outcome = meet(meeting);
      assert.equal(outcome.refused, null);
      assert.deepEqual(outcome.rounds, rounds);
      assert.deepEqual(Object.keys(outcome.login!.secret), knows);
      assert.equal(outcome.client.kind, 'ok');
    });

    test(`${name}; a wrong password is refused`, () => {
      const password = meeting.client?.secret?.password === '' ? 'x' : 'apq';
      const outcome = meet({ ...meeting, client: { ...meeting.client, secret: { password } } });
      assert.equal(outcome.login, null);
      assert.equal(outcome.refused, 'DBPROXY_ACCESS_DENIED');
    });
  }
});

suite('an account that is not known, or not yet', () => {
  const same: [string, Meeting, Secret][] = [
    ['mysql_native_password', {}, { doubleSha1: Buffer.alloc(20, 1) }],
    ['caching_sha2_password over TLS', { server: CACHING, ...TLS }, STORED],
    ['caching_sha2_password by RSA', { server: { ...CACHING, rsa: RSA } }, STORED],
    ['caching_sha2_password without either', { server: CACHING }, STORED],
  ];
  for (const [name, meeting, account] of same) {
    test(`goes the way of one with a wrong password: ${name}`, () => {
      const client = { ...meeting.client, secret: { password: 'wrong' } };
      const unknown = meet({ ...meeting, client });
      const wrong = meet({ ...meeting, client, account });
      assert.equal(unknown.login, null);
      assert.notEqual(unknown.refused, null);
      assert.deepEqual(unknown.rounds, wrong.rounds);
      assert.equal(unknown.refused, wrong.refused);
    });
  }

  test('is accepted after the accounts were read again, with what the client has given already', () => {
    const cases: [Meeting, Secret, string[]][] = [
      [{}, NATIVE, ['unproven']],
      [{ account: { doubleSha1: Buffer.alloc(20) } }, NATIVE, ['unproven']],
      [{ server: CACHING, ...TLS }, STORED, ['tls', 'more 4', 'unproven']],
      [{ server: CACHING, ...TLS }, NATIVE, ['tls', 'more 4', 'unproven']],
      [{ ...TLS }, STORED, ['tls', 'unproven', 'switch caching_sha2_password', 'more 4']],
      [{ server: CACHING }, NATIVE, ['unproven', 'switch mysql_native_password']],
      [{ account: {} }, NATIVE, ['unproven']],
    ];
    for (const [meeting, fresh, rounds] of cases) {
      const outcome = meet({ ...meeting, fresh });
      assert.notEqual(outcome.login, null, rounds.join());
      assert.deepEqual(outcome.rounds, rounds);
    }
  });

  test('that must not be served is told at once without a secret, and after the proof with one', () => {
    const refused = refusal('DBPROXY_NOT_AVAILABLE', 'an account that is locked');
    const atOnce = meet({ account: { refused } });
    assert.deepEqual(atOnce.rounds, ['unproven'], 'it may have been mended since it was read');
    assert.equal(atOnce.refused, 'DBPROXY_NOT_AVAILABLE');
    const account = { refused, secret: STORED };
    const proven = meet({ account, server: CACHING, ...TLS });
    assert.deepEqual(proven.rounds, ['tls', 'more 4', 'unproven']);
    assert.equal(proven.refused, 'DBPROXY_NOT_AVAILABLE');
    const wrong = meet({ account, server: CACHING, client: { tls: 'required', secret: { password: 'x' } } });
    assert.equal(wrong.refused, 'DBPROXY_ACCESS_DENIED');
  });
});

suite('the server behind wants the password', () => {
  const cases: { name: string; meeting: Meeting; rounds: string[] }[] = [
    {
      name: 'of a client on the fast path, over TLS',
      meeting: { account: FAST, server: CACHING, ...TLS },
      rounds: ['tls', 'ask', 'more 4'],
    },
    {
      name: 'of a client on the fast path, by RSA',
      meeting: { account: FAST, server: { ...CACHING, rsa: RSA } },
      rounds: ['ask', 'more 4', 'more 45'],
    },
    {
      name: 'of a client on another plugin',
      meeting: { account: NATIVE, ...TLS },
      rounds: ['tls', 'ask', 'switch caching_sha2_password', 'more 4'],
    },
    { name: 'which is known already', meeting: { account: PASSWORD }, rounds: ['ask'] },
  ];
  for (const { name, meeting, rounds } of cases) {
    test(name, () => {
      const outcome = meet({ ...meeting, asksPassword: true });
      assert.deepEqual(outcome.rounds, rounds);
      assert.equal(outcome.login!.secret.password, 'app');
      assert.equal(outcome.client.kind, 'ok');
    });
  }

  test('and there is no safe way to ask for it', () => {
    const outcome = meet({ account: NATIVE, asksPassword: true });
    assert.equal(outcome.refused, 'DBPROXY_INSECURE_LOGIN');
  });

  test('and the client cannot change plugins', () => {
    const capabilities = OFFER & ~Capability.PLUGIN_AUTH;
    const outcome = meet({ account: NATIVE, server: { capabilities, rsa: RSA }, asksPassword: true });
    assert.equal(outcome.refused, 'DBPROXY_AUTH_PLUGIN');
  });

  test('a password that is no UTF-8 cannot be given on, and is not asked for for ever', () => {
    const known = secretOfPassword(Buffer.from([0x61, 0xff]));
    const ours = serverFor({ doubleSha1: known.doubleSha1! }, { isSecure: () => true });
    const step = ours.receive(response('mysql_clear_password', Buffer.from([0x61, 0xff, 0])), 1);
    assert.equal(step.kind, 'accepted');
    assert.deepEqual(step.login.secret, known);
    refusedWith(ours.askPassword(), 'DBPROXY_NOT_AVAILABLE');
  });
});

function serverFor(account: Secret | undefined, change: Partial<ServerLoginOptions> = {}): ServerLogin {
  return new ServerLogin({
    connectionId: 7,
    serverVersion: '9.7.4',
    capabilities: OFFER,
    collation: 45,
    clientAddress: () => '10.0.0.9',
    findSecret: () => account,
    ...change,
  });
}

/** A response of a client that begins with `plugin`. */
function response(plugin: string, answer: Buffer, capabilities = 0): Buffer {
  return writeHandshakeResponse(1, {
    capabilities:
      (Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH | capabilities) >>> 0,
    extendedCapabilities: 0,
    maxPacketBytes: 1,
    collation: 45,
    user: 'app',
    answer,
    database: '',
    plugin,
    attributes: Buffer.alloc(0),
    zstdLevel: 0,
  }).subarray(4);
}

function refusedWith(step: LoginStep, code: string): void {
  assert.equal(step.kind, 'refused');
  assert.equal(step.error.code, code);
}

suite('a client with a plugin of its own', () => {
  const clear = response('mysql_clear_password', Buffer.from('app\0'));

  test('in clear is taken over a secure channel, whatever is known', () => {
    for (const account of [PASSWORD, NATIVE, FAST, STORED, ED25519]) {
      const step = serverFor(account, { isSecure: () => true }).receive(clear, 1);
      assert.equal(step.kind, 'accepted');
      assert.equal(step.login.plugin, 'mysql_clear_password');
      assert.equal(step.login.secret.password, 'app');
      assert.equal(step.prelude, null);
    }
  });

  test('in clear without one is refused before the account is looked at', () => {
    const findSecret = (): never => assert.fail('looked up');
    refusedWith(serverFor(PASSWORD, { findSecret }).receive(clear, 1), 'DBPROXY_INSECURE_LOGIN');
  });

  test('in clear and malformed is refused', () => {
    for (const answer of ['app', 'a\0b\0', `${'x'.repeat(255)}`]) {
      const step = serverFor(PASSWORD, { isSecure: () => true }).receive(
        response('mysql_clear_password', Buffer.from(answer)),
        1,
      );
      refusedWith(step, 'DBPROXY_MALFORMED_PACKET');
    }
  });

  test('ed25519 is asked to sign a scramble of 32 bytes, when the password is known', () => {
    const ours = serverFor(PASSWORD);
    const step = ours.receive(response('client_ed25519', Buffer.alloc(0)), 1);
    assert.equal(step.kind, 'send');
    const payload = step.bytes.subarray(4);
    assert.equal(payload.length, 1 + 'client_ed25519'.length + 1 + 32);
    const theirs = new ClientLogin({
      user: 'app',
      secret: PASSWORD,
      database: '',
      collation: 45,
      capabilities: 0,
    });
    theirs.receive(ours.greeting().subarray(4), 0);
    const answer = theirs.receive(payload, 2);
    assert.equal(answer.kind, 'send');
    const end = ours.receive(answer.bytes.subarray(4), 3);
    assert.equal(end.kind, 'accepted');
    assert.equal(end.login.plugin, 'client_ed25519');
  });

  test('that nobody knows is asked for one that can be checked', () => {
    const step = serverFor(STORED, { rsa: RSA }).receive(response('dialog', Buffer.from('app\0')), 1);
    assert.equal(step.kind, 'send');
    assert.equal(nameOf(step.bytes.subarray(4)), 'switch caching_sha2_password');
  });
});

suite('refused', () => {
  test('a listener that requires TLS, before the account is looked at', () => {
    const findSecret = (): never => assert.fail('looked up');
    refusedWith(
      serverFor(PASSWORD, { findSecret, requireTls: true }).receive(response('', Buffer.alloc(0)), 1),
      'DBPROXY_TLS_REQUIRED',
    );
    assert.notEqual(meet({ account: PASSWORD, server: { requireTls: true }, ...TLS }).login, null);
    const local = { requireTls: true, isSecure: () => true };
    assert.notEqual(meet({ account: PASSWORD, server: local }).login, null, 'a Unix socket needs no TLS');
  });

  test('TLS announced and not begun, begun twice, and not offered', () => {
    const plain = response('mysql_native_password', Buffer.alloc(20), Capability.SSL);
    refusedWith(serverFor(PASSWORD).receive(plain, 1), 'DBPROXY_HANDSHAKE');
    const request = plain.subarray(0, 32);
    const ours = serverFor(PASSWORD);
    assert.equal(ours.receive(request, 1).kind, 'tls');
    assert.equal(ours.expectedSequence, 2);
    ours.secured();
    refusedWith(ours.receive(request, 2), 'DBPROXY_HANDSHAKE');
    const without = serverFor(PASSWORD, { capabilities: OFFER & ~Capability.SSL });
    refusedWith(without.receive(request, 1), 'DBPROXY_HANDSHAKE');
  });

  test('a client without plugins whose account has another one', () => {
    const capabilities = OFFER & ~Capability.PLUGIN_AUTH;
    const outcome = meet({ account: STORED, server: { capabilities, rsa: RSA } });
    assert.equal(outcome.refused, 'DBPROXY_AUTH_PLUGIN');
  });

  test('an answer to the scramble of another connection', () => {
    const first = serverFor(NATIVE);
    const theirs = new ClientLogin({
      user: 'app',
      secret: PASSWORD,
      database: '',
      collation: 45,
      capabilities: 0,
    });
    const answer = theirs.receive(first.greeting().subarray(4), 0);
    assert.equal(answer.kind, 'send');
    assert.equal(serverFor(NATIVE).receive(answer.bytes.subarray(4), 1).kind, 'unproven');
    assert.equal(first.receive(answer.bytes.subarray(4), 1).kind, 'accepted');
    const change = first.changeUser(Buffer.from('\x11app\0\0\0'), OFFER);
    assert.equal(change.kind, 'send', 'COM_CHANGE_USER asks for a fresh one');
    assert.equal(first.receive(answer.bytes.subarray(-42, -22), 2).kind, 'unproven');
  });

  /** A login at the point where the password itself is awaited. */
  function atFullPath(change: Partial<ServerLoginOptions>): ServerLogin {
    const ours = serverFor(STORED, { ...CACHING, ...change });
    const step = ours.receive(response('caching_sha2_password', Buffer.alloc(32, 1)), 1);
    assert.equal(step.kind, 'send');
    assert.deepEqual(step.bytes, Buffer.from([2, 0, 0, 2, 1, 4]));
    return ours;
  }

  test('passwords that are none: too long, without an end, not encrypted, for another key', () => {
    const secure = { isSecure: () => true };
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('app'),
      Buffer.from('a\0b\0'),
      Buffer.alloc(60_000, 0x61),
    ]) {
      refusedWith(atFullPath(secure).receive(bytes, 3), 'DBPROXY_MALFORMED_PACKET');
    }
    for (const bytes of [Buffer.alloc(0), Buffer.from('app\0'), Buffer.alloc(256, 7), Buffer.alloc(60_000)]) {
      refusedWith(atFullPath({ rsa: RSA }).receive(bytes, 3), 'DBPROXY_ACCESS_DENIED');
    }
    refusedWith(atFullPath(secure).receive(Buffer.from([2]), 3), 'DBPROXY_INSECURE_LOGIN');
    const keyed = atFullPath({ rsa: RSA });
    assert.equal(keyed.receive(Buffer.from([2]), 3).kind, 'send');
    refusedWith(keyed.receive(Buffer.from([2]), 5), 'DBPROXY_ACCESS_DENIED');
  });

  test('packets with a wrong number, in every state', () => {
    refusedWith(serverFor(PASSWORD).receive(Buffer.alloc(40), 0), 'DBPROXY_PACKET_OUT_OF_ORDER');
    refusedWith(atFullPath({ rsa: RSA }).receive(Buffer.from([2]), 4), 'DBPROXY_PACKET_OUT_OF_ORDER');
    const ours = serverFor(PASSWORD);
    ours.receive(response('', Buffer.alloc(0), Capability.SSL).subarray(0, 32), 1);
    refusedWith(ours.receive(response('', Buffer.alloc(0)), 1), 'DBPROXY_PACKET_OUT_OF_ORDER');
  });

  test('whatever comes after the end', () => {
    const ours = serverFor(undefined);
    assert.equal(ours.receive(response('mysql_native_password', Buffer.alloc(20)), 1).kind, 'unproven');
    refusedWith(ours.deny(), 'DBPROXY_ACCESS_DENIED');
    refusedWith(ours.receive(response('mysql_native_password', Buffer.alloc(20)), 3), 'DBPROXY_HANDSHAKE');
    assert.throws(() => ours.recheck(), /ended/);
    assert.throws(() => ours.deny(), /ended/);
    assert.throws(() => ours.askPassword(), /ended/);
  });
});

suite('what is agreed', () => {
  test('attributes, flags of MariaDB and the largest packet arrive', () => {
    const attributes = Buffer.from('\x02os\x02ab');
    const outcome = meet({
      account: PASSWORD,
      server: { capabilities: OFFER | Capability.LONG_PASSWORD, extendedCapabilities: 0x1d },
      client: { attributes, extendedCapabilities: 0x11 | 0x2, database: 'demo', collation: 33 },
    });
    const { login } = outcome;
    assert.deepEqual(login!.attributes, attributes);
    assert.equal(login!.extendedCapabilities, 0x11);
    assert.equal(login!.capabilities & Capability.LONG_PASSWORD, 0);
    assert.equal(login!.maxPacketBytes, 0x40000000);
    assert.equal(login!.database, 'demo');
    assert.equal(login!.collation, 33);
  });

  test('extended flags are not asked of a server that has none', () => {
    const outcome = meet({ account: PASSWORD, client: { extendedCapabilities: 0x1d } });
    assert.equal(outcome.login!.extendedCapabilities, 0);
  });
});

/** What RSA makes of a password is another each time; all else is the same. */
function withoutRsa(step: ClientStep): ClientStep {
  return step.kind === 'send' && step.bytes.length === 260
    ? { kind: 'send', bytes: step.bytes.subarray(0, 4) }
    : step;
}

suite('as a client', () => {
  for (const { name, user, password, packets } of pluginLogins) {
    test(`does again what a real server was told: ${name}`, () => {
      const login = new ClientLogin({
        user,
        secret: { password },
        database: '',
        collation: 45,
        capabilities: Capability.DEPRECATE_EOF,
      });
      const steps: ClientStep[] = [];
      for (const { fromServer, bytes } of packets) {
        if (fromServer) steps.push(login.receive(bytes.subarray(4), bytes[3]!));
        else assert.deepEqual(withoutRsa(steps.at(-1)!), withoutRsa({ kind: 'send', bytes }));
      }
      assert.equal(steps.at(-1)!.kind, password === 'wrong' ? 'failed' : 'ok');
    });
  }

  const needs = (secret: Secret, meeting: Meeting): ClientStep =>
    meet({ ...meeting, client: { ...meeting.client, secret } }).client;

  test('asks for a password that is remembered when the server wants it, and not before', () => {
    let asked = 0;
    const findPassword = (): string => (asked++, PASSWORD.password);
    const hashes = withoutPassword(PASSWORD);
    assert.equal(needs(hashes, { account: hashes, server: CACHING, client: { findPassword } }).kind, 'ok');
    assert.equal(asked, 0);
    const server = { ...CACHING, rsa: RSA };
    assert.equal(needs(hashes, { account: STORED, server, client: { findPassword } }).kind, 'ok');
    assert.ok(asked > 0);
    const forgotten = { findPassword: () => undefined };
    assert.equal(needs(hashes, { account: STORED, server, client: forgotten }).kind, 'password_needed');
  });

  test('says that the password is needed, and gives nothing else away', () => {
    const hashes = withoutPassword(PASSWORD);
    assert.deepEqual(needs(hashes, { account: STORED, server: { ...CACHING, rsa: RSA } }), {
      kind: 'password_needed',
      plugin: 'caching_sha2_password',
    });
    assert.deepEqual(needs(NATIVE, { account: PASSWORD }), {
      kind: 'password_needed',
      plugin: 'mysql_native_password',
    });
  });

  test('names a plugin that it can answer when it cannot answer that of the greeting', () => {
    const { sha1, sha256 } = withoutPassword(PASSWORD);
    assert.equal(needs({ sha1: sha1! }, { account: NATIVE, server: CACHING }).kind, 'ok');
    assert.equal(needs({ sha256: sha256! }, { account: FAST }).kind, 'ok');
  });

  test('without TLS fails where it is required, and goes on where it is preferred', () => {
    const server = { capabilities: OFFER & ~Capability.SSL };
    const required = meet({ account: PASSWORD, server, client: { tls: 'required' } });
    assert.equal(required.client.kind, 'failed');
    assert.equal(required.client.error.errno, 2026);
    assert.equal(meet({ account: PASSWORD, server, client: { tls: 'preferred' } }).client.kind, 'ok');
    assert.deepEqual(meet({ account: PASSWORD, client: { tls: 'preferred' } }).rounds, ['tls']);
  });

  function greeted(change: Partial<ClientLoginOptions> = {}): ClientLogin {
    const login = new ClientLogin({
      user: 'app',
      secret: PASSWORD,
      database: '',
      collation: 45,
      capabilities: 0,
      ...change,
    });
    login.receive(serverFor(PASSWORD, CACHING).greeting().subarray(4), 0);
    return login;
  }

  test('gives the password in clear on a secure channel only', () => {
    const ask = writeAuthSwitch(2, 'mysql_clear_password', Buffer.alloc(0)).subarray(4);
    const full = Buffer.from([1, 4]);
    assert.equal(greeted().receive(ask, 2).kind, 'failed');
    assert.deepEqual(greeted().receive(full, 2), { kind: 'send', bytes: Buffer.from([1, 0, 0, 3, 2]) });
    const clear = { kind: 'send', bytes: Buffer.from('\x04\0\0\x03app\0') };
    assert.deepEqual(greeted({ secure: true }).receive(ask, 2), clear);
    assert.deepEqual(greeted({ secure: true }).receive(full, 2), clear);
  });

  test('does not look for a remembered password when a server wants it in clear, however secure the channel', () => {
    const ask = writeAuthSwitch(2, 'mysql_clear_password', Buffer.alloc(0)).subarray(4);
    const findPassword = (): string => assert.fail('it was looked for');
    const login = greeted({ secure: true, secret: withoutPassword(PASSWORD), findPassword });
    assert.equal(login.receive(ask, 2).kind, 'password_needed');
  });

  test('fails in words at a key that is none, and at rounds without an end', () => {
    const login = greeted();
    login.receive(Buffer.from([1, 4]), 2);
    const step = login.receive(Buffer.from('\x01no key'), 4);
    assert.equal(step.kind, 'failed');
    assert.match(step.error.message, /no RSA public key/);
    const endless = greeted();
    const again = writeAuthSwitch(2, 'mysql_native_password', Buffer.alloc(20, 0x61)).subarray(4);
    const steps = Array.from({ length: 17 }, () => endless.receive(again, 2).kind);
    assert.deepEqual(new Set(steps.slice(0, 16)), new Set(['send']));
    assert.equal(steps[16], 'failed');
  });
});
