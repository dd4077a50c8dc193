/**
 * What monitor_user may not do that REJOIN takes, as the GRANTs that would let it. Asked before anything is done: an
 * undo that is forbidden half-way would leave a server that nobody can use.
 */
import { missingPrivileges } from '../../monitor/flavour/grants.ts';
import { grantStatements, setupWordsOf, type NeededPrivilege } from '../../monitor/flavour/setup.ts';
import { DBPROXY_SCHEMA } from '../../monitor/flavour/tables.ts';
import { textOf, type SqlConnection } from './connection.ts';

/** So many statements are told. */
const MOST_TOLD = 5;

/**
 * @param end Where the lost transactions are undone, or where they are compared and made again.
 * @param tables Theirs, as `schema.table`.
 */
export async function missingRights(
  connection: SqlConnection,
  user: string,
  end: 'old primary' | 'new primary',
  tables: readonly string[],
  timeoutMs: number,
): Promise<string[]> {
  const [row] = await connection.run('SELECT VERSION() AS version', timeoutMs);
  const words = setupWordsOf(textOf(row?.['version']), () => false);
  const rows = await connection.run('SHOW GRANTS', timeoutMs);
  const grants = rows.map((one) => textOf(Object.values(one)[0]));
  // What a role of MySQL gives is not told.
  if (words.family === 'mysql' && grants.some((grant) => !/ ON /i.test(grant))) return [];
  const { onServer, onTables } = words.rejoinPrivileges;
  // Its own tables it made itself.
  const theirs = tables.filter((table) => !table.startsWith(`${DBPROXY_SCHEMA}.`));
  const needed: NeededPrivilege[] = [
    ...(end === 'old primary' ? onServer : []),
    ...theirs.flatMap((on) => onTables.map((privilege) => ({ ...privilege, on }))),
  ];
  const statements = grantStatements(missingPrivileges(grants, needed), user);
  if (statements.length <= MOST_TOLD) return statements;
  return [...statements.slice(0, MOST_TOLD), `and ${statements.length - MOST_TOLD} more`];
}
