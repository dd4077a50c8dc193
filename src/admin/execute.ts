/**
 * Carries out a statement of the admin port: gathers what it needs from the supervisor's operations, acts
 * through them, and answers a table or an OK. Refusals are thrown, as errors of the catalogue.
 */
import { formatEndpoint } from '../base/address.ts';
import { refusal } from '../base/errors.ts';
import { didYouMean } from '../config/suggest.ts';
import type { CheckSettings, Operations } from '../ipc/operations.ts';
import type { RouteAsker } from '../ipc/split.ts';
import type { ResultCell } from '../protocol/packets.ts';
import { applyFilter } from './filter.ts';
import type { SelectItem, ShowTable, Statement } from './statement.ts';
import { peerTable } from './peer-table.ts';
import * as splitTables from './split-tables.ts';
import * as tables from './tables.ts';

/** Ids of admin connections begin here, far from those of client sessions, so that KILL can tell them. */
export const FIRST_ADMIN_ID = 0xf000_0000;

/** Who asks, and whom to ask. */
export interface ExecuteContext {
  operations: Operations;
  version: string;
  /** `user@address` of the operator. */
  account: string;
  connectionId: number;
  database: string;
  /** How the statement before was refused; null: it was not. */
  complaint: Complaint | null;
  /** Ends an admin connection; false when there is none with this id. */
  killAdmin(id: number): boolean;
}

/** A refusal, in lines. */
export interface Complaint {
  errno: number;
  lines: readonly string[];
}

/** What to send back. `afterwards` runs when the answer has left. */
export type Answer =
  | { kind: 'table'; table: tables.Table }
  | { kind: 'ok'; affectedRows: number; info: string; afterwards?: () => void };

/** Carries out one statement. */
export async function execute(statement: Statement, context: ExecuteContext): Promise<Answer> {
  const { operations } = context;
  switch (statement.kind) {
    case 'show':
      return {
        kind: 'table',
        table: applyFilter(await showTable(statement.table, context), statement.filter),
      };
    case 'help':
      return { kind: 'table', table: tables.helpTable(statement.about) };
    case 'set-backend':
      await operations.setBackend(findBackend(statement.backend, operations), statement.change);
      return ok(1);
    case 'add-backend':
      return addBackend(statement, operations);
    case 'drop-backend':
      await operations.dropBackend(findBackend(statement.backend, operations));
      return ok(1);
    case 'promote': {
      const backend = findBackend(statement.backend, operations);
      return { kind: 'table', table: tables.stepsTable(await operations.promote(backend, statement.force)) };
    }
    case 'change-primary': {
      const { as: kind, force, dryRun } = statement;
      const cluster = findCluster(statement.cluster, operations);
      const to = statement.to === null ? null : findBackend(statement.to, operations);
      const steps = await operations.changePrimary(cluster, { kind, to, force, dryRun });
      return { kind: 'table', table: tables.stepsTable(steps) };
    }
    case 'rehearse': {
      const cluster = findCluster(statement.cluster, operations);
      const to = statement.to === null ? null : findBackend(statement.to, operations);
      return { kind: 'table', table: tables.stepsTable(await operations.rehearse(cluster, to)) };
    }
    case 'rejoin': {
      const { mode, dryRun } = statement;
      const backend = findBackend(statement.backend, operations);
      return { kind: 'table', table: tables.stepsTable(await operations.rejoin({ backend, mode, dryRun })) };
    }
    case 'lost-transactions': {
      const backend = statement.backend === null ? null : findBackend(statement.backend, operations);
      const rows = operations.lostTransactions().filter((row) => backend === null || row.backend === backend);
      return { kind: 'table', table: applyFilter(tables.lostTable(rows), statement.filter) };
    }
    case 'maintenance': {
      const clusters =
        statement.cluster === null
          ? operations.config().clusters.map(({ name }) => name)
          : [findCluster(statement.cluster, operations)];
      for (const cluster of clusters) await operations.setMaintenance(cluster, statement.on);
      return ok(clusters.length);
    }
    case 'bootstrap': {
      const { cluster, primary, dryRun } = statement;
      return {
        kind: 'table',
        table: tables.setupTable(await operations.bootstrap(cluster, primary, dryRun)),
      };
    }
    case 'clone-backend': {
      const from = statement.from === null ? null : findBackend(statement.from, operations);
      const backend = findBackend(statement.backend, operations);
      const reports = await operations.cloneBackend(backend, from, statement.dryRun);
      return { kind: 'table', table: tables.setupTable(reports) };
    }
    case 'reload-tls':
      return { kind: 'table', table: tables.certificatesTable(operations.reloadTls()) };
    case 'reload-users': {
      const statuses = await operations.reloadUsers(statement.cluster);
      return { kind: 'table', table: tables.importsTable(statuses) };
    }
    case 'explain-route':
      return { kind: 'table', table: await explainRoute(statement, operations) };
    case 'explain-session':
      return { kind: 'table', table: await explainSession(statement.sessionId, operations) };
    case 'kill':
      return kill(statement.id, statement.query, context);
    case 'peer':
      return {
        kind: 'table',
        table: tables.tableOf(['peer'], [[await operations.peer(statement.message)]]),
      };
    case 'peer-gone':
      await operations.setPeerGone();
      return ok(1);
    case 'shutdown':
      return { ...ok(0), afterwards: () => operations.shutdown(statement.now) };
    case 'select':
      return { kind: 'table', table: selectTable(statement.items, context) };
    case 'nothing':
      return ok(0);
  }
}

