import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isRefusal } from '../../../src/base/errors.ts';
import { parseStatement } from '../../../src/admin/parse.ts';
import type { Statement } from '../../../src/admin/statement.ts';

const all = { kind: 'all' } as const;

/** A change of primary of which nothing more is said. */
const CHANGE = { kind: 'change-primary', cluster: null, to: null, force: false, dryRun: false } as const;

describe('a statement is read', () => {
  const cases: [text: string, statement: Statement][] = [
    ['SHOW BACKENDS', { kind: 'show', table: 'backends', filter: all }],
    ['show Backends;', { kind: 'show', table: 'backends', filter: all }],
    ['show backends\\G', { kind: 'show', table: 'backends', filter: all }],
    ['SHOW BACKENDS ; \n', { kind: 'show', table: 'backends', filter: all }],
    ['/* who */ SHOW -- is it\n BACKENDS # there', { kind: 'show', table: 'backends', filter: all }],
    ['SHOW/**/BACKENDS\0', { kind: 'show', table: 'backends', filter: all }],
    [
      "SHOW BACKENDS LIKE 'db%'",
      { kind: 'show', table: 'backends', filter: { kind: 'like', pattern: 'db%' } },
    ],
    [
      "SHOW EVENTS WHERE id>6 AND id <= 9 AND event <> 'x' AND id != 7 AND subject LIKE 'db%' AND id>=7 AND id < 9",
      {
        kind: 'show',
        table: 'events',
        filter: {
          kind: 'where',
          conditions: [
            { column: 'id', comparison: '>', value: '6' },
            { column: 'id', comparison: '<=', value: '9' },
            { column: 'event', comparison: '!=', value: 'x' },
            { column: 'id', comparison: '!=', value: '7' },
            { column: 'subject', comparison: 'like', value: 'db%' },
            { column: 'id', comparison: '>=', value: '7' },
            { column: 'id', comparison: '<', value: '9' },
          ],
        },
      },
    ],
    [
      "show sessions where user = 'app' and state=active",
      {
        kind: 'show',
        table: 'sessions',
        filter: {
          kind: 'where',
          conditions: [
            { column: 'user', comparison: '=', value: 'app' },
            { column: 'state', comparison: '=', value: 'active' },
          ],
        },
      },
    ],
    [
      "SHOW BACKENDS WHERE reason = ''",
      {
        kind: 'show',
        table: 'backends',
        filter: { kind: 'where', conditions: [{ column: 'reason', comparison: '=', value: '' }] },
      },
    ],
    ['SHOW PROCESSLIST', { kind: 'show', table: 'sessions', filter: all }],
    ['SHOW FULL PROCESSLIST', { kind: 'show', table: 'sessions', filter: all }],
    ['SHOW GLOBAL STATUS', { kind: 'show', table: 'status', filter: all }],
    ['SHOW VARIABLES', { kind: 'show', table: 'variables', filter: all }],
    ['SHOW CONFIG', { kind: 'show', table: 'config', filter: all }],
    ['HELP', { kind: 'help', about: '' }],
    ['help backend', { kind: 'help', about: 'backend' }],
    [
      'SET BACKEND db1 RW_WEIGHT = 3, RO_WEIGHT=0, max_connections = 50',
      { kind: 'set-backend', backend: 'db1', change: { rwWeight: 3, roWeight: 0, maxConnections: 50 } },
    ],
    [
      'SET BACKEND `db-1.eu` ONLINE',
      { kind: 'set-backend', backend: 'db-1.eu', change: { admin: 'online' } },
    ],
    [
      'set backend db-1.eu offline',
      { kind: 'set-backend', backend: 'db-1.eu', change: { admin: 'offline' } },
    ],
    ['SET BACKEND db1 DRAIN', { kind: 'set-backend', backend: 'db1', change: { admin: 'draining' } }],
    [
      "SET BACKEND db1 DRAIN TIMEOUT '30s'",
      { kind: 'set-backend', backend: 'db1', change: { admin: 'draining', drainTimeoutMs: 30_000 } },
    ],
    [
      "ADD BACKEND db3 ADDRESS '10.0.0.3:3306' CLUSTER main",
      {
        kind: 'add-backend',
        backend: 'db3',
        keys: { address: '10.0.0.3:3306', cluster: 'main' },
        clone: null,
      },
    ],
    [
      "add backend db3 cluster main address = '10.0.0.3:3306', rw_weight 2 tls required clone from db2",
      {
        kind: 'add-backend',
        backend: 'db3',
        keys: { cluster: 'main', address: '10.0.0.3:3306', rw_weight: '2', tls: 'required' },
        clone: { from: 'db2' },
      },
    ],
    ['DROP BACKEND db3', { kind: 'drop-backend', backend: 'db3' }],
    ['SHOW CONFIG DIFF', { kind: 'show', table: 'config-diff', filter: all }],
    ['PROMOTE db2', { kind: 'promote', backend: 'db2', force: false }],
    ['PROMOTE db2 FORCE', { kind: 'promote', backend: 'db2', force: true }],
    ['PROMOTE 10.0.0.2:3306', { kind: 'promote', backend: '10.0.0.2:3306', force: false }],
    ['BOOTSTRAP CLUSTER main', { kind: 'bootstrap', cluster: 'main', primary: null, dryRun: false }],
    [
      'bootstrap cluster main primary db1 dry run;',
      { kind: 'bootstrap', cluster: 'main', primary: 'db1', dryRun: true },
    ],
    ['CLONE BACKEND db3', { kind: 'clone-backend', backend: 'db3', from: null, dryRun: false }],
    [
      'clone backend db3 from db2 dry run',
      { kind: 'clone-backend', backend: 'db3', from: 'db2', dryRun: true },
    ],
    ['SWITCHOVER', { ...CHANGE, as: 'switchover' }],
    ['switchover cluster main;', { ...CHANGE, as: 'switchover', cluster: 'main' }],
    [
      'SWITCHOVER CLUSTER main TO db2 DRY RUN',
      { ...CHANGE, as: 'switchover', cluster: 'main', to: 'db2', dryRun: true },
    ],
    ['SWITCHOVER TO 10.0.0.2:3306', { ...CHANGE, as: 'switchover', to: '10.0.0.2:3306' }],
    ['SWITCHOVER DRY RUN', { ...CHANGE, as: 'switchover', dryRun: true }],
    ['FAILOVER', { ...CHANGE, as: 'failover' }],
    ['FAILOVER TO db2 FORCE', { ...CHANGE, as: 'failover', to: 'db2', force: true }],
    [
      'failover cluster main to db2 force dry run',
      { ...CHANGE, as: 'failover', cluster: 'main', to: 'db2', force: true, dryRun: true },
    ],
    ['FAILOVER FORCE', { ...CHANGE, as: 'failover', force: true }],
    ['REHEARSE SWITCHOVER', { kind: 'rehearse', cluster: null, to: null }],
    ['rehearse switchover cluster main to db2', { kind: 'rehearse', cluster: 'main', to: 'db2' }],
    ['MAINTENANCE ON', { kind: 'maintenance', on: true, cluster: null }],
    ['maintenance off cluster main', { kind: 'maintenance', on: false, cluster: 'main' }],
    ['SHOW PLAN', { kind: 'show', table: 'plan', filter: all }],
    [
      "SHOW DIAGNOSES WHERE gravity = 'critical'",
      {
        kind: 'show',
        table: 'diagnoses',
        filter: { kind: 'where', conditions: [{ column: 'gravity', comparison: '=', value: 'critical' }] },
      },
    ],
    ['REJOIN db1', { kind: 'rejoin', backend: 'db1', mode: 'plain', dryRun: false }],
    ['REJOIN db1 APPEND', { kind: 'rejoin', backend: 'db1', mode: 'append', dryRun: false }],
    ['rejoin db1 discard dry run', { kind: 'rejoin', backend: 'db1', mode: 'discard', dryRun: true }],
    ['SHOW LOST TRANSACTIONS', { kind: 'lost-transactions', backend: null, filter: all }],
    ['SHOW LOST TRANSACTIONS db1', { kind: 'lost-transactions', backend: 'db1', filter: all }],
    [
      "SHOW LOST TRANSACTIONS LIKE 'db%'",
      { kind: 'lost-transactions', backend: null, filter: { kind: 'like', pattern: 'db%' } },
    ],
    ['KILL 5', { kind: 'kill', id: 5, query: false }],
    ['KILL CONNECTION 5', { kind: 'kill', id: 5, query: false }],
    ['kill query 5', { kind: 'kill', id: 5, query: true }],
    ['SHUTDOWN', { kind: 'shutdown', now: false }],
    ['SHUTDOWN NOW', { kind: 'shutdown', now: true }],
    ['ShowBackends', { kind: 'show', table: 'seed-backends', filter: all }],
    [
      'SetBackendParam --backend=10.0.0.1:3306 --rw-weight=1 --ro-weight=0',
      { kind: 'set-backend', backend: '10.0.0.1:3306', change: { rwWeight: 1, roWeight: 0 } },
    ],
    [
      "setbackendparam --ro-weight 5 --backend='10.0.0.1:3306';",
      { kind: 'set-backend', backend: '10.0.0.1:3306', change: { roWeight: 5 } },
    ],
    [
      'SetBKOnline --backend=10.0.0.1:3306',
      { kind: 'set-backend', backend: '10.0.0.1:3306', change: { admin: 'online' } },
    ],
    [
      'SetBKOffline --backend=10.0.0.1:3306',
      { kind: 'set-backend', backend: '10.0.0.1:3306', change: { admin: 'offline' } },
    ],
  ];
  for (const [text, statement] of cases) {
    test(JSON.stringify(text), () => assert.deepEqual(parseStatement(text), statement));
  }
});

