/**
 * The order of a bootstrap is what keeps data and writers safe, so it is what is tested here; that the steps work
 * on real servers is tested in test/integration/bootstrap.test.ts.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_ACCOUNTS } from '../../../src/setup/copy.ts';
import { planBootstrap, type Follower, type PlanInput, type SetupStep } from '../../../src/setup/plan.ts';
import { inWords, plannedReports } from '../../../src/setup/steps.ts';
import type { Survey } from '../../../src/setup/survey.ts';
import type { StartingPoint } from '../../../src/monitor/flavour/setup.ts';
import { clusterConfig } from '../../support/configs.ts';
import { survey } from '../../support/surveys.ts';

const MYSQL = '9.7.4';

function follower(of: Survey, changes: Partial<Follower> = {}): Follower {
  return {
    survey: of,
    follows: true,
    startsWhereItIs: false,
    accounts: NO_ACCOUNTS,
    ownSchema: [],
    ...changes,
  };
}

/** A primary that has written so much. */
function at(position: string): StartingPoint {
  return { position, replicatedPosition: '', history: position };
}

/** A cluster of db1 and db2 that is well; with `changes`. */
function input(changes: Partial<PlanInput> = {}): PlanInput {
  return {
    cluster: clusterConfig({ semiSync: 'require', replicationPassword: 'secret' }),
    primary: survey('db1', { persisted: AT_START }),
    followers: [follower(survey('db2'))],
    start: at('0-1-5'),
    accounts: { monitor: 'well', replication: 'well' },
    hasOwnTables: true,
    isRecorded: true,
    ...changes,
  };
}

const AT_START = {
  read_only: 'ON',
  super_read_only: 'ON',
  rpl_semi_sync_replica_enabled: 'ON',
  rpl_semi_sync_source_enabled: 'OFF',
};

function names(steps: readonly SetupStep[]): string[] {
  return steps.map(({ server, what }) => `${server}: ${what}`);
}

/** A server that nobody has set up. */
function blank(name: string, version: string): Survey {
  const isMariadb = version.includes('MariaDB');
  const variables: Record<string, string | null> = isMariadb
    ? {
        rpl_semi_sync_master_timeout: '10000',
        rpl_semi_sync_master_enabled: 'OFF',
        rpl_semi_sync_slave_enabled: 'OFF',
      }
    : {
        super_read_only: 'OFF',
        rpl_semi_sync_source_enabled: null,
        rpl_semi_sync_replica_enabled: null,
        rpl_semi_sync_source_timeout: null,
        rpl_semi_sync_source_wait_point: null,
        rpl_semi_sync_source_wait_no_replica: null,
        rpl_semi_sync_source_wait_for_replica_count: null,
      };
  return survey(
    name,
    {
      variables,
      persisted: {},
      facts: {
        readOnly: false,
        superReadOnly: false,
        replication: null,
        semiSync: { primary: null, replica: null },
      },
    },
    version,
  );
}

function planOfBlank(version: string, changes: Partial<PlanInput> = {}): SetupStep[] {
  return planBootstrap(
    input({
      primary: blank('db1', version),
      followers: [follower(blank('db2', version), { follows: false })],
      accounts: { monitor: 'well', replication: 'missing' },
      hasOwnTables: false,
      isRecorded: false,
      ...changes,
    }),
  );
}

