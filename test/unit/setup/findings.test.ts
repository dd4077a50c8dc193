/**
 * The rules of doctor: a cluster that is set up well has no findings, and each fault planted into it has one.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ProbeErrorKind } from '../../../src/monitor/observation.ts';
import { findingsOf } from '../../../src/setup/cluster-rules.ts';
import type { ClusterSurvey, Finding } from '../../../src/setup/finding.ts';
import { semiSyncRules } from '../../../src/setup/semi-sync-rules.ts';
import { serverRules } from '../../../src/setup/server-rules.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { replicationFacts } from '../../support/facts.ts';
import { clusterSurvey, survey, type SurveyChanges } from '../../support/surveys.ts';

const MYSQL = '9.7.4';
const OLD = '5.6.24';

function brief(findings: readonly Finding[]): string[] {
  return findings.map(({ severity, subject, id }) => `${severity} ${subject} ${id}`);
}

/** Findings of db1 and its replica db2, beyond those of db1 that MariaDB cannot be asked about. */
function found(db2: SurveyChanges, over: Partial<ClusterSurvey> = {}, version?: string): Finding[] {
  const findings = findingsOf(clusterSurvey([survey('db1', {}, version), survey('db2', db2, version)], over));
  return findings.filter(({ severity, subject }) => !(subject === 'db1' && severity === 'hint'));
}

const REPLICATION = replicationFacts({ heartbeatPeriodMs: 500 });

interface Fault {
  readonly rule: string;
  readonly severity: Finding['severity'];
  readonly plant: SurveyChanges;
  readonly over?: Partial<ClusterSurvey>;
  readonly version?: string;
  readonly remedy: RegExp;
}

