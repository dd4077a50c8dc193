import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { flavourOf } from '../../../../src/monitor/flavour/flavour.ts';
import { isOn, type Row } from '../../../../src/monitor/flavour/row.ts';
import { readSemiSync, readSemiSyncFacts } from '../../../../src/monitor/flavour/semi-sync.ts';
import {
  readBinlogStatus,
  readIdentity,
  readReplicaStatus,
  readUptimeSeconds,
} from '../../../../src/monitor/flavour/status.ts';
import { joinPositions } from '../../../../src/monitor/gtid.ts';

suite('the flavour of a version', () => {
  const table: [string, string, boolean, string][] = [
    // version, flavour, has super_read_only, wait function
    ['10.11.6-MariaDB-0+deb12u1-log', 'mariadb', false, 'MASTER_GTID_WAIT'],
    ['5.5.5-10.4.8-MariaDB', 'mariadb', false, 'MASTER_GTID_WAIT'],
    ['11.8.2-MariaDB', 'mariadb', false, 'MASTER_GTID_WAIT'],
    ['5.6.24-log', 'mysql', false, 'WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS'],
    ['5.7.44', 'mysql', true, '-WAIT_FOR_EXECUTED_GTID_SET'],
    ['8.0.22', 'mysql', true, '-WAIT_FOR_EXECUTED_GTID_SET'],
    ['8.0.23', 'mysql8', true, '-WAIT_FOR_EXECUTED_GTID_SET'],
    ['8.4.3-commercial', 'mysql8', true, '-WAIT_FOR_EXECUTED_GTID_SET'],
    ['9.7.0', 'mysql8', true, '-WAIT_FOR_EXECUTED_GTID_SET'],
  ];
  for (const [version, name, hasSuper, wait] of table) {
    test(version, () => {
      const flavour = flavourOf(version);
      assert.equal(flavour.name, name);
      assert.equal(
        flavour.makeReadOnly.some((sql) => sql.includes('super_read_only')),
        hasSuper,
      );
      assert.equal(flavour.waitFor('p', 1).sql, `SELECT ${wait}(?, ?) AS outcome`);
      const words = [flavour.replicaStatus, flavour.stopReplication, flavour.forgetSource].join(' ');
      assert.equal(words.includes('SLAVE'), name !== 'mysql8');
    });
  }
});

