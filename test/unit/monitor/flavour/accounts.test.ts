import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { accountTableOf } from '../../../../src/monitor/flavour/accounts.ts';
import type { Row } from '../../../../src/monitor/flavour/row.ts';
import type { Account } from '../../../../src/topology/account.ts';

const NOW = 1_795_262_172;
const HASH = '6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9';
const ED25519 = 'ZtJ6wxKSBZ1sybxZSBnBgPpsbsmNz12Zxcj6GR1mPOY';
const CACHING_SHA2 =
  '24412430304124471009714113213B6E493E0A0F6C22010A1A06455874644B346B4846794A4A66754E5A5237584F7A656B674F794C627A56386745534D4B7772767369594C44';
const SHA256 =
  '2435241A01055F6508612B665B5712654D47692E3566562450775573702F42705733446B3377477642486144304C4855534D6B69595975554B67746E3853654D386F43';

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

suite('which table a version keeps its accounts in', () => {
  const table: [string, string, RegExp][] = [
    ['10.11.6-MariaDB-0+deb12u1-log', 'mysql.global_priv', /HEX\(Priv\) AS priv/],
    ['5.5.5-10.4.8-MariaDB', 'mysql.global_priv', /HEX\(Priv\) AS priv/],
    ['11.8.2-MariaDB', 'mysql.global_priv', /HEX\(Priv\) AS priv/],
    ['10.3.39-MariaDB', 'mysql.user', /HEX\(Password\).* is_role/],
    ['5.5.5-10.3.39-MariaDB', 'mysql.user', /HEX\(Password\).* is_role/],
    ['5.6.24-log', 'mysql.user', /HEX\(Password\)(?!.*account_locked)/],
    ['5.7.44', 'mysql.user', /account_locked(?!.*Multi)/],
    ['8.0.26', 'mysql.user', /account_locked(?!.*Multi)/],
    ['8.0.27', 'mysql.user', /account_locked.*Multi/],
    ['8.4.3-commercial', 'mysql.user', /account_locked.*Multi/],
    ['9.7.0', 'mysql.user', /account_locked.*Multi/],
  ];
  for (const [version, name, query] of table) {
    test(version, () => {
      const read = accountTableOf(version);
      assert.equal(read.table, name);
      assert.match(read.query, query);
      assert.equal(read.product, version.includes('MariaDB') ? 'mariadb' : 'mysql');
    });
  }
});

suite("MariaDB's documents", () => {
  const read = (priv: object, row: Row = {}): Account =>
    accountTableOf('10.11.6-MariaDB').readAccount({
      user: 'app',
      host: '%',
      priv: hex(JSON.stringify({ access: 0, password_last_changed: NOW, ...priv })),
      default_lifetime: 0,
      now: NOW + 10 * 86_400,
      ...row,
    });
  const native = { plugin: 'mysql_native_password', authentication_string: `*${HASH}` };

  test('a native password', () => {
    assert.deepEqual(read(native), {
      user: 'app',
      host: '%',
      plugin: 'mysql_native_password',
      material: { doubleSha1: HASH.toLowerCase() },
      emptyPassword: false,
      locked: false,
      expired: false,
      requiresTls: false,
      unservable: null,
    });
  });

  test('no plugin at all is a native account with an empty password', () => {
    const account = read({});
    assert.deepEqual(
      [account.plugin, account.emptyPassword, account.unservable],
      ['mysql_native_password', true, null],
    );
  });

  test('what is not understood is never an empty password', () => {
    for (const priv of [undefined, {}, { plugin: 'mysql_native_password' }, '{}', 'zz', '', null]) {
      assert.throws(() => read({}, { priv }), /SyntaxError|TypeError|JSON|not what was asked for/);
    }
    for (const stored of [{ ...native, authentication_string: 7 }, { plugin: null }]) {
      const account = read(stored);
      assert.equal(account.emptyPassword, false);
      assert.match(account.unservable ?? '', /not understood/);
    }
  });

  test('an ed25519 key is padded base64', () => {
    const account = read({ plugin: 'ed25519', authentication_string: ED25519 });
    assert.deepEqual(account.material, { ed25519Key: `${ED25519}=` });
    assert.equal(account.unservable, null);
  });

  test('of alternatives the native one is taken, then ed25519, wherever they stand', () => {
    const ed = { plugin: 'ed25519', authentication_string: ED25519 };
    const socket = { plugin: 'unix_socket' };
    const first = read({ ...native, auth_or: [ed, socket, {}] });
    assert.deepEqual([first.plugin, first.unservable], ['mysql_native_password', null]);
    const second = read({ ...socket, auth_or: [{}, ed] });
    assert.deepEqual([second.plugin, second.unservable], ['ed25519', null]);
    const none = read({ ...native, authentication_string: 'invalid', auth_or: [{}, socket] });
    assert.match(none.unservable ?? '', /no password fits/);
  });

  const unservable: [string, object, RegExp][] = [
    ['a role', { ...native, is_role: true }, /a role/],
    ['unix_socket', { plugin: 'unix_socket', authentication_string: '' }, /operating system/],
    ['PAM', { plugin: 'pam', authentication_string: 'mariadb' }, /by PAM \(pam\)/],
    ['an unknown plugin', { plugin: 'gssapi' }, /by gssapi/],
    ['invalid', { plugin: 'mysql_native_password', authentication_string: 'invalid' }, /no password fits/],
    [
      'a hash of old',
      { plugin: 'mysql_native_password', authentication_string: '0123456789abcdef' },
      /before MySQL 4.1/,
    ],
    ['a broken key', { plugin: 'ed25519', authentication_string: 'short' }, /no password fits/],
    ['X509', { ...native, ssl_type: 2 }, /certificate/],
  ];
  for (const [name, priv, reason] of unservable) {
    test(`${name} cannot be served`, () => assert.match(read(priv).unservable ?? '', reason));
  }

  test('locked, and REQUIRE SSL', () => {
    assert.equal(read({ ...native, account_locked: true }).locked, true);
    const tls = read({ ...native, ssl_type: 1 });
    assert.deepEqual([tls.requiresTls, tls.unservable], [true, null]);
  });

  const lifetimes: [string, object, number, boolean][] = [
    ['PASSWORD EXPIRE', { password_last_changed: 0, password_lifetime: -1 }, 0, true],
    ['older than its own lifetime', { password_lifetime: 5 }, 0, true],
    ['younger than its own lifetime', { password_lifetime: 11 }, 5, false],
    ['never, over a default', { password_lifetime: 0 }, 5, false],
    ['the default by -1', { password_lifetime: -1 }, 5, true],
    ['the default by absence', {}, 5, true],
    ['no default', {}, 0, false],
  ];
  for (const [name, priv, defaultLifetime, expired] of lifetimes) {
    test(`expired: ${name}`, () => {
      assert.equal(read({ ...native, ...priv }, { default_lifetime: defaultLifetime }).expired, expired);
    });
  }
});

