import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { LostFiles, readLostRows } from '../../../../src/failover/lost/files.ts';
import { decodeTransaction, type Transaction } from '../../../../src/binlog/transaction.ts';
import { TransactionReader } from '../../../../src/binlog/transaction-reader.ts';
import { binlogVectors } from '../../../support/binlog-vectors.ts';

const vector = binlogVectors.find(({ name }) => name === 'mariadb')!;

function transactions(): Transaction[] {
  const reader = new TransactionReader({ hasChecksums: true, file: 'log.1', mostBytes: 1e9 });
  return vector.events.flatMap((event) => {
    const { transaction, ends } = reader.push(event);
    return ends ? [decodeTransaction(transaction!, vector.definitions)] : [];
  });
}

suite('files of lost transactions', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'dbproxy-lost-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('get a name of their own each time, and nobody but us may read them', () => {
    const lost = { transactions: transactions(), further: 0, common: '' };
    for (const number of [1, 2]) {
      const files = LostFiles.create(directory, 'db1', 7);
      files.writeRaw(Buffer.from('raw'));
      files.save(lost, []);
      assert.equal(files.file, join(directory, 'lost', `db1-7-${number}.sql`));
      assert.equal(readFileSync(`${files.base}.binlog`, 'utf8'), 'raw');
      assert.equal(statSync(files.file).mode & 0o777, 0o600);
    }
    assert.deepEqual(readdirSync(join(directory, 'lost')).sort(), [
      ...['db1-7-1.binlog', 'db1-7-1.json', 'db1-7-1.sql', 'db1-7-1.undo.sql'],
      ...['db1-7-2.binlog', 'db1-7-2.json', 'db1-7-2.sql', 'db1-7-2.undo.sql'],
    ]);
    assert.equal(readLostRows(directory).length % 2, 0);
  });

  test('have what cannot be run as comments, whatever is in it', () => {
    const [first, ...others] = transactions();
    const evil = {
      ...first!,
      statements: ['one\ndrop table t;\r\n-- x'],
      redoProblems: ['no way'],
      undoProblems: ['no'],
    };
    const files = LostFiles.create(directory, 'db1', 7);
    files.save({ transactions: [evil, ...others], further: 3, common: '' }, []);
    for (const path of [files.file, `${files.base}.undo.sql`]) {
      const lines = readFileSync(path, 'utf8').split('\n');
      const statements = lines.filter((line) => line !== '' && !line.startsWith('--'));
      for (const line of statements)
        assert.match(line, /^(SET|START TRANSACTION|COMMIT|INSERT|UPDATE|DELETE).*;$/);
      assert.equal(statements.filter((line) => line === 'COMMIT;').length, others.length - 1);
      assert.ok(lines.some((line) => line.startsWith('-- NOT to be')));
      assert.ok(lines.some((line) => line.startsWith('-- 3 more transactions were too many')));
    }
  });

  test('tell the undo of the last transaction first', () => {
    const files = LostFiles.create(directory, 'db1', 7);
    files.save({ transactions: transactions(), further: 0, common: '' }, []);
    const kinds = (path: string): string[] =>
      readFileSync(path, 'utf8')
        .split('\n')
        .flatMap((line) => /^(INSERT|UPDATE|DELETE)/.exec(line)?.[1] ?? []);
    assert.deepEqual(kinds(files.file), ['INSERT', 'INSERT', 'INSERT', 'UPDATE', 'DELETE', 'DELETE']);
    assert.deepEqual(kinds(`${files.base}.undo.sql`), [
      ...['INSERT', 'INSERT', 'UPDATE', 'DELETE', 'DELETE', 'DELETE'],
    ]);
  });

  test('of a folder that is not there yet are none', () => {
    assert.deepEqual(readLostRows(directory), []);
  });
});