function ok(affectedRows: number): { kind: 'ok'; affectedRows: number; info: string } {
  return { kind: 'ok', affectedRows, info: '' };
}

async function addBackend(
  { backend, keys, clone }: Extract<Statement, { kind: 'add-backend' }>,
  operations: Operations,
): Promise<Answer> {
  const from = typeof clone?.from === 'string' ? findBackend(clone.from, operations) : null;
  const reports = await operations.addBackend(backend, keys, clone === null ? null : { from });
  return clone === null ? ok(1) : { kind: 'table', table: tables.setupTable(reports) };
}

async function showTable(
  table: ShowTable,
  { operations, version, complaint }: ExecuteContext,
): Promise<tables.Table> {
  switch (table) {
    case 'clusters':
      return tables.clustersTable(operations.snapshot());
    case 'backends': {
      const stats = await operations.stats();
      return tables.backendsTable(operations.snapshot(), stats);
    }
    case 'seed-backends': {
      const stats = await operations.stats();
      return tables.seedBackendsTable(operations.snapshot(), stats, (cluster) =>
        checksOf(cluster, operations),
      );
    }
    case 'listeners':
      return tables.listenersTable(operations.config(), operations.listeners(), await operations.stats());
    case 'pools':
      return tables.poolsTable(await operations.stats());
    case 'users':
      return tables.usersTable(operations.config(), operations.imports(), await operations.sessions());
    case 'sessions':
      return tables.sessionsTable(await operations.sessions());
    case 'status': {
      const stats = await operations.stats();
      return tables.statusTable(operations.snapshot(), operations.uptimeMs(), stats);
    }
    case 'variables':
      return tables.variablesTable(operations.config(), serverVariables(version));
    case 'events':
      return tables.eventsTable(operations.events());
    case 'digests':
      return splitTables.digestsTable(await operations.digests());
    case 'diagnoses':
      return tables.diagnosesTable(operations.diagnoses());
    case 'plan':
      return tables.planTable(operations.plans());
    case 'peer':
      return peerTable(operations.peers());
    case 'rules':
      return splitTables.rulesTable(operations.config().rules, await operations.stats());
    case 'topology':
      return tables.topologyTable(operations.snapshot());
    case 'config':
      return tables.configTable(operations.config());
    case 'config-diff':
      return tables.tableOf(
        ['section', 'key', 'running', 'file'],
        operations.configDiff().map(({ section, key, running, file }) => [section, key, running, file]),
        'key',
      );
    case 'version':
      return tables.tableOf(['version', 'node_version'], [[version, process.version]]);
    case 'databases':
      return tables.tableOf(['Database'], [['dbproxy']]);
    case 'tables':
      return tables.tableOf(['Tables_in_dbproxy'], []);
    case 'warnings':
      return tables.tableOf(
        ['Level', 'Code#', 'Message'],
        (complaint?.lines ?? []).map((line) => ['Error', complaint!.errno, line]),
      );
  }
}

