/**
 * What a server that is to replicate needs besides the data: the accounts that the primary has, and dbproxy's own
 * schema as it is there. Read at the primary, as the statements that make it elsewhere.
 */
import { text, type Statement } from '../monitor/flavour/row.ts';
import { missingToGive } from '../monitor/flavour/grants.ts';
import { compareNumbers, grantStatements, versionNumbers } from '../monitor/flavour/setup.ts';
import { CREATE_TABLES, DBPROXY_SCHEMA } from '../monitor/flavour/tables.ts';
import { STATEMENT_TIMEOUT_MS, type Servers } from './servers.ts';
import type { Survey } from './survey.ts';

const NO_SUCH_TABLE = 1146;
/** Rows of dbproxy.epoch that are copied at most, the newest: one a promotion. */
const MAX_EPOCHS = 1_000;

/** Accounts as another server has them. */
export interface AccountCopy {
  /** What makes them, passwords included, with what they may do. */
  readonly make: readonly Statement[];
  /** What takes them away again. */
  readonly drop: readonly Statement[];
}

export const NO_ACCOUNTS: AccountCopy = { make: [], drop: [] };

/** Why accounts cannot be made on a server: nobody gives what he has not, and one without its grants is worse than none. */
export function objectionsToCopy(
  { backend, grants }: Survey,
  { make }: AccountCopy,
  actsAs: string,
): string[] {
  const given = make.map(({ sql }) => sql).filter((sql) => sql.startsWith('GRANT '));
  const missing = missingToGive(grants, given);
  if (missing.length === 0) return [];
  return [
    `${backend.name}: ${actsAs} is to make accounts there with rights that it does not have itself: ${grantStatements(missing, actsAs).join('; ')}`,
  ];
}

/** What makes accounts (`user@host`) as the primary has them. */
export async function copyOfAccounts(
  servers: Servers,
  primary: Survey,
  accounts: readonly string[],
): Promise<AccountCopy> {
  const { family, persists } = primary.words;
  const make: Statement[] = [];
  const drop: Statement[] = [];
  // Hashes of caching_sha2_password have bytes that are no text.
  if (family === 'mysql' && persists && accounts.length > 0) {
    await servers.ask(primary.backend, 'SET SESSION print_identified_with_as_hex = ON');
  }
  const showsCreate =
    family === 'mariadb' || compareNumbers(versionNumbers(primary.facts.version), [5, 7, 6]) >= 0;
  for (const account of accounts) {
    const at = account.lastIndexOf('@');
    const name = `${quoted(account.slice(0, at))}@${quoted(account.slice(at + 1))}`;
    const questions = [...(showsCreate ? [`SHOW CREATE USER ${name}`] : []), `SHOW GRANTS FOR ${name}`];
    for (const question of questions) {
      const rows = await servers.ask(primary.backend, question);
      make.push(...rows.map((row) => ({ sql: text(Object.values(row)[0]) })));
    }
    drop.push({ sql: `DROP USER ${name}` });
  }
  return { make, drop };
}

/** The statements that make dbproxy's schema on another server what it is on the primary. */
export async function copyOfOwnSchema(
  servers: Servers,
  primary: Survey,
  isThere: boolean,
): Promise<Statement[]> {
  const drop = { sql: `DROP DATABASE IF EXISTS ${DBPROXY_SCHEMA}` };
  if (!isThere) return [drop];
  const statements: Statement[] = [drop, ...CREATE_TABLES.map((sql) => ({ sql }))];
  const tables = {
    epoch: ['cluster', 'epoch', 'backend', 'at_ms'],
    heartbeat: ['cluster', 'at_ms', 'epoch'],
  } as const;
  for (const [table, columns] of Object.entries(tables)) {
    const order = table === 'epoch' ? ` ORDER BY epoch DESC LIMIT ${MAX_EPOCHS}` : '';
    const rows = await servers
      .ask(primary.backend, `SELECT ${columns.join(', ')} FROM ${DBPROXY_SCHEMA}.${table}${order}`)
      .catch(emptyWithoutTable);
    const places = columns.map(() => '?').join(', ');
    const sql = `INSERT INTO ${DBPROXY_SCHEMA}.${table} (${columns.join(', ')}) VALUES (${places})`;
    statements.push(...rows.map((row) => ({ sql, values: columns.map((column) => text(row[column])) })));
  }
  return statements;
}

/** Whether the primary's own table names it as the primary of its cluster; the table is there. */
export async function hasEpochRow(servers: Servers, primary: Survey, cluster: string): Promise<boolean> {
  const { connection } = await servers.of(primary.backend);
  const sql = `SELECT backend FROM ${DBPROXY_SCHEMA}.epoch WHERE cluster = ? ORDER BY epoch DESC LIMIT 1`;
  const [row] = await connection.run({ sql, values: [cluster] }, STATEMENT_TIMEOUT_MS);
  return text(row?.backend) === primary.backend.name;
}

/** One of the tables may be missing where the schema is there. */
function emptyWithoutTable(error: unknown): [] {
  if (error instanceof Error && 'errno' in error && error.errno === NO_SUCH_TABLE) return [];
  throw error;
}

function quoted(part: string): string {
  return `'${part.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