const FAULTS: readonly Fault[] = [
  {
    rule: 'monitor_grants',
    severity: 'error',
    plant: { rest: { grants: ['GRANT SUPER ON *.* TO m'] } },
    remedy: /GRANT BINLOG MONITOR, SLAVE MONITOR.* ON \*\.\* TO 'm'@'%';/,
  },
  {
    rule: 'rejoin_grants',
    severity: 'hint',
    plant: {
      rest: {
        grants: [
          'GRANT ALL PRIVILEGES ON dbproxy.* TO m',
          'GRANT SELECT, INSERT, UPDATE, DELETE ON `shop`.* TO m',
        ],
      },
    },
    remedy: /^GRANT BINLOG ADMIN, TRIGGER ON \*\.\* TO 'm'@'%'; \(or on the schemas/,
  },
  {
    rule: 'replication_account',
    severity: 'error',
    plant: { facts: { replication: { ...REPLICATION, receiver: 'connecting' } } },
    over: { replicationLogins: new Map([['db2', { kind: 'denied', reason: 'Access denied' }]]) },
    remedy: /CREATE USER 'r'@'%' IDENTIFIED BY '…'; GRANT REPLICATION SLAVE ON \*\.\*/,
  },
  {
    rule: 'replication_account',
    severity: 'error',
    plant: {},
    over: { replicationLogins: new Map([['db2', { kind: 'in', grants: ['GRANT USAGE ON *.* TO r'] }]]) },
    remedy: /^GRANT REPLICATION SLAVE ON \*\.\* TO 'r'@'%';$/,
  },
  {
    rule: 'log_bin',
    severity: 'error',
    plant: { facts: { logsChanges: false } },
    remedy: /my\.cnf.*log_bin/,
  },
  {
    rule: 'log_replica_updates',
    severity: 'error',
    plant: { variables: { log_slave_updates: 'OFF' } },
    remedy: /log_slave_updates = ON/,
  },
  { rule: 'server_id', severity: 'error', plant: { facts: { serverId: 0 } }, remedy: /server_id = / },
  {
    rule: 'gtid_mode',
    severity: 'error',
    plant: { facts: { hasGtid: false } },
    version: OLD,
    remedy: /gtid_mode = ON; enforce_gtid_consistency = ON/,
  },
  {
    rule: 'gtid_mode_online',
    severity: 'error',
    plant: { facts: { hasGtid: false } },
    version: MYSQL,
    remedy: /ON_PERMISSIVE/,
  },
  {
    rule: 'gtid_by_position',
    severity: 'error',
    plant: { rest: { replicatesByGtid: false } },
    remedy: /MASTER_USE_GTID = slave_pos/,
  },
  {
    rule: 'gtid_domain',
    severity: 'warning',
    plant: { variables: { gtid_domain_id: '7' } },
    remedy: /SET GLOBAL gtid_domain_id = 0;/,
  },
  {
    rule: 'gtid_strict',
    severity: 'hint',
    plant: { variables: { gtid_strict_mode: 'OFF' } },
    remedy: /gtid_strict_mode = ON/,
  },
  {
    rule: 'binlog_format',
    severity: 'warning',
    plant: { variables: { binlog_format: 'MIXED' } },
    version: MYSQL,
    remedy: /^SET PERSIST binlog_format = ROW;$/,
  },
  {
    rule: 'binlog_row_image',
    severity: 'warning',
    plant: { variables: { binlog_row_image: 'MINIMAL' } },
    remedy: /binlog_row_image = FULL/,
  },
  {
    rule: 'durability',
    severity: 'warning',
    plant: { variables: { sync_binlog: '0' } },
    remedy: /^SET GLOBAL sync_binlog = 1; \/\* and in my\.cnf: sync_binlog = 1 \*\/$/,
  },
  {
    rule: 'durability',
    severity: 'warning',
    plant: { variables: { innodb_flush_log_at_trx_commit: '2' } },
    version: MYSQL,
    remedy: /^SET PERSIST innodb_flush_log_at_trx_commit = 1;$/,
  },
  {
    rule: 'commit_flush',
    severity: 'warning',
    plant: { variables: { innodb_flush_log_at_trx_commit: '1' } },
    remedy:
      /^SET GLOBAL innodb_flush_log_at_trx_commit = 3; \/\* and in my\.cnf: innodb_flush_log_at_trx_commit = 3 \*\/$/,
  },
  {
    rule: 'super_read_only',
    severity: 'warning',
    plant: { facts: { superReadOnly: false } },
    version: MYSQL,
    remedy: /super_read_only = ON/,
  },
  {
    rule: 'read_only_at_start',
    severity: 'warning',
    plant: { persisted: { super_read_only: 'ON', rpl_semi_sync_replica_enabled: 'ON' } },
    version: MYSQL,
    remedy: /SET PERSIST_ONLY read_only = ON;/,
  },
  {
    rule: 'read_only_at_start',
    severity: 'hint',
    plant: { origins: { read_only: 'runtime' } },
    remedy: /my\.cnf, section \[mariadb\].*read_only = ON/,
  },
  {
    rule: 'replication_runs',
    severity: 'error',
    plant: {
      facts: { replication: { ...REPLICATION, applier: 'stopped', applierError: "Duplicate entry '1'" } },
    },
    remedy: /^$/,
  },
  {
    rule: 'heartbeat_period',
    severity: 'warning',
    plant: { facts: { replication: { ...REPLICATION, heartbeatPeriodMs: 30_000 } } },
    remedy: /STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 0\.5; START SLAVE;/,
  },
  {
    rule: 'relay_log_recovery',
    severity: 'hint',
    plant: { variables: { relay_log_recovery: 'OFF' } },
    version: MYSQL,
    remedy: /relay_log_recovery = ON/,
  },
  {
    rule: 'parallel_apply',
    severity: 'hint',
    plant: { variables: { slave_parallel_threads: '0' } },
    remedy: /STOP SLAVE; SET GLOBAL slave_parallel_threads = 4;.*START SLAVE;/,
  },
  { rule: 'clock', severity: 'warning', plant: { rest: { clockAheadMs: -1_500 } }, remedy: /chrony/ },
  { rule: 'clock', severity: 'error', plant: { rest: { clockAheadMs: 60_000 } }, remedy: /chrony/ },
  {
    rule: 'version',
    severity: 'error',
    plant: { facts: { version: '10.6.5-MariaDB' } },
    remedy: /upgrade/,
  },
  {
    rule: 'max_connections',
    severity: 'warning',
    plant: { variables: { max_connections: '151' } },
    remedy: /max_connections = 220;/,
  },
  {
    rule: 'semi_sync_installed',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_source_enabled: null } },
    version: MYSQL,
    remedy: /^INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source\.so';$/,
  },
  {
    rule: 'semi_sync_wait_point',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_master_wait_point: 'AFTER_COMMIT' } },
    remedy: /'AFTER_SYNC'/,
  },
  {
    rule: 'semi_sync_timeout',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_master_timeout: '10000' } },
    remedy: /4294967295/,
  },
  {
    rule: 'semi_sync_timeout',
    severity: 'warning',
    plant: {},
    over: { cluster: clusterConfig({ semiSync: 'prefer' }) },
    remedy: /rpl_semi_sync_master_timeout = 1000/,
  },
  {
    rule: 'semi_sync_waits_alone',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_master_wait_no_slave: 'OFF' } },
    remedy: /wait_no_slave = ON/,
  },
  {
    rule: 'semi_sync_switches',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_slave_enabled: 'OFF' } },
    remedy: /^SET GLOBAL rpl_semi_sync_slave_enabled = ON;$/,
  },
  {
    rule: 'semi_sync_switches',
    severity: 'error',
    plant: { variables: { rpl_semi_sync_master_enabled: 'ON' } },
    remedy: /^SET GLOBAL rpl_semi_sync_master_enabled = OFF;$/,
  },
  {
    rule: 'semi_sync_at_start',
    severity: 'hint',
    plant: { persisted: { read_only: 'ON', super_read_only: 'ON' } },
    version: MYSQL,
    remedy: /SET PERSIST_ONLY rpl_semi_sync_replica_enabled = ON;/,
  },
  {
    rule: 'semi_sync_log_size',
    severity: 'hint',
    plant: { variables: { max_binlog_size: '1073741824' } },
    remedy: /^SET GLOBAL max_binlog_size = 134217728; \/\* and in my\.cnf/,
  },
];

