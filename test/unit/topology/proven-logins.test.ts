import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fingerprintOf, type Account } from '../../../src/topology/account.ts';
import { ProvenLogins, type ProvenLogin } from '../../../src/topology/proven-logins.ts';
import { account, accountsOf } from '../../support/accounts.ts';

const APP = account({ material: { sha2Hash: 'one' } });
const MOST = 100;
const APP_CHANGED = account({ material: { sha2Hash: 'two' } });

function proof(of: Account, doubleSha256 = 'digest'): ProvenLogin {
  return { cluster: 'main', user: of.user, host: of.host, doubleSha256, stored: fingerprintOf(of) };
}

test('a proof is kept, and told as news once', () => {
  const proven = new ProvenLogins(MOST);
  assert.equal(proven.remember(proof(APP)), true);
  assert.equal(proven.remember(proof(APP)), false);
  assert.equal(proven.remember(proof(APP, 'other')), true);
  assert.equal(proven.find('main', APP), 'other');
  assert.equal(proven.find('elsewhere', APP), undefined);
});

test('a proof is worth nothing for another stored hash', () => {
  const proven = new ProvenLogins(MOST);
  proven.remember(proof(APP));
  assert.equal(proven.find('main', APP_CHANGED), undefined);
});

test('what no account has any more is forgotten, other clusters are left alone', () => {
  const proven = new ProvenLogins(MOST);
  const gone = account({ user: 'gone', material: { sha2Hash: 'x' } });
  const kept = account({ user: 'kept', material: { sha2Hash: 'y' } });
  for (const one of [APP, gone, kept]) proven.remember(proof(one));
  proven.remember({ ...proof(gone), cluster: 'other' });
  proven.keepOnly(accountsOf(APP_CHANGED, kept));
  assert.deepEqual(
    proven.all().map(({ cluster, user }) => `${cluster} ${user}`),
    ['main kept', 'other gone'],
  );
});

test('a password stays with the proof that it came with', () => {
  const proven = new ProvenLogins(MOST);
  assert.equal(proven.remember(proof(APP)), true);
  assert.equal(proven.remember({ ...proof(APP), password: 'secret' }), true, 'it is news');
  assert.equal(proven.remember(proof(APP)), false);
  assert.equal(proven.passwordOf('main', APP), 'secret');
  assert.equal(proven.passwordOf('main', APP_CHANGED), undefined);
  proven.remember(proof(APP, 'other'));
  assert.equal(proven.passwordOf('main', APP), undefined, 'another password has been proved');
});

test('beyond the bound the one that was proved longest ago goes', () => {
  const proven = new ProvenLogins(MOST);
  const named = (number: number): ProvenLogin => ({ ...proof(APP), user: `u${number}` });
  for (let number = 0; number < MOST; number++) proven.remember(named(number));
  proven.remember(named(0));
  proven.remember(named(MOST));
  const users = new Set(proven.all().map(({ user }) => user));
  assert.equal(users.size, MOST);
  assert.deepEqual([users.has('u0'), users.has('u1'), users.has(`u${MOST}`)], [true, false, true]);
});
