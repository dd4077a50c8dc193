/**
 * What data a server has, and whether two servers have the same: first by the names of what there is, then by
 * the definitions and checksums of all tables. A server may begin to replicate from another one only when that
 * has been proven, or when it is empty.
 *
 * Manual: https://mariadb.com/kb/en/checksum-table/, https://dev.mysql.com/doc/refman/8.4/en/checksum-table.html
 */
import type { ControlConnection } from '../monitor/connection.ts';
import { text, type Row } from '../monitor/flavour/row.ts';
import { DBPROXY_SCHEMA, OWN_TABLE_NAMES } from '../monitor/flavour/tables.ts';

export interface Inventory {
  /** All but base tables, by kind and name: `schema shop`, `view shop.v`, `trigger shop.t1`. */
  readonly objects: readonly string[];
  /** Of each that has one, its definition in short. */
  readonly definitions: ReadonlyMap<string, string>;
  /** Base tables, as `schema.table`. */
  readonly tables: readonly string[];
  /** What the server says they take, together. */
  readonly bytes: number;
  /** `user@host`, without roles. */
  readonly accounts: readonly string[];
  readonly hasOwnSchema: boolean;
  /** All tables of it are there. */
  readonly hasOwnTables: boolean;
}

/** More than this is not compared: reading it all, on both servers, would take too long. */
export const MAX_COMPARED_BYTES = 2 * 1024 ** 3;
/** Differences that are told at most. */
const MAX_DIFFERENCES = 10;
const QUESTION_TIMEOUT_MS = 30_000;
/** Bound of the checksum of one table. */
const CHECKSUM_TIMEOUT_MS = 15 * 60_000;

const SYSTEM_SCHEMAS = [
  'information_schema',
  'mysql',
  'ndbinfo',
  'performance_schema',
  'sys',
  DBPROXY_SCHEMA,
];
const OF_USERS = `NOT IN (${SYSTEM_SCHEMAS.map((name) => `'${name}'`).join(', ')})`;

// MySQL 9 has no MD5() any more.
const OBJECTS = `
  SELECT CONCAT('schema ', schema_name) AS object, '' AS definition FROM information_schema.schemata WHERE schema_name ${OF_USERS}
  UNION ALL SELECT CONCAT('view ', table_schema, '.', table_name), SHA2(view_definition, 256)
    FROM information_schema.views WHERE table_schema ${OF_USERS}
  UNION ALL SELECT CONCAT(LOWER(table_type), ' ', table_schema, '.', table_name), ''
    FROM information_schema.tables
    WHERE table_schema ${OF_USERS} AND table_type NOT IN ('BASE TABLE', 'VIEW')
  UNION ALL SELECT CONCAT(LOWER(routine_type), ' ', routine_schema, '.', routine_name), SHA2(routine_definition, 256)
    FROM information_schema.routines WHERE routine_schema ${OF_USERS}
  UNION ALL SELECT CONCAT('trigger ', trigger_schema, '.', trigger_name), SHA2(action_statement, 256) FROM information_schema.triggers
    WHERE trigger_schema ${OF_USERS}
  UNION ALL SELECT CONCAT('event ', event_schema, '.', event_name), SHA2(event_definition, 256) FROM information_schema.events
    WHERE event_schema ${OF_USERS}`;

const TABLES = `SELECT table_schema AS table_schema, table_name AS table_name, data_length + index_length AS bytes
  FROM information_schema.tables WHERE table_schema ${OF_USERS} AND table_type = 'BASE TABLE'`;

const OWN_SCHEMA = `SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name = '${DBPROXY_SCHEMA}'`;

const OWN_TABLES = `SELECT table_name AS name FROM information_schema.tables
  WHERE table_schema = '${DBPROXY_SCHEMA}' AND table_name IN (${OWN_TABLE_NAMES.map((name) => `'${name}'`).join(', ')})`;

/** Lists what a server has. */
export async function takeInventory(connection: ControlConnection, isMariadb: boolean): Promise<Inventory> {
  const ask = (sql: string): Promise<Row[]> => connection.run(sql, QUESTION_TIMEOUT_MS);
  const tables = await ask(TABLES);
  const objects = await ask(OBJECTS);
  // Roles of MariaDB are rows of the same table, without a host.
  const roles = isMariadb ? "WHERE host <> ''" : '';
  const accounts = await ask(`SELECT CONCAT(user, '@', host) AS account FROM mysql.user ${roles}`);
  return {
    objects: objects.map((row) => text(row.object)).sort(),
    definitions: new Map(objects.map((row) => [text(row.object), text(row.definition)])),
    tables: tables.map((row) => `${text(row.table_schema)}.${text(row.table_name)}`).sort(),
    bytes: tables.reduce((sum, row) => sum + Number(row.bytes ?? 0), 0),
    accounts: accounts.map((row) => text(row.account)),
    hasOwnSchema: (await ask(OWN_SCHEMA)).length > 0,
    hasOwnTables: (await ask(OWN_TABLES)).length === OWN_TABLE_NAMES.length,
  };
}

