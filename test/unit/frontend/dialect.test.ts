import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Preparation } from '../../../src/backend/wish.ts';
import { Settings } from '../../../src/backend/settings.ts';
import { causalWords } from '../../../src/frontend/causal.ts';
import type { ServerFacts } from '../../../src/frontend/context.ts';
import { dialectOf } from '../../../src/frontend/dialect.ts';
import { Capability } from '../../../src/protocol/constants.ts';
import type { SqlDialect } from '../../../src/sql/statement.ts';

const FACTS: ServerFacts = {
  isMariaDb: true,
  minVersion: 101106,
  maxVersion: 110402,
  sqlMode: '',
  transactionNames: { isolation: 'tx_isolation', readOnly: 'tx_read_only' },
  causal: causalWords(true, 101106),
};
const UTF8MB4 = 45;

function dialect(
  facts: Partial<ServerFacts>,
  settings = Settings.initial(''),
  collation = UTF8MB4,
): SqlDialect {
  return dialectOf({ ...FACTS, ...facts }, settings, { collation } as Preparation);
}

function withMode(sqlMode: string): Settings {
  return Settings.initial('').withVariable('sql_mode', `'${sqlMode}'`);
}

test('the servers decide which executable comments are code', () => {
  const { isMariaDb, minVersion, maxVersion } = dialect({ isMariaDb: false });
  assert.deepEqual(
    { isMariaDb, minVersion, maxVersion },
    { isMariaDb: false, minVersion: 101106, maxVersion: 110402 },
  );
});

const MODES: readonly [mode: string, ansiQuotes: boolean, noBackslashEscapes: boolean][] = [
  ['', false, false],
  ['STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', false, false],
  ['ANSI_QUOTES', true, false],
  ['STRICT_TRANS_TABLES,ansi_quotes', true, false],
  ['REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI', true, false],
  ['ORACLE', true, false],
  ['POSTGRESQL', true, false],
  ['NO_BACKSLASH_ESCAPES', false, true],
  ['ANSI_QUOTES,NO_BACKSLASH_ESCAPES', true, true],
  // No word of it is the whole of one that matters.
  ['NO_ANSI_THING', false, false],
];
for (const [mode, ansiQuotes, noBackslashEscapes] of MODES) {
  test(`sql_mode '${mode}' is minded, of the session as of the server`, () => {
    for (const found of [dialect({ sqlMode: mode }), dialect({}, withMode(mode))]) {
      assert.deepEqual([found.ansiQuotes, found.noBackslashEscapes], [ansiQuotes, noBackslashEscapes]);
    }
  });
}

test('what a session has set goes before what its server begins with', () => {
  assert.equal(dialect({ sqlMode: 'ANSI_QUOTES' }, withMode('')).ansiQuotes, false);
});

const COLLATIONS: readonly [id: number, characterSet: SqlDialect['characterSet']][] = [
  [UTF8MB4, 'safe'],
  [8, 'safe'],
  [255, 'safe'],
  [309, 'safe'],
  [1, 'big5'],
  [84, 'big5'],
  [13, 'sjis'],
  [88, 'sjis'],
  [95, 'sjis'],
  [96, 'sjis'],
  [28, 'gbk'],
  [87, 'gbk'],
  [248, 'gb18030'],
  // MariaDB, without padding.
  [1025, 'big5'],
  [1052, 'gbk'],
  [1112, 'sjis'],
  // MariaDB, uca1400: their last bits look like ids of the others.
  [2049, 'safe'],
  [2076, 'safe'],
];
for (const [id, characterSet] of COLLATIONS) {
  test(`a session that begins with collation ${id} is read as ${characterSet}`, () => {
    assert.equal(dialect({}, undefined, id).characterSet, characterSet);
  });
}

const NAMED: readonly [what: string, settings: Settings, characterSet: SqlDialect['characterSet']][] = [
  ['character_set_client', Settings.initial('').withVariable('character_set_client', "'gbk'"), 'gbk'],
  [
    'character_set_client in big letters',
    Settings.initial('').withVariable('character_set_client', "'CP932'"),
    'sjis',
  ],
  ['NAMES', Settings.initial('').withNames("'big5'"), 'big5'],
  ['NAMES with a collation', Settings.initial('').withNames("'gbk' COLLATE 'gbk_bin'"), 'gbk'],
  [
    'NAMES, and the client’s alone after it',
    Settings.initial('').withNames("'gbk'").withVariable('character_set_client', "'utf8'"),
    'safe',
  ],
  ['a safe one after a login with another', Settings.initial('').withNames("'utf8mb4'"), 'safe'],
];
for (const [what, settings, characterSet] of NAMED) {
  test(`${what} decides: ${characterSet}`, () => {
    assert.equal(dialect({}, settings, characterSet === 'safe' ? 28 : UTF8MB4).characterSet, characterSet);
  });
}

test('NAMES DEFAULT is what the server has, which is not known to be safe or not: as the login said', () => {
  assert.equal(dialect({}, Settings.initial('').withNames('DEFAULT')).characterSet, 'safe');
});

test('IGNORE_SPACE is minded, by sql_mode and by the flag of the login, until the session sets its sql_mode', () => {
  const asked = { collation: UTF8MB4, settingFlags: Capability.IGNORE_SPACE } as Preparation;
  const initial = Settings.initial('');
  assert.equal(dialectOf(FACTS, initial, asked).ignoreSpace, true);
  assert.equal(dialectOf(FACTS, withMode('STRICT_TRANS_TABLES'), asked).ignoreSpace, false);
  assert.equal(dialect({ sqlMode: 'IGNORE_SPACE' }).ignoreSpace, true);
  assert.equal(dialect({}).ignoreSpace, false);
});
