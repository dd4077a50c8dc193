/**
 * Transactions that only an old primary has, on real servers: found, read with all types of columns, compared with
 * the new primary, made again there, undone at the old one. What cannot be read or undone says why.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { PAIR_ACCOUNTS } from '../../src/demo/pair.ts';
import type { SqlConnection } from '../../src/failover/lost/connection.ts';
import { appendLost, forgetLost, undoLost } from '../../src/failover/lost/apply.ts';
import { collectLost } from '../../src/failover/lost/collect.ts';
import { describeFound } from '../../src/failover/lost/found.ts';
import { CREATE_TABLES } from '../../src/monitor/flavour/tables.ts';
import { conflictsOf, isHarmless } from '../../src/failover/lost/conflicts.ts';
import { readLostRows } from '../../src/failover/lost/files.ts';
import { forEachFlavour, WORDS } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, endConnectionsOf } from '../lab/pair.ts';
import { eventually } from '../support/eventually.ts';
import { ApartLab, bounds, lines, TIMEOUT_MS } from '../support/lost-lab.ts';
import {
  everythingOf,
  lostTables,
  randomInsert,
  randomUpdate,
  seeded,
  type LostTable,
} from '../support/lost-tables.ts';

const ROWS_BEFORE = 12;
const TRANSACTIONS = 30;
const NOTHING = { tables: [], doubtful: [], common: { position: '', history: '' } };

/** Rows before the servers part, changes after it; answers both states of all tables. */
async function diverge(apart: ApartLab, seed: number): Promise<{ old: string[]; new: string[] }> {
  const tables = lostTables(apart.flavour);
  const random = seeded(seed);
  for (const table of tables) {
    await apart.db1.query(table.create);
    for (let id = 0; id < ROWS_BEFORE; id++) await apart.db1.query(randomInsert(table, id, random));
  }
  await apart.part();
  const old = await everything(apart, apart.db1, tables);
  assertSame(await everything(apart, apart.db2, tables), old);
  let nextId = ROWS_BEFORE;
  for (let count = 0; count < TRANSACTIONS; count++) {
    await apart.db1.query('start transaction');
    for (let change = random() * 3; change >= 0; change--) {
      const table = tables[Math.floor(random() * tables.length)]!;
      const id = Math.floor(random() * nextId);
      const kind = random();
      if (kind < 0.4) await apart.db1.query(randomInsert(table, nextId++, random));
      else if (kind < 0.8) await apart.db1.query(randomUpdate(table, id, random));
      else await apart.db1.query(`delete from ${table.name} where id1 = ${id}`);
    }
    await apart.db1.query('commit');
    if (count % 20 === 10) await apart.db1.query('flush binary logs');
  }
  return { old, new: await everything(apart, apart.db1, tables) };
}

async function everything(
  apart: ApartLab,
  connection: Connection,
  tables: readonly LostTable[],
): Promise<string[]> {
  const all: string[] = [];
  for (const table of tables) all.push(...(await lines(connection, everythingOf(table, apart.flavour))));
  return all;
}

/** The same rows; says briefly where they are not. */
function assertSame(actual: readonly string[], expected: readonly string[]): void {
  for (let index = 0; index < Math.max(actual.length, expected.length); index++) {
    const [one, other] = [actual[index] ?? '(none)', expected[index] ?? '(none)'].map((row) =>
      row.split('|'),
    );
    const place = one!.findIndex((value, column) => value !== other![column]);
    if (place < 0 && one!.length === other!.length) continue;
    const [is, should] = [one![place], other![place]].map((value) => value?.slice(0, 100));
    assert.fail(
      `row ${index} (${other![0]!.slice(0, 100)}), column ${place}: ${is}, where ${should} is right`,
    );
  }
}