describe('the plan of a bootstrap', () => {
  test('is empty for a cluster that is well', () => {
    assert.deepEqual(names(planBootstrap(input())), []);
    assert.deepEqual(plannedReports([], [])[0]!.detail, 'all is there already');
  });

  test('closes the replicas to writers first, and has commits wait last', () => {
    for (const version of ['10.11.6-MariaDB', MYSQL]) {
      const steps = names(planOfBlank(version));
      assert.equal(steps[0], 'db2: take no more writes', version);
      assert.equal(steps.at(-1), 'db1: semi-sync: commits wait for a replica', version);
    }
  });

  test('writes accounts and tables after the place is fixed that replicas start from, and before they do', () => {
    const steps = names(planOfBlank(MYSQL, { start: at('3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5') }));
    const order = [
      'db2: begin where db1 is: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5',
      'db1: account r',
      "db1: dbproxy's own tables",
      'db1: is the primary: state file and dbproxy.epoch',
      'db2: follow db1',
    ];
    assert.deepEqual(
      steps.filter((step) => order.includes(step)),
      order,
    );
  });

  test('makes a read-only primary writable as the very last thing', () => {
    const primary = survey('db1', { facts: { readOnly: true }, persisted: AT_START });
    assert.deepEqual(names(planBootstrap(input({ primary }))), ['db1: take writes']);
  });

  test('forgets the history of a server that was loaded by hand, and of no other', () => {
    const sqlOf = (position: string): string => {
      const db2 = blank('db2', MYSQL);
      const other = { ...db2, facts: { ...db2.facts, position } };
      const steps = planOfBlank(MYSQL, {
        start: at('a:1-5'),
        followers: [follower(other, { follows: false })],
      });
      return inWords(
        steps.filter(({ what }) => what.startsWith('begin')).flatMap(({ sql }) => sql),
        [],
      );
    };
    assert.equal(sqlOf('b:1-7'), "RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged = 'a:1-5';");
    assert.equal(sqlOf(''), "SET GLOBAL gtid_purged = 'a:1-5';");
    assert.equal(sqlOf('a:1-5'), '', 'it is there already');
  });

  test('gives a MariaDB server the history of the primary, with all who have written', () => {
    const start = { position: '0-2-23', replicatedPosition: '0-1-9', history: '0-1-9,0-2-23' };
    const sqlOf = (facts: Partial<Survey['facts']>): string => {
      const db2 = blank('db2', '10.11.6-MariaDB');
      const other = { ...db2, facts: { ...db2.facts, ...facts } };
      const steps = planOfBlank('10.11.6-MariaDB', {
        start,
        followers: [follower(other, { follows: false })],
      });
      return inWords(
        steps.filter(({ what }) => what.startsWith('begin')).flatMap(({ sql }) => sql),
        [],
      );
    };
    const begin = "SET GLOBAL gtid_binlog_state = '0-1-9,0-2-23'; SET GLOBAL gtid_slave_pos = '0-2-23';";
    assert.equal(sqlOf({ position: '', history: '' }), begin);
    assert.equal(sqlOf({ position: '0-3-2', history: '0-3-2' }), `RESET MASTER; ${begin}`);
    // As it was filled before its log was given what had been written earlier.
    assert.equal(
      sqlOf({ position: '', history: '', replicatedPosition: '0-2-23' }),
      `RESET MASTER; ${begin}`,
    );
    assert.equal(
      sqlOf({ position: '0-2-23', history: '0-1-9,0-2-23', replicatedPosition: '0-2-23' }),
      '',
      'it is there already',
    );
  });

  test('leaves the place of a server alone that was just filled', () => {
    const filled = follower(blank('db2', MYSQL), { follows: false, startsWhereItIs: true });
    const steps = names(planOfBlank(MYSQL, { start: at('a:1-9'), followers: [filled] }));
    assert.ok(!steps.some((step) => step.includes('begin where')));
    assert.ok(steps.includes('db2: follow db1'));
  });

  test('lets a primary write that waits for replicas of which there are none', () => {
    const side = {
      enabled: true,
      live: true,
      clients: 0,
      timeoutMs: 1,
      waitPoint: 'after_sync',
      waitForReplicas: 1,
      waiting: 0,
      acknowledged: 0,
    } as const;
    const primary = survey('db1', {
      facts: { semiSync: { primary: side, replica: null } },
      persisted: AT_START,
    });
    const steps = planBootstrap(
      input({ primary, hasOwnTables: false, followers: [follower(survey('db2'), { follows: false })] }),
    );
    const open = steps.findIndex(({ what }) => what === 'let dbproxy itself write');
    assert.equal(inWords(steps[open]!.sql, []), 'SET GLOBAL rpl_semi_sync_master_enabled = OFF;');
    assert.ok(open < steps.findIndex(({ what }) => what === "dbproxy's own tables"));
  });

  test('leaves a replica that stands by alone, and has a primary that does wait at the end', () => {
    const variables = {
      rpl_semi_sync_source_enabled: 'ON',
      rpl_semi_sync_source_wait_no_replica: 'OFF',
      rpl_semi_sync_source_timeout: '10',
    };
    const primary = survey('db1', { persisted: AT_START }, MYSQL);
    const db2 = survey('db2', { variables, persisted: AT_START }, MYSQL);
    assert.deepEqual(names(planBootstrap(input({ primary, followers: [follower(db2)] }))), []);
    const { semiSync } = primary.facts;
    const facts = {
      semiSync: { ...semiSync, primary: { ...semiSync.primary!, enabled: false, live: false } },
    };
    const idle = survey('db1', { variables, facts, persisted: AT_START }, MYSQL);
    const steps = planBootstrap(input({ primary: idle, followers: [follower(db2)] }));
    assert.deepEqual(
      steps.map(({ what, sql, undo }) => [what, inWords(sql, []), inWords(undo, [])]),
      [
        [
          'semi-sync: commits wait for a replica',
          'SET GLOBAL rpl_semi_sync_source_wait_point = AFTER_SYNC; SET GLOBAL rpl_semi_sync_source_timeout = 4294967295; SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON; SET GLOBAL rpl_semi_sync_source_enabled = ON;',
          'SET GLOBAL rpl_semi_sync_source_timeout = 10; SET GLOBAL rpl_semi_sync_source_wait_no_replica = OFF;',
        ],
      ],
    );
  });

  test('unlocks a super-read-only replica for what it writes there, and locks it again', () => {
    const locked = survey('db2', { facts: { replication: null } }, MYSQL);
    const accounts = { make: [{ sql: "CREATE USER 'app'@'%'" }], drop: [{ sql: "DROP USER 'app'@'%'" }] };
    const steps = planBootstrap(
      input({
        primary: survey('db1', { persisted: AT_START }, MYSQL),
        start: at(''),
        followers: [follower(locked, { follows: false, accounts })],
      }),
    );
    const copy = steps.find(({ what }) => what === 'make the accounts that db1 has')!;
    assert.equal(copy.unlogged, true);
    assert.deepEqual(copy.whenHalfDone, accounts.drop);
    assert.equal(inWords(copy.sql, []), "SET GLOBAL super_read_only = 0; CREATE USER 'app'@'%';");
    const follow = steps.find(({ what }) => what === 'follow db1')!;
    assert.match(
      inWords(follow.sql, []),
      /START REPLICA; SET GLOBAL read_only = 1; SET GLOBAL super_read_only = 1;$/,
    );
  });

  test('has nothing of semi-sync where that is off', () => {
    const steps = planOfBlank(MYSQL, { cluster: clusterConfig({ semiSync: 'off' }) });
    assert.doesNotMatch(
      inWords(
        steps.flatMap(({ sql }) => sql),
        [],
      ),
      /semi_sync/,
    );
  });

  test('bounds the files of a log that are looked through, and leaves what is smaller', () => {
    const stepsAt = (size: string): [sql: string, undo: string][] => {
      const db2 = survey('db2', { variables: { max_binlog_size: size } });
      const steps = planBootstrap(input({ followers: [follower(db2)] }));
      return steps.map(({ sql, undo }) => [inWords(sql, []), inWords(undo, [])]);
    };
    assert.deepEqual(stepsAt('1073741824'), [
      ['SET GLOBAL max_binlog_size = 134217728;', 'SET GLOBAL max_binlog_size = 1073741824;'],
    ]);
    assert.deepEqual(stepsAt('4096'), []);
  });

  test('takes back what would stay half done', () => {
    const undone = planOfBlank(MYSQL)
      .filter(({ undo }) => undo.length > 0)
      .map(({ server, what }) => `${server}: ${what}`);
    assert.ok(undone.includes('db2: take no more writes'));
    assert.ok(undone.includes('db2: follow db1'));
    assert.ok(undone.includes('db1: semi-sync: commits wait for a replica'));
  });

  test('is told without passwords and their hashes', () => {
    const steps = planOfBlank('10.11.6-MariaDB', {
      followers: [
        follower(blank('db2', '10.11.6-MariaDB'), {
          follows: false,
          accounts: {
            make: [
              { sql: "CREATE USER `app`@`%` IDENTIFIED BY PASSWORD '*5BCB3E6AC345'" },
              { sql: "CREATE USER `b`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24412430" },
            ],
            drop: [],
          },
        }),
      ],
    });
    const told = JSON.stringify(plannedReports(steps, ['secret']));
    assert.doesNotMatch(told, /'secret'|5BCB3E6AC345|0x24412430/);
    assert.match(told, /MASTER_PASSWORD = '…'/);
  });
});
