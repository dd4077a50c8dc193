/**
 * BOOTSTRAP and CLONE on real servers that nobody has set up. What makes them safe is tested first: a dry run
 * changes nothing, and a server with other data is refused.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { systemClock } from '../../src/base/clock.ts';
import { refusal } from '../../src/base/errors.ts';
import type { BackendConfig, ClusterConfig } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import type { SetupReport } from '../../src/ipc/operations.ts';
import type { ControlAccount } from '../../src/monitor/connection.ts';
import { grantStatements, setupWordsOf } from '../../src/monitor/flavour/setup.ts';
import { CREATE_TABLES } from '../../src/monitor/flavour/tables.ts';
import { bootstrap } from '../../src/setup/bootstrap.ts';
import { cloneInto } from '../../src/setup/clone.ts';
import { examine, isWell } from '../../src/setup/doctor.ts';
import type { SetupWorld } from '../../src/setup/world.ts';
import { startBlankServers, type BlankServers } from '../lab/blank.ts';
import { forEachFlavour, WORDS, type LabFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT } from '../lab/pair.ts';
import { startProxy, type ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const ACCOUNT = { monitorUser: ADMIN_ACCOUNT.user, monitorPassword: ADMIN_ACCOUNT.password };
/** A row that is no step. */
const FOR_FILES = 'lines for my.cnf';
const BOTH: readonly LabFlavour[] = ['mariadb', 'mysql97'];

function configOf(servers: readonly DatabaseServer[], more = ''): string {
  const backends = servers.map(
    ({ name, port }) => `[backend ${name}]\ncluster = main\naddress = 127.0.0.1:${port}\nrw_weight = 1\n`,
  );
  return `[admin]
user = admin
password = admin
[cluster main]
monitor_user = root2
monitor_password = root2
replication_user = repl
replication_password = secret-of-repl
semi_sync = require
${more}
${backends.join('')}[listener write]
cluster = main
address = 127.0.0.1:1
`;
}

interface Arena {
  readonly cluster: ClusterConfig;
  readonly backends: readonly BackendConfig[];
  readonly world: SetupWorld;
  readonly progress: string[];
  remembered: string | null;
  bootstrap(options?: { primary?: string; dryRun?: boolean }): Promise<SetupReport[]>;
}

function arenaOf(servers: readonly DatabaseServer[], more = ''): Arena {
  const config = parseConfig(configOf(servers, more), {
    file: 'proxy.conf',
    env: {},
    readFile: () => {
      throw new Error('no files here');
    },
    cores: 1,
  });
  const cluster = config.clusters[0]!;
  const arena: Arena = {
    cluster,
    backends: config.backends,
    remembered: null,
    progress: [],
    world: {
      clock: systemClock,
      rememberedPrimary: () => arena.remembered,
      epoch: () => 1,
      recordPromotion: async (_cluster, primary) => {
        arena.remembered = primary;
        return 1;
      },
      rwWeight: () => 1,
      checkNow: async () => true,
      rejudge: () => undefined,
      onReport: () => undefined,
      onProgress: (_cluster, _server, detail) => arena.progress.push(detail),
    },
    bootstrap: ({ primary, dryRun = false } = {}) =>
      bootstrap(arena.world, {
        cluster,
        backends: config.backends,
        primary: primary ?? null,
        dryRun,
        account: ACCOUNT,
      }),
  };
  return arena;
}

/** What a plan could change at a server, as text. */
async function stateOf(server: DatabaseServer): Promise<string> {
  const variables = await server.query('show global variables');
  const kept = variables.filter(
    ({ Variable_name: name }) => !/timestamp|gtid_binlog_state|innodb_.*rate|last_/.test(String(name)),
  );
  const schemas = await server.query('show databases');
  const accounts = await server.query('select user, host from mysql.user order by 1, 2');
  return JSON.stringify([kept, schemas, accounts]);
}

async function valueAt(server: DatabaseServer, expression: string): Promise<unknown> {
  const [row] = await server.query(`select ${expression} as value`);
  return row?.['value'];
}

function refusedWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code?: string }).code, 'DBPROXY_SETUP_REFUSED');
    assert.match((error as Error).message, pattern);
    return true;
  };
}

