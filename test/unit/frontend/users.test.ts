import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { UserConfig } from '../../../src/config/config.ts';
import { UserDirectory, type Found, type KnownUser } from '../../../src/frontend/users.ts';
import type { ProvenLogin } from '../../../src/topology/proven-logins.ts';
import { account, accountsOf } from '../../support/accounts.ts';
import { user } from '../../support/fake-worker.ts';

interface Given {
  rememberPasswords?: boolean;
  source?: 'import' | 'file';
  users?: UserConfig[];
}

function directory({ source = 'import', users = [], rememberPasswords = true }: Given = {}): UserDirectory & {
  told: ProvenLogin[];
} {
  const told: ProvenLogin[] = [];
  const clusters = [{ name: 'main', users: source }];
  return Object.assign(
    new UserDirectory({
      clusters,
      users,
      remember: { rememberPasswords, rememberedLogins: 100 },
      onProven: (login) => told.push(login),
    }),
    {
      told,
    },
  );
}

function known(found: Found): KnownUser {
  assert.ok(found.kind === 'known');
  return found.user;
}

function whyNot(found: Found): string {
  if (found.kind === 'unservable') return `${found.error.code} ${found.error.errno} ${found.error.message}`;
  assert.ok(found.kind === 'unknown');
  return found.reason;
}

/** A section that only adds to an account. */
function addition(change: Partial<UserConfig>): UserConfig {
  return { name: 'app', allow: [], maxConnections: 0, listeners: [], ...change };
}

suite('users of the file', () => {
  test('one without lists may come from everywhere to every listener', () => {
    const app = known(directory({ source: 'file', users: [user()] }).find('main', 'app', '192.0.2.1'));
    assert.deepEqual(app.secret, { password: 'app' });
    assert.equal(app.allowsAddress('192.0.2.1'), true);
    assert.equal(app.allowsAddress('2001:db8::1'), true);
    assert.equal(app.allowsListener('write'), true);
  });

  test('one with lists may come from there only, and through a local socket', () => {
    const listed = user({ allow: ['10.0.0.0/8', '::1'], listeners: ['read'] });
    const app = known(directory({ source: 'file', users: [listed] }).find('main', 'app', '10.1.2.3'));
    const allowed = ['10.1.2.3', '::1', '192.0.2.1', 'localhost'].map((address) =>
      app.allowsAddress(address),
    );
    assert.deepEqual(allowed, [true, true, false, true]);
    assert.equal(app.allowsListener('read'), true);
    assert.equal(app.allowsListener('write'), false);
  });

  test('names are told apart by case, and accounts do not count', () => {
    const users = directory({ source: 'file', users: [user({ name: 'App' })] });
    users.take(accountsOf(account()));
    assert.equal(users.find('main', 'app', '10.0.0.1').kind, 'unknown');
  });
});

