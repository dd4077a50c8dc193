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
import { semiSyncTimeoutMs, type SemiSyncWords } from './setup.ts';

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

/** How long the applier of a server that stands by waits for a replica below it. */
const STAND_BY_WAIT_MS = 10;

/**
 * The settings that have to change for a server's commits to wait for replicas, or to wait for none, in the order in
 * which to change them; `variables` are those it has, by name in lower case.
 *
 * Where `standsBy`, a server whose commits have waited once is never switched off again: it is told to do without
 * replicas when it has none, which is so at once, also for commits that wait already. It has none unless it is in the
 * midst of a chain, or was the primary until now; then a commit waits a moment for those. Told to wait again, it waits
 * from the next commit on, whatever has been before.
 */
export function commitWaitChanges(
  words: SemiSyncWords,
  policy: 'require' | 'prefer' | 'off',
  waits: boolean,
  variables: ReadonlyMap<string, string>,
): [name: string, value: string][] {
  if (!waits && !isOn(variables.get(words.primarySwitch))) return [];
  return commitWaitSettings(words, policy, waits).filter(
    ([name, value]) => !isSame(variables.get(name), value),
  );
}

function commitWaitSettings(
  { primarySwitch, timeout, waitWithoutReplica, waitPoint, standsBy }: SemiSyncWords,
  policy: 'require' | 'prefer' | 'off',
  waits: boolean,
): [name: string, value: string][] {
  if (!waits) {
    return standsBy
      ? [
          [timeout, String(STAND_BY_WAIT_MS)],
          [waitWithoutReplica, 'OFF'],
        ]
      : [[primarySwitch, 'OFF']];
  }
  const settings: [string, string][] = [[waitWithoutReplica, 'ON']];
  if (policy !== 'off') settings.unshift([timeout, String(semiSyncTimeoutMs(policy))]);
  if (waitPoint !== null) settings.unshift([waitPoint, 'AFTER_SYNC']);
  return [...settings, [primarySwitch, 'ON']];
}

function isSame(is: string | undefined, wanted: string): boolean {
  if (is === undefined) return false;
  return wanted === 'ON' || wanted === 'OFF' ? isOn(is) === (wanted === 'ON') : is.toUpperCase() === wanted;
}

/** Asks how the commits get on. */
export const COMMIT_WAITS_QUERY = "SHOW GLOBAL STATUS LIKE 'Rpl\\_semi\\_sync\\_%'";

/** What an answer to COMMIT_WAITS_QUERY says. */
export interface CommitWaits {
  /** Sessions whose commits wait for a replica. */
  readonly waiting: number;
  /** Commits since the start, with an answer or without. */
  readonly done: number;
}

/** Reads an answer to COMMIT_WAITS_QUERY. */
export function readCommitWaits(rows: readonly Row[]): CommitWaits {
  const status = byName(rows);
  const count = (ending: string): number =>
    (numberOf(status.get(`rpl_semi_sync_source_${ending}`)) ?? 0) +
    (numberOf(status.get(`rpl_semi_sync_master_${ending}`)) ?? 0);
  return { waiting: count('wait_sessions'), done: count('yes_tx') + count('no_tx') };
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
    enabled: on && isOn(setting(isSource ? 'wait_no_replica' : 'wait_no_slave') ?? 'ON'),
    live: isOn(status.get(withEnding(variable, 'status'))),
    clients: numberOf(status.get(withEnding(variable, 'clients'))) ?? 0,
    waiting: numberOf(status.get(withEnding(variable, 'wait_sessions'))) ?? 0,
    acknowledged: numberOf(status.get(withEnding(variable, 'yes_tx'))) ?? 0,
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
