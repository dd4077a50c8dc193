/** A pair of MariaDB servers of the lab: with all accounts there from the start, db2 as the replica of db1. */
import { systemClock } from '../../src/base/clock.ts';
import type { DatabaseServer } from '../../src/demo/database-server.ts';
import { applicationSql, createUserSql, PAIR_ACCOUNTS, startPair } from '../../src/demo/pair.ts';

/** What dbproxy's monitor account needs: to look at a server, and to promote it. */
const MONITOR_PRIVILEGES = [
  'binlog monitor',
  'slave monitor',
  'process',
  'reload',
  'connection admin',
  'read_only admin',
  'replication slave admin',
  'replication master admin',
  'super',
];

/** A write waits this long for the replica to have it; then the primary goes on without. */
const SEMI_SYNC_TIMEOUT_MS = 1000;

export interface MariaDbPairOptions {
  readonly directory: string;
  readonly ports: readonly [number, number];
  /** A folder with a `data` to copy from. */
  readonly template: string;
  readonly extraOptions: readonly string[];
}

/** Starts db1 as the primary and db2 as its replica. */
export async function startMariaDbPair(
  options: MariaDbPairOptions,
): Promise<readonly [DatabaseServer, DatabaseServer]> {
  const { extraOptions } = options;
  const pair = await startPair({
    ...options,
    names: ['db1', 'db2'],
    clock: systemClock,
    sql: [],
    setUp: replicate,
    semiSyncTimeoutMs: SEMI_SYNC_TIMEOUT_MS,
    // What runs after a restart is for the test to say.
    extraOptions: [
      '--skip-slave-start',
      '--slave-parallel-threads=0',
      '--sync-binlog=0',
      '--innodb-flush-log-at-trx-commit=2',
      ...extraOptions,
    ],
    signalWhenOrphaned: 'KILL',
  });
  return pair.servers;
}

/** The statements that make a new server ready for the application, dbproxy and a replica. */
export function mariaDbSetup(extraSql: readonly string[]): string[] {
  const { monitor, replication } = PAIR_ACCOUNTS;
  return [
    ...applicationSql(),
    createUserSql(monitor),
    `grant ${MONITOR_PRIVILEGES.join(', ')} on *.* to ${monitor.user}@'%'`,
    // Who may log in is read from here.
    `grant select on mysql.global_priv to ${monitor.user}@'%'`,
    // The tables that it keeps there itself.
    `grant create, select, insert, update, delete on dbproxy.* to ${monitor.user}@'%'`,
    createUserSql(replication),
    `grant replication slave on *.* to ${replication.user}@'%'`,
    ...extraSql,
  ];
}

/** Makes the second server the replica of the first, which waits for its receipts and can be written. */
export async function replicate([primary, replica]: readonly [
  DatabaseServer,
  DatabaseServer,
]): Promise<void> {
  await primary.execute(
    'set global rpl_semi_sync_slave_enabled = 0',
    'set global rpl_semi_sync_master_enabled = 1',
    'set global read_only = 0',
  );
  const { user, password } = PAIR_ACCOUNTS.replication;
  await replica.execute(
    'set global rpl_semi_sync_master_enabled = 0',
    'set global rpl_semi_sync_slave_enabled = 1',
    `change master to master_host = '127.0.0.1', master_port = ${primary.port}, master_user = '${user}',
     master_password = '${password}', master_connect_retry = 1, master_heartbeat_period = 0.5,
     master_use_gtid = slave_pos,
     master_demote_to_slave = 1`,
    'start slave',
  );
}
