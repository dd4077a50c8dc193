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
    'max_binlog_size = 134217728',
    'init-rpl-role = SLAVE',
  ]);
});

test('lines for my.cnf leave out what is there already', () => {
  const names = [
    'binlog_format',
    'rpl_semi_sync_master_enabled',
    'rpl_semi_sync_master_timeout',
    'rpl_semi_sync_master_wait_point',
    'max_binlog_size',
  ];
  const origins = Object.fromEntries(names.map((name) => [name, 'start' as const]));
  assert.deepEqual(fileLines(survey('db2', { origins }), { semiSync: 'require' }), []);
  assert.deepEqual(
    fileLines(survey('db2', { origins: { binlog_format: 'start' } }), { semiSync: 'off' }),
    [],
  );
});

test('the line for the size of a binary log file leaves what is smaller, and what has an index', () => {
  const lineOf = (variables: Record<string, string>, startsWith: boolean): string | undefined => {
    const origins = startsWith ? { max_binlog_size: 'start' as const } : {};
    const lines = fileLines(survey('db2', { variables, origins }), { semiSync: 'prefer' });
    return lines.find((line) => line.startsWith('max_binlog_size'));
  };
  assert.equal(lineOf({ max_binlog_size: '1073741824' }, true), 'max_binlog_size = 134217728');
  assert.equal(lineOf({ max_binlog_size: '67108864' }, true), undefined);
  assert.equal(lineOf({ max_binlog_size: '67108864' }, false), 'max_binlog_size = 67108864');
  assert.equal(lineOf({ max_binlog_size: '1073741824', binlog_gtid_index: 'ON' }, true), undefined);
});