describe('EXPLAIN ROUTE takes the statement of a server as it is', () => {
  const bare = (sql: string): Statement => ({ kind: 'explain-route', listener: null, sessionId: null, sql });
  const cases: [text: string, statement: Statement][] = [
    ['EXPLAIN ROUTE select 1', bare('select 1')],
    ['explain\n route\tselect 1;', bare('select 1')],
    ['EXPLAIN ROUTE select 1\\G', bare('select 1')],
    ['EXPLAIN ROUTE select 1 ;\n\0', bare('select 1')],
    ['EXPLAIN ROUTE select 1; select 2;', bare('select 1; select 2')],
    ["EXPLAIN ROUTE select 'it''s', \"a;b\", `c`\nfrom t", bare("select 'it''s', \"a;b\", `c`\nfrom t")],
    ["EXPLAIN ROUTE select 'never closed", bare("select 'never closed")],
    ["EXPLAIN ROUTE select 'a\\\\', \\N", bare("select 'a\\\\', \\N")],
    [
      'EXPLAIN ROUTE /* dbproxy: replica */ select /*! 1 */ # 2\n',
      bare('/* dbproxy: replica */ select /*! 1 */ # 2'),
    ],
    ['EXPLAIN ROUTE(select 1)', bare('(select 1)')],
    ["EXPLAIN ROUTE 'select 1; select ''2'''", bare("select 1; select '2'")],
    ["EXPLAIN ROUTE 'select \\'a\\\\b\\',\\n 2;' ;", bare("select 'a\\b',\n 2;")],
    ['EXPLAIN ROUTE "select \'a\'"', bare("select 'a'")],
    [
      'EXPLAIN ROUTE ON LISTENER split FOR SESSION 1090519042 select 1',
      { kind: 'explain-route', listener: 'split', sessionId: 1_090_519_042, sql: 'select 1' },
    ],
    [
      'explain route for session 5 on listener `a b`select 1',
      { kind: 'explain-route', listener: 'a b', sessionId: 5, sql: 'select 1' },
    ],
    [
      "EXPLAIN ROUTE /* x */ ON/**/LISTENER 'split' /* kept */ select 1",
      { kind: 'explain-route', listener: 'split', sessionId: null, sql: '/* kept */ select 1' },
    ],
    ['EXPLAIN ROUTE on_listener x', bare('on_listener x')],
    ['EXPLAIN SESSION 1090519042;', { kind: 'explain-session', sessionId: 1_090_519_042 }],
  ];
  for (const [text, statement] of cases) {
    test(JSON.stringify(text), () => assert.deepEqual(parseStatement(text), statement));
  }

  test('blanks without end cost no more than their number', () => {
    const text = `EXPLAIN ROUTE select 1${' ;'.repeat(30_000)}x`;
    const parsed = parseStatement(text);
    assert.ok(parsed.kind === 'explain-route' && parsed.sql.endsWith('; ;x'));
  });
});

