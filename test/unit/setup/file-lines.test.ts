import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileLines } from '../../../src/setup/file-lines.ts';
import { survey } from '../../support/surveys.ts';

test('lines for my.cnf are what SQL cannot keep, and nothing where it can', () => {
  assert.deepEqual(fileLines(survey('db2', {}, '9.7.4'), { semiSync: 'require' }), []);
  assert.deepEqual(fileLines(survey('db1'), { semiSync: 'require' }), [
    'read_only = ON',
    'binlog_format = ROW',
    'rpl_semi_sync_slave_enabled = ON',
    'rpl_semi_sync_master_enabled = OFF',
    'rpl_semi_sync_master_timeout = 4294967295',
    'rpl_semi_sync_master_wait_point = AFTER_SYNC',
    'init-rpl-role = SLAVE',
  ]);
});

test('lines for my.cnf leave out what is there already', () => {
  const names = [
    'binlog_format',
    'rpl_semi_sync_master_enabled',
    'rpl_semi_sync_master_timeout',
    'rpl_semi_sync_master_wait_point',
  ];
  const origins = Object.fromEntries(names.map((name) => [name, 'start' as const]));
  assert.deepEqual(fileLines(survey('db2', { origins }), { semiSync: 'require' }), []);
  assert.deepEqual(
    fileLines(survey('db2', { origins: { binlog_format: 'start' } }), { semiSync: 'off' }),
    [],
  );
});
