/**
 * Semi-synchronous replication as a server tells of it. The names come with the answer, so that the same
 * questions fit all servers: `master` and `slave` in MariaDB and the older MySQL, `source` and `replica`
 * in the plugins that came with MySQL 8.0.26. A server without a plugin has none of its names.
 *
 * Manual: https://mariadb.com/kb/en/semisynchronous-replication/,
 *         https://dev.mysql.com/doc/refman/8.4/en/replication-semisync-monitoring.html
 */
import type { SemiSyncFacts } from '../observation.ts';
import { byName, isOn, numberOf, text, type Row } from './row.ts';

/** The two switches of a server, under the names it has for them. */
export interface SemiSyncSwitches {
  readonly primary: { readonly variable: string; readonly on: boolean } | null;
  readonly replica: { readonly variable: string; readonly on: boolean } | null;
}

/** Asks for the settings. */
export const SEMI_SYNC_QUERY = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'";

const PRIMARY_SWITCH = /^rpl_semi_sync_(master|source)_enabled$/i;
const REPLICA_SWITCH = /^rpl_semi_sync_(slave|replica)_enabled$/i;

/** The switches in an answer to SEMI_SYNC_QUERY. */
export function readSemiSync(rows: readonly Row[]): SemiSyncSwitches {
  const find = (pattern: RegExp): SemiSyncSwitches['primary'] => {
    const row = rows.find((one) => pattern.test(text(one.Variable_name)));
    return row === undefined ? null : { variable: text(row.Variable_name), on: isOn(row.Value) };
  };
  return { primary: find(PRIMARY_SWITCH), replica: find(REPLICA_SWITCH) };
}

/** What a server says of its semi-sync, in its answers to SEMI_SYNC_QUERY and to its flavour's `status`. */
export function readSemiSyncFacts(variableRows: readonly Row[], statusRows: readonly Row[]): SemiSyncFacts {
  const { primary, replica } = readSemiSync(variableRows);
  const variables = byName(variableRows);
  const status = byName(statusRows);
  return {
    primary: primary && readPrimary(primary, variables, status),
    replica: replica && {
      enabled: replica.on,
      live: isOn(status.get(withEnding(replica.variable, 'status'))),
    },
  };
}

function readPrimary(
  { variable, on }: { readonly variable: string; readonly on: boolean },
  variables: ReadonlyMap<string, unknown>,
  status: ReadonlyMap<string, unknown>,
): SemiSyncFacts['primary'] {
  const setting = (ending: string): unknown => variables.get(withEnding(variable, ending));
  const isSource = /_source_/i.test(variable);
  return {
    enabled: on,
    live: isOn(status.get(withEnding(variable, 'status'))),
    clients: numberOf(status.get(withEnding(variable, 'clients'))) ?? 0,
    waiting: numberOf(status.get(withEnding(variable, 'wait_sessions'))) ?? 0,
    timeoutMs: numberOf(setting('timeout')) ?? 0,
    // MySQL 5.6 knows no other point than after the commit, and has no setting for it.
    waitPoint: /^after_sync$/i.test(text(setting('wait_point'))) ? 'after_sync' : 'after_commit',
    waitForReplicas: numberOf(setting(isSource ? 'wait_for_replica_count' : 'wait_for_slave_count')) ?? 1,
  };
}

/** `rpl_semi_sync_source_enabled` and `status` make `rpl_semi_sync_source_status`. */
function withEnding(enabledName: string, ending: string): string {
  return enabledName.toLowerCase().replace(/enabled$/, ending);
}
