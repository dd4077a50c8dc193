/**
 * What each server has to be for a cluster that can be trusted, one row a rule: what is looked at, what is
 * said when it is not so, and what mends it. Rules of semi-synchronous replication are in `semi-sync-rules`.
 */
import { isOn } from '../monitor/flavour/row.ts';
import { missingPrivileges } from '../monitor/flavour/grants.ts';
import {
  compareNumbers,
  grantStatements,
  versionNumbers,
  type NeededPrivilege,
} from '../monitor/flavour/setup.ts';
import { stateAt, writersLacking } from '../monitor/gtid.ts';
import {
  inFile,
  rule,
  setting,
  type ClusterSurvey,
  type Complaint,
  type ServerRule,
  type ServerView,
} from './finding.ts';
import { follows } from './roles.ts';
import { valueAtStart, variable, variableIsOn, type Survey } from './survey.ts';

const CLOCK_WARNING_MS = 1_000;
const CLOCK_ERROR_MS = 10_000;
/** A replica that hears nothing for longer than a few of these bears witness too late. */
const MAX_HEARTBEAT_MS = 1_000;

/** How durably InnoDB commits. */
const FLUSH = 'innodb_flush_log_at_trx_commit';
/** On when MariaDB starts, it goes with init_rpl_role = SLAVE, which nobody can ask for. */
const ACKNOWLEDGES = 'rpl_semi_sync_slave_enabled';

export const serverRules: readonly ServerRule[] = [
  {
    id: 'monitor_grants',
    severity: 'error',
    blocksBootstrap: false,
    look: monitorGrants,
  },
  rule('rejoin_grants', 'hint', rejoinGrants),
  rule('replication_account', 'error', replicationAccount),
  rule(
    'log_bin',
    'error',
    ({ survey }) =>
      survey.facts.logsChanges
        ? null
        : {
            words: 'it writes no binary log, so nobody can replicate from it',
            remedy: inFile(survey, 'log_bin = binlog'),
          },
    true,
  ),
  rule('log_replica_updates', 'error', logsReplicaUpdates, true),
  rule('server_id', 'error', serverId, true),
  rule(
    'gtid_mode',
    'error',
    ({ survey }) =>
      survey.facts.hasGtid || survey.words.gtidOnline !== false
        ? null
        : {
            words:
              'gtid_mode is not ON, and this version can switch it on at its start only: replicas find their place by global ids',
            remedy: inFile(survey, 'gtid_mode = ON', 'enforce_gtid_consistency = ON'),
          },
    true,
  ),
  rule('gtid_mode_online', 'error', ({ survey }) =>
    survey.facts.hasGtid || survey.words.gtidOnline !== true
      ? null
      : {
          words: 'gtid_mode is not ON: replicas find their place by global ids',
          remedy:
            'BOOTSTRAP does it, or, on every server before the next step: SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE; SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON; and in my.cnf: gtid_mode = ON, enforce_gtid_consistency = ON',
        },
  ),
  rule('gtid_by_position', 'error', byGlobalIds),
  rule('gtid_domain', 'warning', gtidDomain),
  rule('gtid_history', 'warning', gtidHistory),
  rule('gtid_strict', 'hint', ({ survey }) =>
    survey.words.family !== 'mariadb' || variableIsOn(survey, 'gtid_strict_mode')
      ? null
      : {
          words:
            'gtid_strict_mode is off: a write on a replica by mistake would not be noticed in its binary log',
          remedy: setting(survey, 'gtid_strict_mode', 'ON'),
        },
  ),
  rule('binlog_format', 'warning', ({ survey }) =>
    variable(survey, 'binlog_format').toUpperCase() === 'ROW'
      ? null
      : {
          words: `binlog_format is ${variable(survey, 'binlog_format')}: only ROW makes the same data everywhere, and lets lost transactions be listed`,
          remedy: setting(survey, 'binlog_format', 'ROW'),
        },
  ),
  rule('binlog_row_image', 'warning', ({ survey }) =>
    variable(survey, 'binlog_row_image').toUpperCase() === 'FULL'
      ? null
      : {
          words: `binlog_row_image is ${variable(survey, 'binlog_row_image')}: lost transactions can be undone only from FULL rows`,
          remedy: setting(survey, 'binlog_row_image', 'FULL'),
        },
  ),
  rule('durability', 'warning', durability),
  rule('read_only', 'error', ({ survey, primary, isPrimary }) =>
    primary === null || isPrimary || survey.facts.readOnly
      ? null
      : {
          words: `it takes writes, and so does ${primary.backend.name}`,
          remedy: survey.flavour.makeReadOnly.map((statement) => `${statement};`).join(' '),
        },
  ),
  rule('super_read_only', 'warning', ({ survey, primary, isPrimary }) =>
    primary === null || isPrimary || !survey.facts.readOnly || !survey.variables.has('super_read_only')
      ? null
      : survey.facts.superReadOnly
        ? null
        : {
            words:
              'super_read_only is off: accounts with SUPER or CONNECTION_ADMIN may write on this replica',
            remedy: setting(survey, 'super_read_only', 'ON'),
          },
  ),
  rule('read_only_at_start', 'warning', readOnlyAtStart),
  rule('crash_recovery', 'hint', crashRecovery),
  rule('commit_flush', 'warning', commitFlush),
  rule('replication_runs', 'error', replicationRuns),
  rule('heartbeat_period', 'warning', heartbeatPeriod),
  rule('relay_log_recovery', 'hint', ({ survey }) =>
    // MariaDB's replicas begin anew at their global id after a crash, whatever the relay log holds.
    survey.words.family === 'mariadb' || variableIsOn(survey, 'relay_log_recovery')
      ? null
      : {
          words: 'relay_log_recovery is off: after a crash the server may read a torn relay log',
          remedy: inFile(survey, 'relay_log_recovery = ON'),
        },
  ),
  rule('parallel_apply', 'hint', parallelApply),
  rule('clock', 'warning', clock),
  rule(
    'version',
    'error',
    ({ survey, primary, isPrimary }) =>
      primary === null || isPrimary || !isOlder(survey, primary)
        ? null
        : {
            words: `it is of version ${survey.facts.version}, older than its primary ${primary.backend.name} (${primary.facts.version})`,
            remedy: 'upgrade replicas first; make the oldest server the primary until all are equal',
          },
    true,
  ),
  rule('max_connections', 'warning', maxConnections),
  rule('auto_increment', 'warning', autoIncrement),
];