/** Runs a file of ours as a client would: one statement a line, comments left out. Each change must hit one row. */
async function runFile(apart: ApartLab, path: string): Promise<void> {
  const connection = await apart.lab.connect(apart.lab.db2, { ...ADMIN_ACCOUNT, charset: 'utf8mb4' });
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '' || line.startsWith('--')) continue;
    await connection.query(line.replace(/;$/, ''));
    if (!/^(INSERT|UPDATE|DELETE)/.test(line)) continue;
    assert.deepEqual(await lines(connection, 'select row_count()'), ['1'], line);
  }
}

/** How the servers write their binlogs. */
const MODES: Record<string, Record<'mariadb' | 'mysql97' | 'mysql56', readonly string[] | null>> = {
  'as they do by default': { mariadb: [], mysql97: [], mysql56: [] },
  'compressed, with all metadata': {
    mariadb: ['--log-bin-compress=ON', '--log-bin-compress-min-len=10', '--binlog-row-metadata=FULL'],
    mysql97: ['--binlog-transaction-compression=ON', '--binlog-row-metadata=FULL'],
    mysql56: null,
  },
  'without checksums, by version 1 of row events': {
    mariadb: ['--binlog-checksum=NONE'],
    mysql97: null,
    mysql56: ['--binlog-checksum=NONE', '--log-bin-use-v1-row-events=ON'],
  },
};

for (const [mode, optionsOf] of Object.entries(MODES)) {
  forEachFlavour((flavour) => {
    const options = optionsOf[flavour];
    if (options === null) return;
    suite(`lost transactions with columns of every type on ${flavour}, logged ${mode}`, () => {
      let apart: ApartLab;
      before(async () => {
        apart = await ApartLab.start(flavour, options);
      });
      after(() => apart.stop());

      test('their files make them again at the new primary and undo them at the old one', async () => {
        const state = await diverge(apart, mode.length);
        const tables = lostTables(flavour);
        const { lost, verdicts, rows, file } = await apart.collect();
        assert.equal(lost.further, 0);
        for (const { problems, redoProblems, undoProblems } of lost.transactions) {
          assert.deepEqual([...problems, ...redoProblems, ...undoProblems], []);
        }
        assert.deepEqual(
          [...new Set(verdicts.flat().map(({ kind }) => kind))].sort(),
          ['harmless', 'unknown'],
          'unknown are those without a key',
        );
        assert.equal(rows.length, lost.transactions.flatMap(({ changes }) => changes).length);
        assert.deepEqual(readLostRows(apart.lab.directory), rows);

        await runFile(apart, file!);
        assertSame(await everything(apart, apart.db2, tables), state.new);
        assert.notDeepEqual(state.new, state.old);

        // What SHOW and the file say is done in one go, too.
        const undone = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
        assert.deepEqual(undone, { kind: 'undone', changes: rows.length });
        assertSame(await everything(apart, apart.db1, tables), state.old);
        // It went to no binlog: nothing more is lost than before.
        assert.equal((await apart.find()).transactions.length, lost.transactions.length);

        // With nothing of its own left, the old primary follows the new one, which has them again.
        await forgetLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
        if (flavour === 'mariadb') {
          const place = await lines(apart.db2, 'select @@global.gtid_slave_pos');
          assert.deepEqual(await lines(apart.db1, 'select @@global.gtid_slave_pos'), place);
          assert.deepEqual(await lines(apart.db1, 'select @@global.gtid_binlog_state'), place);
        }
        await apart.db2.query('insert into parted values (2)');
        const { user, password } = PAIR_ACCOUNTS.replication;
        await apart.db1.query(WORDS[flavour].follow(apart.lab.db2.port, user, password));
        await apart.db1.query(WORDS[flavour].startReplica);
        await eventually(async () =>
          assert.deepEqual(await lines(apart.db1, 'select id from parted'), ['1', '2']),
        );
        assertSame(await everything(apart, apart.db1, tables), state.new);

        await runFile(apart, file!.replace(/sql$/, 'undo.sql'));
        assertSame(await everything(apart, apart.db2, tables), state.old);
      });
    });
  });
}

