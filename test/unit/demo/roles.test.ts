import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { choosePrimary, type BootObservation } from '../../../src/demo/roles.ts';

function server(name: string, followsPort: number | null, gtidCurrentPosition: string): BootObservation {
  return { name, followsPort, gtidCurrentPosition };
}

suite('the primary of a pair that boots', () => {
  test('is the only one that follows nobody, whatever else points elsewhere', () => {
    const servers = [server('db1', 2, '0-2-9'), server('db2', null, '0-2-8')];
    assert.equal(choosePrimary(servers, 'db1'), 'db2');
  });

  test('is the one with more history when neither follows', () => {
    assert.equal(choosePrimary([server('db1', null, '0-1-9'), server('db2', null, '0-2-10')], 'db1'), 'db2');
  });

  test('is the one with more history when each follows the other', () => {
    assert.equal(choosePrimary([server('db1', 2, '0-1-10'), server('db2', 1, '0-1-9')], 'db2'), 'db1');
  });

  test('counts the newest of several domains', () => {
    assert.equal(
      choosePrimary([server('db1', null, '0-1-5,1-1-3'), server('db2', null, '0-1-4,1-2-7')], null),
      'db2',
    );
  });

  test('is the remembered one when histories are equal', () => {
    assert.equal(choosePrimary([server('db1', null, '0-1-5'), server('db2', null, '0-1-5')], 'db2'), 'db2');
  });

  test('is the first when nothing tells, or a stranger is remembered', () => {
    const fresh = [server('db1', null, ''), server('db2', null, '')];
    assert.equal(choosePrimary(fresh, null), 'db1');
    assert.equal(choosePrimary(fresh, 'db7'), 'db1');
  });
});