/** True when the server is of an older release than another; the last number does not count. */
export function isOlder(survey: Survey, other: Survey): boolean {
  const [major, minor] = versionNumbers(survey.facts.version);
  const [otherMajor, otherMinor] = versionNumbers(other.facts.version);
  return compareNumbers([major, minor], [otherMajor, otherMinor]) < 0;
}

/** One complaint a place, and one of its own for each privilege that could be done without. */
function monitorGrants({ survey, all }: ServerView): Complaint[] {
  const missing = missingPrivileges(survey.grants, survey.words.monitorPrivileges);
  const groups = Map.groupBy(missing, ({ on, privilege, optional }) => (optional ? privilege : on));
  return [...groups.values()].map((group) => {
    const reasons = [...new Set(group.map(({ why }) => why))].join('; ');
    const names = group.map(({ privilege }) => privilege).join(', ');
    return {
      words: `monitor_user has no ${names} on ${group[0]!.on}: ${reasons}`,
      remedy: grantStatements(group, all.cluster.monitorUser)
        .map((statement) => `${statement};`)
        .join(' '),
      ...(group[0]!.optional && { severity: 'hint' as const }),
    };
  });
}

/** The rows of applications are in schemas that nobody knows here: a privilege that is held on one of them is enough. */
function rejoinGrants({ survey, all }: ServerView): Complaint | null {
  const { onServer, onTables } = survey.words.rejoinPrivileges;
  const missing = [
    ...missingPrivileges(survey.grants, onServer),
    ...onTables.filter((needed) => !isHeldSomewhere(survey.grants, needed)),
  ];
  if (missing.length === 0) return null;
  const grants = grantStatements(missing, all.cluster.monitorUser).map((statement) => `${statement};`);
  return {
    words: `monitor_user has no ${missing.map(({ privilege }) => privilege).join(', ')}, so REJOIN could not list, make again or undo what only an old primary has`,
    remedy: `${grants.join(' ')} (or on the schemas of the applications)`,
  };
}

