import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { AccountIndex, accountName, fingerprintOf } from '../../../src/topology/account.ts';
import { account } from '../../support/accounts.ts';

/** The account that `user` gets from `address`, as GRANT writes it, or why none. */
function found(accounts: [user: string, host: string][], user: string, address: string): string {
  const index = new AccountIndex(accounts.map(([name, host]) => account({ user: name, host })));
  const match = index.find(user, address);
  switch (match.kind) {
    case 'account':
      return accountName(match.account);
    case 'names_only':
      return `names: ${match.hosts.join(', ')}`;
    case 'none':
      return match.reason;
  }
}

suite('the account of a client', () => {
  test('the most specific host wins, whatever the order of the table', () => {
    const accounts: [string, string][] = [
      ['app', '%'],
      ['app', '10.1.%'],
      ['app', '10.1.2.3'],
      ['other', '10.1.2.3'],
    ];
    for (const order of [accounts, accounts.toReversed()]) {
      assert.equal(found(order, 'app', '10.1.2.3'), "'app'@'10.1.2.3'");
      assert.equal(found(order, 'app', '10.1.2.4'), "'app'@'10.1.%'");
      assert.equal(found(order, 'app', '192.0.2.1'), "'app'@'%'");
    }
  });

  test('an anonymous account on a more specific host comes before a named one', () => {
    const accounts: [string, string][] = [
      ['app', '%'],
      ['', 'localhost'],
    ];
    assert.equal(found(accounts, 'app', '127.0.0.1'), "''@'localhost'");
    assert.equal(found(accounts, 'app', '10.0.0.1'), "'app'@'%'");
    assert.equal(found(accounts, 'stranger', '127.0.0.1'), "''@'localhost'");
  });

  test('on the same host the named account comes first', () => {
    const accounts: [string, string][] = [
      ['', '%'],
      ['app', '%'],
    ];
    assert.equal(found(accounts, 'app', '10.0.0.1'), "'app'@'%'");
  });

  test('why there is none is said', () => {
    const accounts: [string, string][] = [
      ['app', '10.%'],
      ['app', 'db.example.com'],
      ['web', 'www.example.com'],
    ];
    assert.equal(found(accounts, 'nobody', '10.0.0.1'), "there is no account 'nobody'");
    assert.equal(
      found(accounts, 'app', '192.0.2.1'),
      "no account 'app' is for 192.0.2.1; there is one for 'db.example.com', '10.%'",
    );
    assert.equal(found(accounts, 'web', '10.0.0.1'), 'names: www.example.com');
  });

  test('names are told apart by case', () => {
    assert.equal(found([['App', '%']], 'app', '10.0.0.1'), "there is no account 'app'");
  });
});

test('a name is quoted as GRANT takes it', () => {
  assert.equal(accountName({ user: "o'hara", host: '%' }), "'o''hara'@'%'");
});

test('the fingerprint follows the stored hash alone', () => {
  const one = fingerprintOf(account());
  assert.equal(fingerprintOf(account({ locked: true })), one);
  assert.notEqual(fingerprintOf(account({ material: { doubleSha1: '00' } })), one);
});
