/**
 * The scripts for /etc/keepalived hand on what they are told.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const FOLDER = join(import.meta.dirname, '../../../contrib/keepalived');

function run(script: string, node: string, ...args: string[]): { status: number | null; line: string } {
  const env = { ...process.env, DBPROXY_NODE: node, DBPROXY_PROGRAM: 'cli.js' };
  const { status, stdout } = spawnSync(join(FOLDER, script), args, { encoding: 'utf8', env });
  return { status, line: stdout.trim() };
}

const handOn: [script: string, words: string][] = [
  ['dbproxy_notify.sh', 'cli.js keepalived notify --vip=10.0.0.9 a b'],
  ['dbproxy_check.sh', 'cli.js keepalived check --vip=10.0.0.9 a b'],
  ['to_master.sh', 'cli.js keepalived notify --state=master --vip=10.0.0.9 a b'],
  ['to_backup.sh', 'cli.js keepalived notify --state=backup --vip=10.0.0.9 a b'],
  ['to_fault.sh', 'cli.js keepalived notify --state=fault --vip=10.0.0.9 a b'],
];
for (const [script, words] of handOn) {
  test(`${script} calls dbproxy`, () => {
    assert.deepEqual(run(script, 'echo', '--vip=10.0.0.9', 'a b'), { status: 0, line: words });
    assert.equal(run(script, 'false').status, 1);
  });
}

test('check_mysql.sh looks for a server that is online', () => {
  // echo says the statement again, in which the word stands.
  assert.deepEqual(run('check_mysql.sh', 'echo'), { status: 0, line: 'a server is online' });
  assert.deepEqual(run('check_mysql.sh', 'true'), { status: 1, line: 'no server is online' });
  assert.equal(run('check_mysql.sh', 'false').status, 1);
});

test('each script is tested', () => {
  const known = [...handOn.map(([script]) => script), 'check_mysql.sh'];
  assert.deepEqual(readdirSync(FOLDER).toSorted(), known.toSorted());
});