describe('what clients say on connecting is taken', () => {
  const nothings = [
    'SET NAMES utf8mb4',
    "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'",
    'set autocommit=1',
    'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    "SET @@session.sql_mode = ''",
    'SET @x = 1, @y = 2',
    '/*!40101 SET character_set_results = NULL */',
    'USE demo',
    'COMMIT',
  ];
  for (const text of nothings) {
    test(text, () => assert.deepEqual(parseStatement(text), { kind: 'nothing' }));
  }

  test('SELECT @@version_comment LIMIT 1', () => {
    assert.deepEqual(parseStatement('SELECT @@version_comment LIMIT 1'), {
      kind: 'select',
      items: [{ label: '@@version_comment', expression: { kind: 'variable', name: 'version_comment' } }],
    });
  });

  test('a list of expressions with aliases', () => {
    assert.deepEqual(
      parseStatement("select DATABASE(), user( ) AS me, @@session.autocommit ac, 1, 'x', null"),
      {
        kind: 'select',
        items: [
          { label: 'DATABASE()', expression: { kind: 'call', name: 'DATABASE' } },
          { label: 'me', expression: { kind: 'call', name: 'USER' } },
          { label: 'ac', expression: { kind: 'variable', name: 'autocommit' } },
          { label: '1', expression: { kind: 'constant', value: 1 } },
          { label: 'x', expression: { kind: 'constant', value: 'x' } },
          { label: 'null', expression: { kind: 'constant', value: null } },
        ],
      },
    );
  });
});