suite('replica status', () => {
  const mariadb = flavourOf('10.11.6-MariaDB');
  const ROW: Row = {
    Connection_name: '',
    Slave_IO_Running: 'Yes',
    Slave_SQL_Running: 'Yes',
    Seconds_Behind_Master: 3,
    Master_Host: '10.0.0.1',
    Master_Port: 3306,
    Master_Server_Id: 7,
    Master_Log_File: 'bin.000002',
    Read_Master_Log_Pos: 900,
    Relay_Master_Log_File: 'bin.000002',
    Exec_Master_Log_Pos: 900,
    Last_IO_Error: '',
    Last_SQL_Error: '',
  };
  const read = (row: Row): ReturnType<typeof readReplicaStatus> =>
    readReplicaStatus(mariadb, [{ ...ROW, ...row }]);

  test('no row: it does not replicate', () => {
    assert.equal(readReplicaStatus(mariadb, []), null);
  });

  test('MariaDB', () => {
    assert.deepEqual(read({ Slave_received_heartbeats: 12, Slave_heartbeat_period: '0.500' }), {
      channelName: '',
      receiver: 'running',
      applier: 'running',
      lagMs: 3000,
      sourceHost: '10.0.0.1',
      sourcePort: 3306,
      sourceServerId: 7,
      sourceUuid: '',
      drained: true,
      receivedPosition: '',
      receivedFile: { file: 'bin.000002', position: 900 },
      appliedFile: { file: 'bin.000002', position: 900 },
      receiverError: '',
      receiverErrno: 0,
      applierError: '',
      applierErrno: 0,
      heartbeatPeriodMs: 500,
      signs: 'bin.000002|900||12',
      channels: 1,
    });
  });

  test('the signs change with whatever the receiver got', () => {
    const before = { Slave_received_heartbeats: 12, Gtid_IO_Pos: '0-1-5' };
    const signs = [
      before,
      { ...before, Slave_received_heartbeats: 13 },
      { ...before, Read_Master_Log_Pos: 901 },
      { ...before, Master_Log_File: 'bin.000003' },
      { ...before, Gtid_IO_Pos: '0-1-6' },
    ].map((row) => read(row)?.signs);
    assert.equal(new Set(signs).size, 5);
    assert.equal(read({ ...before, Exec_Master_Log_Pos: 1 })?.signs, signs[0], 'what is applied is no sign');
  });

  test('MySQL 5.7 and later tell of heartbeats in a table, 5.6 in its status', () => {
    const [row] = [{ ...ROW, Channel_Name: 'dr' }];
    const signs = [
      { channel: '', heartbeats: 1, period_seconds: '30.000' },
      { channel: 'dr', heartbeats: 7, period_seconds: '0.500' },
    ];
    const later = readReplicaStatus(flavourOf('5.7.44'), [row], { status: [], signs });
    assert.deepEqual([later?.heartbeatPeriodMs, later?.signs], [500, 'bin.000002|900||7']);
    const status = [
      { Variable_name: 'Slave_heartbeat_period', Value: '0.250' },
      { Variable_name: 'Slave_received_heartbeats', Value: '9' },
    ];
    const earlier = readReplicaStatus(flavourOf('5.6.24'), [ROW], { status, signs: [] });
    assert.deepEqual([earlier?.heartbeatPeriodMs, earlier?.signs], [250, 'bin.000002|900||9']);
  });

  test('the channel that is named counts, and no other', () => {
    const rows = [
      { ...ROW, Connection_name: 'one', Slave_SQL_Running: 'No' },
      { ...ROW, Connection_name: 'two', Last_IO_Errno: 2003 },
    ];
    const named = (channel?: string): ReturnType<typeof readReplicaStatus> =>
      readReplicaStatus(mariadb, rows, undefined, channel);
    assert.equal(named()?.channelName, 'one');
    assert.deepEqual([named('two')?.applier, named('two')?.receiverErrno], ['running', 2003]);
    assert.deepEqual([named()?.channels, named('two')?.channels], [2, 1]);
    assert.equal(named('three'), null);
  });

  test('a lag of NULL is not known, not 0', () => {
    assert.equal(read({ Seconds_Behind_Master: null })?.lagMs, null);
  });

  test('the states of the receiver', () => {
    const states = ['Yes', 'Connecting', 'Preparing', 'No'].map(
      (word) => read({ Slave_IO_Running: word })?.receiver,
    );
    assert.deepEqual(states, ['running', 'connecting', 'connecting', 'stopped']);
  });

  test('drained only when file and position are the same', () => {
    assert.equal(read({ Exec_Master_Log_Pos: 800 })?.drained, false);
    assert.equal(read({ Relay_Master_Log_File: 'bin.000001' })?.drained, false);
  });

  test('half a transaction, which leaves the place read ahead for ever, keeps nothing from being drained', () => {
    const half = { Read_Master_Log_Pos: 950 };
    const drained = (received: string, applied: string): boolean | undefined =>
      read({ ...half, Gtid_IO_Pos: received, Gtid_Slave_Pos: applied })?.drained;
    assert.equal(drained('0-1-9,1-1-4', '1-2-4,0-1-9'), true);
    assert.equal(drained('0-1-9', '0-1-8'), false);
    assert.equal(drained('0-1-9,1-1-4', '0-1-9'), false);
    assert.equal(drained('', ''), false, 'without GTIDs only the place tells');

    const uuid = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
    const mysql = (received: string, applied: string, byGtids = 0): boolean | undefined =>
      readReplicaStatus(flavourOf('5.7.44'), [
        {
          ...ROW,
          ...half,
          Retrieved_Gtid_Set: received,
          Executed_Gtid_Set: applied,
          Auto_Position: byGtids,
        },
      ])?.drained;
    assert.equal(mysql(`${uuid}:5-9`, `${uuid}:1-9`), true);
    assert.equal(mysql(`${uuid}:5-10`, `${uuid}:1-9`), false);
    assert.equal(mysql('', `${uuid}:1-9`), false);
    assert.equal(mysql('', `${uuid}:1-9`, 1), true, 'by GTIDs, none listed is none received');
  });

  test('5.6 counts the half as received; its applier tells that nothing more is there to apply', () => {
    const uuid = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
    const idle = 'Slave has read all relay log; waiting for the slave I/O thread to update it';
    const drained = (version: string, received: string, state: string): boolean | undefined =>
      readReplicaStatus(flavourOf(version), [
        {
          ...ROW,
          Read_Master_Log_Pos: 950,
          Retrieved_Gtid_Set: received,
          Executed_Gtid_Set: `${uuid}:1-9`,
          Slave_SQL_Running_State: state,
        },
      ])?.drained;
    assert.equal(drained('5.6.24-log', `${uuid}:5-10`, idle), true);
    assert.equal(drained('5.6.24-log', `${uuid}:5-10`, 'Reading event from the relay log'), false);
    assert.equal(drained('5.6.24-log', `${uuid}:5-11`, idle), false, 'two can be no half');
    assert.equal(drained('5.7.44', `${uuid}:5-10`, idle), false, 'later versions count whole ones only');
  });

  test('MySQL 8 has other names for the columns', () => {
    const facts = readReplicaStatus(flavourOf('8.4.0'), [
      {
        Replica_IO_Running: 'Connecting',
        Replica_SQL_Running: 'Yes',
        Seconds_Behind_Source: '12',
        Source_Host: 'a',
        Source_Port: 1,
        Source_Server_Id: 2,
        Source_Log_File: 'x',
        Read_Source_Log_Pos: '5',
        Relay_Source_Log_File: 'x',
        Exec_Source_Log_Pos: 5,
        Last_IO_Error: 'no route',
      },
    ]);
    assert.deepEqual(
      [facts?.receiver, facts?.lagMs, facts?.sourceHost, facts?.drained, facts?.receiverError],
      ['connecting', 12_000, 'a', true, 'no route'],
    );
  });

  test('of several sources the worst counts', () => {
    const rows = [ROW, { ...ROW, Slave_SQL_Running: 'No' }, { ...ROW, Seconds_Behind_Master: 99 }];
    const facts = readReplicaStatus(mariadb, rows);
    assert.equal(facts?.applier, 'stopped');
    assert.equal(facts.channels, 3);
  });
});

