import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findingsForPeople, findingsForScripts } from '../../../src/cli/findings-text.ts';
import type { Finding } from '../../../src/setup/finding.ts';

const FINDINGS: readonly Finding[] = [
  {
    severity: 'error',
    id: 'log_bin',
    subject: 'db1',
    words: 'no log',
    remedy: 'log_bin = 1',
    blocksBootstrap: true,
  },
  { severity: 'hint', id: 'x', subject: 'main', words: 'slow', remedy: '', blocksBootstrap: false },
];

test('findings are lines that people can read, with a count at the end', () => {
  assert.equal(
    findingsForPeople(FINDINGS),
    [
      'error    db1   log_bin: no log',
      '               → log_bin = 1',
      'hint     main  x: slow',
      '1 error, 0 warnings, 1 hint',
    ].join('\n'),
  );
  assert.equal(findingsForPeople([]), 'all is well');
});

test('findings are a table that scripts can cut', () => {
  assert.equal(
    findingsForScripts(FINDINGS),
    'severity\tsubject\trule\tfinding\tremedy\nerror\tdb1\tlog_bin\tno log\tlog_bin = 1\nhint\tmain\tx\tslow\t',
  );
});