describe('a statement is refused', () => {
  const cases: [text: string, code: string, told: RegExp][] = [
    ['', 'DBPROXY_ADMIN_SYNTAX', /is empty/],
    [' ; ', 'DBPROXY_ADMIN_SYNTAX', /is empty/],
    ['SHOW BACKNEDS', 'DBPROXY_ADMIN_SYNTAX', /no statement 'SHOW BACKNEDS'; did you mean 'SHOW BACKENDS'\?/],
    ['PROMOT db2', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'PROMOTE'\?/],
    ['ShowBackend', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'ShowBackends'\?/],
    ['DELETE FROM t', 'DBPROXY_ADMIN_SYNTAX', /there is no statement 'DELETE FROM t'/],
    ['SELECT * FROM t', 'DBPROXY_ADMIN_SYNTAX', /admin port, not a database/],
    ['SHOW BACKENDS; SHOW POOLS', 'DBPROXY_ADMIN_SYNTAX', /one statement at a time/],
    ['SHOW BACKENDS db1', 'DBPROXY_ADMIN_SYNTAX', /'db1' is not expected here/],
    ["SHOW BACKENDS LIKE 'db", 'DBPROXY_ADMIN_SYNTAX', /the quote ' is not closed/],
    [
      'SHOW BACKENDS WHERE name',
      'DBPROXY_ADMIN_SYNTAX',
      /expected =, !=, <, <=, >, >= or LIKE, found the end of the statement/,
    ],
    ['SHOW BACKENDS WHERE name =', 'DBPROXY_ADMIN_SYNTAX', /expected a value behind name =/],
    ['SET BACKEND', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a backend/],
    ['SET BACKEND db1', 'DBPROXY_ADMIN_SYNTAX', /expected RW_WEIGHT/],
    ['SET BACKEND db1 WEIGHT = 1', 'DBPROXY_ADMIN_SYNTAX', /has no WEIGHT to set/],
    ['SET BACKEND db1 RW_WEIGHT = -1', 'DBPROXY_ADMIN_BAD_VALUE', /'-1'.*a whole number from 0 to 10000/],
    ['SET BACKEND db1 RW_WEIGHT = 10001', 'DBPROXY_ADMIN_BAD_VALUE', /from 0 to 10000/],
    ['SET BACKEND db1 RW_WEIGHT = 1, RW_WEIGHT = 2', 'DBPROXY_ADMIN_SYNTAX', /given twice/],
    ['SET BACKEND db1 MAX_CONNECTIONS = 0', 'DBPROXY_ADMIN_BAD_VALUE', /the least is 1/],
    ["SET BACKEND db1 DRAIN TIMEOUT '30'", 'DBPROXY_ADMIN_BAD_VALUE', /not a duration/],
    ['SET BACKEND db1 ONLINE now', 'DBPROXY_ADMIN_SYNTAX', /'now' is not expected/],
    [
      'SET BACKEND db1 OFFLNE',
      'DBPROXY_ADMIN_SYNTAX',
      /'OFFLNE' is not expected here; did you mean 'OFFLINE'\?/,
    ],
    [
      'SET BACKEND db1 RW_WEIGTH = 2',
      'DBPROXY_ADMIN_SYNTAX',
      /no RW_WEIGTH to set.*did you mean 'RW_WEIGHT'\?/,
    ],
    ['SET BACKEND db1 sideways', 'DBPROXY_ADMIN_SYNTAX', /'sideways' is not expected here; see/],
    ['FAILOVER TO db2 FORSE', 'DBPROXY_ADMIN_SYNTAX', /'FORSE' is not expected here; did you mean 'FORCE'\?/],
    ['SWITCHOVER CLUSER main', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'CLUSTER'\?/],
    ['SHOW EVENTS WHER id > 6', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'WHERE'\?/],
    ['SHOW EVENTS WHERE id ! 6', 'DBPROXY_ADMIN_SYNTAX', /expected '=', found '6'/],
    ['SET GLOBAL x = 1', 'DBPROXY_ADMIN_SYNTAX', /there is no statement/],
    ['PROMOTE', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a backend/],
    ['KILL', 'DBPROXY_ADMIN_SYNTAX', /expected the id of a session/],
    ['KILL 99999999999', 'DBPROXY_ADMIN_BAD_VALUE', /from 0 to 4294967295/],
    ['KILL 1 OR 1', 'DBPROXY_ADMIN_SYNTAX', /not expected/],
    ['SetBackendParam --rw-weight=1', 'DBPROXY_ADMIN_SYNTAX', /--backend=ip:port is missing/],
    ['SetBackendParam --backend=a:1', 'DBPROXY_ADMIN_SYNTAX', /nothing to set/],
    ['SetBackendParam --backend=a:1 --rw-weight=x', 'DBPROXY_ADMIN_BAD_VALUE', /a whole number/],
    ['SetBKOnline --backend=a:1 --backend=b:1', 'DBPROXY_ADMIN_SYNTAX', /--backend is given twice/],
    ['SetBKOnline 10.0.0.1:3306', 'DBPROXY_ADMIN_SYNTAX', /'10\.0\.0\.1:3306' is none of --backend/],
    ['SWITCHOVER FORCE', 'DBPROXY_ADMIN_SYNTAX', /'FORCE'/],
    ['SWITCHOVER TO db1 DRY', 'DBPROXY_ADMIN_SYNTAX', /expected RUN behind 'DRY'/],
    ['SWITCHOVER TO db1 DYR RUN', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'DRY'\?/],
    ['PROMOTE db2 FORSE', 'DBPROXY_ADMIN_SYNTAX', /'FORSE' is not expected here; did you mean 'FORCE'\?/],
    ['SWITCHOVER TO db2 CLUSTER main', 'DBPROXY_ADMIN_SYNTAX', /'CLUSTER'/],
    ['SWITCHOVER db2', 'DBPROXY_ADMIN_SYNTAX', /'db2'/],
    ['SWITCHOVER TO', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a backend/],
    ['FAILOVER CLUSTER', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a cluster/],
    ['FAILOVER TO db2 DRY', 'DBPROXY_ADMIN_SYNTAX', /DRY/],
    ['FAILOVER DRY RUN FORCE', 'DBPROXY_ADMIN_SYNTAX', /'FORCE'/],
    ['REHEARSE', 'DBPROXY_ADMIN_SYNTAX', /there is no statement 'REHEARSE'/],
    ['MAINTENANCE', 'DBPROXY_ADMIN_SYNTAX', /expected ON or OFF/],
    ['MAINTENANCE MAYBE', 'DBPROXY_ADMIN_SYNTAX', /expected ON or OFF/],
    ['MAINTENANCE ON main', 'DBPROXY_ADMIN_SYNTAX', /'main'/],
    ['REJOIN', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a backend/],
    ['REJOIN db1 APPEND DISCARD', 'DBPROXY_ADMIN_SYNTAX', /'DISCARD'/],
    ['EXPLAIN ROUTE', 'DBPROXY_ADMIN_SYNTAX', /expected the statement to explain/],
    ['EXPLAIN ROUTE ;', 'DBPROXY_ADMIN_SYNTAX', /expected the statement to explain/],
    ["EXPLAIN ROUTE ''", 'DBPROXY_ADMIN_SYNTAX', /expected the statement to explain/],
    ["EXPLAIN ROUTE 'select 1' from t", 'DBPROXY_ADMIN_SYNTAX', /nothing may stand behind/],
    ["EXPLAIN ROUTE 'select 1", 'DBPROXY_ADMIN_SYNTAX', /the quote ' is not closed/],
    ['EXPLAIN ROUTE ON LISTENER', 'DBPROXY_ADMIN_SYNTAX', /expected the name of a listener/],
    ['EXPLAIN ROUTE FOR SESSION', 'DBPROXY_ADMIN_SYNTAX', /expected|is needed/],
    ['EXPLAIN ROUTE FOR SESSION x select 1', 'DBPROXY_ADMIN_BAD_VALUE', /a whole number/],
    ['EXPLAIN ROUTE FOR SESSION 1 FOR SESSION 2 select 1', 'DBPROXY_ADMIN_SYNTAX', /given twice/],
    ['EXPLAIN ROUTE ON LISTENER a ON LISTENER b select 1', 'DBPROXY_ADMIN_SYNTAX', /given twice/],
    ['EXPLAIN ROUT select 1', 'DBPROXY_ADMIN_SYNTAX', /did you mean 'EXPLAIN ROUTE'\?/],
    ["ADD BACKEND db3 ADDRESS '10.0.0.3:3306'", 'DBPROXY_ADMIN_SYNTAX', /expected CLUSTER/],
    ['ADD BACKEND db3 CLUSTER a CLUSTER b', 'DBPROXY_ADMIN_SYNTAX', /CLUSTER is given twice/],
    ['EXPLAIN SESSION', 'DBPROXY_ADMIN_SYNTAX', /expected the id of a session/],
    ['x'.repeat(70_000), 'DBPROXY_ADMIN_SYNTAX', /at most 65536 characters/],
  ];
  for (const [text, code, told] of cases) {
    test(`${text.slice(0, 60)}: ${told.source}`, () => {
      assert.throws(
        () => parseStatement(text),
        (error) => isRefusal(error) && error.code === code && told.test(error.message),
      );
    });
  }

  const later = [
    'PAUSE',
    'RESUME LISTENER l',
    'ADD USER u',
    'SET USER u',
    'DROP USER u',
    'ADD FILTER f',
    'DROP FILTER f',
    'RELOAD CONFIG',
    'SAVE CONFIG',
  ];
  for (const text of later) {
    test(`${text}: not in this version`, () => {
      assert.throws(() => parseStatement(text), { code: 'DBPROXY_NOT_AVAILABLE', errno: 1235 });
    });
  }
});

test('no text makes the parser fail in another way than by a refusal', () => {
  const pieces = [
    'SHOW',
    'SET',
    'BACKEND',
    'EXPLAIN ROUTE',
    'ON LISTENER',
    'FOR SESSION',
    "'",
    '"',
    '`',
    '\\',
    '\\G',
    '=',
    ',',
    '(',
    ')',
    ';',
    '/*',
    '*/',
    '--',
    '# ',
    '\n',
    '@@',
    '\0',
    '1',
    'LIKE',
    'WHERE',
    'SELECT',
    '€',
  ];
  let seed = 1;
  const next = (limit: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % limit;
  };
  for (let round = 0; round < 5000; round++) {
    const text = Array.from({ length: next(8) }, () => pieces[next(pieces.length)]).join(next(2) ? ' ' : '');
    try {
      parseStatement(text);
    } catch (error) {
      assert.ok(isRefusal(error), `${JSON.stringify(text)}: ${String(error)}`);
    }
  }
});