function checksOf(clusterName: string, operations: Operations): CheckSettings {
  const cluster = operations.config().clusters.find((candidate) => candidate.name === clusterName);
  return {
    rise: cluster?.rise ?? 0,
    fall: cluster?.fall ?? 0,
    intervalMs: cluster?.checkIntervalMs ?? 0,
    fastIntervalMs: cluster?.checkFastIntervalMs ?? 0,
  };
}

/** A backend may be called by its name or by its address, as the older dbproxy's scripts do. */
function findBackend(called: string, operations: Operations): string {
  const { backends } = operations.snapshot();
  const found =
    backends.find((backend) => backend.name === called) ??
    backends.find((backend) => formatEndpoint(backend.address) === called);
  if (found !== undefined) return found.name;
  const known = backends.map((backend) => backend.name);
  const list = `${known.join(', ')}${didYouMean(called, known)}`;
  throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', called, list);
}

/** The only cluster, when none is named. */
function findCluster(called: string | null, operations: Operations): string {
  const known = operations.config().clusters.map(({ name }) => name);
  const [only] = known;
  if (called === null && only !== undefined && known.length === 1) return only;
  if (called !== null && known.includes(called)) return called;
  if (called === null) {
    throw refusal(
      'DBPROXY_ADMIN_SYNTAX',
      `there are several clusters: write CLUSTER and one of ${known.join(', ')}`,
    );
  }
  const list = `${known.join(', ')}${didYouMean(called, known)}`;
  throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'cluster', called, list);
}

async function explainRoute(
  { listener, sessionId, sql }: Extract<Statement, { kind: 'explain-route' }>,
  operations: Operations,
): Promise<tables.Table> {
  if (listener !== null) requireListener(listener, operations);
  const asker: RouteAsker =
    sessionId === null
      ? { kind: 'fresh', listener: listener ?? onlySplitListener(operations) }
      : { kind: 'session', sessionId };
  const route = await operations.explainRoute(asker, sql);
  if (route === null) throw refusal('DBPROXY_NO_SUCH_THREAD', sessionId ?? 0);
  if (listener !== null && listener !== route.listener) {
    const why = `session ${sessionId} is on listener '${route.listener}'; leave ON LISTENER out`;
    throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'LISTENER', listener, why);
  }
  return splitTables.routeTable(route);
}

async function explainSession(sessionId: number, operations: Operations): Promise<tables.Table> {
  const explanation = await operations.explainSession(sessionId);
  if (explanation === null) throw refusal('DBPROXY_NO_SUCH_THREAD', sessionId);
  return splitTables.sessionTable(explanation);
}

function requireListener(called: string, operations: Operations): void {
  const known = operations.config().listeners.map(({ name }) => name);
  if (known.includes(called)) return;
  const list = `${known.join(', ')}${didYouMean(called, known)}`;
  throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'listener', called, list);
}

