/**
 * Servers as doctor and bootstrap find them: set up well, and changed where a test cares.
 */
import type { BackendConfig } from '../../src/config/config.ts';
import { flavourOf } from '../../src/monitor/flavour/flavour.ts';
import { grantStatements, setupWordsOf } from '../../src/monitor/flavour/setup.ts';
import type { ServerFacts } from '../../src/monitor/observation.ts';
import type { ClusterSurvey } from '../../src/setup/finding.ts';
import type { SettingOrigin, Survey } from '../../src/setup/survey.ts';
import { backendConfig, clusterConfig } from './configs.ts';
import { replicationFacts, serverFacts } from './facts.ts';

export interface SurveyChanges {
  readonly backend?: Partial<BackendConfig>;
  readonly facts?: Partial<ServerFacts>;
  /** Null takes a variable away. */
  readonly variables?: Readonly<Record<string, string | null>>;
  readonly origins?: Readonly<Record<string, SettingOrigin>>;
  readonly persisted?: Readonly<Record<string, string>>;
  readonly rest?: Partial<Survey>;
}

const COMMON: Readonly<Record<string, string>> = {
  binlog_format: 'ROW',
  binlog_row_image: 'FULL',
  sync_binlog: '1',
  innodb_flush_log_at_trx_commit: '1',
  relay_log_recovery: 'ON',
  max_connections: '500',
};

const MARIADB: Readonly<Record<string, string>> = {
  ...COMMON,
  innodb_flush_log_at_trx_commit: '3',
  log_slave_updates: 'ON',
  gtid_strict_mode: 'ON',
  gtid_domain_id: '0',
  slave_parallel_threads: '4',
  rpl_semi_sync_master_enabled: 'OFF',
  rpl_semi_sync_slave_enabled: 'ON',
  rpl_semi_sync_master_timeout: '4294967295',
  rpl_semi_sync_master_wait_point: 'AFTER_SYNC',
  rpl_semi_sync_master_wait_no_slave: 'ON',
  max_binlog_size: '134217728',
};

const MYSQL: Readonly<Record<string, string>> = {
  ...COMMON,
  gtid_mode: 'ON',
  log_replica_updates: 'ON',
  super_read_only: 'ON',
  replica_parallel_workers: '4',
  rpl_semi_sync_source_enabled: 'OFF',
  rpl_semi_sync_replica_enabled: 'ON',
  rpl_semi_sync_source_timeout: '4294967295',
  rpl_semi_sync_source_wait_point: 'AFTER_SYNC',
  rpl_semi_sync_source_wait_no_replica: 'ON',
  rpl_semi_sync_source_wait_for_replica_count: '1',
};

/** A server with the number of its name as its id: a replica of db1, and db1 its primary. */
export function survey(name: string, changes: SurveyChanges = {}, version = '10.11.6-MariaDB'): Survey {
  const isMariadb = version.includes('MariaDB');
  const isPrimary = name === 'db1';
  const source = isMariadb ? 'master' : 'source';
  const replica = isMariadb ? 'slave' : 'replica';
  const variables = new Map(Object.entries(isMariadb ? MARIADB : MYSQL));
  if (isPrimary) {
    variables.set(`rpl_semi_sync_${source}_enabled`, 'ON').set(`rpl_semi_sync_${replica}_enabled`, 'OFF');
  }
  for (const [key, value] of Object.entries(changes.variables ?? {})) {
    if (value === null) variables.delete(key);
    else variables.set(key, value);
  }
  const words = setupWordsOf(version, (key) => variables.has(key));
  const atStart = { read_only: 'ON', super_read_only: 'ON', [`rpl_semi_sync_${replica}_enabled`]: 'ON' };
  const origins = new Map<string, SettingOrigin>();
  if (isMariadb && !isPrimary) for (const key of Object.keys(atStart)) origins.set(key, 'start');
  variables.set('read_only', isPrimary ? 'OFF' : 'ON');
  for (const [key, origin] of Object.entries(changes.origins ?? {})) origins.set(key, origin);
  return {
    backend: backendConfig(name, changes.backend),
    facts: serverFacts({
      version,
      serverId: Number(name.replace('db', '')),
      readOnly: !isPrimary,
      superReadOnly: !isPrimary && !isMariadb,
      semiSync: {
        primary: {
          enabled: isPrimary,
          live: isPrimary,
          clients: isPrimary ? 1 : 0,
          timeoutMs: 4_294_967_295,
          waitPoint: 'after_sync',
          waitForReplicas: 1,
          waiting: 0,
          acknowledged: 0,
        },
        replica: { enabled: !isPrimary, live: !isPrimary },
      },
      replication: isPrimary ? null : replicationFacts({ heartbeatPeriodMs: 500 }),
      ...changes.facts,
    }),
    flavour: flavourOf(version),
    words,
    variables,
    origins,
    persisted: new Map(Object.entries(changes.persisted ?? (isMariadb ? {} : atStart))),
    account: 'm@%',
    grants: grantStatements(
      [
        ...words.monitorPrivileges,
        ...words.rejoinPrivileges.onServer,
        ...words.rejoinPrivileges.onTables,
        ...words.bootstrapPrivileges,
      ],
      'm',
    ),
    replicatesByGtid: isPrimary ? null : true,
    followers: isPrimary ? 1 : 0,
    clockAheadMs: 0,
    ...changes.rest,
  };
}

/** These servers as a cluster that requires semi-sync; with `over`. */
export function clusterSurvey(surveys: readonly Survey[], over: Partial<ClusterSurvey> = {}): ClusterSurvey {
  return {
    cluster: clusterConfig({ semiSync: 'require' }),
    surveys,
    unreached: [],
    replicationLogins: new Map(),
    ...over,
  };
}