suite('rows of mysql.user', () => {
  const row = (changes: Row): Row => ({
    user: 'app',
    host: '%',
    plugin: 'caching_sha2_password',
    hash: CACHING_SHA2,
    password_expired: 'N',
    account_locked: 'N',
    ssl_type: '',
    changed: NOW,
    password_lifetime: null,
    default_lifetime: 0,
    now: NOW + 10 * 86_400,
    several_factors: 0,
    ...changes,
  });
  const read = (changes: Row): Account => accountTableOf('9.7.0').readAccount(row(changes));

  test('caching_sha2_password, its salt of any bytes', () => {
    const { material, unservable } = read({});
    assert.deepEqual(material, { sha2Hash: Buffer.from(CACHING_SHA2, 'hex').toString('base64') });
    assert.equal(unservable, null);
  });

  test('sha256_password', () => {
    const account = read({ plugin: 'sha256_password', hash: SHA256 });
    assert.deepEqual(account.material, { sha2Hash: Buffer.from(SHA256, 'hex').toString('base64') });
  });

  test('an empty password, also as NULL', () => {
    for (const hash of ['', null]) {
      const account = read({ hash });
      assert.deepEqual([account.emptyPassword, account.material, account.unservable], [true, {}, null]);
    }
  });

  test('what is not understood is never an empty password', () => {
    for (const hash of [undefined, Buffer.from('41'), 41, 'no hex']) {
      assert.throws(() => read({ hash }), /column hash .* is not what was asked for/);
    }
    for (const column of ['user', 'host', 'plugin', 'account_locked', 'password_expired', 'ssl_type']) {
      assert.throws(() => read({ [column]: 1 }), new RegExp(`column ${column} .* is not what was asked for`));
    }
  });

  test('a native password of MySQL 5.7', () => {
    const account = accountTableOf('5.7.44').readAccount(
      row({ plugin: 'mysql_native_password', hash: hex(`*${HASH}`) }),
    );
    assert.deepEqual(account.material, { doubleSha1: HASH.toLowerCase() });
  });

  test('MySQL 5.6 and old MariaDB keep it in Password, with or without a plugin', () => {
    const { account_locked: _absent, ...unlocked } = row({});
    const old = { ...unlocked, hash: '', old_hash: hex(`*${HASH}`) };
    for (const version of ['5.6.24', '10.3.39-MariaDB']) {
      for (const plugin of ['', null, 'mysql_native_password']) {
        const account = accountTableOf(version).readAccount({ ...old, plugin });
        assert.deepEqual(account.material, { doubleSha1: HASH.toLowerCase() });
        assert.deepEqual([account.locked, account.expired, account.unservable], [false, false, null]);
      }
    }
  });

  test('locks, expiry and encryption', () => {
    assert.equal(read({ account_locked: 'Y' }).locked, true);
    assert.equal(read({ password_expired: 'Y' }).expired, true);
    assert.equal(read({ password_lifetime: 5 }).expired, true);
    assert.equal(read({ password_lifetime: 0, default_lifetime: 5 }).expired, false);
    assert.equal(read({ default_lifetime: 5 }).expired, true);
    assert.equal(read({ ssl_type: 'ANY' }).requiresTls, true);
  });

  const unservable: [string, Row, RegExp][] = [
    ['a certificate', { ssl_type: 'X509' }, /certificate/],
    ['several factors', { several_factors: 1 }, /several factors/],
    ['auth_socket', { plugin: 'auth_socket', hash: '' }, /operating system/],
    ['LDAP', { plugin: 'authentication_ldap_simple', hash: '' }, /authentication_ldap_simple/],
    ['no login', { plugin: 'mysql_no_login', hash: '' }, /nobody/],
    ['a hash that is none', { hash: hex('$A$nonsense') }, /no password fits/],
  ];
  for (const [name, changes, reason] of unservable) {
    test(`${name} cannot be served`, () => assert.match(read(changes).unservable ?? '', reason));
  }

  test('a role of old MariaDB cannot be served', () => {
    const role = accountTableOf('10.3.39-MariaDB').readAccount(row({ is_role: 'Y', hash: '', old_hash: '' }));
    assert.equal(role.unservable, 'it is a role');
  });
});