/** Which listener is meant when none is named: only where there is a choice of servers is it a question. */
function onlySplitListener(operations: Operations): string {
  const { listeners } = operations.config();
  const split = listeners.filter(({ mode }) => mode === 'split');
  const [first, second] = split;
  if (first !== undefined && second === undefined) return first.name;
  const why = first === undefined ? 'no listener has mode = split' : 'several listeners have mode = split';
  const choices = (first === undefined ? listeners : split).map(({ name }) => name).join(', ');
  throw refusal('DBPROXY_ADMIN_SYNTAX', `${why}: write ON LISTENER and one of ${choices}`);
}

/**
 * Client programs send KILL QUERY with the id of their own connection when the operator presses Ctrl-C;
 * there is nothing to stop in an admin connection, so that is an OK.
 */
async function kill(id: number, query: boolean, context: ExecuteContext): Promise<Answer> {
  const found =
    id >= FIRST_ADMIN_ID ? query || context.killAdmin(id) : await context.operations.killSession(id, query);
  if (!found) throw refusal('DBPROXY_NO_SUCH_THREAD', id);
  return ok(0);
}

function selectTable(items: readonly SelectItem[], context: ExecuteContext): tables.Table {
  const values = items.map((item) => selected(item, context));
  const names = items.map((item, index) =>
    typeof values[index] === 'number' ? `${item.label}#` : item.label,
  );
  return tables.tableOf(names, [values]);
}

function selected({ expression }: SelectItem, context: ExecuteContext): ResultCell {
  switch (expression.kind) {
    case 'constant':
      return expression.value;
    case 'variable': {
      const known = serverVariables(context.version);
      const value = known.get(expression.name);
      if (value !== undefined) return value;
      const list = `${[...known.keys()].join(', ')}${didYouMean(expression.name, [...known.keys()])}`;
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'variable', expression.name, list);
    }
    case 'call':
      return called(expression.name, context);
  }
}

function called(name: string, context: ExecuteContext): ResultCell {
  switch (name) {
    case 'DATABASE':
    case 'SCHEMA':
      return context.database === '' ? null : context.database;
    case 'USER':
    case 'CURRENT_USER':
    case 'SESSION_USER':
    case 'SYSTEM_USER':
      return context.account;
    case 'VERSION':
      return adminServerVersion(context.version);
    case 'CONNECTION_ID':
      return context.connectionId;
    default:
      throw refusal(
        'DBPROXY_ADMIN_UNKNOWN_OBJECT',
        'function',
        name,
        'DATABASE, USER, VERSION, CONNECTION_ID',
      );
  }
}

/** What the admin port calls itself: begins with a number that client programs take for a server's. */
export function adminServerVersion(version: string): string {
  return `5.7.99-dbproxy-admin-${version}`;
}

/** Server variables that client programs ask for on connecting. */
function serverVariables(version: string): ReadonlyMap<string, string> {
  return new Map([
    ['version', adminServerVersion(version)],
    ['version_comment', `dbproxy ${version} admin`],
    ['auto_increment_increment', '1'],
    ['autocommit', '1'],
    ['character_set_client', 'utf8mb4'],
    ['character_set_connection', 'utf8mb4'],
    ['character_set_database', 'utf8mb4'],
    ['character_set_results', 'utf8mb4'],
    ['character_set_server', 'utf8mb4'],
    ['collation_connection', 'utf8mb4_general_ci'],
    ['collation_server', 'utf8mb4_general_ci'],
    ['init_connect', ''],
    ['interactive_timeout', '28800'],
    ['license', 'Apache-2.0'],
    ['lower_case_table_names', '0'],
    ['max_allowed_packet', '1048576'],
    ['net_write_timeout', '60'],
    ['performance_schema', '0'],
    ['query_cache_size', '0'],
    ['query_cache_type', 'OFF'],
    ['sql_mode', ''],
    ['system_time_zone', 'UTC'],
    ['time_zone', 'SYSTEM'],
    ['transaction_isolation', 'REPEATABLE-READ'],
    ['tx_isolation', 'REPEATABLE-READ'],
    ['wait_timeout', '28800'],
  ]);
}
