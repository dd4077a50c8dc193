/**
 * The plan of a bootstrap as data: from servers as they were found to the list of steps that make a working
 * cluster of them. Pure; `bootstrap.ts` looks, asks for the plan, and carries it out. A step that is not needed
 * is not in the plan, so the plan of a cluster that is well has no steps.
 *
 * The order is what matters. Nobody writes where writes could wait for ever: the primary waits for replicas only
 * once they follow. Nobody takes writes that others would not get: the replicas are read-only before the first
 * thing happens, and the primary becomes writable last. What the primary writes itself (accounts, tables, the
 * epoch) comes after the place from which the replicas start, so that it reaches them the ordinary way.
 */
import type { ClusterConfig } from '../config/config.ts';
import { joinPositions } from '../monitor/gtid.ts';
import { isOn, type Statement } from '../monitor/flavour/row.ts';
import { commitWaitChanges } from '../monitor/flavour/semi-sync.ts';
import {
  grantStatements,
  semiSyncTimeoutMs,
  setForNextStart,
  setGlobal,
  type StartingPoint,
} from '../monitor/flavour/setup.ts';
import { CREATE_TABLES } from '../monitor/flavour/tables.ts';
import type { AccountCopy } from './copy.ts';
import { tcpAddress } from './roles.ts';
import { standsBy, variable, variableIsOn, wantedLogFile, type Survey } from './survey.ts';

/** One thing to do at one server. */
export interface SetupStep {
  readonly server: string;
  readonly what: string;
  readonly sql: readonly Statement[];
  /** What takes it back, when a later step fails; empty where it does no harm, or cannot be taken back. */
  readonly undo: readonly Statement[];
  /** It is done only while the server's history is still this one: nobody has written there since it was compared. */
  readonly onlyAt?: string;
  /** What takes it back when it fails itself; it stays when a later step fails. */
  readonly whenHalfDone?: readonly Statement[];
  /** Other servers do not get it: it is not in the binary log. */
  readonly unlogged?: true;
  /** What belongs to it besides the SQL. */
  readonly also?: 'wait_until_following' | 'record_primary' | 'wait_until_acknowledged';
}

/** A server that is to replicate from the primary. */
export interface Follower {
  readonly survey: Survey;
  /** It does already; else it is empty or has the same data, which has been proven. */
  readonly follows: boolean;
  /** It was just filled from another server, and knows up to where. */
  readonly startsWhereItIs: boolean;
  /** Accounts that only the primary has. */
  readonly accounts: AccountCopy;
  /** What makes dbproxy's own schema what it is on the primary. */
  readonly ownSchema: readonly Statement[];
}

/** What is known of an account on the primary. */
export type AccountState = 'missing' | 'lacks_privileges' | 'well';

export interface PlanInput {
  readonly cluster: ClusterConfig;
  readonly primary: Survey;
  readonly followers: readonly Follower[];
  /** All that the primary had before the data was compared: from there the replicas start. */
  readonly start: StartingPoint;
  readonly accounts: { readonly monitor: AccountState; readonly replication: AccountState };
  readonly hasOwnTables: boolean;
  /** The primary is remembered as such, and its table says so. */
  readonly isRecorded: boolean;
}

/** All steps, in their order. */
export function planBootstrap(input: PlanInput): SetupStep[] {
  const { primary, followers } = input;
  const all = [primary, ...followers.map(({ survey }) => survey)];
  return [
    ...followers.flatMap(({ survey }) => closeToWriters(survey)),
    ...all.flatMap((survey) => [
      ...installPlugins(input, survey),
      ...globalIds(survey),
      ...logSettings(survey),
      ...semiSyncSettings(input, survey),
      ...startSettings(input, survey),
    ]),
    ...openForOwnWrites(input),
    ...followers.flatMap((follower) => beginAtPrimary(input, follower)),
    ...writeAccounts(input),
    ...recordPrimary(input),
    ...followers.flatMap((follower) => followPrimary(input, follower)),
    ...lead(input),
  ];
}

/** Accounts that may write on a read-only server must still be able to prepare it. */
function closeToWriters(survey: Survey): SetupStep[] {
  if (survey.facts.readOnly) return [];
  const sql = [{ sql: 'SET GLOBAL read_only = 1' }];
  return [step(survey, 'take no more writes', sql, statements(survey.flavour.makeWritable))];
}

