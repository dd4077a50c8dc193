import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { LostFiles, noteUndone, readLostRows } from '../../../../src/failover/lost/files.ts';
import { countHarmless, describeFound, warningOfTwice } from '../../../../src/failover/lost/found.ts';
import type { LostRow } from '../../../../src/failover/lost/report.ts';
import { decodeTransaction, type Transaction } from '../../../../src/binlog/transaction.ts';
import { TransactionReader } from '../../../../src/binlog/transaction-reader.ts';
import { binlogVectors } from '../../../support/binlog-vectors.ts';

const vector = binlogVectors.find(({ name }) => name === 'mariadb')!;

const NOTHING = { tables: [], doubtful: [], common: { position: '', history: '' } };

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
    const lost = { transactions: transactions(), further: 0, ...NOTHING };
    for (const number of [1, 2]) {
      const files = LostFiles.create(directory, 'db1', 7);
      files.writeRaw(Buffer.from(`raw ${number}`));
      const { file } = files.save(lost, []);
      assert.equal(file, join(directory, 'lost', `db1-7-${number}.sql`));
      assert.equal(readFileSync(`${files.base}.binlog`, 'utf8'), `raw ${number}`);
      assert.equal(statSync(files.file).mode & 0o777, 0o600);
    }
    assert.deepEqual(readdirSync(join(directory, 'lost')).sort(), [
      ...['db1-7-1.binlog', 'db1-7-1.json', 'db1-7-1.sql', 'db1-7-1.undo.sql'],
      ...['db1-7-2.binlog', 'db1-7-2.json', 'db1-7-2.sql', 'db1-7-2.undo.sql'],
    ]);
  });

  test('are made once of what is found again, and told once', () => {
    const lost = { transactions: transactions(), further: 0, ...NOTHING };
    const find = (backend: string, epoch: number, raw: string): string => {
      const files = LostFiles.create(directory, backend, epoch);
      files.writeRaw(Buffer.from(raw));
      return files.save(lost, []).file;
    };
    const first = find('db1', 9, 'raw');
    assert.equal(find('db1', 9, 'raw'), first);
    assert.equal(find('db1', 10, 'raw'), first, 'in whatever epoch it is looked for');
    assert.notEqual(find('db2', 9, 'raw'), first);
    assert.equal(readdirSync(join(directory, 'lost')).length, 8);
    const more = find('db1', 10, 'raw and more');
    const rows = readLostRows(directory);
    const of = (backend: string): LostRow[] => rows.filter((row) => row.backend === backend);
    assert.equal(of('db1').length, of('db2').length);
    assert.deepEqual([...new Set(of('db1').map(({ file }) => file))], [more]);
    assert.deepEqual([...new Set(rows.map(({ epoch }) => epoch))], [9, 10]);
  });

  test('stay, and are told no more, when REJOIN has undone them; what is found later is told again', () => {
    const lost = { transactions: transactions(), further: 0, ...NOTHING };
    const find = (backend: string): string => {
      const files = LostFiles.create(directory, backend, 9);
      files.writeRaw(Buffer.from('raw'));
      return files.save(lost, []).file;
    };
    const told = (): string[] => [...new Set(readLostRows(directory).map(({ file }) => file))];
    noteUndone(directory, 'db1');
    const [first, other] = [find('db1'), find('db2')];
    noteUndone(directory, 'db1');
    assert.deepEqual(told(), [other]);
    assert.ok(existsSync(first));
    const again = find('db1');
    assert.notEqual(again, first);
    assert.deepEqual(told().sort(), [again, other].sort());
  });

  test("tell nothing of what is dbproxy's own, and have it in the SQL", () => {
    const own = transactions().flatMap((transaction) => {
      const changes = transaction.changes.map((change) => ({
        ...change,
        table: { ...change.table, database: 'dbproxy' },
      }));
      return changes.length === 0
        ? []
        : [{ ...transaction, changes, ddl: null, problems: [], undoProblems: [] }];
    });
    assert.ok(own.length > 0);
    const lost = { transactions: own, further: 0, ...NOTHING };
    const files = LostFiles.create(directory, 'db1', 9);
    assert.deepEqual(files.save(lost, []).rows, []);
    assert.match(readFileSync(`${files.base}.undo.sql`, 'utf8'), /^(INSERT|UPDATE|DELETE).*dbproxy/m);
    const redo = readFileSync(files.file, 'utf8');
    assert.match(redo, /^-- NOT to be made again: it is dbproxy's own$/m);
    assert.match(redo, /^-- INSERT.*dbproxy/m);
    assert.doesNotMatch(redo, /^(START|INSERT|UPDATE|DELETE)|harmless/m);
    const count = own.length;
    const harmless = own.map(({ changes }) => changes.map(() => ({ kind: 'harmless' as const })));
    assert.equal(countHarmless({ lost, verdicts: harmless }), 0);
    assert.equal(
      describeFound({ lost, verdicts: [] }),
      `0 transaction(s) that nobody else has, 0 of them harmless, beside ${count} of dbproxy's own`,
    );
    const [theirs] = transactions().filter(({ changes }) => changes.length > 0);
    const mixed = describeFound({ lost: { ...lost, transactions: [...own, theirs!] }, verdicts: [] });
    assert.match(mixed, /^1 transaction\(s\)/);
  });

  test('have what cannot be run as comments, whatever is in it', () => {
    const [first, ...others] = transactions();
    const evil = {
      ...first!,
      statements: ['one\ndrop table t;\r\n-- x'],
      savepoints: ['dbproxy_7\ndrop table t;'],
      redoProblems: ['no way'],
      undoProblems: ['no'],
    };
    const files = LostFiles.create(directory, 'db1', 7);
    files.save({ transactions: [evil, ...others], further: 3, ...NOTHING }, []);
    for (const path of [files.file, `${files.base}.undo.sql`]) {
      const lines = readFileSync(path, 'utf8').split('\n');
      const statements = lines.filter((line) => line !== '' && !line.startsWith('--'));
      for (const line of statements)
        assert.match(line, /^(SET|START TRANSACTION|COMMIT|INSERT|UPDATE|DELETE).*;$/);
      assert.equal(statements.filter((line) => line === 'COMMIT;').length, others.length - 1);
      assert.ok(lines.includes('--   SAVEPOINT dbproxy_7'));
      assert.ok(lines.some((line) => line.startsWith('-- NOT to be')));
      assert.ok(lines.some((line) => line.startsWith('-- 3 more transactions were too many')));
    }
  });

  test('warn before anything else of what a client may have run again', () => {
    const files = LostFiles.create(directory, 'db1', 7);
    files.save({ transactions: transactions(), further: 0, ...NOTHING }, []);
    const [, warning] = readFileSync(files.file, 'utf8').split('\n');
    assert.match(warning!, /^-- LOOK FIRST whether they have been run again: .*twice \(commit\.resolved/);
    assert.match(warningOfTwice(1), /twice/);
    assert.equal(warningOfTwice(0), '');
  });

  test('tell the undo of the last transaction first', () => {
    const files = LostFiles.create(directory, 'db1', 7);
    files.save({ transactions: transactions(), further: 0, ...NOTHING }, []);
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