test('a variable is on however the server writes it', () => {
  for (const on of [1, '1', 'ON', 'on', 'READ_ONLY', 'NO_LOCK_NO_ADMIN', 1n, true])
    assert.equal(isOn(on), true);
  for (const off of [0, '0', 'OFF', 'off', '', null, undefined, 0n, false]) assert.equal(isOn(off), false);
});

test('an identity without GTIDs is known as such, and a set over several lines is one', () => {
  const identity = readIdentity([
    { server_id: 3, read_only: 1, log_bin: 1, gtid_mode: 'OFF', sql_mode: 'ANSI', position: 'a:1,\nb:2' },
  ]);
  assert.deepEqual(identity, {
    serverId: 3,
    readOnly: true,
    superReadOnly: false,
    logsChanges: true,
    hasGtid: false,
    serverUuid: '',
    whyNotByPlace: 'its global transaction ids (gtid_mode) can be switched on while it runs',
    keepsLog: false,
    keepsAcknowledged: false,
    sqlMode: 'ANSI',
    position: 'a:1,b:2',
    replicatedPosition: '',
    history: '',
    ownTransactions: '',
  });
});

test('its own transactions are those of its id in MariaDB, of its uuid in MySQL', () => {
  const own = (row: Row): string => readIdentity([row]).ownTransactions;
  assert.equal(
    own({ server_id: 2, server_uuid: '', history: '0-1-100,0-2-105,1-2-3,0-22-7' }),
    '0-2-105,1-2-3',
  );
  const mine = '3e11fa47-71ca-11e1-9e33-c80aa9429562';
  const theirs = '4e11fa47-71ca-11e1-9e33-c80aa9429562';
  const history = `${theirs}:1-9,\n${mine.toUpperCase()}:1-3:7:tag:1`;
  assert.equal(own({ server_id: 2, server_uuid: mine, history }), `${mine.toUpperCase()}:1-3:7:tag:1`);
  assert.equal(own({ server_id: 2, server_uuid: mine, history: '' }), '');
});

