/**
 * The kinds of server that tests run on, and the few statements that each of them says in its own words.
 * A test that holds for every server is written once and defined for each:
 *
 *   forEachFlavour((flavour) => describe(`the pool on ${flavour}`, () => { … startPair({ flavour }) … }));
 *
 * DBPROXY_TEST_FLAVOURS=mysql97,mysql56 runs the tests on these alone.
 */
import { testFlavours, type LabFlavour } from '../../scripts/mysql-servers.mjs';

export type { LabFlavour };

export interface LabWords {
  readonly startReplica: string;
  readonly stopReplica: string;
  readonly stopReceiver: string;
  /** After it the server knows of no source any more. */
  readonly resetReplica: string;
  readonly replicaStatus: string;
  /** Makes it a replica of a server on this machine, from where it stands. */
  follow(port: number, user: string, password: string): string;
  setPassword(user: string, password: string): string;
  /** The switches of semi-synchronous replication; null where the server comes without it. */
  readonly semiSync: {
    readonly primary: string;
    readonly replica: string;
    /** Off, a primary that has none does not wait, whatever its switch says. */
    readonly waitWithoutReplica: string;
    readonly clients: string;
  } | null;
  /** It knows COM_RESET_CONNECTION, which came with MySQL 5.7. */
  readonly resetsConnections: boolean;
  /** Begins the server's version. */
  readonly version: string;
}

const slaveWords = {
  startReplica: 'start slave',
  stopReplica: 'stop slave',
  stopReceiver: 'stop slave io_thread',
  resetReplica: 'reset slave all',
  replicaStatus: 'show slave status',
};

/** What each server calls things. */
export const WORDS: Readonly<Record<LabFlavour, LabWords>> = {
  mariadb: {
    ...slaveWords,
    follow: (port, user, password) =>
      `change master to master_host = '127.0.0.1', master_port = ${port}, master_user = '${user}',
       master_password = '${password}', master_connect_retry = 1, master_heartbeat_period = 0.5, master_use_gtid = slave_pos`,
    setPassword: (user, password) =>
      `alter user ${user}@'%' identified via mysql_native_password using password('${password}')`,
    semiSync: {
      primary: 'rpl_semi_sync_master_enabled',
      replica: 'rpl_semi_sync_slave_enabled',
      waitWithoutReplica: 'rpl_semi_sync_master_wait_no_slave',
      clients: 'Rpl_semi_sync_master_clients',
    },
    resetsConnections: true,
    version: '10.11.',
  },
  mysql56: {
    ...slaveWords,
    follow: (port, user, password) =>
      `change master to master_host = '127.0.0.1', master_port = ${port}, master_user = '${user}',
       master_password = '${password}', master_connect_retry = 1, master_heartbeat_period = 0.5, master_auto_position = 1`,
    setPassword: (user, password) => `set password for ${user}@'%' = password('${password}')`,
    semiSync: null,
    resetsConnections: false,
    version: '5.6.',
  },
  mysql97: {
    startReplica: 'start replica',
    stopReplica: 'stop replica',
    stopReceiver: 'stop replica io_thread',
    resetReplica: 'reset replica all',
    replicaStatus: 'show replica status',
    // Without TLS a caching_sha2_password account is let in only with the server's public key.
    follow: (port, user, password) =>
      `change replication source to source_host = '127.0.0.1', source_port = ${port}, source_user = '${user}',
       source_password = '${password}', source_connect_retry = 1, source_heartbeat_period = 0.5, source_auto_position = 1,
       get_source_public_key = 1`,
    setPassword: (user, password) => `alter user ${user}@'%' identified by '${password}'`,
    semiSync: {
      primary: 'rpl_semi_sync_source_enabled',
      replica: 'rpl_semi_sync_replica_enabled',
      waitWithoutReplica: 'rpl_semi_sync_source_wait_no_replica',
      clients: 'Rpl_semi_sync_source_clients',
    },
    resetsConnections: true,
    version: '9.',
  },
};

/** Defines tests for each flavour of this run; `only` names those that they apply to. */
export function forEachFlavour(
  define: (flavour: LabFlavour, words: LabWords) => void,
  only: readonly LabFlavour[] = ['mariadb', 'mysql97', 'mysql56'],
): void {
  for (const flavour of testFlavours()) if (only.includes(flavour)) define(flavour, WORDS[flavour]);
}
