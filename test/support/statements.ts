/**
 * The labelled statements of test/vectors/statements.txt, read; and the dialects that they name.
 */
import { readFileSync } from 'node:fs';
import { Leave, Need, type SqlDialect, type StatementClass } from '../../src/sql/statement.ts';

/** A statement on one server, and what the classifier must say of it. */
export interface StatementVector {
  readonly sql: string;
  readonly server: string;
  readonly dialect: SqlDialect;
  readonly class: StatementClass;
  readonly needs: number;
  readonly leaves: number;
}

const MYSQL: SqlDialect = {
  ansiQuotes: false,
  noBackslashEscapes: false,
  characterSet: 'safe',
  isMariaDb: false,
  minVersion: 90700,
  maxVersion: 90700,
};
const MARIADB: SqlDialect = { ...MYSQL, isMariaDb: true, minVersion: 101106, maxVersion: 101106 };

/** The dialects that vectors name. */
export const DIALECTS = {
  mysql: MYSQL,
  mariadb: MARIADB,
  mysql56: { ...MYSQL, minVersion: 50624, maxVersion: 50624 },
  /** Servers of several versions behind one endpoint. */
  mysql5: { ...MYSQL, minVersion: 50624, maxVersion: 90700 },
  ansi: { ...MARIADB, ansiQuotes: true },
  noescape: { ...MARIADB, noBackslashEscapes: true },
} satisfies Record<string, SqlDialect>;

/** Every labelled statement, once for each server it is labelled for. */
export function readStatementVectors(): StatementVector[] {
  const text = readFileSync(new URL('../vectors/statements.txt', import.meta.url), 'utf8');
  const vectors: StatementVector[] = [];
  let label: Omit<StatementVector, 'sql' | 'server' | 'dialect'> | undefined;
  let servers: string[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# -') || /^# [A-Za-z]/.test(line) || line === '#') continue;
    const header = /^\[(\w+) \| ([\w,-]+) \| ([\w,-]+) \| (\w+)\]$/.exec(line);
    if (header) {
      label = {
        class: header[1] as StatementClass,
        needs: bitsOf(Need, header[2]!),
        leaves: bitsOf(Leave, header[3]!),
      };
      servers = header[4] === 'both' ? ['mysql', 'mariadb'] : [header[4]!];
      continue;
    }
    if (label === undefined) continue;
    for (const server of servers) {
      const dialect = (DIALECTS as Record<string, SqlDialect>)[server];
      if (dialect === undefined) throw new Error(`no dialect is called ${server}`);
      vectors.push({ ...label, sql: line.replaceAll('⏎', '\n'), server, dialect });
    }
  }
  return vectors;
}

/** The names of the bits in `value`, for people. */
export function namesOfBits(table: Readonly<Record<string, number>>, value: number): string {
  const names = Object.entries(table).filter(([, bit]) => (value & bit) !== 0);
  return names.map(([name]) => name).join(',') || '-';
}

function bitsOf(table: Readonly<Record<string, number>>, names: string): number {
  if (names === '-') return 0;
  return names.split(',').reduce((bits, name) => {
    const bit = table[name];
    if (bit === undefined) throw new Error(`there is no bit ${name}`);
    return bits | bit;
  }, 0);
}

/** A view as servers are asked for it (src/frontend/hidden-code.ts): its name in digits, and its text. */
export function viewRow([name, text]: readonly [string, string]): string {
  return `${Buffer.from(name).toString('hex')}\n${text}`;
}