forEachFlavour((flavour) => {
  const words = WORDS[flavour];

  describe(`three empty servers of ${flavour}`, () => {
    let lab: BlankServers;
    let arena: Arena;
    before(async () => {
      lab = await startBlankServers({ flavour, count: 3 });
      arena = arenaOf(lab.servers);
    });
    after(() => lab.stop());

    test('are left as they are by a dry run, which tells the plan without passwords', async () => {
      const before = await Promise.all(lab.servers.map(stateOf));
      const plan = await arena.bootstrap({ dryRun: true });
      assert.ok(plan.length > 5);
      assert.ok(plan.every(({ result, step }) => result === 'planned' || step === FOR_FILES));
      assert.ok(plan.some(({ server, step }) => server === 'db3' && step === 'follow db1'));
      assert.doesNotMatch(JSON.stringify(plan), /secret-of-repl/);
      assert.deepEqual(await Promise.all(lab.servers.map(stateOf)), before);
      assert.equal(arena.remembered, null);
    });

    test('become a semi-synchronous cluster', async () => {
      const reports = await arena.bootstrap();
      assert.ok(reports.every(({ result, step }) => result === 'done' || step === FOR_FILES));
      assert.equal(reports.filter(({ step }) => step === FOR_FILES).length, flavour === 'mariadb' ? 3 : 0);
      const [db1, db2, db3] = lab.servers as [DatabaseServer, DatabaseServer, DatabaseServer];
      assert.equal(arena.remembered, 'db1');
      assert.deepEqual(
        await Promise.all(lab.servers.map((server) => valueAt(server, '@@global.read_only'))),
        [0, 1, 1],
      );
      const largestLog = flavour === 'mariadb' ? 134_217_728 : 1_073_741_824;
      assert.equal(Number(await valueAt(db1, '@@global.max_binlog_size')), largestLog);
      assert.deepEqual(
        (await db1.query(`show status like '${words.semiSync!.clients}'`)).map((row) => row['Value']),
        ['2'],
      );
      await db1.execute('create table demo.t (a int primary key)', 'insert into demo.t values (7)');
      for (const server of [db2, db3]) {
        await eventually(async () => {
          const rows = await server.query(
            'select (select a from demo.t) as a, backend, epoch from dbproxy.epoch',
          );
          assert.deepEqual(rows, [{ a: 7, backend: 'db1', epoch: 1 }]);
        });
      }
    });

    test('have nothing left to do a second time', async () => {
      const reports = await arena.bootstrap();
      assert.deepEqual(
        reports.map(({ step, result, detail }) => [step, result, detail]),
        [['nothing', 'skipped', 'all is there already']],
      );
    });

    test('are mended where one thing is not as it was', async () => {
      const { primary, replica } = words.semiSync!;
      await lab.servers[0]!.execute(`set global ${primary} = 0`);
      await lab.servers[2]!.execute(`set global ${replica} = 0`, words.stopReplica);
      const reports = await arena.bootstrap();
      assert.deepEqual(
        reports.filter(({ step }) => step !== FOR_FILES).map(({ server, step }) => `${server}: ${step}`),
        ['db3: follow db1', 'db1: semi-sync: commits wait for a replica'],
      );
      assert.equal(Number(await valueAt(lab.servers[0]!, `@@global.${primary}`)), 1);
    });

    test('leave nothing for the doctor but what is the operator’s choice', async () => {
      const config = parseConfig(configOf(lab.servers, ''), {
        file: 'proxy.conf',
        env: {},
        readFile: () => '',
        cores: 1,
      });
      const findings = await examine(
        { ...config, dbproxy: { ...config.dbproxy, stateDir: '/tmp' } },
        {
          configPath: 'proxy.conf',
          keepalivedText: () => Promise.resolve(''),
          orders: () => Promise.resolve(null),
          version: '1.2.3',
          peer: () => Promise.resolve(null),
          running: () => Promise.resolve({ kind: 'silent', reason: 'none' }),
          probesVips: false,
        },
        systemClock,
      );
      const rules = new Set(findings.filter(({ severity }) => severity !== 'hint').map(({ id }) => id));
      // What MariaDB does at its start, SQL cannot say.
      const atStart = flavour === 'mariadb' ? ['commit_flush', 'read_only_at_start'] : [];
      assert.deepEqual([...rules].sort(), ['durability', 'max_connections', ...atStart].sort());
      assert.equal(isWell(findings), false);
    });

    test('are not moved to another primary', async () => {
      await assert.rejects(
        arena.bootstrap({ primary: 'db2' }),
        refusedWith(/db1 is remembered as the primary, and BOOTSTRAP moves nobody/),
      );
    });
  });

  describe(`servers of ${flavour} with data`, () => {
    let lab: BlankServers;
    let arena: Arena;
    before(async () => {
      lab = await startBlankServers({ flavour, count: 2 });
      arena = arenaOf(lab.servers);
    });
    after(() => lab.stop());
    const rows = Array.from({ length: 50 }, (_, index) => `(${index + 1}, 'row ${index + 1}')`).join(', ');

    test('are refused when a table has other rows, with what differs', async () => {
      for (const server of lab.servers) {
        await server.execute(
          'create table demo.orders (id int primary key auto_increment, text varchar(20))',
        );
        await server.execute(`insert into demo.orders values ${rows}`);
      }
      await lab.servers[1]!.execute("update demo.orders set text = 'other' where id = 3");
      const before = await Promise.all(lab.servers.map(stateOf));
      await assert.rejects(
        arena.bootstrap(),
        refusedWith(
          /db2 has other data than db1: table demo\.orders has other content: 50 row\(s\) on db1, 50 on db2/,
        ),
      );
      assert.deepEqual(await Promise.all(lab.servers.map(stateOf)), before);
    });

    test('are refused when one has a table or a view more', async () => {
      await lab.servers[1]!.execute(
        'create table demo.more (a int)',
        'create view demo.v as select 1 as one',
      );
      await assert.rejects(
        arena.bootstrap(),
        refusedWith(/view demo\.v is on db2 only, table demo\.more is on db2 only/),
      );
      await lab.servers[1]!.execute('drop table demo.more', 'drop view demo.v');
    });

    test('are refused when a view or a procedure is another', async () => {
      for (const [index, server] of lab.servers.entries()) {
        await server.execute(
          `create view demo.v as select ${index} as number`,
          'create procedure demo.p() select 1',
        );
      }
      await assert.rejects(
        arena.bootstrap(),
        refusedWith(/other data than db1: view demo\.v is defined otherwise on db2 than on db1;/),
      );
      for (const server of lab.servers) await server.execute('drop view demo.v', 'drop procedure demo.p');
    });

    test('are refused when a table is defined otherwise', async () => {
      await lab.servers[1]!.execute('create index by_text on demo.orders (text)');
      await assert.rejects(
        arena.bootstrap(),
        refusedWith(/table demo\.orders is defined otherwise on db2 than on db1/),
      );
      await lab.servers[1]!.execute('drop index by_text on demo.orders');
    });

    test('become a cluster when each was loaded with the same by hand, whatever its history', async () => {
      await lab.servers[1]!.execute("update demo.orders set text = 'row 3' where id = 3");
      await lab.servers[0]!.execute("create user reporting@'10.%' identified by 'its-own'");
      // A running dbproxy writes its heartbeat all the time.
      await lab.servers[0]!.execute(...CREATE_TABLES);
      await lab.servers[0]!.execute("replace into dbproxy.heartbeat values ('main', 0, 1)");
      let beats = 1;
      const heart = (async () => {
        while (beats >= 0) {
          await lab.servers[0]!.execute(`replace into dbproxy.heartbeat values ('main', ${beats++}, 1)`);
        }
      })();
      await arena.bootstrap({ primary: 'db1' });
      assert.ok(beats > 2, 'it was written to meanwhile');
      beats = -1;
      await heart;
      await lab.servers[0]!.execute("insert into demo.orders values (1000, 'after')");
      await eventually(async () => {
        assert.equal(await valueAt(lab.servers[1]!, '(select count(*) from demo.orders)'), 51);
      });
      const known = "(select count(*) from mysql.user where user = 'reporting' and host = '10.%')";
      assert.equal(
        await valueAt(lab.servers[1]!, known),
        1,
        'an account that only the primary had is there, too',
      );
    });
  });

  describe(`servers of ${flavour} that start read-only`, () => {
    let lab: BlankServers;
    before(async () => {
      const lock = flavour === 'mysql97' ? ['--super-read-only=ON'] : [];
      lab = await startBlankServers({ flavour, count: 2, serverOptions: ['--read-only=ON', ...lock] });
    });
    after(() => lab.stop());

    test('become a cluster whose primary takes writes, and whose replica is locked as before', async () => {
      const arena = arenaOf(lab.servers);
      const reports = await arena.bootstrap();
      const steps = reports.filter(({ step }) => step !== FOR_FILES);
      assert.deepEqual(steps.at(-1), { ...steps.at(-1), server: 'db1', step: 'take writes', result: 'done' });
      const name = flavour === 'mysql97' ? 'super_read_only' : 'read_only';
      assert.deepEqual(
        await Promise.all(lab.servers.map((server) => valueAt(server, `@@global.${name}`))),
        [0, 1],
      );
      assert.equal((await arena.bootstrap())[0]!.step, 'nothing');
    });
  });

  describe(`what a bootstrap of ${flavour} cannot do`, () => {
    let lab: BlankServers;
    before(async () => {
      lab = await startBlankServers({ flavour, count: 2 });
    });
    after(() => lab.stop());

    test('without privileges, it says which GRANT is missing', async () => {
      const arena = arenaOf(lab.servers);
      const asMonitor = { monitorUser: 'monitor', monitorPassword: 'monitor' };
      const attempt = bootstrap(arena.world, {
        cluster: arena.cluster,
        backends: arena.backends,
        primary: null,
        dryRun: false,
        account: asMonitor,
      });
      await assert.rejects(
        attempt,
        refusedWith(
          /db2: monitor may not do all .* GRANT SELECT, SHOW DATABASES, CREATE USER.* ON \*\.\* TO 'monitor'@'%' WITH GRANT OPTION/,
        ),
      );
    });

    test('with a server down, it names it', async () => {
      const arena = arenaOf(lab.servers);
      await lab.servers[1]!.kill();
      await assert.rejects(arena.bootstrap(), refusedWith(/db2: connection refused/));
      await lab.servers[1]!.start();
    });

    test('what it has done when a step fails, it takes back', async () => {
      const arena = arenaOf(lab.servers);
      // The account is there with another password, so that the replica is not let in.
      for (const server of lab.servers) {
        await server.execute(
          "create user repl@'%' identified by 'another'",
          "grant replication slave on *.* to repl@'%'",
        );
      }
      await assert.rejects(arena.bootstrap(), (error: Error) => {
        assert.equal((error as { code?: string }).code, 'DBPROXY_SETUP_FAILED');
        assert.match(
          error.message,
          /failed at step 'db2: follow db1': it does not replicate.*was taken back/,
        );
        assert.doesNotMatch(error.message, /secret-of-repl/);
        return true;
      });
      assert.deepEqual(
        await Promise.all(lab.servers.map((server) => valueAt(server, '@@global.read_only'))),
        [0, 0],
      );
      assert.deepEqual(await lab.servers[1]!.query(words.replicaStatus), []);
    });
  });
}, BOTH);