test('the end of the binary log', () => {
  assert.deepEqual(readBinlogStatus([{ File: 'bin.000007', Position: '190' }]), {
    file: 'bin.000007',
    position: 190,
  });
  assert.equal(readBinlogStatus([]), null);
  const words = ['10.11.1-MariaDB', '5.6.1', '8.0.36', '8.2.0', '9.7.0'].map(
    (one) => flavourOf(one).binlogStatus,
  );
  const [older, newer] = ['SHOW MASTER STATUS', 'SHOW BINARY LOG STATUS'];
  assert.deepEqual(words, [older, older, older, newer, newer]);
});

test('the uptime is found whatever stands around it', () => {
  assert.equal(
    readUptimeSeconds([
      { Variable_name: 'X', Value: '1' },
      { Variable_name: 'Uptime', Value: '77' },
    ]),
    77,
  );
});

suite('joining MariaDB positions', () => {
  const table: [string, string, string][] = [
    ['', '', ''],
    ['0-1-5', '', '0-1-5'],
    ['', '0-1-5', '0-1-5'],
    ['0-1-5', '0-2-9', '0-2-9'],
    ['0-2-9', '0-1-5', '0-2-9'],
    ['0-1-5,1-1-3', '1-2-4, 2-1-1', '0-1-5,1-2-4,2-1-1'],
    ['0-1-9', '0-1-10', '0-1-10'],
    ['0-1-18446744073709551614', '0-1-18446744073709551615', '0-1-18446744073709551615'],
  ];
  for (const [one, other, joined] of table) {
    test(`'${one}' and '${other}'`, () => assert.equal(joinPositions(one, other), joined));
  }
});

suite('semi-sync switches', () => {
  test('MariaDB and the older MySQL', () => {
    const switches = readSemiSync([
      { Variable_name: 'rpl_semi_sync_master_enabled', Value: 'ON' },
      { Variable_name: 'rpl_semi_sync_slave_enabled', Value: 'OFF' },
    ]);
    assert.deepEqual(switches, {
      primary: { variable: 'rpl_semi_sync_master_enabled', on: true },
      replica: { variable: 'rpl_semi_sync_slave_enabled', on: false },
    });
  });

  test('MySQL 8', () => {
    const switches = readSemiSync([{ Variable_name: 'rpl_semi_sync_source_enabled', Value: 'OFF' }]);
    assert.deepEqual(switches, {
      primary: { variable: 'rpl_semi_sync_source_enabled', on: false },
      replica: null,
    });
  });
});

suite('the live status of semi-sync', () => {
  const rows = (values: Record<string, string>): Row[] =>
    Object.entries(values).map(([name, value]) => ({ Variable_name: name, Value: value }));

  test('MariaDB, which has both halves built in', () => {
    const settings = rows({
      rpl_semi_sync_master_enabled: 'ON',
      rpl_semi_sync_master_timeout: '10000',
      rpl_semi_sync_master_wait_point: 'AFTER_COMMIT',
      rpl_semi_sync_slave_enabled: 'OFF',
    });
    const status = rows({
      Rpl_semi_sync_master_status: 'OFF',
      Rpl_semi_sync_master_clients: '2',
      Rpl_semi_sync_slave_status: 'OFF',
    });
    assert.deepEqual(readSemiSyncFacts(settings, status), {
      primary: {
        enabled: true,
        live: false,
        clients: 2,
        timeoutMs: 10_000,
        waitPoint: 'after_commit',
        waitForReplicas: 1,
        waiting: 0,
        acknowledged: 0,
      },
      replica: { enabled: false, live: false },
    });
  });

  const named = (one: string, other: string): [Row[], Row[]] => [
    rows({
      [`rpl_semi_sync_${one}_enabled`]: 'ON',
      [`rpl_semi_sync_${one}_timeout`]: '1000',
      [`rpl_semi_sync_${one}_wait_point`]: 'AFTER_SYNC',
      [`rpl_semi_sync_${one}_wait_for_${other}_count`]: '2',
      [`rpl_semi_sync_${other}_enabled`]: 'ON',
    }),
    rows({
      [`Rpl_semi_sync_${one}_status`]: 'ON',
      [`Rpl_semi_sync_${one}_clients`]: '3',
      [`Rpl_semi_sync_${other}_status`]: 'ON',
    }),
  ];
  for (const [one, other] of [
    ['master', 'slave'],
    ['source', 'replica'],
  ] as const) {
    test(`a server that is told to do without ${other}s does not wait`, () => {
      const [settings, status] = named(one, other);
      const standsBy = rows({ [`rpl_semi_sync_${one}_wait_no_${other}`]: 'OFF' });
      assert.equal(readSemiSyncFacts([...settings, ...standsBy], status).primary?.enabled, false);
      const waits = rows({ [`rpl_semi_sync_${one}_wait_no_${other}`]: 'ON' });
      assert.equal(readSemiSyncFacts([...settings, ...waits], status).primary?.enabled, true);
    });

    test(`MySQL, by the names of ${one} and ${other}`, () => {
      assert.deepEqual(readSemiSyncFacts(...named(one, other)), {
        primary: {
          enabled: true,
          live: true,
          clients: 3,
          timeoutMs: 1_000,
          waitPoint: 'after_sync',
          waitForReplicas: 2,
          waiting: 0,
          acknowledged: 0,
        },
        replica: { enabled: true, live: true },
      });
    });
  }

  test('a server without the plugins', () => {
    assert.deepEqual(readSemiSyncFacts([], []), { primary: null, replica: null });
  });
});

