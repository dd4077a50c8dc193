/**
 * Users are the accounts of the primary: a new one logs in at once, a changed password counts at once, hosts
 * are matched against the client's address, and who cannot be served is told why.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Connection, ConnectionOptions, RowDataPacket } from 'mysql2/promise';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

/** An interval that no test waits for: what is known at once is known because a login asked. */
const NEVER = { 'cluster main': { users_interval: '1h' } };

forEachFlavour((flavour, words) => {
  describe(`imported users on ${flavour}`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let root: Connection;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({ workers: 2, config: NEVER });
      root = await proxy.connect('write', { ...ADMIN_ACCOUNT });
    });
    after(() => lab?.stop());

    async function create(name: string, password: string, host = '%'): Promise<void> {
      await root.query(`create user ${name}@'${host}' identified by '${password}'`);
      await root.query(`grant select on demo.* to ${name}@'${host}'`);
    }

    /** Logs in and says who the server takes the session for. */
    async function logIn(user: string, password: string, options: ConnectionOptions = {}): Promise<string> {
      const connection = await proxy.connect('write', { user, password, ...options });
      const [[row]] = await connection.query<RowDataPacket[]>('select current_user() as me');
      await connection.end();
      return String(row!['me']);
    }

    it('logs a user in whose account was created a moment ago', async () => {
      for (let round = 1; round <= 3; round++) {
        await create(`new${round}`, 'secret');
        assert.equal(await logIn(`new${round}`, 'secret'), `new${round}@%`);
      }
      await assert.rejects(logIn('new1', 'wrong'), { errno: 1045 });
      await assert.rejects(logIn('nobody', 'secret'), { errno: 1045 });
    });

    it('takes the new password at once and the old one no more, in every worker', async () => {
      await create('changing', 'first');
      assert.equal(await logIn('changing', 'first'), 'changing@%');
      await root.query(words.setPassword('changing', 'second'));
      assert.equal(await logIn('changing', 'second'), 'changing@%');
      for (let login = 0; login < 6; login++) {
        await assert.rejects(logIn('changing', 'first'), { errno: 1045 });
        assert.equal(await logIn('changing', 'second'), 'changing@%');
      }
    });

    it('serves an account without a password, and nobody with one', async () => {
      await root.query(`create user open@'%'`);
      await root.query(`grant select on demo.* to open@'%'`);
      assert.equal(await logIn('open', ''), 'open@%');
      await assert.rejects(logIn('open', 'something'), { errno: 1045 });
    });

    it('matches hosts against the address of the client', async () => {
      await create('far', 'secret', '192.0.2.%');
      await assert.rejects(logIn('far', 'secret'), { errno: 1045, message: /using password/ });
      await create('near', 'secret', '127.0.0.0/255.0.0.0');
      assert.equal(await logIn('near', 'secret'), 'near@127.0.0.0/255.0.0.0');
      await create('named', 'secret', 'db.example.com');
      await assert.rejects(logIn('named', 'secret'), {
        errno: 1045,
        message: /names of hosts are not looked up/,
      });
    });

    it('refuses a dropped account after the accounts were read', async () => {
      await create('gone', 'secret');
      assert.equal(await logIn('gone', 'secret'), 'gone@%');
      await root.query("drop user gone@'%'");
      const [reload] = await proxy.admin('RELOAD USERS CLUSTER main');
      assert.equal(reload!['result'], 'ok');
      await assert.rejects(logIn('gone', 'secret'), { errno: 1045 });
    });

    it('shows every account and no secret', async () => {
      const rows = await proxy.admin("SHOW USERS WHERE name = 'app'");
      const [{ name, host, cluster, source, state }] = rows as [Record<string, unknown>];
      assert.deepEqual([name, host, cluster, source, state], ['app', '%', 'main', 'import', 'ok']);
      const all = JSON.stringify([await proxy.admin('SHOW USERS'), proxy.log]);
      assert.doesNotMatch(all, /\*[0-9A-F]{40}|\$A\$|doubleSha|sha2Hash/i);
      const { text } = await proxy.get('/metrics');
      assert.match(text, /^dbproxy_accounts\{cluster="main"\} \d+$/m);
      assert.match(text, /^dbproxy_accounts_age_seconds\{cluster="main"\} /m);
    });

    it('reads the accounts of the new primary after a promotion', async () => {
      const imported = proxy.log.filter(({ event }) => event === 'users.import_failed').length;
      await proxy.admin('PROMOTE db2');
      root = await proxy.connect('write', { ...ADMIN_ACCOUNT });
      await create('later', 'secret');
      assert.equal(await logIn('later', 'secret'), 'later@%');
      assert.equal(proxy.log.filter(({ event }) => event === 'users.import_failed').length, imported);
    });

    it('reads a replica while the primary is away, goes on with what it knows when all are, and tells new workers', async () => {
      await lab.db2.kill();
      const reload = async (): Promise<unknown> => (await proxy.admin('RELOAD USERS'))[0]!.result;
      await eventually(async () => assert.equal(await reload(), 'ok'));
      const started = proxy.log.filter(({ event }) => event === 'worker.started');
      for (const { pid } of started) process.kill(Number(pid), 'SIGKILL');
      await eventually(async () => {
        const reader = await proxy.connect('read');
        await reader.query('select 1');
      });
      await lab.db1.kill();
      await eventually(async () => assert.equal(await reload(), 'failed'));
      await proxy.waitForEvent('users.import_failed', ({ detail }) =>
        /those read last go on/.test(String(detail)),
      );
      const [app] = await proxy.admin("SHOW USERS WHERE name = 'app'");
      assert.match(String(app!.reason), /^as last read: /);
    });
  });
});