forEachFlavour(() => {
  describe('servers of MySQL 9.7 that do not number transactions globally', () => {
    let lab: BlankServers;
    before(async () => {
      const serverOptions = ['--gtid-mode=OFF', '--enforce-gtid-consistency=OFF'];
      lab = await startBlankServers({ flavour: 'mysql97', count: 2, serverOptions });
    });
    after(() => lab.stop());

    test('do so afterwards, without a restart, and for good', async () => {
      await arenaOf(lab.servers).bootstrap();
      const kept =
        "select variable_value as value from performance_schema.persisted_variables where variable_name = 'gtid_mode'";
      for (const server of lab.servers) {
        assert.equal(await valueAt(server, '@@global.gtid_mode'), 'ON');
        assert.deepEqual(await server.query(kept), [{ value: 'ON' }]);
      }
    });

    test('start read-only, as replicas that acknowledge', async () => {
      const [db1] = lab.servers as [DatabaseServer];
      await db1.kill();
      await db1.start();
      assert.deepEqual(
        await db1.query(
          'select @@super_read_only as locked, @@rpl_semi_sync_replica_enabled as acknowledges, @@rpl_semi_sync_source_enabled as waits',
        ),
        [{ locked: 1, acknowledges: 1, waits: 0 }],
      );
    });
  });
}, ['mysql97']);