function installPlugins({ cluster }: PlanInput, survey: Survey): SetupStep[] {
  const { plugins, primarySwitch, replicaSwitch } = survey.words.semiSync;
  if (cluster.semiSync === 'off' || plugins === null) return [];
  const missing = [
    ...(survey.variables.has(primarySwitch) ? [] : [plugins.primary]),
    ...(survey.variables.has(replicaSwitch) ? [] : [plugins.replica]),
  ];
  if (missing.length === 0) return [];
  const names = missing.map(({ name }) => name).join(' and ');
  const sql = [...unlockOwnWrites(survey), ...missing.map(({ install }) => ({ sql: install }))];
  const undo = survey.facts.superReadOnly ? [{ sql: 'SET GLOBAL super_read_only = 1' }] : [];
  return [step(survey, `install ${names}`, sql, undo)];
}

/** Step by step, so that each server takes what the others send at any moment. */
function globalIds(survey: Survey): SetupStep[] {
  if (survey.facts.hasGtid || survey.words.gtidOnline !== true) return [];
  const order = ['OFF', 'OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON'];
  const now = variable(survey, 'gtid_mode').toUpperCase();
  const sql = [
    setGlobal(survey.words, 'enforce_gtid_consistency', 'ON'),
    ...order.slice(order.indexOf(now) + 1).map((mode) => setGlobal(survey.words, 'gtid_mode', mode)),
  ];
  return [step(survey, 'number transactions globally', sql)];
}

function logSettings(survey: Survey): SetupStep[] {
  const wanted = [
    ['binlog_format', 'ROW'],
    ['binlog_row_image', 'FULL'],
  ] as const;
  return changeSettings(survey, 'log whole rows', wanted);
}

/**
 * The switches themselves come later, when there is somebody to wait for: of a server that stands by, all that would
 * have it wait.
 */
function semiSyncSettings({ cluster }: PlanInput, survey: Survey): SetupStep[] {
  if (cluster.semiSync === 'off') return [];
  const { timeout, waitPoint, waitWithoutReplica, waitCount } = survey.words.semiSync;
  const logFile = wantedLogFile(survey);
  const wanted: (readonly [string, string])[] = standsBy(survey)
    ? []
    : [
        [timeout, String(semiSyncTimeoutMs(cluster.semiSync))],
        [waitWithoutReplica, 'ON'],
      ];
  if (waitPoint !== null) wanted.push([waitPoint, 'AFTER_SYNC']);
  if (waitCount !== null) wanted.push([waitCount, '1']);
  if (logFile !== null) wanted.push(['max_binlog_size', String(logFile)]);
  return changeSettings(survey, 'semi-sync: how commits wait', wanted);
}

/** What holds when the server starts again, before anybody has looked at it; only where SQL can say that. */
function startSettings({ cluster }: PlanInput, survey: Survey): SetupStep[] {
  if (!survey.words.persists) return [];
  const { primarySwitch, replicaSwitch } = survey.words.semiSync;
  const wanted: [string, 'ON' | 'OFF'][] = [
    ['read_only', 'ON'],
    ['super_read_only', 'ON'],
  ];
  if (cluster.semiSync !== 'off') wanted.push([replicaSwitch, 'ON'], [primarySwitch, 'OFF']);
  // Also where its file says so: once a promotion has set it, nobody can see that any more.
  const missing = wanted.filter(([name, value]) => {
    const kept = survey.persisted.get(name);
    return kept === undefined || isOn(kept) !== (value === 'ON');
  });
  if (missing.length === 0) return [];
  const sql = missing.map(([name, value]) => setForNextStart(name, value));
  const undo = missing
    .filter(([name]) => !survey.persisted.has(name))
    .map(([name]) => ({ sql: `RESET PERSIST IF EXISTS ${name}` }));
  return [step(survey, 'start read-only, as a replica', sql, undo)];
}