suite('imported users', () => {
  test('log in by what the server stores', () => {
    const users = directory();
    users.take(
      accountsOf(
        account(),
        account({ user: 'sha2', material: { sha2Hash: 'JEEk' } }),
        account({ user: 'ed', material: { ed25519Key: 'AAAA' } }),
        account({ user: 'open', material: {}, emptyPassword: true }),
      ),
    );
    const secretOf = (name: string): KnownUser['secret'] =>
      known(users.find('main', name, '10.0.0.1')).secret;
    assert.equal(secretOf('app').doubleSha1?.toString('hex'), '6bb4837eb74329105ee4568dda7dc67ed2ca2ad9');
    assert.deepEqual(secretOf('sha2'), { sha2Hash: Buffer.from('$A$') });
    assert.deepEqual(secretOf('ed'), { ed25519Key: Buffer.from([0, 0, 0]) });
    assert.deepEqual(secretOf('open'), { password: '' });
  });

  test('come from where their host allows', () => {
    const users = directory();
    users.take(accountsOf(account({ host: '10.%' }), account({ user: 'named', host: 'db.example.com' })));
    assert.equal(known(users.find('main', 'app', '10.0.0.1')).account?.host, '10.%');
    assert.match(whyNot(users.find('main', 'app', '192.0.2.1')), /no account 'app' is for 192\.0\.2\.1/);
    assert.match(whyNot(users.find('main', 'nobody', '10.0.0.1')), /there is no account 'nobody'/);
    assert.match(
      whyNot(users.find('main', 'named', '10.0.0.1')),
      /^DBPROXY_ACCOUNT_UNSERVABLE 1045 .*for hosts by their names only, and names of hosts are not looked up/,
    );
  });

  test('that cannot be served are refused with the reason', () => {
    const users = directory();
    users.take(
      accountsOf(
        account({ unservable: 'it authenticates by PAM (pam)' }),
        account({ user: '', host: 'localhost' }),
        account({ user: 'web' }),
      ),
    );
    assert.match(
      whyNot(users.find('main', 'app', '10.0.0.1')),
      /'app'@'10\.0\.0\.1'.* because it authenticates by PAM/,
    );
    assert.match(
      whyNot(users.find('main', 'web', 'localhost')),
      /anonymous account ''@'localhost' comes first/,
    );
  });

  test('that are locked or expired are told so in the words of their server, after the proof', () => {
    const locked = account({ user: 'locked', locked: true, expired: true });
    const expired = account({ user: 'expired', expired: true });
    const afterProof = (product: 'mysql' | 'mariadb', name: string): unknown => {
      const users = directory();
      users.take({ ...accountsOf(locked, expired, account()), product });
      return known(users.find('main', name, '10.0.0.1')).refuseAfterProof?.errno ?? null;
    };
    assert.deepEqual([afterProof('mysql', 'locked'), afterProof('mariadb', 'locked')], [3118, 4151]);
    assert.deepEqual([afterProof('mysql', 'expired'), afterProof('mariadb', 'expired')], [1862, 1862]);
    assert.equal(afterProof('mysql', 'app'), null);
  });

  test('keep the limits of their section, and its password in place of their own', () => {
    const limited = addition({ maxConnections: 3, listeners: ['read'], allow: ['10.0.0.0/8'] });
    const given = addition({ name: 'given', password: 'clear' });
    const users = directory({ users: [limited, given] });
    users.take(
      accountsOf(account(), account({ user: 'given', unservable: 'PAM' }), account({ user: 'plain' })),
    );
    const app = known(users.find('main', 'app', '10.0.0.1'));
    assert.equal(app.maxConnections, 3);
    assert.deepEqual([app.allowsListener('write'), app.allowsAddress('192.0.2.1')], [false, false]);
    assert.notEqual(app.secret.doubleSha1, undefined);
    assert.deepEqual(known(users.find('main', 'given', '10.0.0.1')).secret, { password: 'clear' });
    const plain = known(users.find('main', 'plain', '10.0.0.1'));
    assert.deepEqual(
      [plain.maxConnections, plain.allowsListener('any'), plain.allowsAddress('any')],
      [0, true, true],
    );
  });

  test('with a section alone are nobody once the accounts are known', () => {
    const users = directory({ users: [user()] });
    assert.deepEqual(known(users.find('main', 'app', '10.0.0.1')).secret, { password: 'app' });
    users.take(accountsOf());
    assert.equal(users.find('main', 'app', '10.0.0.1').kind, 'unknown');
  });

  test('are refused with the reason while nothing has been read', () => {
    const users = directory({ users: [addition({})] });
    assert.equal(users.isUnread('main'), true);
    for (const name of ['app', 'other']) {
      assert.match(
        whyNot(users.find('main', name, '10.0.0.1')),
        /^DBPROXY_ACCOUNTS_UNREAD 1040 .*cluster 'main'/,
      );
    }
  });

  test('are not waited for any more once there are some, nor where none are read', () => {
    const users = directory();
    users.take(accountsOf());
    assert.deepEqual([users.isUnread('main'), users.isUnread('elsewhere')], [false, false]);
  });

  test('each change of the accounts counts', () => {
    const users = directory();
    const before = users.revision;
    users.take(accountsOf(account()));
    assert.notEqual(users.revision, before);
    assert.equal(users.find('main', 'app', '10.0.0.1').kind, 'known');
    users.take(accountsOf());
    assert.equal(users.find('main', 'app', '10.0.0.1').kind, 'unknown');
  });
});