test('a new source is to speak often enough to be missed', () => {
  for (const version of ['10.11.1-MariaDB', '5.6.24', '9.0.0']) {
    const { sql } = flavourOf(version).changeSource({ host: 'h', port: 1, login: null });
    assert.match(sql, /_HEARTBEAT_PERIOD = 0\.5, /);
    assert.match(sql, /_CONNECT_RETRY = 1, /);
  }
});

test('a new source is not given up after ten seconds, as MySQL would by default', () => {
  for (const version of ['5.6.24', '5.7.44', '8.0.30', '9.0.0']) {
    const { sql } = flavourOf(version).changeSource({ host: 'h', port: 1, login: null });
    assert.match(sql, /_RETRY_COUNT = 31536000, /);
  }
});

test('the words for one channel of several', () => {
  const words = (version: string): string[] => {
    const flavour = flavourOf(version, 'dr');
    const { sql } = flavour.changeSource({ host: 'h', port: 1, login: null });
    const { stopReceiver, startReplication, stopReplication, forgetSource } = flavour;
    return [
      stopReceiver,
      startReplication,
      stopReplication,
      forgetSource,
      sql.replace(/ TO .*?( FOR|$)/, ' TO$1'),
    ];
  };
  assert.deepEqual(words('10.11.6-MariaDB'), [
    "STOP SLAVE 'dr' IO_THREAD",
    "START SLAVE 'dr'",
    "STOP SLAVE 'dr'",
    "RESET SLAVE 'dr' ALL",
    "CHANGE MASTER 'dr' TO",
  ]);
  assert.deepEqual(words('9.7.0'), [
    "STOP REPLICA IO_THREAD FOR CHANNEL 'dr'",
    "START REPLICA FOR CHANNEL 'dr'",
    "STOP REPLICA FOR CHANNEL 'dr'",
    "RESET REPLICA ALL FOR CHANNEL 'dr'",
    "CHANGE REPLICATION SOURCE TO FOR CHANNEL 'dr'",
  ]);
  assert.equal(flavourOf('5.6.24', 'dr').stopReplication, 'STOP SLAVE', 'it has no channels');
});

test('a source without a login keeps the one that is set', () => {
  for (const version of ['10.11.1-MariaDB', '5.7.1', '9.0.0']) {
    const { sql, values } = flavourOf(version).changeSource({ host: 'h', port: 1, login: null });
    assert.doesNotMatch(sql, /_USER|_PASSWORD/);
    assert.deepEqual(values, ['h', 1]);
    assert.equal(sql.match(/\?/g)?.length, 2);
    const login = { user: 'u', password: 'p' };
    const full = flavourOf(version).changeSource({ host: 'h', port: 1, login });
    assert.equal(full.sql.match(/\?/g)?.length, full.values?.length);
  }
});
