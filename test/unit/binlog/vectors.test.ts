/**
 * Events of real servers are read as they were meant; cut or changed at any place they are an error, or fewer rows,
 * but never another value.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { columnsOf } from '../../../src/binlog/definition.ts';
import { parseEvent } from '../../../src/binlog/event.ts';
import { UnreadableEvent } from '../../../src/binlog/reader.ts';
import { layoutOf, parseRows } from '../../../src/binlog/rows.ts';
import { redoSql } from '../../../src/binlog/sql.ts';
import type { TableMap } from '../../../src/binlog/table-map.ts';
import { decodeTransaction, definitionKey } from '../../../src/binlog/transaction.ts';
import { TransactionReader, type RawTransaction } from '../../../src/binlog/transaction-reader.ts';
import { binlogVectors, eventOf, type BinlogVector } from '../../support/binlog-vectors.ts';

const OPTIONS = { file: 'log.000001', mostBytes: 1e9 };

function read({ hasChecksums }: BinlogVector, events: readonly Buffer[]): RawTransaction[] {
  const reader = new TransactionReader({ ...OPTIONS, hasChecksums });
  return events.flatMap((event) => {
    const { transaction, ends } = reader.push(event);
    return ends ? [transaction!] : [];
  });
}

/** Row events of a vector with their tables; those inside a compressed transaction as well. */
function rowEvents(vector: BinlogVector): { table: TableMap; type: number; body: Buffer }[] {
  const found: { table: TableMap; type: number; body: Buffer }[] = [];
  for (const { parts } of read(vector, vector.events)) {
    let table: TableMap | null = null;
    for (const part of parts) {
      if (part.kind === 'table') table = part.map;
      else if (part.kind === 'rows')
        found.push({ table: table!, type: part.event.type, body: part.event.body });
    }
  }
  return found;
}

for (const vector of binlogVectors) {
  suite(`binlog events of ${vector.name}`, () => {
    test('are read as transactions', () => {
      const decoded = read(vector, vector.events).map((raw) => decodeTransaction(raw, vector.definitions));
      const told = decoded.map((one) => ({
        ...{ gtid: one.gtid, threadId: one.threadId, statements: one.statements, ddl: one.ddl },
        ...{ problems: one.problems, redo: redoSql(one) },
      }));
      assert.deepEqual(told, vector.transactions);
      assert.ok(told.some(({ redo }) => redo.length > 0));
    });

    test('that are cut are refused, wherever they are cut', () => {
      for (const event of vector.events) {
        for (let length = 0; length < event.length; length++) {
          assert.throws(() => parseEvent(event.subarray(0, length), vector.hasChecksums), UnreadableEvent);
        }
      }
    });

    test('with a wrong bit are refused where they have checksums', () => {
      if (!vector.hasChecksums) return;
      for (const event of vector.events.slice(2)) {
        for (let index = 0; index < event.length; index += 7) {
          const changed = Buffer.from(event);
          changed[index]! ^= 1 << (index % 8);
          // The type of a byte that was changed in itself may say that there are no checksums.
          if (index === 4 || index === 17) continue;
          assert.throws(() => parseEvent(changed, true), UnreadableEvent, `byte ${index}`);
        }
      }
    });

    test('whose rows are cut give the rows before the cut, or an error', () => {
      for (const { table, type, body } of rowEvents(vector)) {
        const columns = columnsOf(table, vector.definitions.get(definitionKey(table)));
        const layout = layoutOf(type)!;
        const whole = parseRows(parseEvent(eventOf(type, body), false), layout, columns);
        let errors = 0;
        for (let length = 0; length < body.length; length++) {
          try {
            const rows = parseRows(
              parseEvent(eventOf(type, body.subarray(0, length)), false),
              layout,
              columns,
            );
            assert.deepEqual(rows, whole.slice(0, rows.length));
            assert.ok(rows.length < whole.length);
          } catch (error) {
            if (!(error instanceof UnreadableEvent)) throw error;
            errors++;
          }
        }
        assert.ok(errors >= body.length - whole.length - 1);
      }
    });

    test('with any byte changed end in a value or in an UnreadableEvent', () => {
      for (const { table, type, body } of rowEvents(vector)) {
        const columns = columnsOf(table, vector.definitions.get(definitionKey(table)));
        for (let index = 0; index < body.length; index++) {
          const changed = Buffer.from(body);
          changed[index]! ^= 0xff;
          try {
            parseRows(parseEvent(eventOf(type, changed), false), layoutOf(type)!, columns);
          } catch (error) {
            assert.ok(error instanceof UnreadableEvent, `byte ${index}: ${String(error)}`);
          }
        }
      }
    });

    test('of any type end in a step or in an UnreadableEvent, with any byte changed or cut', () => {
      for (const event of vector.events) {
        const { type, body } = parseEvent(event, vector.hasChecksums);
        for (let index = 0; index < body.length; index++) {
          const changed = Buffer.from(body);
          changed[index]! ^= 0xff;
          for (const one of [changed, body.subarray(0, index)]) {
            const reader = new TransactionReader({ ...OPTIONS, hasChecksums: false });
            try {
              reader.push(eventOf(type, one));
            } catch (error) {
              assert.ok(error instanceof UnreadableEvent, String(error));
            }
          }
        }
      }
    });

    test('are not read by a definition of another age', () => {
      const [key, definition] = [...vector.definitions][0]!;
      const { columns } = definition;
      const others = [
        { ...definition, columns: columns.slice(1) },
        { ...definition, columns: [{ ...columns[0]!, type: 'varchar' }, ...columns.slice(1)] },
      ];
      for (const other of others) {
        const definitions = new Map([[key, other]]);
        const [first] = read(vector, vector.events);
        const { problems, changes, redoProblems, undoProblems } = decodeTransaction(first!, definitions);
        assert.equal(problems.length, 1);
        assert.deepEqual([changes.length, redoProblems.length, undoProblems.length], [0, 1, 1]);
      }
    });
  });
}