forEachFlavour(() => {
  describe('servers of MySQL 5.6 without global ids', () => {
    let lab: BlankServers;
    before(async () => {
      lab = await startBlankServers({ flavour: 'mysql56', count: 2 });
    });
    after(() => lab.stop());

    test('are refused with the lines for my.cnf', async () => {
      await assert.rejects(
        arenaOf(lab.servers).bootstrap(),
        refusedWith(
          /db1: gtid_mode is not ON.*in my\.cnf, section \[mysqld\], then restart the server: gtid_mode = ON; enforce_gtid_consistency = ON/,
        ),
      );
    });
  });
}, ['mysql56']);

forEachFlavour((flavour) => {
  describe(`CLONE BACKEND on ${flavour}`, () => {
    let lab: BlankServers;
    let pair: Arena;
    before(async () => {
      lab = await startBlankServers({ flavour, count: 3 });
      pair = arenaOf(lab.servers.slice(0, 2));
      await pair.bootstrap();
      await lab.servers[0]!.execute(
        'create table demo.t (a int primary key, b blob)',
        "insert into demo.t values (1, x'00ff27'), (2, null)",
        'create view demo.v as select a from demo.t',
      );
    });
    after(() => lab.stop());

    async function clone(
      options: {
        target?: string;
        dryRun?: boolean;
        from?: string;
        stopping?: AbortSignal;
        account?: ControlAccount;
      } = {},
    ): Promise<SetupReport[]> {
      const arena = arenaOf(lab.servers);
      arena.remembered = 'db1';
      const { target = 'db3', dryRun = false, from = null, stopping } = options;
      return cloneInto(stopping === undefined ? arena.world : { ...arena.world, stopping }, {
        cluster: arena.cluster,
        backends: arena.backends,
        target,
        from,
        dryRun,
        account: options.account ?? ACCOUNT,
      });
    }

    test('is refused for a server that holds anything, with the way to empty it', async () => {
      const way =
        /db3 is not empty \(demo\)\. When all of it may go: MAINTENANCE ON CLUSTER main; on db3 itself: SET SESSION sql_log_bin = 0; DROP DATABASE `demo`; then CLONE BACKEND db3; MAINTENANCE OFF CLUSTER main$/;
      await assert.rejects(clone(), refusedWith(way));
    });

    test('is refused for the primary', async () => {
      await assert.rejects(clone({ target: 'db1' }), refusedWith(/db1 is the primary/));
    });

    test('only says how in a dry run', async () => {
      await lab.servers[2]!.execute('drop database demo');
      const plan = await clone({ dryRun: true });
      assert.deepEqual(
        plan.map(({ step, result }) => [step, result]),
        [
          ['fill it from db1', 'planned'],
          ['follow the primary', 'planned'],
        ],
      );
      assert.deepEqual(await lab.servers[2]!.query("show databases like 'demo'"), []);
    });

    // The clone plugin copies them itself.
    test(
      'is refused before it begins when accounts could not be given their rights',
      { skip: flavour === 'mysql97' },
      async () => {
        const [db1, , db3] = lab.servers;
        await db1!.execute("create user boss@'%' identified by 'boss'", "grant all on *.* to boss@'%'");
        for (const server of lab.servers) {
          await server.execute(
            'set sql_log_bin = 0',
            "create user cloner@'%' identified by 'cloner'",
            ...grantStatements(setupWordsOf('10.11.6-MariaDB', () => false).monitorPrivileges, 'cloner'),
          );
        }
        const account = { monitorUser: 'cloner', monitorPassword: 'cloner' };
        for (let round = 1; ; round++) {
          const error = await clone({ dryRun: true, account }).then(String, (reason: Error) => reason);
          const { message } = error as Error;
          if (/is to make accounts there with rights that it does not have/.test(message)) {
            assert.match(message, /db3: cloner is to .*: GRANT ALL PRIVILEGES ON \*\.\* TO 'cloner'@'%'/);
            break;
          }
          assert.ok(round < 6, message);
          const grants = message.match(/GRANT [^;]+? TO 'cloner'@'%'( WITH GRANT OPTION)?/g) ?? [];
          for (const server of lab.servers) await server.execute('set sql_log_bin = 0', ...grants);
        }
        await assert.rejects(clone({ account }), refusedWith(/is to make accounts there/));
        assert.deepEqual(await db3!.query("select user from mysql.user where user = 'boss'"), []);
        assert.deepEqual(await db3!.query("show databases like 'demo'"), []);
      },
    );

    // The clone plugin copies too fast to be caught at it.
    test('ends when dbproxy stops, and leaves an empty server', { skip: flavour === 'mysql97' }, async () => {
      const [db1, , db3] = lab.servers;
      const blocker = await createConnection({ host: '127.0.0.1', port: db1!.port, ...ADMIN_ACCOUNT });
      await blocker.query('lock tables demo.t write');
      const stopping = new AbortController();
      const cloned = clone({ stopping: stopping.signal });
      cloned.catch(() => undefined);
      await eventually(async () => {
        const [row] = await db1!.query(
          "select count(*) as n from information_schema.processlist where info like 'select%no_cache%from `t`'",
        );
        assert.equal(Number(row!.n), 1);
      }, 10_000);
      stopping.abort(new Error('dbproxy is stopping'));
      await assert.rejects(cloned, { code: 'DBPROXY_SETUP_FAILED', message: /dbproxy is stopping/ });
      await blocker.end();
      assert.deepEqual(await db3!.query("show databases like 'demo'"), []);
      assert.deepEqual(await db3!.query('show replica status'), []);
    });

    test('fills the server, and has it follow', async () => {
      const db3 = lab.servers[2]!;
      const cloned = clone();
      // Nothing restarts a server of the lab by itself.
      if (flavour === 'mysql97') {
        await eventually(() => assert.equal(db3.running, false), 30_000);
        await db3.start();
      }
      const reports = await cloned;
      assert.equal(reports[0]!.step, 'fill it from db1');
      assert.ok(reports.every(({ result, step }) => result === 'done' || step === FOR_FILES));
      await lab.servers[0]!.execute('insert into demo.t values (3, null)');
      await eventually(async () => {
        const rows = await db3.query(
          'select group_concat(a order by a) as keys_, hex(max(b)) as b from demo.v join demo.t using (a)',
        );
        assert.deepEqual(rows, [{ keys_: '1,2,3', b: '00FF27' }]);
      });
      assert.equal(await valueAt(db3, '@@global.read_only'), 1);
      assert.deepEqual(await db3.query('select backend from dbproxy.epoch'), [{ backend: 'db1' }]);
      const again = await arenaOf(lab.servers).bootstrap({ dryRun: true });
      assert.deepEqual(
        again.filter(({ step }) => step !== FOR_FILES).map(({ step }) => step),
        ['is the primary: state file and dbproxy.epoch'],
        'but for a world that remembers nothing',
      );
    });
  });
}, BOTH);