/** True when nobody has put anything there: it has no schema but the servers' own. */
export function isEmpty({ objects, tables }: Inventory): boolean {
  return objects.length === 0 && tables.length === 0;
}

/** The schemas that are not the servers' own, nor dbproxy's. */
export function schemasOf({ objects }: Inventory): string[] {
  const prefix = 'schema ';
  return objects.flatMap((object) => (object.startsWith(prefix) ? [object.slice(prefix.length)] : []));
}

export function quoteSchema(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** What one of two servers has and the other has not, or has otherwise, in words; tables by their names alone. */
export function differencesInNames(
  one: { readonly name: string; readonly inventory: Inventory },
  other: { readonly name: string; readonly inventory: Inventory },
): string[] {
  const changed = [...one.inventory.definitions].filter(
    ([object, definition]) => (other.inventory.definitions.get(object) ?? definition) !== definition,
  );
  return bounded([
    ...onlyIn(one, other),
    ...onlyIn(other, one),
    ...changed.map(([object]) => `${object} is defined otherwise on ${other.name} than on ${one.name}`),
  ]);
}

/** One of two servers whose tables are compared. */
export interface Compared {
  readonly name: string;
  readonly connection: ControlConnection;
}

/** Tables whose definition or content is not the same on both; the names have been compared before. */
export async function differencesInTables(
  one: Compared,
  other: Compared,
  tables: readonly string[],
  tell: (compared: number) => void,
): Promise<string[]> {
  const differences: string[] = [];
  for (const [index, table] of tables.entries()) {
    tell(index);
    if (differences.length > MAX_DIFFERENCES) break;
    const [first, second] = await Promise.all([lookAt(one, table), lookAt(other, table)]);
    if (first.definition !== second.definition) {
      differences.push(`table ${table} is defined otherwise on ${other.name} than on ${one.name}`);
    } else if (first.checksum !== second.checksum) {
      const counts = `${first.rows} row(s) on ${one.name}, ${second.rows} on ${other.name}`;
      differences.push(`table ${table} has other content: ${counts}`);
    }
  }
  return bounded(differences);
}

interface TableLook {
  readonly definition: string;
  readonly checksum: string;
  readonly rows: string;
}

async function lookAt({ connection }: Compared, table: string): Promise<TableLook> {
  const name = quoted(table);
  const [created] = await connection.run(`SHOW CREATE TABLE ${name}`, QUESTION_TIMEOUT_MS);
  const [summed] = await connection.run(`CHECKSUM TABLE ${name}`, CHECKSUM_TIMEOUT_MS);
  const [counted] = await connection.run(`SELECT COUNT(*) AS count FROM ${name}`, CHECKSUM_TIMEOUT_MS);
  const definition = text(created?.['Create Table']);
  return {
    // The next number to give is no part of the data, and is not the same after a load by hand.
    definition: definition.replace(/ AUTO_INCREMENT=\d+/, ''),
    checksum: text(summed?.Checksum),
    rows: text(counted?.count),
  };
}

/** `schema.table` as SQL names it. A dot in a schema's name would be cut at the wrong place: then the server says so. */
function quoted(table: string): string {
  const dot = table.indexOf('.');
  return [table.slice(0, dot), table.slice(dot + 1)]
    .map((part) => `\`${part.replaceAll('`', '``')}\``)
    .join('.');
}

function onlyIn(
  one: { readonly name: string; readonly inventory: Inventory },
  other: { readonly name: string; readonly inventory: Inventory },
): string[] {
  const namesOf = ({ objects, tables }: Inventory): string[] => [
    ...objects,
    ...tables.map((table) => `table ${table}`),
  ];
  const known = new Set(namesOf(other.inventory));
  return namesOf(one.inventory)
    .filter((object) => !known.has(object))
    .map((object) => `${object} is on ${one.name} only`);
}

function bounded(differences: readonly string[]): string[] {
  if (differences.length <= MAX_DIFFERENCES) return [...differences];
  const left = differences.length - MAX_DIFFERENCES;
  return [...differences.slice(0, MAX_DIFFERENCES), `and ${left} more`];
}