/** A primary that nobody follows must not wait for an answer to what it writes now. */
function openForOwnWrites(input: PlanInput): SetupStep[] {
  const { primary } = input;
  const needsWrites =
    !input.hasOwnTables ||
    !input.isRecorded ||
    input.accounts.monitor !== 'well' ||
    input.accounts.replication !== 'well';
  if (!needsWrites) return [];
  const side = primary.facts.semiSync.primary;
  const waitsForNobody = side?.enabled === true && side.clients === 0;
  const sql = [...(waitsForNobody ? doNotWait(input, primary) : []), ...unlockOwnWrites(primary)];
  return sql.length === 0 ? [] : [step(primary, 'let dbproxy itself write', sql)];
}

function beginAtPrimary({ start, primary }: PlanInput, follower: Follower): SetupStep[] {
  const { survey, follows, startsWhereItIs, accounts, ownSchema } = follower;
  if (follows) return [];
  const { words, facts } = survey;
  const steps: SetupStep[] = [];
  const own = [...accounts.make, ...ownSchema];
  const local = [...unlockOwnWrites(survey), ...own];
  if (own.length > 0) {
    const what =
      accounts.make.length > 0 ? `make the accounts that ${primary.backend.name} has` : 'make its own schema';
    steps.push({ ...step(survey, what, local), unlogged: true, whenHalfDone: accounts.drop });
  }
  if (!startsWhereItIs && !isAt(survey, start)) {
    const forget =
      facts.position === '' && facts.replicatedPosition === '' ? [] : [{ sql: words.forgetHistory }];
    const sql = [...forget, ...words.startAt(start)];
    if (sql.length > 0) {
      const what = `begin where ${primary.backend.name} is: ${start.position || 'at nothing'}`;
      steps.push({ ...step(survey, what, sql), onlyAt: facts.position });
    }
  }
  return steps;
}

/** Its history is that of the primary, and so is what it has received. */
function isAt({ words, facts }: Survey, { position, replicatedPosition, history }: StartingPoint): boolean {
  if (words.family === 'mysql') return facts.position === position;
  return (
    facts.history === history && facts.replicatedPosition === joinPositions(position, replicatedPosition)
  );
}

function writeAccounts({ cluster, primary, accounts, hasOwnTables }: PlanInput): SetupStep[] {
  const { words } = primary;
  const steps: SetupStep[] = [];
  const account = (
    state: AccountState,
    user: string,
    password: string,
    privileges: typeof words.monitorPrivileges,
  ): void => {
    if (state === 'well') return;
    const sql = [
      ...(state === 'missing' ? words.createAccount(user, password) : []),
      ...statements(grantStatements(privileges, user)),
    ];
    steps.push(step(primary, `account ${user}`, sql));
  };
  account(accounts.monitor, cluster.monitorUser, cluster.monitorPassword, words.monitorPrivileges);
  account(
    accounts.replication,
    cluster.replicationUser,
    cluster.replicationPassword,
    words.replicationPrivileges,
  );
  if (!hasOwnTables) steps.push(step(primary, "dbproxy's own tables", statements(CREATE_TABLES)));
  return steps;
}

function recordPrimary({ primary, isRecorded }: PlanInput): SetupStep[] {
  if (isRecorded) return [];
  return [{ ...step(primary, 'is the primary: state file and dbproxy.epoch', []), also: 'record_primary' }];
}

function followPrimary(input: PlanInput, { survey, follows }: Follower): SetupStep[] {
  const { cluster, primary } = input;
  const { flavour, facts } = survey;
  const { replicaSwitch } = survey.words.semiSync;
  const isSemiSync = cluster.semiSync !== 'off';
  const switches = !isSemiSync
    ? []
    : [
        ...(facts.semiSync.primary?.enabled === true ? doNotWait(input, survey) : []),
        ...(facts.semiSync.replica?.enabled === true ? [] : [{ sql: `SET GLOBAL ${replicaSwitch} = 1` }]),
      ];
  const runs = facts.replication?.receiver === 'running' && facts.replication.applier === 'running';
  // Also where it was so before: it may have been unlocked for our own writes.
  const lock = statements(flavour.makeReadOnly);
  if (follows && runs && switches.length === 0) {
    return isLocked(survey) ? [] : [step(survey, 'read-only for everybody', lock)];
  }
  const { host, port } = tcpAddress(primary);
  const login = { user: cluster.replicationUser, password: cluster.replicationPassword };
  // A receiver tells its source once, at its start, whether it acknowledges.
  // What was cloned from a replica is set up to follow that one's source.
  const forget =
    facts.replication === null ? [] : statements([flavour.stopReplication, flavour.forgetSource]);
  const begin = follows
    ? [{ sql: flavour.stopReceiver }]
    : [...forget, flavour.changeSource({ host, port, login })];
  const undo = follows ? [] : statements([flavour.stopReplication, flavour.forgetSource]);
  return [
    {
      ...step(
        survey,
        `follow ${primary.backend.name}`,
        [...switches, ...begin, { sql: flavour.startReplication }, ...lock],
        undo,
      ),
      also: 'wait_until_following',
    },
  ];
}

