import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import {
  compareNumbers,
  semiSyncTimeoutMs,
  setForNextStart,
  setGlobal,
  setupWordsOf,
  versionNumbers,
} from '../../../../src/monitor/flavour/setup.ts';
import { CREATE_TABLES, noteEpoch } from '../../../../src/monitor/flavour/tables.ts';

function wordsOf(version: string, ...variables: string[]): ReturnType<typeof setupWordsOf> {
  return setupWordsOf(version, (name) => variables.includes(name));
}

describe('the words of setting a server up', () => {
  test('name the plugins that a version comes with', () => {
    const pluginOf = (version: string, ...variables: string[]): string | undefined =>
      wordsOf(version, ...variables).semiSync.plugins?.primary.install;
    assert.equal(pluginOf('10.11.6-MariaDB'), undefined, 'it is built in');
    assert.equal(pluginOf('5.6.24'), "INSTALL PLUGIN rpl_semi_sync_master SONAME 'semisync_master.so'");
    assert.equal(pluginOf('8.0.25'), "INSTALL PLUGIN rpl_semi_sync_master SONAME 'semisync_master.so'");
    assert.equal(pluginOf('8.0.26'), "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'");
  });

  test('stay with the older plugin where that is installed: a server takes one of them only', () => {
    const words = wordsOf('8.4.2', 'rpl_semi_sync_slave_enabled');
    assert.equal(words.semiSync.primarySwitch, 'rpl_semi_sync_master_enabled');
    assert.equal(words.semiSync.plugins?.replica.name, 'rpl_semi_sync_slave');
  });

  test('know what a version cannot set', () => {
    assert.equal(wordsOf('5.6.24').semiSync.waitPoint, null);
    assert.equal(wordsOf('5.7.44').semiSync.waitPoint, 'rpl_semi_sync_master_wait_point');
    assert.equal(wordsOf('10.11.6-MariaDB').semiSync.waitCount, null);
    assert.equal(wordsOf('9.7.4').semiSync.waitCount, 'rpl_semi_sync_source_wait_for_replica_count');
  });

  test('keep a setting over a restart where the server can', () => {
    assert.deepEqual(setGlobal(wordsOf('8.0.36'), 'x', 1), { sql: 'SET PERSIST x = ?', values: [1] });
    assert.deepEqual(setGlobal(wordsOf('5.7.44'), 'x', 1), { sql: 'SET GLOBAL x = ?', values: [1] });
    assert.deepEqual(setGlobal(wordsOf('11.4.2-MariaDB'), 'x', 1), { sql: 'SET GLOBAL x = ?', values: [1] });
    assert.deepEqual(setForNextStart('read_only', 'ON'), {
      sql: 'SET PERSIST_ONLY read_only = ?',
      values: ['ON'],
    });
  });

  test('begin a history at the place of another server', () => {
    const mariadb = { position: '0-1-5', replicatedPosition: '0-2-9,1-1-1', history: '0-3-4,0-1-5' };
    assert.deepEqual(wordsOf('10.11.6-MariaDB').startAt(mariadb), [
      { sql: 'SET GLOBAL gtid_binlog_state = ?', values: ['0-3-4,0-1-5'] },
      { sql: 'SET GLOBAL gtid_slave_pos = ?', values: ['0-2-9,1-1-1'] },
    ]);
    assert.deepEqual(wordsOf('9.7.4').startAt({ position: '', replicatedPosition: '', history: '' }), []);
    assert.equal(wordsOf('9.7.4').forgetHistory, 'RESET BINARY LOGS AND GTIDS');
    assert.equal(wordsOf('8.0.36').forgetHistory, 'RESET MASTER');
  });

  test('make an account also where MySQL has no IF NOT EXISTS for it', () => {
    assert.match(
      wordsOf('5.6.24').createAccount('a', 'b')[0]!.sql,
      /^GRANT USAGE ON \*\.\* TO \?@'%' IDENTIFIED BY \?$/,
    );
    assert.match(wordsOf('9.7.4').createAccount('a', 'b')[0]!.sql, /^CREATE USER IF NOT EXISTS/);
  });

  test('wait for ever, or for a moment', () => {
    assert.ok(semiSyncTimeoutMs('require') > 30 * 86_400_000);
    assert.equal(semiSyncTimeoutMs('prefer'), 1_000);
  });

  test('order versions by their numbers', () => {
    assert.ok(compareNumbers(versionNumbers('10.11.6-MariaDB'), versionNumbers('10.6.18-MariaDB')) > 0);
    assert.equal(compareNumbers([8, 0], [8, 0, 0]), 0);
  });
});

test('README grants the monitor account each privilege that it needs', () => {
  const readme = readFileSync(new URL('../../../../README.md', import.meta.url), 'utf8');
  const grants = [...readme.matchAll(/GRANT ([A-Z_, \n]+?) ON (\S+) TO dbproxy_monitor/g)].map(
    ([, privileges, on]) => ({ privileges: privileges!.split(',').map((one) => one.trim()), on: on! }),
  );
  for (const version of ['10.11.6-MariaDB', '5.6.24', '5.7.44', '9.7.4']) {
    const missing = wordsOf(version).monitorPrivileges.filter(
      ({ privilege, on }) => !grants.some((grant) => grant.on === on && grant.privileges.includes(privilege)),
    );
    assert.deepEqual(missing, [], version);
  }
});

test('the tables of dbproxy may be made any number of times, and a promotion noted twice', () => {
  assert.ok(CREATE_TABLES.every((sql) => /^CREATE (DATABASE|TABLE) IF NOT EXISTS dbproxy/.test(sql)));
  const { sql, values } = noteEpoch('main', 3, 'db1', 1_700_000_000_000.4);
  assert.match(sql, /^INSERT IGNORE INTO dbproxy\.epoch/);
  assert.deepEqual(values, ['main', 3, 'db1', 1_700_000_000_000]);
});