describe('accounts of which MariaDB has its own kinds', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  let root: Connection;

  before(async () => {
    lab = await startPair();
    proxy = await lab.startProxy({ workers: 2, config: NEVER });
    root = await proxy.connect('write', { ...ADMIN_ACCOUNT });
  });
  after(() => lab?.stop());

  const using = (user: string, password = 'secret'): Promise<Connection> =>
    proxy.connect('write', { user, password, database: '' });

  it('are refused as the server refuses them once the password is proved', async () => {
    await root.query("create user locked@'%' identified by 'secret' account lock");
    await root.query("create user expired@'%' identified by 'secret' password expire");
    await assert.rejects(using('locked'), { errno: 4151, message: /this account is locked/ });
    await assert.rejects(using('locked', 'wrong'), { errno: 1045 });
    await assert.rejects(using('expired'), { errno: 1862, message: /password has expired/ });
    await assert.rejects(using('expired', 'wrong'), { errno: 1045 });
    await root.query("alter user locked@'%' account unlock");
    await proxy.admin('RELOAD USERS');
    await using('locked');
  });

  it('are refused with the reason when they authenticate by other means', async () => {
    await root.query("create user socketed@'%' identified via unix_socket");
    await assert.rejects(using('socketed'), {
      errno: 1045,
      message: /operating system's user .*\(unix_socket\)/,
    });
    await root.query('create role reporters');
    await assert.rejects(using('reporters'), { errno: 1045 });
    const rows = await proxy.admin("SHOW USERS WHERE state = 'unservable'");
    assert.ok(rows.some(({ name, reason }) => name === 'reporters' && reason === 'it is a role'));
  });

  it('are served by the one of several alternatives that can be', async () => {
    await root.query(
      "create user several@'%' identified via unix_socket or mysql_native_password using password('secret')",
    );
    await using('several');
  });
});

