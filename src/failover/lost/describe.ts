/**
 * Asks a server for the definitions of tables, and for what makes their changes more than rows: triggers, rows that
 * follow their parents, engines without transactions. What the account may not see it is not told of; whether
 * there are triggers is among that, and is then said.
 */
import { quoteText } from '../../binlog/literal.ts';
import type { ColumnDefinition, TableDefinition } from '../../binlog/definition.ts';
import { definitionKey } from '../../binlog/transaction.ts';
import { DBPROXY_SCHEMA } from '../../monitor/flavour/tables.ts';
import { textOf, type SqlConnection } from './connection.ts';

interface TableName {
  readonly database: string;
  readonly table: string;
}

/** The tables that are there, each once. */
export async function describeTables(
  connection: SqlConnection,
  names: readonly TableName[],
  timeoutMs: number,
): Promise<Map<string, TableDefinition>> {
  const definitions = new Map<string, TableDefinition>();
  const logsFollowers = await doesLogFollowers(connection, timeoutMs);
  for (const name of new Map(names.map((one) => [definitionKey(one), one])).values()) {
    const definition = await describe(connection, name, logsFollowers, timeoutMs);
    if (definition !== null) definitions.set(definitionKey(name), definition);
  }
  return definitions;
}

async function describe(
  connection: SqlConnection,
  { database, table }: TableName,
  logsFollowers: boolean,
  timeoutMs: number,
): Promise<TableDefinition | null> {
  const ask = (sql: string): ReturnType<SqlConnection['run']> => connection.run(sql, timeoutMs);
  const where = (schema: string, name: string): string =>
    `WHERE ${schema} = ${quoteText(database)} AND ${name} = ${quoteText(table)}`;
  const columns = (
    await ask(
      `SELECT column_name AS name, data_type AS type, column_type AS full_type, character_set_name AS charset, extra AS extra FROM information_schema.columns ${where('table_schema', 'table_name')} ORDER BY ordinal_position`,
    )
  ).map(columnOf);
  if (columns.length === 0) return null;
  const indexes = await ask(
    `SELECT index_name AS name, column_name AS part, sub_part AS prefix, nullable AS nullable FROM information_schema.statistics ${where('table_schema', 'table_name')} AND non_unique = 0 ORDER BY index_name = 'PRIMARY' DESC, index_name, seq_in_index`,
  );
  const [facts] = await ask(
    `SELECT t.engine AS engine, t.table_type AS type, e.transactions AS transactional,
      (SELECT COUNT(*) FROM information_schema.triggers ${where('event_object_schema', 'event_object_table')}) AS triggers,
      (SELECT COUNT(*) FROM information_schema.referential_constraints ${where('unique_constraint_schema', 'referenced_table_name')}
        AND (delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', 'NO ACTION'))) AS followers,
      ${seesTriggers(database, table)} AS sees_triggers
    FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine ${where('t.table_schema', 't.table_name')}`,
  );
  const name = `${database}.${table}`;
  const hazards = hazardsOf(name, facts ?? {}, database === DBPROXY_SCHEMA);
  const own = database === DBPROXY_SCHEMA ? [`${name} is dbproxy's own and is never made again`] : [];
  const followers =
    !logsFollowers && Number(facts?.['followers'] ?? 0) > 0
      ? [`rows of other tables follow those of ${name} (foreign keys), and that is in no binlog`]
      : [];
  return {
    database,
    table,
    columns,
    key: keyOf(indexes, columns),
    redoHazards: [...hazards, ...own],
    undoHazards: [...hazards, ...followers],
  };
}

/** From MySQL 9.6 on the server itself changes the rows that follow others, not InnoDB, and so logs that. */
async function doesLogFollowers(connection: SqlConnection, timeoutMs: number): Promise<boolean> {
  const [row] = await connection.run("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'", timeoutMs);
  return textOf(row?.['Value']).toUpperCase() === 'OFF';
}

/** Privileges that come by roles are not found: then it is said that it cannot be seen. */
function seesTriggers(database: string, table: string): string {
  const me = `CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')`;
  const mine = `grantee = ${me} AND privilege_type = 'TRIGGER'`;
  return `(EXISTS (SELECT 1 FROM information_schema.user_privileges WHERE ${mine})
    OR EXISTS (SELECT 1 FROM information_schema.schema_privileges WHERE ${mine} AND ${quoteText(database)} LIKE table_schema)
    OR EXISTS (SELECT 1 FROM information_schema.table_privileges WHERE ${mine} AND table_schema = ${quoteText(database)} AND table_name = ${quoteText(table)}))`;
}

function hazardsOf(name: string, facts: Readonly<Record<string, unknown>>, isOurs: boolean): string[] {
  const hazards: string[] = [];
  const type = textOf(facts['type']);
  if (type !== 'BASE TABLE')
    hazards.push(`${name} is a ${type.toLowerCase() || 'table that nothing is told of'}`);
  if (textOf(facts['transactional']).toUpperCase() !== 'YES') {
    hazards.push(`${name} (${textOf(facts['engine'])}) has no transactions`);
  }
  if (Number(facts['triggers'] ?? 0) > 0) hazards.push(`${name} has triggers, which would run again`);
  else if (Number(facts['sees_triggers'] ?? 0) === 0 && !isOurs) {
    hazards.push(`whether ${name} has triggers cannot be seen without the privilege TRIGGER`);
  }
  return hazards;
}

function columnOf(row: Readonly<Record<string, unknown>>): ColumnDefinition {
  const charset = textOf(row['charset']);
  return {
    name: textOf(row['name']),
    type: textOf(row['type']).toLowerCase(),
    fullType: textOf(row['full_type']),
    charset: charset === '' || charset === 'binary' ? null : charset,
    // MySQL's DEFAULT_GENERATED is a default only.
    isGenerated: /\b(VIRTUAL|STORED|PERSISTENT)\b/i.test(textOf(row['extra'])),
  };
}

/** The first unique index, the primary key before all, whose columns are whole, never NULL, and nobody's result. */
function keyOf(
  parts: readonly Readonly<Record<string, unknown>>[],
  columns: readonly ColumnDefinition[],
): readonly number[] | null {
  for (const index of new Set(parts.map((part) => textOf(part['name'])))) {
    const own = parts.filter((part) => textOf(part['name']) === index);
    const places = own.map((part) => columns.findIndex(({ name }) => name === textOf(part['part'])));
    const isWhole = own.every((part) => textOf(part['prefix']) === '' && textOf(part['nullable']) !== 'YES');
    if (isWhole && places.every((place) => place >= 0 && !columns[place]!.isGenerated)) return places;
  }
  return null;
}