function isHeldSomewhere(grants: readonly string[], needed: NeededPrivilege): boolean {
  return grants.some((grant) => {
    const on = / ON (?:TABLE )?(\S+) TO /i.exec(grant)?.[1]?.replaceAll(/[`'"]/g, '');
    if (on === undefined || /^(dbproxy|mysql|performance_schema|sys)\./.test(on)) return false;
    return missingPrivileges([grant], [{ ...needed, on }]).length === 0;
  });
}

/**
 * A server that was filled from a backup knows only who has written since. Once it is the primary, it cannot say that it
 * has what was written before, and the others look as if they had something of their own.
 */
function gtidHistory({ survey, primary, isPrimary }: ServerView): Complaint | null {
  if (primary === null || isPrimary || !follows(survey, primary)) return null;
  // What it has replicated last counts as known, too.
  const { history, replicatedPosition } = survey.facts;
  const lacking = writersLacking(primary.facts.history, `${history},${replicatedPosition}`);
  if (lacking === '') return null;
  const state = stateAt(lacking, history);
  const remedy = [
    survey.flavour.stopReplication,
    survey.words.forgetHistory,
    `SET GLOBAL gtid_binlog_state = '${state}'`,
    survey.flavour.startReplication,
  ];
  return {
    words: `its binary log knows nothing of ${lacking} (domain-server-number), which ${primary.backend.name} has: it was filled without that. Were it promoted, the others would look as if they had what it has not`,
    remedy: `if it was filled from this cluster, while it is no one's source: ${remedy.join('; ')};`,
  };
}

function replicationAccount({ survey, primary, all }: ServerView): Complaint | null {
  const { replicationUser } = all.cluster;
  const trial = all.replicationLogins.get(survey.backend.name);
  const create = [
    `CREATE USER '${replicationUser}'@'%' IDENTIFIED BY '…'`,
    ...grantStatements(survey.words.replicationPrivileges, replicationUser),
  ];
  const statements = create.map((statement) => `${statement};`).join(' ');
  const remedy = primary === null ? 'BOOTSTRAP makes it' : `on the primary: ${statements}`;
  switch (trial?.kind) {
    case undefined:
      return null;
    case 'denied':
    case 'failed': {
      // An account may be for the hosts of the servers alone; then replication itself shows that it is well.
      const isSeen = all.surveys.some(({ facts }) => facts.replication?.receiver === 'running');
      return {
        words: `replication_user cannot log in from this host (${trial.reason}); it must be let in from the other servers`,
        remedy,
        severity: trial.kind === 'denied' && !isSeen ? 'error' : 'warning',
      };
    }
    case 'in': {
      const missing = missingPrivileges(trial.grants, survey.words.replicationPrivileges);
      if (missing.length === 0) return null;
      const grants = grantStatements(missing, replicationUser).map((statement) => `${statement};`);
      return { words: 'replication_user has no REPLICATION SLAVE', remedy: grants.join(' ') };
    }
  }
}

function logsReplicaUpdates({ survey }: ServerView): Complaint | null {
  const name = survey.variables.has('log_replica_updates') ? 'log_replica_updates' : 'log_slave_updates';
  if (variableIsOn(survey, name)) return null;
  return {
    words: `${name} is off: once promoted, it could not give on what it had replicated`,
    remedy: inFile(survey, `${name} = ON`),
  };
}

function serverId({ survey, all }: ServerView): Complaint | null {
  const { serverId: id } = survey.facts;
  const remedy = inFile(survey, 'server_id = (a number of its own)');
  if (id === 0) return { words: 'server_id is 0, so it takes no part in replication', remedy };
  const twins = all.surveys.filter((other) => other !== survey && other.facts.serverId === id);
  if (twins.length === 0) return null;
  const names = twins.map(({ backend }) => backend.name).join(', ');
  return { words: `server_id is ${id}, as on ${names}: they would skip each other's changes`, remedy };
}

function byGlobalIds({ survey }: ServerView): Complaint | null {
  const { replication } = survey.facts;
  if (replication === null || survey.replicatesByGtid !== false) return null;
  return {
    words:
      'it replicates by file and position, so it cannot change to another primary without losing its place',
    remedy:
      survey.words.family === 'mariadb'
        ? 'STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = slave_pos; START SLAVE;'
        : 'stop replication, CHANGE … TO …_AUTO_POSITION = 1, start it again',
  };
}

function gtidDomain({ survey, primary, isPrimary }: ServerView): Complaint | null {
  if (survey.words.family !== 'mariadb' || primary === null || isPrimary) return null;
  const own = variable(survey, 'gtid_domain_id');
  const wanted = variable(primary, 'gtid_domain_id');
  if (own === wanted) return null;
  return {
    words: `gtid_domain_id is ${own}, on the primary ${wanted}: one writer has one domain`,
    remedy: setting(survey, 'gtid_domain_id', wanted),
  };
}

function durability({ survey, all }: ServerView): Complaint | null {
  const names = ['sync_binlog', FLUSH];
  const isTight = (name: string): boolean =>
    variable(survey, name) === '1' ||
    (name === FLUSH && (flushesTwice(survey) || mayRecoverAsReplica(survey, all)));
  const loose = names.filter((name) => !isTight(name));
  if (loose.length === 0) return null;
  const who = loose.includes(FLUSH) && variable(survey, FLUSH) === '0' ? 'it' : 'the machine itself';
  const values = loose.map((name) => `${name} = ${variable(survey, name)}`).join(', ');
  return {
    words: `${values}: when ${who} crashes, the last commits are lost on it`,
    remedy: loose.map((name) => setting(survey, name, '1')).join(' '),
    severity: all.cluster.semiSync === 'require' ? 'warning' : 'hint',
  };
}

/** An old primary that restarts must not take writes before anybody has looked at it. */
function readOnlyAtStart({ survey }: ServerView): Complaint | null {
  const value = valueAtStart(survey, 'read_only');
  if (value !== null && isOn(value)) return null;
  const { persists } = survey.words;
  return {
    words:
      value === null
        ? 'whether it starts read-only cannot be told, as read_only was set while it ran'
        : 'it does not start read-only: an old primary that comes back takes writes that nobody else gets',
    remedy: persists
      ? `SET PERSIST_ONLY read_only = ON; SET PERSIST_ONLY super_read_only = ON;`
      : inFile(survey, 'read_only = ON'),
    severity: value === null && !persists ? 'hint' : 'warning',
  };
}

/**
 * MariaDB has prepared transactions in its binary log that no replica has acknowledged. As a primary it commits
 * them when it recovers from a crash; told that it comes back as a replica, it takes them out again.
 */
function crashRecovery({ survey, all }: ServerView): Complaint | null {
  if (!canRecoverAsReplica(survey, all)) return null;
  const atStart = valueAtStart(survey, ACKNOWLEDGES);
  if (atStart !== null && isOn(atStart)) return null;
  const itself =
    'a crashed primary may come back with commits that no replica has; it takes them out itself when it starts as a replica';
  return {
    words:
      atStart === null
        ? `${itself}, and whether it does cannot be told, as ${ACKNOWLEDGES} was set while it ran`
        : itself,
    remedy: inFile(survey, 'init-rpl-role = SLAVE', `${ACKNOWLEDGES} = ON`, `${FLUSH} = 3`),
  };
}

/**
 * What MariaDB takes out of its binary log then is all that its storage engine had not committed for good. With 1 the
 * engine leaves that to the binary log, and commits with the next flush; with 3 it flushes before the client is told.
 */
function commitFlush({ survey, all }: ServerView): Complaint | null {
  if (!mayRecoverAsReplica(survey, all) || flushesTwice(survey)) return null;
  const value = variable(survey, FLUSH);
  const crash = value === '2' ? 'a crash of its machine' : 'a crash';
  return {
    words: `${FLUSH} = ${value}: ${crash} costs a server that starts as a replica (init_rpl_role = SLAVE) the last commits that clients were told of; when it went on alone, nobody else has them`,
    remedy: setting(survey, FLUSH, '3'),
  };
}

/** From 10.6 on MariaDB may be told to; whether it was cannot be seen. */
function canRecoverAsReplica(survey: Survey, { cluster }: ClusterSurvey): boolean {
  const [major, minor] = versionNumbers(survey.facts.version);
  return (
    survey.words.family === 'mariadb' &&
    cluster.semiSync !== 'off' &&
    compareNumbers([major, minor], [10, 6]) >= 0
  );
}

function mayRecoverAsReplica(survey: Survey, all: ClusterSurvey): boolean {
  const atStart = valueAtStart(survey, ACKNOWLEDGES);
  return canRecoverAsReplica(survey, all) && (atStart === null || isOn(atStart));
}

/** InnoDB of MariaDB, when it prepares a commit and when it commits. */
function flushesTwice(survey: Survey): boolean {
  return survey.words.family === 'mariadb' && variable(survey, FLUSH) === '3';
}

function replicationRuns({ survey, primary, isPrimary }: ServerView): Complaint | null {
  if (primary === null || isPrimary) return null;
  const { replication } = survey.facts;
  if (replication === null) {
    return {
      words: `it replicates from nobody; the primary is ${primary.backend.name}`,
      remedy: `REJOIN ${survey.backend.name} when it was in the cluster before (SHOW LOST TRANSACTIONS has what it alone has), BOOTSTRAP CLUSTER when it is empty or has the same data, else CLONE BACKEND into an empty server`,
    };
  }
  const errors = [replication.receiverError, replication.applierError].filter((error) => error !== '');
  const said = errors.length === 0 ? '' : `: ${errors.join('; ')}`;
  if (replication.receiver !== 'running' || replication.applier !== 'running') {
    return {
      words: `receiver ${replication.receiver}, applier ${replication.applier}${said}`,
      remedy: errors.length === 0 ? `${survey.flavour.startReplication};` : '',
    };
  }
  return null;
}

function heartbeatPeriod({ survey }: ServerView): Complaint | null {
  const { replication } = survey.facts;
  const periodMs = replication?.heartbeatPeriodMs ?? null;
  if (periodMs === null || (periodMs > 0 && periodMs <= MAX_HEARTBEAT_MS)) return null;
  const mysql8 = survey.flavour.name === 'mysql8';
  const change = mysql8
    ? 'CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = 0.5'
    : 'CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 0.5';
  return {
    words: `its source may be silent for ${periodMs / 1000} s: too long for a replica that is to bear witness of a dead primary`,
    remedy: `${survey.flavour.stopReplication}; ${change}; ${survey.flavour.startReplication};`,
  };
}

/** MySQL 5.6 applies in parallel only what is in different schemas, so nothing is said of it there. */
function parallelApply({ survey }: ServerView): Complaint | null {
  const isMariadb = survey.words.family === 'mariadb';
  if (!isMariadb && compareNumbers(versionNumbers(survey.facts.version), [5, 7, 0]) < 0) return null;
  const names = isMariadb
    ? ['slave_parallel_threads']
    : ['replica_parallel_workers', 'slave_parallel_workers'];
  const name = names.find((candidate) => survey.variables.has(candidate));
  if (name === undefined || Number(variable(survey, name)) > 1) return null;
  const { stopReplication, startReplication } = survey.flavour;
  const set = setting(survey, name, '4');
  return {
    words: `${name} is ${variable(survey, name)}: a failover waits until one thread has applied what was received`,
    remedy: survey.facts.replication === null ? set : `${stopReplication}; ${set} ${startReplication};`,
  };
}

function clock({ survey }: ServerView): Complaint | null {
  const offMs = Math.abs(survey.clockAheadMs);
  if (offMs < CLOCK_WARNING_MS) return null;
  const direction = survey.clockAheadMs > 0 ? 'ahead of' : 'behind';
  return {
    words: `its clock is ${(offMs / 1000).toFixed(1)} s ${direction} ours: lag and times of events are wrong by that much`,
    remedy: 'keep the clocks of all hosts right (chrony, systemd-timesyncd)',
    severity: offMs >= CLOCK_ERROR_MS ? 'error' : 'warning',
  };
}

function maxConnections({ survey }: ServerView): Complaint | null {
  const allowed = Number(variable(survey, 'max_connections'));
  const wanted = survey.backend.maxConnections;
  if (!(allowed < wanted)) return null;
  return {
    words: `the server takes ${allowed} connections, max_connections of this backend is ${wanted}`,
    remedy: `${setting(survey, 'max_connections', String(wanted + 20))} or max_connections = ${Math.max(1, allowed - 20)} in its [backend] section`,
  };
}

/**
 * Servers that replicate from each other: each may give an id that the other one has given as well. Only one is written at
 * a time, so it matters after a failover, when the old primary comes back with rows of its own.
 */
function autoIncrement({ survey, all }: ServerView): Complaint | null {
  const others = all.surveys.filter((other) => follows(other, survey) && follows(survey, other));
  if (others.length === 0) return null;
  const ring = [survey, ...others];
  const step = Number(variable(survey, 'auto_increment_increment'));
  const places = ring.map((one) => Number(variable(one, 'auto_increment_offset')) % step);
  const isShared = ring.some((one) => Number(variable(one, 'auto_increment_increment')) !== step);
  if (step >= ring.length && !isShared && new Set(places).size === ring.length) return null;
  const names = ring.map(({ backend }) => backend.name).toSorted();
  const offset = names.indexOf(survey.backend.name) + 1;
  return {
    words: `${names.join(' and ')} replicate from each other, and auto_increment_increment = ${step} with auto_increment_offset = ${variable(survey, 'auto_increment_offset')} lets both give the same ids: after a failover the rows of an old primary would collide`,
    remedy: `${setting(survey, 'auto_increment_increment', String(ring.length))} ${setting(survey, 'auto_increment_offset', String(offset))}`,
  };
}
