/**
 * What an account may do, by its SHOW GRANTS, and what of that is missing. Pure.
 *
 *   GRANT RELOAD, SUPER ON *.* TO `monitor`@`%` IDENTIFIED BY PASSWORD '…'
 *   GRANT SELECT (a, b), INSERT ON `mysql`.`user` TO 'monitor'@'%' WITH GRANT OPTION
 *
 * Manual: https://mariadb.com/kb/en/show-grants/, https://dev.mysql.com/doc/refman/8.4/en/show-grants.html
 */
import { GRANT_OPTION, type NeededPrivilege } from './setup.ts';

interface Grant {
  readonly privileges: ReadonlySet<string>;
  /** `*.*`, `schema.*` or `schema.table`, without quotes. */
  readonly on: string;
}

const ALL = 'ALL PRIVILEGES';

/** What ALL PRIVILEGES on one schema has at every server. */
const ON_SCHEMA = [
  ...['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'REFERENCES', 'INDEX', 'ALTER'],
  ...['CREATE TEMPORARY TABLES', 'LOCK TABLES', 'EXECUTE', 'CREATE VIEW', 'SHOW VIEW'],
  ...['CREATE ROUTINE', 'ALTER ROUTINE', 'EVENT', 'TRIGGER'],
];

/** What SUPER still includes at MySQL, where the finer ones came later; MariaDB takes each for itself. */
const INCLUDED_IN_SUPER = new Set([
  'CONNECTION_ADMIN',
  'SYSTEM_VARIABLES_ADMIN',
  'REPLICATION_SLAVE_ADMIN',
  'PERSIST_RO_VARIABLES_ADMIN',
]);

/** Those of `needed` that the grants, one statement a row, do not give. */
export function missingPrivileges(
  grants: readonly string[],
  needed: readonly NeededPrivilege[],
): NeededPrivilege[] {
  const held = grants.flatMap(readGrant);
  return needed.filter(
    ({ privilege, on }) =>
      !held.some((grant) => covers(grant.on, on) && includes(grant.privileges, privilege)),
  );
}

/** What an account lacks that is to give others what `given` says, one GRANT a row: it has to have all of it itself. */
export function missingToGive(grants: readonly string[], given: readonly string[]): NeededPrivilege[] {
  const why = 'to give it to others';
  const needed = given.flatMap(readGrant).flatMap(({ privileges, on }) => {
    // PROXY is given on an account, not on data.
    const named = [...privileges].filter(
      (privilege) => !['USAGE', 'PROXY', GRANT_OPTION].includes(privilege),
    );
    if (named.length === 0) return [];
    // Servers from MySQL 8 on list what ALL on *.* was when it was given.
    const all = on === '*.*' ? [ALL] : ON_SCHEMA;
    const each = named.flatMap((privilege) => (privilege === ALL ? all : [privilege]));
    return [...each, GRANT_OPTION].map((privilege) => ({ privilege, on, why }));
  });
  const distinct = new Map(needed.map((one) => [`${one.privilege} ${one.on}`, one]));
  return missingPrivileges(grants, [...distinct.values()]);
}

/** A grant of a role names no place and gives nothing by itself; what it holds has rows of its own. */
function readGrant(statement: string): Grant[] {
  const match = /^GRANT (.+?) ON (?:TABLE )?(\S+) TO (.*)$/is.exec(statement);
  if (match === null) return [];
  const [, list, place, rest] = match;
  const privileges = list!.replaceAll(/\([^)]*\)/g, '').split(',');
  const named = privileges.map((privilege) => privilege.trim().toUpperCase());
  if (/WITH GRANT OPTION/i.test(rest!)) named.push(GRANT_OPTION);
  return [{ privileges: new Set(named), on: place!.replaceAll(/[`'"]/g, '').replaceAll('\\_', '_') }];
}

function covers(granted: string, needed: string): boolean {
  if (granted === '*.*' || granted === needed) return true;
  return granted === `${needed.split('.', 1)[0]!}.*`;
}

function includes(privileges: ReadonlySet<string>, privilege: string): boolean {
  if (privileges.has(privilege)) return true;
  if (privilege !== GRANT_OPTION && privileges.has(ALL)) return true;
  return privileges.has('SUPER') && INCLUDED_IN_SUPER.has(privilege);
}