suite('what a login has proved', () => {
  const DIGEST = Buffer.alloc(32, 7);
  const sha2 = account({ material: { sha2Hash: 'JEEk' } });

  test('is used from then on, told once, and learnt by others', () => {
    const users = directory();
    const others = directory();
    for (const one of [users, others]) one.take(accountsOf(sha2));
    const app = known(users.find('main', 'app', '10.0.0.1'));
    users.proven('main', app, { doubleSha256: DIGEST });
    users.proven('main', app, { doubleSha256: DIGEST });
    assert.equal(users.told.length, 1);
    others.learn(users.told[0]!);
    assert.equal(others.told.length, 0);
    for (const one of [users, others]) {
      assert.deepEqual(known(one.find('main', 'app', '10.0.0.1')).secret.doubleSha256, DIGEST);
    }
  });

  test('is forgotten with the stored hash', () => {
    const users = directory();
    users.take(accountsOf(sha2));
    users.proven('main', known(users.find('main', 'app', '10.0.0.1')), { doubleSha256: DIGEST });
    users.take(accountsOf(account({ material: { sha2Hash: 'JEEl' } })));
    assert.equal(known(users.find('main', 'app', '10.0.0.1')).secret.doubleSha256, undefined);
  });

  const proof = { doubleSha256: DIGEST, password: 'secret' };
  const passwordAt = (users: UserDirectory): string | undefined =>
    known(users.find('main', 'app', '10.0.0.1')).rememberedPassword();

  test('is kept with the password, which others are told, also after a login in the short way', () => {
    const users = directory();
    const others = directory();
    for (const one of [users, others]) one.take(accountsOf(sha2));
    users.proven('main', known(users.find('main', 'app', '10.0.0.1')), proof);
    for (const login of users.told) others.learn(login);
    others.proven('main', known(others.find('main', 'app', '10.0.0.1')), { doubleSha256: DIGEST });
    assert.deepEqual([passwordAt(users), passwordAt(others)], ['secret', 'secret']);
    assert.equal(others.told.length, 0);
    // Only to be found when a server asks for it: the secret itself does not have it.
    assert.equal(known(users.find('main', 'app', '10.0.0.1')).secret.password, undefined);
  });

  test('loses its password with the account as it was, also for sessions that live on', () => {
    const users = directory();
    users.take(accountsOf(sha2));
    const before = known(users.find('main', 'app', '10.0.0.1'));
    users.proven('main', before, proof);
    users.take(accountsOf(account({ material: { sha2Hash: 'JEEl' } })));
    assert.deepEqual([passwordAt(users), before.rememberedPassword()], [undefined, undefined]);
    users.take(accountsOf(sha2));
    assert.equal(before.rememberedPassword(), undefined, 'it is gone, not hidden');
  });

  test('is kept without the password with remember_passwords = off', () => {
    const users = directory({ rememberPasswords: false });
    users.take(accountsOf(sha2));
    users.proven('main', known(users.find('main', 'app', '10.0.0.1')), proof);
    assert.equal(passwordAt(users), undefined);
    assert.doesNotMatch(JSON.stringify(users.told), /secret/);
  });

  test('is not kept where the server stores what checks every login', () => {
    const users = directory({ users: [user({ name: 'listed' })] });
    users.take(accountsOf(account()));
    users.proven('main', known(users.find('main', 'app', '10.0.0.1')), { doubleSha256: DIGEST });
    users.proven('main', known(users.find('main', 'app', '10.0.0.1')), {});
    assert.equal(users.told.length, 0);
  });
});

test('who takes new accounts is told whose are not as they were', () => {
  const users = directory();
  const [app, other] = [account(), account({ user: 'other' })];
  assert.deepEqual([...users.take(accountsOf(app, other))].sort(), ['app', 'other']);
  assert.deepEqual([...users.take(accountsOf(app, other))], []);
  assert.deepEqual([...users.take(accountsOf(app, { ...other, locked: true }))], ['other']);
  assert.deepEqual([...users.take(accountsOf(app))], ['other']);
});