forEachFlavour((flavour) => {
  suite(`lost transactions on ${flavour}`, () => {
    let apart: ApartLab;
    before(async () => {
      apart = await ApartLab.start(flavour);
      for (const sql of [
        "create table item (id int primary key, name varchar(30), note varchar(30) default 'none')",
        "insert into item (id, name) values (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')",
        'create table bag (a int, b varchar(10))',
        "insert into bag values (1, 'x'), (1, 'x'), (2, 'X')",
        'create table mother (id int primary key) engine=innodb',
        'insert into mother values (1)',
        'create table daughter (id int primary key, mother int, foreign key (mother) references mother (id)) engine=innodb',
      ]) {
        await apart.db1.query(sql);
      }
      await apart.part();
    });
    after(() => apart.stop());

    test('when there are none nothing is found, and no file is made', async () => {
      const { lost, file } = await apart.collect();
      assert.deepEqual([lost.transactions, lost.further, file], [[], 0, null]);
      assert.deepEqual(readLostRows(apart.lab.directory), []);
      assert.equal(existsSync(join(apart.lab.directory, 'lost')), false);
    });

    test('each change is compared with the row there now, and only what is harmless is appended', async () => {
      for (const sql of [
        "insert into item (id, name) values (10, 'ten')",
        "update item set name = 'one!' where id = 1",
        'delete from item where id = 2',
        // It will have been changed there, and this builds on it.
        "update item set name = 'three!' where id = 3",
        "update item set name = 'three!!' where id = 3",
        // It will have been made there, too.
        "update item set name = 'four!' where id = 4",
        'update item set id = 55 where id = 5',
        "insert into item (id, name) values (11, 'eleven')",
        "insert into item (id, name) values (12, 'twelve')",
        "insert into bag values (3, 'y')",
      ]) {
        await apart.db1.query(sql);
      }
      for (const sql of [
        "update item set name = 'other' where id = 3",
        "update item set name = 'four!' where id = 4",
        "insert into item (id, name) values (11, 'eleven'), (12, 'another')",
      ]) {
        await apart.db2.query(sql);
      }
      const { transactions } = await apart.find();
      const verdicts = await conflictsOf(transactions, await apart.control(apart.lab.db2), TIMEOUT_MS);
      const found = verdicts.map(([verdict]) => verdict!);
      assert.deepEqual(
        found.map(({ kind }) => kind),
        [
          ...['harmless', 'harmless', 'harmless', 'conflict', 'conflict'],
          ...['already_there', 'harmless', 'already_there', 'conflict', 'unknown'],
        ],
      );
      assert.deepEqual(found[3], {
        kind: 'conflict',
        why: 'the row has been changed since',
        current: { id: '3', name: 'other', note: 'none' },
      });
      // A row that changes after it was judged is judged again: the append locks and looks for itself.
      await apart.db2.query("update item set note = 'late' where id = 1");
      const outcomes = await appendLost(transactions, await apart.control(apart.lab.db2), TIMEOUT_MS);
      assert.deepEqual(
        outcomes.map(({ result }) => result),
        [
          ...['appended', 'refused', 'appended', 'refused', 'refused'],
          ...['already_there', 'appended', 'already_there', 'refused', 'refused'],
        ],
      );
      assert.match(outcomes[1]!.why, /update in demo\.item: the row has been changed since/);
      assert.deepEqual(
        await lines(apart.db2, "select concat_ws(':', id, name, note) from item order by id"),
        [
          ...['1:one:late', '3:other:none', '4:four!:none', '10:ten:none', '11:eleven:none'],
          ...['12:another:none', '55:five:none'],
        ],
      );
      assert.deepEqual(
        verdicts.map((own, index) => isHarmless(transactions[index]!, own)),
        [...[true, true, true, false, false, true, true, true, false, false]],
      );
      // Appended once more nothing happens.
      const again = await appendLost([transactions[0]!], await apart.control(apart.lab.db2), TIMEOUT_MS);
      assert.equal(again[0]!.result, 'already_there');
    });

    test("a row that is being appended is nobody else's until that has ended", async () => {
      const { transactions } = await apart.find();
      const control = await apart.control(apart.lab.db2);
      const other = await apart.lab.connect(apart.lab.db2, ADMIN_ACCOUNT);
      await other.query('set innodb_lock_wait_timeout = 1');
      let looks = 0;
      const watched: SqlConnection = {
        async run(sql, timeoutMs) {
          const rows = await control.run(sql, timeoutMs);
          if (!sql.includes('AS is_before')) return rows;
          looks++;
          await assert.rejects(other.query("update item set note = 'mine' where id = 10"), { errno: 1205 });
          return rows;
        },
      };
      await appendLost([transactions[0]!], watched, TIMEOUT_MS);
      assert.equal(looks, 1);
    });

    test('a change that the new primary itself refuses leaves nothing of its transaction', async () => {
      await apart.db1.query('start transaction');
      await apart.db1.query("insert into item (id, name) values (30, 'with daughter')");
      await apart.db1.query('insert into daughter values (1, 1)');
      await apart.db1.query('commit');
      await apart.db2.query('delete from mother');
      const lost = (await apart.find()).transactions.at(-1)!;
      const [outcome] = await appendLost([lost], await apart.control(apart.lab.db2), TIMEOUT_MS);
      assert.equal(outcome!.result, 'refused');
      assert.match(outcome!.why, /foreign key constraint fails/);
      assert.deepEqual(await lines(apart.db2, 'select count(*) from item where id = 30'), ['0']);
      await apart.db1.query('set sql_log_bin = 0');
      await apart.db1.query('delete from daughter');
      await apart.db1.query('delete from item where id = 30');
      await apart.db1.query('set sql_log_bin = 1');
    });

    test('an undo that finds a row otherwise than the change left it changes nothing', async () => {
      const all = await apart.find();
      // The last one has been undone by hand.
      const lost = { ...all, transactions: all.transactions.slice(0, -1) };
      await apart.db1.query('set sql_log_bin = 0');
      await apart.db1.query("update item set name = 'TEN' where id = 10");
      const rows = await lines(apart.db1, 'select name from item order by id');
      const outcome = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.equal(outcome.kind, 'needs_copy');
      assert.match(outcome.kind === 'needs_copy' ? outcome.why[0]! : '', /^0 rows hit.*DELETE FROM `demo`/);
      assert.deepEqual(await lines(apart.db1, 'select name from item order by id'), rows);
      await apart.db1.query("update item set name = 'ten' where id = 10");
      await apart.db1.query('set sql_log_bin = 1');
      const undone = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.deepEqual(undone, { kind: 'undone', changes: 10 });
      assert.deepEqual(await lines(apart.db1, 'select concat(id, name) from item order by id'), [
        ...['1one', '2two', '3three', '4four', '5five'],
      ]);
    });

    test('an event larger than a packet is read whole', async (context) => {
      // Its log of 8 MB takes no larger values.
      if (flavour === 'mysql56') return context.skip('values of 16 MB do not fit into this server');
      await apart.db1.query('set global max_allowed_packet = 64000000');
      const connection = await apart.lab.connect(apart.lab.db1);
      await connection.query('create table large (id int primary key, data longblob)');
      await connection.query("insert into large values (1, repeat('abcdefgh', 2200000))");
      const { transactions } = await apart.find();
      const last = transactions.at(-1)!;
      assert.deepEqual(last.problems, []);
      const data = last.changes[0]!.after![1]!;
      assert.equal(
        data.exact,
        `X'${Buffer.from('abcdefgh'.repeat(2_200_000)).toString('hex').toUpperCase()}'`,
      );
      await connection.query('drop table large');
    });

    test('from a place in the log, without global ids, the same are found', async () => {
      await apart.db1.query('flush binary logs');
      const sql = flavour === 'mysql97' ? 'show binary log status' : 'show master status';
      const [[status]] = await apart.db1.query<RowDataPacket[]>(sql);
      const held = {
        kind: 'position' as const,
        file: String(status!['File']),
        position: Number(status!['Position']),
      };
      await apart.db1.query("insert into item (id, name) values (20, 'twenty')");
      await apart.db1.query('flush binary logs');
      await apart.db1.query('delete from item where id = 20');
      const { transactions } = await apart.find({ held });
      assert.deepEqual(
        transactions.map(({ changes }) => changes.map(({ kind }) => kind)),
        [['insert'], ['delete']],
      );
      assert.equal(transactions[0]!.file, held.file);
      assert.notEqual(transactions[1]!.file, held.file);
    });

    test('rows that are deleted with their parent come back where the server logs that', async () => {
      for (const sql of [
        'create table root (id int primary key) engine=innodb',
        'create table leaf (id int primary key, root int, foreign key (root) references root (id) on delete cascade) engine=innodb',
        'insert into root values (1), (2)',
        'insert into leaf values (1, 1), (2, 1), (3, 2)',
        'delete from root where id = 1',
      ]) {
        await apart.db1.query(sql);
      }
      const all = await apart.find();
      const lost = { ...all, transactions: all.transactions.slice(-1) };
      const undone = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.equal(undone.kind, flavour === 'mysql97' ? 'undone' : 'needs_copy');
      const left = await lines(apart.db1, 'select count(*) from leaf join root on root.id = leaf.root');
      assert.deepEqual(left, [flavour === 'mysql97' ? '3' : '1']);
    });

    test('what statements cannot do again or undo is said, with the reason', async () => {
      const start = (await apart.find()).transactions.length;
      for (const sql of [
        'create table parent (id int primary key) engine=innodb',
        'create table child (id int primary key, parent int, foreign key (parent) references parent (id) on delete cascade) engine=innodb',
        'create table plain (id int primary key) engine=myisam',
        'create table watched (id int primary key)',
        'create trigger watch before insert on watched for each row set new.id = new.id',
        'create table gone (id int primary key)',
        'create table altered (id int primary key)',
        'insert into parent values (1)',
        'insert into plain values (1)',
        'insert into watched values (1)',
        'insert into gone values (1)',
        'insert into altered values (1)',
        'drop table gone',
        'alter table altered add column more int',
      ]) {
        await apart.db1.query(sql);
      }
      const lost = (await apart.find()).transactions.slice(start);

      const says = (part: RegExp, which: 'redoProblems' | 'undoProblems'): number =>
        lost.filter((one) => one[which].some((problem) => part.test(problem))).length;
      assert.equal(says(/^it is DDL$/, 'undoProblems'), 9);
      // MySQL 9.6 and later log what follows.
      const follows = says(/^rows of other tables follow those of demo\.parent/, 'undoProblems');
      assert.equal(follows, flavour === 'mysql97' ? 0 : 1);
      assert.equal(says(/^rows of other tables follow/, 'redoProblems'), 0);
      assert.equal(says(/^demo\.plain \(MyISAM\) has no transactions$/, 'redoProblems'), 1);
      assert.equal(says(/^demo\.watched has triggers, which would run again$/, 'redoProblems'), 1);
      assert.equal(
        says(/^table demo\.gone is not there any more, or monitor_user may not see it/, 'undoProblems'),
        1,
      );
      assert.equal(says(/^table demo\.altered had 1 columns then, and has 2 now$/, 'undoProblems'), 1);
      const [ddl] = lost;
      assert.match(ddl!.ddl ?? '', /^USE `demo`; create table parent/);
      const all = { transactions: lost, further: 0, ...NOTHING };
      const outcome = await undoLost(all, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.equal(outcome.kind, 'needs_copy');
      const tooMany = { transactions: [], further: 1, ...NOTHING };
      const other = await undoLost(tooMany, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.deepEqual(other, { kind: 'needs_copy', why: ['1 more transactions were too many to decode'] });
    });

    test('what is dbproxy’s own is never made again, nor what a client has written beside it', async () => {
      const start = (await apart.find()).transactions.length;
      for (const server of [apart.db1, apart.db2]) {
        await server.query('set sql_log_bin = 0');
        for (const sql of CREATE_TABLES) await server.query(sql);
        await server.query('set sql_log_bin = 1');
      }
      const epoch = (number: number): string =>
        `insert into dbproxy.epoch values ('main', ${number}, 'db1', 1)`;
      for (const sql of [
        epoch(14),
        "replace into dbproxy.heartbeat values ('main', 1, 14)",
        ...['start transaction', "insert into item (id, name) values (70, 'mixed')", epoch(15), 'commit'],
        "insert into item (id, name) values (71, 'theirs')",
      ]) {
        await apart.db1.query(sql);
      }
      const all = await apart.find();
      const lost = all.transactions.slice(start);
      const verdicts = await conflictsOf(lost, await apart.control(apart.lab.db2), TIMEOUT_MS);
      const found = { lost: { ...all, transactions: lost }, verdicts };
      assert.equal(
        describeFound(found),
        "2 transaction(s) that nobody else has, 1 of them harmless, beside 2 of dbproxy's own",
      );
      const outcomes = await appendLost(lost, await apart.control(apart.lab.db2), TIMEOUT_MS);
      assert.deepEqual(
        outcomes.map(({ result, why }) => [result, why]),
        [
          ...[['own', ''] as const, ['own', ''] as const],
          ['refused', "dbproxy.epoch is dbproxy's own and is never made again"],
          ['appended', ''],
        ],
      );
      assert.deepEqual(await lines(apart.db2, 'select id from item where id >= 70'), ['71']);
      assert.deepEqual(await lines(apart.db2, 'select epoch from dbproxy.epoch'), []);
      assert.deepEqual(await lines(apart.db2, 'select epoch from dbproxy.heartbeat'), []);
      // They are undone where they are.
      const outcome = await undoLost(found.lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.deepEqual(outcome, { kind: 'undone', changes: 5 });
    });

    test('the .binlog has them as they came: the servers own program reads it', async (context) => {
      if (flavour !== 'mariadb') return context.skip('the program of the other servers is not installed');
      const chunks: Buffer[] = [];
      const lost = await apart.find({ onRaw: (bytes) => chunks.push(bytes) });
      const path = join(apart.lab.directory, 'lost.binlog');
      writeFileSync(path, Buffer.concat(chunks));
      const text = execFileSync('mariadb-binlog', ['-vv', path], { encoding: 'utf8', maxBuffer: 1 << 28 });
      assert.equal(text.match(/GTID \d+-\d+-\d+/g)?.length, lost.transactions.length);
      assert.match(text, /### INSERT INTO `demo`\.`item`/);
    });
  });

  suite(`a binlog that cannot be read on ${flavour}`, () => {
    let apart: ApartLab;
    before(async () => {
      apart = await ApartLab.start(flavour);
      await apart.part();
      await apart.db1.query('insert into parted values (2)');
    });
    after(() => apart.stop());

    test('by an account without the right to, or not in time, is an error and no empty list', async () => {
      const source = apart.source(apart.lab.db1);
      const request = {
        connection: await apart.control(apart.lab.db1),
        newPrimary: await apart.control(apart.lab.db2),
        held: await apart.held(),
        stateDir: apart.lab.directory,
        epoch: 1,
      };
      const account = { user: 'app', password: 'app' };
      await assert.rejects(collectLost({ ...request, source: { ...source, account }, bounds }), {
        code: 'DBPROXY_BINLOG_UNREAD',
        message: /only 'db1' has could not be told.*REPLICATION SLAVE privilege/,
      });
      apart.lab.db1.pause();
      try {
        await assert.rejects(collectLost({ ...request, source, bounds: { ...bounds, timeoutMs: 100 } }), {
          // Whatever it was that a server at rest was asked first.
          code: 'DBPROXY_BINLOG_UNREAD',
          message: /within \d+ ms/,
        });
      } finally {
        apart.lab.db1.resume();
      }
      if (flavour !== 'mysql97') return;
      // It has made itself a certificate.
      const encrypted = { ...source, backend: { ...source.backend, tls: 'required' as const } };
      const { lost } = await collectLost({ ...request, source: encrypted, bounds });
      assert.equal(lost.transactions.length, 1);
    });
  });

  suite(`a log without whole rows on ${flavour}`, () => {
    let apart: ApartLab;
    before(async () => {
      apart = await ApartLab.start(flavour, ['--binlog-row-image=MINIMAL']);
      await apart.db1.query('create table item (id int primary key, name varchar(30), note varchar(30))');
      await apart.db1.query("insert into item values (1, 'one', 'a'), (2, 'two', 'b')");
      await apart.part();
    });
    after(() => apart.stop());

    test('is enough to make changes again, and not to undo or to compare them', async () => {
      await apart.db1.query("update item set name = 'uno' where id = 1");
      await apart.db1.query('delete from item where id = 2');
      await apart.db1.query("insert into item values (3, 'three', null)");
      const lost = await apart.find();
      const { transactions } = lost;
      const verdicts = await conflictsOf(transactions, await apart.control(apart.lab.db2), TIMEOUT_MS);
      assert.deepEqual(
        verdicts.map(([verdict]) => verdict!.kind),
        ['unknown', 'unknown', 'harmless'],
      );
      assert.deepEqual(
        transactions.map(({ undoProblems }) => undoProblems.length),
        [1, 1, 0],
      );
      await runFile(apart, (await apart.collect()).file!);
      assert.deepEqual(
        await lines(apart.db2, "select concat_ws(':', id, name, note) from item order by id"),
        ['1:uno:a', '3:three'],
      );
      const outcome = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
      assert.equal(outcome.kind, 'needs_copy');
    });
  });
});

forEachFlavour(
  (flavour) => {
    suite(`lost transactions whose numbers were used again on ${flavour}`, () => {
      let apart: ApartLab;
      before(async () => {
        apart = await ApartLab.start(flavour);
        await apart.db1.query('create table item (id int primary key)');
        await apart.part();
      });
      after(() => apart.stop());

      test('are told from those of the new primary by the server in them', async () => {
        for (let id = 0; id < 5; id++) await apart.db1.query(`insert into item values (${id})`);
        await apart.db1.query('flush binary logs');
        await apart.db1.query('insert into item values (5)');
        for (let id = 100; id < 110; id++) await apart.db2.query(`insert into item values (${id})`);
        const { transactions } = await apart.find();
        assert.deepEqual(
          transactions.map(({ changes }) => changes[0]!.after![0]!.text),
          ['0', '1', '2', '3', '4', '5'],
        );
        for (const { gtid } of transactions) assert.match(gtid ?? '', /^0-1-\d+$/);
      });

      test('are in doubt when the new primary knows nothing of who wrote them, and its log begins later', async () => {
        await apart.db1.query('set session server_id = 7');
        await apart.db1.query('insert into item values (50)');
        await apart.db1.query('set session server_id = default');
        const doubtful = async (gtids: string, begins: bigint): Promise<readonly string[]> => {
          const held = { kind: 'mariadb', gtids, begins: new Map([['0', begins]]) } as const;
          return (await apart.find({ held })).doubtful;
        };
        assert.deepEqual(await doubtful('0-9-99999', 99_999n), ['0-1', '0-7']);
        assert.deepEqual(await doubtful('0-9-99999', 9n), ['0-1'], 'it would have logged what came later');
        assert.deepEqual(
          await doubtful('0-1-1,0-9-99999', 9n),
          [],
          'it has the first of theirs, so not the others',
        );
        assert.deepEqual(await doubtful('5-9-99999', 9n), [], 'it has nothing of this domain');
        const held = await apart.held();
        assert.ok(held.kind === 'mariadb' && held.begins!.has('0'), 'it is told where its log begins');
        assert.deepEqual(
          (await apart.find({ held })).doubtful,
          [],
          'of 7 it knows nothing, and its log begins earlier',
        );
      });

      test('when the file that they begin in is gone, that is an error and no empty list', async () => {
        await apart.db1.query('flush binary logs');
        const files = await lines(apart.db1, 'show binary logs');
        // A file that somebody reads is not purged.
        await endConnectionsOf(apart.db1, 'replication');
        await eventually(async () => {
          await apart.db1.query(`purge binary logs to '${files.at(-1)!}'`);
          assert.equal((await lines(apart.db1, 'show binary logs')).length, 1);
        });
        await assert.rejects(
          apart.find(),
          /begins after 0-1-\d+, 0-7-\d+, which the log of the new primary does not have: its file has been purged/,
        );
      });
    });
  },
  ['mariadb'],
);

forEachFlavour(
  (flavour) => {
    suite(`lost transactions of a server without global ids on ${flavour}`, () => {
      let apart: ApartLab;
      before(async () => {
        apart = await ApartLab.start(flavour);
        await apart.part();
        for (const mode of ['ON_PERMISSIVE', 'OFF_PERMISSIVE', 'OFF']) {
          await apart.db1.query(`set global gtid_mode = ${mode}`);
        }
        await apart.db1.query('create table item (id int primary key, name varchar(10))');
      });
      after(() => apart.stop());

      test('are all that lies behind a place in its log', async () => {
        const [[status]] = await apart.db1.query<RowDataPacket[]>('show binary log status');
        const held = {
          kind: 'position' as const,
          file: String(status!['File']),
          position: Number(status!['Position']),
        };
        await apart.db1.query("insert into item values (1, 'one'), (2, 'two')");
        await apart.db1.query("update item set name = 'uno' where id = 1");
        const lost = await apart.find({ held });
        assert.deepEqual(
          lost.transactions.map(({ gtid, changes }) => [gtid, changes.map(({ kind }) => kind)]),
          [
            [null, ['insert', 'insert']],
            [null, ['update']],
          ],
        );
        assert.equal(lost.transactions[0]!.position, held.position);
        const undone = await undoLost(lost, await apart.control(apart.lab.db1), TIMEOUT_MS);
        assert.deepEqual(undone, { kind: 'undone', changes: 3 });
        assert.deepEqual(await lines(apart.db1, 'select count(*) from item'), ['0']);
      });

      test('are not undone where the server takes no writes, and that is no reason for a fresh copy', async () => {
        const [[status]] = await apart.db1.query<RowDataPacket[]>('show binary log status');
        const held = {
          kind: 'position' as const,
          file: String(status!['File']),
          position: Number(status!['Position']),
        };
        await apart.db1.query("insert into item values (3, 'three')");
        const lost = await apart.find({ held });
        await apart.db1.query('set global super_read_only = 1');
        const control = await apart.control(apart.lab.db1);
        await assert.rejects(undoLost(lost, control, TIMEOUT_MS), /read-only option/);
        await apart.db1.query('set global super_read_only = 0');
        await apart.db1.query('set global read_only = 0');
        assert.equal((await undoLost(lost, control, TIMEOUT_MS)).kind, 'undone');
      });
    });
  },
  ['mysql97'],
);

forEachFlavour(
  (flavour) => {
    suite(`lost transactions with tags on ${flavour}`, () => {
      let apart: ApartLab;
      before(async () => {
        apart = await ApartLab.start(flavour);
        await apart.db1.query('create table item (id int primary key)');
        await apart.db1.query("set gtid_next = 'AUTOMATIC:batch'");
        await apart.db1.query('insert into item values (1)');
        await apart.part();
      });
      after(() => apart.stop());

      test('have the ids that the server gives them', async () => {
        const [before] = await lines(apart.db1, 'select @@global.gtid_executed');
        await apart.db1.query('insert into item values (2)');
        const { transactions } = await apart.find();
        const [lost] = await lines(apart.db1, `select gtid_subtract(@@global.gtid_executed, '${before!}')`);
        assert.deepEqual(
          transactions.map(({ gtid }) => gtid),
          [lost],
        );
        assert.match(lost!, /:batch:\d+$/);
      });
    });
  },
  ['mysql97'],
);