describe('doctor', () => {
  test('has nothing to say of a cluster that is set up well', () => {
    assert.deepEqual(brief(found({})), []);
    assert.deepEqual(brief(found({}, {}, MYSQL)), []);
  });

  for (const { rule, severity, plant, over, version, remedy } of FAULTS) {
    test(`finds ${rule} as ${severity === 'error' ? 'an' : 'a'} ${severity}`, () => {
      const findings = found(plant, over, version).filter(({ id }) => id === rule);
      assert.ok(findings.length > 0, 'it is found');
      const finding = findings.find(({ subject }) => subject === 'db2')!;
      assert.equal(finding.severity, severity);
      assert.match(finding.remedy, remedy);
    });
  }

  test('has a planted fault for every rule of a server', () => {
    // What the others show is seen by the tests below.
    const elsewhere = ['read_only', 'semi_sync_live', 'crash_recovery', 'gtid_history', 'auto_increment'];
    const planted = new Set([...FAULTS.map(({ rule }) => rule), ...elsewhere]);
    assert.deepEqual(
      [...serverRules, ...semiSyncRules].map(({ id }) => id).filter((id) => !planted.has(id)),
      [],
    );
  });

  test('knows a server id that two servers share', () => {
    const shared = found({ facts: { serverId: 1 } }).filter(({ id }) => id === 'server_id');
    assert.deepEqual(brief(shared), ['error db1 server_id', 'error db2 server_id']);
  });

  test('tells servers that replicate from each other when they would give the same ids', () => {
    const told = (
      settings: readonly (readonly [increment: string, offset: string])[],
      isRing = true,
    ): string[] => {
      const [db1, db2] = settings.map(([increment, offset], index) => {
        const variables = { auto_increment_increment: increment, auto_increment_offset: offset };
        const replication = replicationFacts({ heartbeatPeriodMs: 500, sourceServerId: 2 });
        const facts = isRing && index === 0 ? { replication } : {};
        return survey(`db${index + 1}`, { variables, facts });
      });
      return findingsOf(clusterSurvey([db1!, db2!]))
        .filter(({ id }) => id === 'auto_increment')
        .map(({ subject, remedy }) => `${subject} ${remedy.replaceAll(/ \/\*.*?\*\//g, '')}`);
    };
    const remedies = [1, 2].map(
      (place) =>
        `db${place} SET GLOBAL auto_increment_increment = 2; SET GLOBAL auto_increment_offset = ${place};`,
    );
    const wrong = [
      ['1', '1', '1', '1'],
      ['2', '1', '2', '1'],
      ['2', '1', '3', '2'],
      ['2', '1', '2', '3'],
      ['1', '1', '1', '2'],
    ] as const;
    for (const [step1, offset1, step2, offset2] of wrong) {
      const settings = [
        [step1, offset1],
        [step2, offset2],
      ] as const;
      assert.deepEqual(told(settings), remedies, String(settings));
      assert.deepEqual(told(settings, false), [], 'only one is a replica');
    }
    assert.deepEqual(
      told([
        ['2', '1'],
        ['2', '2'],
      ]),
      [],
    );
    assert.deepEqual(
      told([
        ['10', '1'],
        ['10', '3'],
      ]),
      [],
    );
  });

  test('tells a replica that was filled without the history of who wrote before', () => {
    const remedyOf = (history: string, replicatedPosition: string): string | undefined => {
      const db1 = survey('db1', { facts: { history: '0-2-9,0-1-40' } });
      const db2 = survey('db2', { facts: { history, replicatedPosition } });
      return findingsOf(clusterSurvey([db1, db2])).find(({ id }) => id === 'gtid_history')?.remedy;
    };
    assert.match(
      remedyOf('0-1-38', '0-1-38') ?? '',
      /STOP SLAVE; RESET MASTER; SET GLOBAL gtid_binlog_state = '0-2-9,0-1-38'; START SLAVE;$/,
    );
    assert.equal(remedyOf('0-2-9,0-1-38', '0-1-38'), undefined);
    assert.equal(remedyOf('0-2-7', '0-2-7'), undefined, 'it lags behind');
  });

  test('tells two writers of each other', () => {
    const findings = findingsOf(
      clusterSurvey([survey('db1'), survey('db2', { facts: { readOnly: false } })]),
    );
    assert.ok(brief(findings).includes('error main one_writer'));
    assert.ok(brief(findings).includes('error db2 read_only'), 'the one that follows is the one to close');
  });

  test('tells a writable replica, once it is clear who the primary is', () => {
    const chain = [
      survey('db1', { facts: { readOnly: true } }),
      survey('db2'),
      survey('db3', { facts: { readOnly: false } }),
    ];
    const findings = findingsOf(clusterSurvey(chain));
    // The only writable one counts as the primary, which db1 then is not.
    assert.ok(brief(findings).includes('error db1 replication_runs'));
  });

  test('tells semi-sync that is on and not in effect', () => {
    const side = {
      enabled: true,
      live: false,
      clients: 0,
      timeoutMs: 1,
      waitPoint: 'after_sync',
      waitForReplicas: 1,
      waiting: 0,
      acknowledged: 0,
    } as const;
    const db1 = survey('db1', { facts: { semiSync: { primary: side, replica: null } } });
    assert.ok(brief(findingsOf(clusterSurvey([db1, survey('db2')]))).includes('error db1 semi_sync_live'));
  });

  const STANDS_BY = {
    rpl_semi_sync_source_enabled: 'ON',
    rpl_semi_sync_source_wait_no_replica: 'OFF',
    rpl_semi_sync_source_timeout: '10',
  };

  test('has nothing against a replica that stands by', () => {
    assert.deepEqual(brief(found({ variables: STANDS_BY }, {}, MYSQL)), []);
    const waiting = found({ variables: { rpl_semi_sync_source_enabled: 'ON' } }, {}, MYSQL);
    const [finding] = waiting.filter(({ id }) => id === 'semi_sync_switches');
    assert.equal(
      finding?.remedy,
      'SET GLOBAL rpl_semi_sync_source_timeout = 10; SET GLOBAL rpl_semi_sync_source_wait_no_replica = OFF;',
    );
  });

  test('has a lot against a primary that does', () => {
    const db1 = survey('db1', { variables: STANDS_BY }, MYSQL);
    const findings = findingsOf(clusterSurvey([db1, survey('db2', {}, MYSQL)]));
    const errors = brief(findings).filter((one) => one.startsWith('error db1'));
    assert.deepEqual(errors, ['error db1 semi_sync_timeout', 'error db1 semi_sync_waits_alone']);
  });

  test('says once that MariaDB is to recover as a replica', () => {
    const findings = findingsOf(clusterSurvey([survey('db1'), survey('db2')]));
    const recovery = findings.filter(({ id }) => id === 'crash_recovery');
    assert.deepEqual(brief(recovery), ['hint db1 crash_recovery']);
    assert.match(recovery[0]!.remedy, /init-rpl-role = SLAVE.*innodb_flush_log_at_trx_commit = 3/);
  });

  test('does not say that a line is missing where nobody can tell', () => {
    const origins = { rpl_semi_sync_slave_enabled: 'runtime' } as const;
    const told = found({ origins });
    for (const rule of ['crash_recovery', 'semi_sync_at_start'])
      assert.match(
        told.find(({ id }) => id === rule)!.words,
        /cannot be told, as rpl_semi_sync_slave_enabled was set/,
      );
    assert.ok(!found({}).some(({ words }) => words.includes('cannot be told')));
  });

  test('says of commits what a crash costs, once, by how MariaDB starts', () => {
    const told = (
      flush: string,
      startsAs: 'start' | 'runtime',
      enabled = 'ON',
      version?: string,
    ): string[] => {
      const variables = { innodb_flush_log_at_trx_commit: flush, rpl_semi_sync_slave_enabled: enabled };
      const changes = { variables, origins: { rpl_semi_sync_slave_enabled: startsAs } };
      const ids = ['commit_flush', 'durability'];
      return found(changes, {}, version)
        .filter(({ id, subject }) => subject === 'db2' && ids.includes(id))
        .map(
          ({ id, words }) =>
            `${id}: ${/a crash of its machine|a crash|the machine itself|it crashes/.exec(words)?.[0]}`,
        );
    };
    assert.deepEqual(told('1', 'start'), ['commit_flush: a crash']);
    assert.deepEqual(told('0', 'start'), ['commit_flush: a crash']);
    assert.deepEqual(told('2', 'start'), ['commit_flush: a crash of its machine']);
    assert.deepEqual(told('3', 'start'), []);
    assert.deepEqual(told('1', 'runtime', 'OFF'), ['commit_flush: a crash'], 'nobody can tell');
    assert.deepEqual(told('1', 'start', 'OFF'), [], 'it commits what its binary log has');
    assert.deepEqual(told('2', 'start', 'OFF'), ['durability: the machine itself']);
    assert.deepEqual(told('0', 'start', 'OFF'), ['durability: it crashes']);
    assert.deepEqual(told('1', 'start', 'ON', '10.5.9-MariaDB'), [], 'before it could start as a replica');
  });

  test('says nothing of semi-sync where that is off', () => {
    const off = { cluster: clusterConfig({ semiSync: 'off' }) };
    const faulty = {
      rpl_semi_sync_master_timeout: '1',
      rpl_semi_sync_slave_enabled: 'OFF',
      max_binlog_size: '1073741824',
    };
    assert.deepEqual(brief(found({ variables: faulty }, off)), []);
  });

  test('counts who may take over', () => {
    const eligibleOf = (...weights: number[]): string[] => {
      const surveys = weights.map((rwWeight, index) => survey(`db${index + 1}`, { backend: { rwWeight } }));
      return brief(findingsOf(clusterSurvey(surveys)).filter(({ id }) => id === 'eligible'));
    };
    assert.deepEqual(eligibleOf(1, 1), []);
    assert.deepEqual(eligibleOf(1, 0), ['warning main eligible']);
    assert.deepEqual(eligibleOf(0, 0), ['error main eligible']);
  });

  test('names a server that cannot be reached, and blocks a bootstrap by it', () => {
    const reached = (kind: ProbeErrorKind): Finding => {
      const unreached = [{ backend: backendConfig('db3'), reason: 'said so', kind }];
      return found({}, { unreached })[0]!;
    };
    assert.equal(reached('other').id, 'reachable');
    assert.equal(reached('other').blocksBootstrap, true);
    assert.equal(reached('other').remedy, '');
    assert.match(reached('refused').remedy, /bind_address = 0\.0\.0\.0/);
    assert.match(reached('timed_out').remedy, /skip_name_resolve = ON/);
    assert.match(reached('access_denied').remedy, /^CREATE USER 'm'@'%' IDENTIFIED BY '…';/);
  });

  test('has the worst first', () => {
    const faults = {
      variables: { sync_binlog: '0', slave_parallel_threads: '0' },
      facts: { logsChanges: false },
    };
    assert.deepEqual(
      found(faults).map(({ severity }) => severity),
      ['error', 'warning', 'hint'],
    );
  });
});