/** Its commits wait for nobody, from now on. */
function doNotWait({ cluster }: PlanInput, { words, variables }: Survey): Statement[] {
  return globals(commitWaitChanges(words.semiSync, cluster.semiSync, false, variables));
}

function globals(changes: readonly (readonly [string, string])[]): Statement[] {
  return changes.map(([name, value]) => ({ sql: `SET GLOBAL ${name} = ${value}` }));
}

function lead(input: PlanInput): SetupStep[] {
  const { cluster, primary, followers } = input;
  const { facts, flavour, words } = primary;
  const { primarySwitch, replicaSwitch } = words.semiSync;
  const steps: SetupStep[] = [];
  const side = facts.semiSync.primary;
  const isLive = side?.enabled === true && side.live && side.clients > 0;
  if (cluster.semiSync !== 'off' && followers.length > 0 && !isLive) {
    // Where the switch is not all of it, a step before may have changed the rest.
    const wait = commitWaitChanges(words.semiSync, cluster.semiSync, true, new Map()).filter(
      ([name]) => words.semiSync.standsBy || name === primarySwitch,
    );
    const sql = [
      ...(facts.semiSync.replica?.enabled === true ? [{ sql: `SET GLOBAL ${replicaSwitch} = 0` }] : []),
      ...globals(wait),
    ];
    const undo = standsBy(primary)
      ? globals(commitWaitChanges(words.semiSync, cluster.semiSync, false, new Map(wait)))
      : side?.enabled === true
        ? []
        : [{ sql: `SET GLOBAL ${primarySwitch} = 0` }];
    steps.push({
      ...step(primary, 'semi-sync: commits wait for a replica', sql, undo),
      also: 'wait_until_acknowledged',
    });
  }
  if (facts.readOnly) {
    steps.push(
      step(primary, 'take writes', statements(flavour.makeWritable), statements(flavour.makeReadOnly)),
    );
  }
  return steps;
}

/** Super-read-only keeps everybody out, us as well; plain read-only does not. */
function unlockOwnWrites(survey: Survey): Statement[] {
  return survey.facts.superReadOnly ? [{ sql: 'SET GLOBAL super_read_only = 0' }] : [];
}

/** As far as the server has locks. */
function isLocked({ facts, variables }: Survey): boolean {
  return facts.readOnly && (facts.superReadOnly || !variables.has('super_read_only'));
}

function changeSettings(
  survey: Survey,
  what: string,
  wanted: readonly (readonly [string, string])[],
): SetupStep[] {
  const different = wanted.filter(([name, value]) => !hasValue(survey, name, value));
  if (different.length === 0) return [];
  const sql = different.map(([name, value]) => setGlobal(survey.words, name, literal(value)));
  const undo = different
    .filter(([name]) => survey.variables.has(name))
    .map(([name]) => setGlobal(survey.words, name, literal(variable(survey, name))));
  return [step(survey, what, sql, undo)];
}

/** A plugin that is not installed yet has its defaults; so all that is wanted is set. */
function hasValue(survey: Survey, name: string, value: string): boolean {
  if (!survey.variables.has(name)) return false;
  if (value === 'ON') return variableIsOn(survey, name);
  return variable(survey, name).toUpperCase() === value;
}

function literal(value: string): string | number {
  return /^\d{1,15}$/.test(value) ? Number(value) : value;
}

function statements(sql: readonly string[]): Statement[] {
  return sql.map((one) => ({ sql: one }));
}

function step(
  survey: Survey,
  what: string,
  sql: readonly Statement[],
  undo: readonly Statement[] = [],
): SetupStep {
  return { server: survey.backend.name, what, sql, undo };
}