forEachFlavour(
  (flavour) => {
    describe(`accounts of which MySQL has its own kinds, on ${flavour}`, () => {
      let lab: Lab;
      let proxy: ProxyProcess;
      let root: Connection;

      before(async () => {
        lab = await startPair({ flavour });
        proxy = await lab.startProxy({ workers: 2, config: NEVER });
        root = await proxy.connect('write', { ...ADMIN_ACCOUNT });
      });
      after(() => lab?.stop());

      const using = (user: string, password = 'secret'): Promise<Connection> =>
        proxy.connect('write', { user, password, database: '' });

      it('are refused as the server refuses them once the password is proved', async () => {
        await root.query("create user locked@'%' identified by 'secret' account lock");
        await root.query("create user expired@'%' identified by 'secret' password expire");
        await assert.rejects(using('locked'), {
          errno: 3118,
          message: "Access denied for user 'locked'@'127.0.0.1'. Account is locked.",
        });
        await assert.rejects(using('locked', 'wrong'), { errno: 1045 });
        await assert.rejects(using('expired'), { errno: 1862, message: /password has expired/ });
        await assert.rejects(using('expired', 'wrong'), { errno: 1045 });
      });

      it('are refused with the reason when they demand a certificate', async () => {
        await root.query("create user certified@'%' identified by 'secret' require x509");
        await assert.rejects(using('certified'), { errno: 1045, message: /certificate of the client/ });
      });

      it('are matched by prefix length', async () => {
        await root.query("create user inside@'127.0.0.0/8' identified by 'secret'");
        await root.query("create user outside@'10.0.0.0/8' identified by 'secret'");
        await using('inside');
        await assert.rejects(using('outside'), { errno: 1045 });
      });
    });
  },
  ['mysql97'],
);

describe('a monitor account that may not read the accounts', () => {
  let lab: Lab;

  before(async () => {
    lab = await startPair();
    await lab.db1.query("revoke select on mysql.global_priv from monitor@'%'");
  });
  after(() => lab?.stop());

  it('is told of with the grant it needs, and sections with a password serve their users meanwhile', async () => {
    const proxy = await lab.startProxy({ config: { ...NEVER, 'user root2': { password: 'root2' } } });
    const { detail } = await proxy.waitForEvent('users.import_failed');
    assert.match(
      String(detail),
      /SELECT command denied .*GRANT SELECT ON mysql\.global_priv TO 'monitor'@'%'/,
    );
    const rows = await proxy.admin('SHOW USERS');
    assert.deepEqual(
      rows.map(({ name, source, state }) => [name, source, state]),
      [
        ['', 'import', 'unread'],
        ['root2', 'file', 'ok'],
      ],
    );
    await assert.rejects(proxy.connect('write'), { errno: 1040, message: /has not read the accounts/ });
    const root = await proxy.connect('write', { ...ADMIN_ACCOUNT });
    await root.query("grant select on mysql.global_priv to monitor@'%'");
    await proxy.admin('RELOAD USERS');
    await proxy.waitForEvent('users.imported');
    await proxy.connect('write');
  });
});

describe('sections of users', () => {
  let lab: Lab;

  before(async () => {
    lab = await startPair();
  });
  after(() => lab?.stop());

  it('are all there is with users = file, which has nothing to reload', async () => {
    const proxy = await lab.startProxy({
      config: { 'cluster main': { users: 'file' }, 'user app': { password: 'app' } },
    });
    await proxy.connect('write');
    await assert.rejects(proxy.connect('write', { ...ADMIN_ACCOUNT }), { errno: 1045 });
    await assert.rejects(proxy.admin('RELOAD USERS CLUSTER main'), { message: /users = file/ });
  });

  it('limit the accounts of their names with users = import', async () => {
    const proxy = await lab.startProxy({
      config: { 'user app': { max_connections: 1, listeners: 'write' } },
    });
    const first = await proxy.connect('write');
    await assert.rejects(proxy.connect('write'), { errno: 1226 });
    await first.end();
    await eventually(async () => (await proxy.connect('write')).end());
    await assert.rejects(proxy.connect('read'), { errno: 1130 });
  });
});

describe('accounts while the primary is away', () => {
  let lab: Lab;

  before(async () => {
    lab = await startPair();
  });
  after(() => lab?.stop());

  it('are read from a server that replicates them, so that reads go on after a restart of dbproxy', async () => {
    const proxy = await lab.startProxy({ workers: 1 });
    await proxy.stop();
    await lab.db1.kill();
    const later = await lab.startProxy({
      workers: 1,
      readyWhen: 'alive',
      config: { dbproxy: { state_dir: proxy.stateDirectory } },
    });
    const connection = await later.connect('read');
    const [rows] = await connection.query<RowDataPacket[]>('select @@port as port');
    assert.equal(rows[0]!.port, lab.db2.port);
  });
});
