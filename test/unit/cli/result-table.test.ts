import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { batchTable, boxedTable } from '../../../src/cli/result-table.ts';

suite('a result as text', () => {
  test('is boxed to the widest cell of each column', () => {
    assert.equal(
      boxedTable(
        ['name', 'lag_ms'],
        [
          ['db1', null],
          ['database2', '12'],
        ],
      ),
      [
        '+-----------+--------+',
        '| name      | lag_ms |',
        '+-----------+--------+',
        '| db1       | NULL   |',
        '| database2 | 12     |',
        '+-----------+--------+',
      ].join('\n'),
    );
  });

  test('is one line a row for scripts, whatever a value holds', () => {
    assert.equal(
      batchTable(
        ['a', 'b'],
        [
          ['x\ty', null],
          ['1\n2', 'c\\d'],
        ],
      ),
      'a\tb\nx\\ty\tNULL\n1\\n2\tc\\\\d',
    );
  });
});
