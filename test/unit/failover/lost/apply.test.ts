import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Transaction } from '../../../../src/binlog/transaction.ts';
import { appendLost } from '../../../../src/failover/lost/apply.ts';
import type { SqlConnection } from '../../../../src/failover/lost/connection.ts';

test("what is dbproxy's own is not made again, whatever is known of its tables", async () => {
  const sent: string[] = [];
  const newPrimary: SqlConnection = {
    run: (sql) => {
      sent.push(sql);
      return Promise.resolve([]);
    },
  };
  const own: Transaction = {
    ...{ gtid: '0-1-9', file: 'log.1', position: 4, endPosition: 9, serverId: 1, atMs: 0, threadId: null },
    ...{ statements: [], savepoints: [], ddl: null, problems: [], redoProblems: [], undoProblems: [] },
    changes: [
      {
        kind: 'insert',
        table: { database: 'dbproxy', table: 'epoch', columns: [], key: [] },
        before: null,
        after: [],
      },
    ],
  };
  const outcomes = await appendLost([own], newPrimary, 1_000);
  assert.deepEqual(outcomes, [{ transaction: own, result: 'own', why: '' }]);
  assert.deepEqual(
    sent.filter((sql) => /^(START|INSERT|REPLACE|COMMIT)/i.test(sql)),
    [],
  );
});
