/**
 * The classifier's word against that of real servers. What it calls a read that any server may answer must
 * run in a READ ONLY transaction; and a function that it counts as built in must be one, or it would be
 * somebody's stored function.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { classify } from '../../src/sql/classify.ts';
import { FUNCTION_GROUPS } from '../../src/sql/functions.ts';
import { functionGroup } from '../../src/sql/grammar.ts';
import { Need, Statement, type SqlDialect } from '../../src/sql/statement.ts';
import { namesIn, numberOf } from '../../src/sql/words.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { ADMIN_ACCOUNT, startPair, type Lab } from '../lab/pair.ts';
import { readStatementVectors } from '../support/statements.ts';

const ER_NO_SUCH_FUNCTION = [1305, 1630];
/** The server runs READ ONLY, or the transaction does: what no read may ever see. */
const ER_READ_ONLY = [1290, 1792, 1836];

/** Words of the grammar among the functions: they are no calls. */
const NO_CALLS = ['JSON_TABLE', 'OVER', 'LATERAL', 'EXCEPT', 'INTERSECT', 'RETURNING'];

/** Tables for the vectors to read: what is missing there fails for another reason, which is no matter here. */
const TABLES = [
  'create table t (a int, b int, c int, d int, e int, id int)',
  'create table u (a int, b int)',
  'create table v (c int)',
  'create view w as select a from t',
  'create procedure p() select 1',
  'create function f() returns int deterministic return 1',
  'insert into t values (1, 2, 3, 4, 5, 6)',
  'insert into u values (1, 2)',
];

forEachFlavour((flavour) => {
  describe(`the classifier and ${flavour}`, () => {
    let lab: Lab;
    let connection: Connection;
    let dialect: SqlDialect;

    before(async () => {
      lab = await startPair({ flavour });
      const admin = await lab.connect(lab.db1, ADMIN_ACCOUNT);
      for (const sql of TABLES) await admin.query(sql);
      // The driver asks for IGNORE_SPACE by itself; the classifier must be right without it.
      connection = await lab.connect(lab.db1, { flags: ['-IGNORE_SPACE'] });
      dialect = await dialectOf(connection);
    });
    after(() => lab.stop());

    test('what it calls a read runs in a READ ONLY transaction', async () => {
      await connection.query('set session transaction read only');
      let ran = 0;
      for (const sql of new Set(readStatementVectors().map((vector) => vector.sql))) {
        if (needsOf(sql, dialect) !== 0) continue;
        const error = await errorOf(connection, sql);
        assert.ok(!ER_READ_ONLY.includes(error), `${error}: ${sql}`);
        assert.ok(!ER_NO_SUCH_FUNCTION.includes(error), `${error}: ${sql}`);
        if (error === 0) ran++;
      }
      assert.ok(ran > 200, `only ${ran} ran`);
    });

    test('what it counts as built in is no stored function', async () => {
      const missing: string[] = [];
      for (const name of new Set(FUNCTION_GROUPS.flatMap(({ names }) => namesIn(names)))) {
        if (functionGroup(numberOf(name), dialect) === 0 || NO_CALLS.includes(name)) continue;
        if (!(await isBuiltIn(connection, name))) missing.push(name);
      }
      assert.deepEqual(missing, []);
    });

    test('a function right before its parenthesis, or not, is looked for as it says', async () => {
      const wrong: string[] = [];
      for (const name of new Set(FUNCTION_GROUPS.flatMap(({ names }) => namesIn(names)))) {
        if (functionGroup(numberOf(name), dialect) === 0 || NO_CALLS.includes(name)) continue;
        const asStored = (await errorsOf(connection, `${name} `)).includes(1630);
        const isKnown = (needsOf(`select ${name} (1)`, dialect) & Need.UNKNOWN_FUNCTION) === 0;
        if (asStored && isKnown) wrong.push(name);
      }
      assert.deepEqual(wrong, []);
    });
  });
});

/** How the session sees the server. */
async function dialectOf(connection: Connection): Promise<SqlDialect> {
  const [[row]] = await connection.query<RowDataPacket[]>('select version() as version');
  const words = String(row!['version']);
  const [major, minor, patch] = words.split(/[.-]/).map(Number) as [number, number, number];
  const version = major * 10_000 + minor * 100 + patch;
  return {
    ansiQuotes: false,
    noBackslashEscapes: false,
    characterSet: 'safe',
    isMariaDb: words.includes('MariaDB'),
    minVersion: version,
    maxVersion: version,
  };
}

function needsOf(sql: string, dialect: SqlDialect): number {
  const text = Buffer.from(sql);
  const statement = new Statement();
  classify(text, 0, text.length, dialect, statement);
  return statement.needs;
}

/** The number of the error, 0 for none. */
async function errorOf(connection: Connection, sql: string): Promise<number> {
  try {
    await connection.query(sql);
    return 0;
  } catch (error) {
    const { errno } = error as { errno?: number };
    if (errno === undefined) throw error;
    return errno;
  }
}

/** Calls with none up to four arguments: the server says how many it wants, or that it has no such function. */
async function errorsOf(connection: Connection, name: string): Promise<number[]> {
  const errors: number[] = [];
  for (const list of ['', '1', '1, 1', '1, 1, 1', '1, 1, 1, 1']) {
    errors.push(await errorOf(connection, `select ${name}(${list}) from (select 1) d where 1 = 0`));
  }
  return errors;
}

async function isBuiltIn(connection: Connection, name: string): Promise<boolean> {
  const errors = await errorsOf(connection, name);
  return !errors.every((error) => ER_NO_SUCH_FUNCTION.includes(error));
}