describe('BOOTSTRAP on the admin port', () => {
  let lab: BlankServers;
  let proxy: ProxyProcess;
  before(async () => {
    lab = await startBlankServers({ flavour: 'mariadb', count: 2 });
    const [db1, db2] = lab.servers as [DatabaseServer, DatabaseServer];
    proxy = await startProxy(
      { directory: lab.directory, serverPorts: [db1.port, db2.port], number: 1 },
      {
        readyWhen: 'alive',
        config: {
          'cluster main': {
            monitor_user: ADMIN_ACCOUNT.user,
            monitor_password: ADMIN_ACCOUNT.password,
            semi_sync: 'require',
          },
        },
      },
    );
  });
  after(async () => {
    await proxy.stop();
    await lab.stop();
  });

  test('leads from two writable servers to a cluster that routes', async () => {
    const plan = await proxy.admin('BOOTSTRAP CLUSTER main PRIMARY db1 DRY RUN');
    assert.equal(plan[0]!['result'], 'planned');
    const reports = await proxy.admin('bootstrap cluster main primary db1');
    const steps = reports.filter((row) => row['step'] !== FOR_FILES);
    assert.ok(steps.every((row) => row['result'] === 'done'));
    await eventually(async () =>
      assert.equal((await proxy.get('/health/write')).text.trim(), 'main: writes go to db1'),
    );
    await eventually(async () =>
      assert.equal((await proxy.get('/health/read')).text.trim(), 'main: reads go to db2'),
    );
    const events = await proxy.admin("SHOW EVENTS WHERE event = 'setup.step'");
    assert.equal(events.length, steps.length);
  });

  test('refuses what there is not', async () => {
    await assert.rejects(proxy.admin('BOOTSTRAP CLUSTER other'), {
      message: refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'cluster', 'other', 'main').message,
    });
    await assert.rejects(proxy.admin('CLONE BACKEND db2'), /db2 is not empty/);
  });
});
