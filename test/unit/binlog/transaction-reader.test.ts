/** Where transactions begin and end, and what is said of those that are not simply committed. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { EventType } from '../../../src/binlog/event.ts';
import { UnreadableEvent } from '../../../src/binlog/reader.ts';
import { TransactionReader, type RawTransaction } from '../../../src/binlog/transaction-reader.ts';
import { eventOf } from '../../support/binlog-vectors.ts';

const ARTIFICIAL = 0x20;
const IGNORABLE = 0x80;

function query(text: string, threadId = 7): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32LE(threadId, 0);
  head.writeUInt8(4, 8);
  return eventOf(EventType.QUERY, Buffer.concat([head, Buffer.from(`demo\0${text}`)]));
}

function format(flags = 0): Buffer {
  const body = Buffer.alloc(57 + 40);
  body.writeUInt16LE(4, 0);
  body.write('10.11.6-MariaDB', 2, 'latin1');
  body.writeUInt8(19, 56);
  // No checksums; the four bytes behind the word are there all the same.
  return eventOf(EventType.FORMAT_DESCRIPTION, body, flags);
}

/** MariaDB's event, with its flags. */
function mariadbGtid(sequence: number, flags: number): Buffer {
  const body = Buffer.alloc(19);
  body.writeBigUInt64LE(BigInt(sequence), 0);
  body.writeUInt8(flags, 12);
  return eventOf(EventType.MARIADB_GTID, body);
}

const xid = eventOf(EventType.XID, Buffer.alloc(8));

function transactionsOf(...events: Buffer[]): RawTransaction[] {
  const reader = new TransactionReader({ hasChecksums: false, file: 'log.1', mostBytes: 10_000 });
  return events.flatMap((event) => {
    const { transaction, ends } = reader.push(event);
    return ends ? [transaction!] : [];
  });
}

suite('transactions in a binlog', () => {
  test('begin with BEGIN and end with COMMIT, XID or ROLLBACK', () => {
    const found = transactionsOf(
      ...[query('BEGIN'), xid],
      ...[query('BEGIN', 8), query('insert into t values (1)', 8), query('COMMIT', 8)],
      ...[query('BEGIN'), query('ROLLBACK')],
    );
    assert.deepEqual(
      found.map(({ threadId, end, problems, parts }) => [threadId, end, problems.length, parts.length]),
      [
        [7, 'committed', 0, 0],
        [8, 'committed', 1, 1],
        [7, 'rolled_back', 0, 0],
      ],
    );
    assert.deepEqual(found[1]!.problems, ['it has changes that are logged by statement']);
  });

  test('tell statements as they were sent, and the names of savepoints', () => {
    const [found] = transactionsOf(
      ...[
        query('BEGIN'),
        query('insert into t values (1)'),
        query('SAVEPOINT `a``b`'),
        query('savepoint c'),
        xid,
      ],
    );
    assert.deepEqual(found!.parts, [
      {
        kind: 'statement',
        text: 'USE `demo`; insert into t values (1)',
        sent: 'insert into t values (1)',
      },
    ]);
    assert.deepEqual(found!.savepoints, ['a`b', 'c']);
  });

  test('that are one statement are DDL, with the database they ran in', () => {
    const found = transactionsOf(mariadbGtid(5, 1), query('create table t (id int)'), query('drop table t'));
    assert.deepEqual(
      found.map(({ gtid, ddl }) => [gtid, ddl]),
      [
        ['0-1-5', 'USE `demo`; create table t (id int)'],
        [null, 'USE `demo`; drop table t'],
      ],
    );
  });

  test('of MariaDB begin with their id alone', () => {
    const [found, ...others] = transactionsOf(mariadbGtid(5, 0), query('insert into t values (1)'), xid);
    assert.equal(others.length, 0);
    assert.deepEqual([found!.gtid, found!.end, found!.ddl], ['0-1-5', 'committed', null]);
  });

  test('that a crash cut off end where the next file begins', () => {
    const found = transactionsOf(mariadbGtid(5, 0), format());
    assert.deepEqual([found[0]!.gtid, found[0]!.end], ['0-1-5', 'cut_off']);
    // What the server makes for a connection in the middle of a file ends nothing.
    assert.deepEqual(transactionsOf(mariadbGtid(5, 0), format(ARTIFICIAL)), []);
  });

  test('without an end before the next one are an error', () => {
    assert.throws(() => transactionsOf(mariadbGtid(5, 0), mariadbGtid(6, 0)), /transaction 0-1-5 has no end/);
  });

  test('with events that are not known are told so, unless these may be passed over', () => {
    const unknown = eventOf(99, Buffer.alloc(4));
    const [one] = transactionsOf(mariadbGtid(5, 0), unknown, unknown, xid);
    assert.deepEqual(one!.problems, ['it has an event of type 99, not known here']);
    const [other] = transactionsOf(mariadbGtid(5, 0), eventOf(99, Buffer.alloc(4), IGNORABLE), xid);
    assert.deepEqual(other!.problems, []);
  });

  test('whose meaning lies in more than rows are told so', () => {
    const cases: [RegExp, ...Buffer[]][] = [
      [/PARTIAL_JSON/, mariadbGtid(1, 0), eventOf(EventType.PARTIAL_UPDATE_ROWS, Buffer.alloc(9)), xid],
      [/logged by statement/, mariadbGtid(1, 0), eventOf(EventType.INTVAR, Buffer.alloc(9)), xid],
      [/INCIDENT/, mariadbGtid(1, 0), eventOf(EventType.INCIDENT, Buffer.alloc(2)), xid],
      [/XA/, query("XA START X'01',X'',1"), eventOf(EventType.XA_PREPARE, Buffer.alloc(9))],
      [/XA/, mariadbGtid(1, 128 | 1), query("XA COMMIT X'01',X'',1")],
      [/XA/, query("XA ROLLBACK X'01',X'',1")],
      [/ROLLBACK TO/, query('BEGIN'), query('SAVEPOINT a'), query('ROLLBACK TO `a`'), xid],
    ];
    for (const [problem, ...events] of cases) {
      const [found] = transactionsOf(...events);
      assert.match(found!.problems[0] ?? '', problem);
      assert.deepEqual([found!.problems.length, found!.ddl], [1, null]);
    }
  });

  test('larger than the bound keep their head, and say so', () => {
    const annotation = eventOf(EventType.ANNOTATE_ROWS, Buffer.alloc(6000, 'x'));
    const [found] = transactionsOf(mariadbGtid(1, 0), annotation, annotation, xid);
    assert.deepEqual(found!.problems, ['it is larger than the 10000 bytes that are decoded']);
    assert.deepEqual([found!.raw.length, found!.annotations.length, found!.gtid], [0, 0, '0-1-1']);
    assert.ok(found!.rawBytes > 12_000);
  });

  test('of a format that is not known are refused', () => {
    const old = format();
    old.writeUInt16LE(3, 19);
    assert.throws(() => transactionsOf(old), /binlog version 3/);
    const checksum = format();
    checksum[checksum.length - 5] = 2;
    assert.throws(() => transactionsOf(checksum), UnreadableEvent);
  });
});
