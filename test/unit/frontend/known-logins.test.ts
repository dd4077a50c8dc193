import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { BackendConnection } from '../../../src/backend/connection.ts';
import { Identity, type IdentityParts, type Preparation } from '../../../src/backend/wish.ts';
import type { SessionRequest } from '../../../src/frontend/session-request.ts';
import { flagsOf, KnownLogins, loginKey, type KnownLogin } from '../../../src/frontend/known-logins.ts';

const LOGIN: KnownLogin = {
  payload: Buffer.from([0]),
  flags: { capabilities: 1, extendedCapabilities: 2, loginOk: { status: 2, payload: Buffer.alloc(0) } },
};

const IDENTITY: IdentityParts = {
  user: 'ann',
  account: 'ann@% secret',
  capabilities: 5,
  extendedCapabilities: 6,
  client: { address: '10.0.0.1', port: 4000 },
};
const PREPARATION: Preparation = {
  database: 'db',
  collation: 45,
  readOnly: false,
  attributes: Buffer.from('program'),
  settingFlags: 0,
};

function key(identity: Partial<IdentityParts> = {}, preparation: Partial<Preparation> = {}): string {
  const request = {
    identity: new Identity({ ...IDENTITY, ...identity }),
    preparation: { ...PREPARATION, ...preparation },
  };
  return loginKey(request as SessionRequest);
}

suite('two logins are answered alike', () => {
  test('when only the port of the client and what it tells of itself differ', () => {
    assert.equal(key({ client: { address: '10.0.0.1', port: 5000 } }), key());
    assert.equal(key({}, { attributes: Buffer.from('other') }), key());
  });

  const DIFFERENT: readonly [what: string, other: string][] = [
    ['the user', key({ user: 'bob' })],
    ['the account or its secret', key({ account: 'ann@% another' })],
    ['the flags in force', key({ capabilities: 4 })],
    ['MariaDB’s flags', key({ extendedCapabilities: 7 })],
    ['where the client comes from', key({ client: { address: '10.0.0.2', port: 4000 } })],
    ['the database', key({}, { database: 'other' })],
    ['the collation', key({}, { collation: 8 })],
    ['the flags that give settings', key({}, { settingFlags: 256 })],
  ];
  for (const [what, other] of DIFFERENT)
    test(`not when they differ in ${what}`, () => assert.notEqual(other, key()));
});

test('a login is found until it is one too many, or all are forgotten', () => {
  const logins = new KnownLogins();
  for (let index = 0; index < 1000; index++) logins.keep(`${index}`, LOGIN);
  assert.equal(logins.find('0'), LOGIN);
  logins.keep('more', LOGIN);
  assert.equal(logins.find('0'), undefined);
  assert.equal(logins.find('1'), LOGIN);
  logins.clear();
  assert.equal(logins.find('1'), undefined);
});

test('the flags of a connection are kept as they were, not as its next answers change them', () => {
  const loginOk = { status: 2, payload: Buffer.alloc(0) };
  const connection = { capabilities: 1, extendedCapabilities: 2, loginOk } as unknown as BackendConnection;
  const flags = flagsOf(connection);
  loginOk.status = 3;
  assert.deepEqual(flags, { ...LOGIN.flags, loginOk: { status: 2, payload: Buffer.alloc(0) } });
});
