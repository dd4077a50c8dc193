/**
 * How a session's statements are to be read: by what its settings say, and where it has set nothing, by what
 * its server begins with.
 */
import type { Preparation } from '../backend/wish.ts';
import { NAMES, type Settings } from '../backend/settings.ts';
import { Capability } from '../protocol/constants.ts';
import type { SqlDialect } from '../sql/statement.ts';
import type { ServerFacts } from './context.ts';

/** Character sets by the ids of their collations; MariaDB adds 1024 for those without padding. */
const COLLATIONS: Readonly<Record<number, SqlDialect['characterSet']>> = {
  1: 'big5',
  84: 'big5',
  13: 'sjis',
  88: 'sjis',
  95: 'sjis',
  96: 'sjis',
  28: 'gbk',
  87: 'gbk',
  248: 'gb18030',
  249: 'gb18030',
  250: 'gb18030',
};

/** MariaDB's ids of the same collations without padding. */
const NO_PAD = 1024;

const CHARACTER_SETS: Readonly<Record<string, SqlDialect['characterSet']>> = {
  big5: 'big5',
  sjis: 'sjis',
  cp932: 'sjis',
  gbk: 'gbk',
  gb18030: 'gb18030',
};

/** Dialects of sessions that have set nothing, by what they log in with: nearly all begin alike. */
const first = new WeakMap<ServerFacts, Map<string, SqlDialect>>();

/** The dialect of a session with these settings. */
export function dialectOf(facts: ServerFacts, settings: Settings, preparation: Preparation): SqlDialect {
  if (settings.variables.size > 0) return makeDialect(facts, settings, preparation);
  const known = first.get(facts) ?? new Map<string, SqlDialect>();
  const key = `${preparation.collation} ${preparation.settingFlags}`;
  let dialect = known.get(key);
  if (dialect === undefined) {
    dialect = makeDialect(facts, settings, preparation);
    first.set(facts, known.set(key, dialect));
  }
  return dialect;
}

function makeDialect(
  facts: ServerFacts,
  settings: Settings,
  { collation, settingFlags }: Preparation,
): SqlDialect {
  const own = settings.variables.get('sql_mode');
  const isAsked = own === undefined && (settingFlags & Capability.IGNORE_SPACE) !== 0;
  const mode = (settings.variables.get('sql_mode') ?? facts.sqlMode).toUpperCase();
  const client = settings.variables.get('character_set_client') ?? settings.variables.get(NAMES);
  const name = client?.replaceAll("'", '').split(' ')[0]?.toLowerCase();
  return {
    ansiQuotes: /\b(?:ANSI|ANSI_QUOTES|DB2|MAXDB|MSSQL|ORACLE|POSTGRESQL)\b/.test(mode),
    noBackslashEscapes: mode.includes('NO_BACKSLASH_ESCAPES'),
    characterSet:
      (name === undefined
        ? (COLLATIONS[collation] ?? COLLATIONS[collation - NO_PAD])
        : CHARACTER_SETS[name]) ?? 'safe',
    ignoreSpace: isAsked || /\b(?:IGNORE_SPACE|ANSI|DB2|MAXDB|MSSQL|ORACLE|POSTGRESQL)\b/.test(mode),
    isMariaDb: facts.isMariaDb,
    minVersion: facts.minVersion,
    maxVersion: facts.maxVersion,
  };
}
