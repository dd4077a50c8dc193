/**
 * The tables of split endpoints: where a statement goes (EXPLAIN ROUTE), what a session depends on
 * (EXPLAIN SESSION), what was asked how often (SHOW DIGESTS), and which rules were met (SHOW RULES). Pure
 * functions from the workers' answers to columns and rows.
 */
import type { RuleConfig } from '../config/config.ts';
import type { WorkerStats } from '../ipc/messages.ts';
import type {
  DigestStats,
  HeldConnection,
  NamedValue,
  ReplicaSight,
  RouteExplanation,
  SessionExplanation,
  SessionRecord,
} from '../ipc/split.ts';
import type { ResultCell } from '../protocol/packets.ts';
import { tableOf, type Table } from './tables.ts';

/** EXPLAIN ROUTE: a row a reason, then a row a server that may be asked to read. */
export function routeTable(route: RouteExplanation): Table {
  const reasons = [...route.reasons, ...route.replicas.map(sightWords)];
  const rows = (reasons.length > 0 ? reasons : ['']).map((reason) => [
    route.target,
    route.backend,
    route.class,
    route.pinnedBy,
    reason,
    route.digest,
    route.listener,
  ]);
  return tableOf(['target', 'backend', 'class', 'pinned_by', 'reason', 'digest', 'listener'], rows, 'reason');
}

function sightWords({ name, readable, lagMs, roWeight, hasPosition, reason }: ReplicaSight): string {
  const parts = [
    readable ? 'takes reads' : 'takes no reads',
    lagMs === null ? 'lag not known' : `lag ${Math.round(lagMs)} ms`,
    `ro_weight ${roWeight}`,
  ];
  if (hasPosition !== null) {
    parts.push(hasPosition ? 'has the writes to be seen' : 'is not known to have the writes to be seen');
  }
  if (reason !== '') parts.push(reason);
  return `${name}: ${parts.join(', ')}`;
}

type SessionRow = readonly [item: string, value: ResultCell, sinceMs?: number];

/** EXPLAIN SESSION: a row an item; several rows where there are several of a kind. */
export function sessionTable(explanation: SessionExplanation): Table {
  const { record, connections } = explanation;
  const items: SessionRow[] = [
    ...identityRows(explanation),
    ...connections.map((connection): SessionRow => ['connection', connectionWords(connection)]),
    ...(record === null ? boundRows(explanation) : recordRows(record)),
  ];
  const rows = items.map(([item, value, sinceMs]) => [
    item,
    value,
    sinceMs === undefined ? null : Math.round(sinceMs),
  ]);
  return tableOf(['item', 'value', 'since_ms#'], rows);
}

function identityRows({ session, mode, pool }: SessionExplanation): SessionRow[] {
  return [
    ['id', session.id, session.ageMs],
    ['user', session.user],
    ['client', session.clientAddress],
    ['listener', session.listener],
    ['mode', mode],
    ['pool', pool],
    ['state', session.state, session.stateMs],
    ['queries', session.queries],
  ];
}

function connectionWords({ backend, threadId, role }: HeldConnection): string {
  return `${backend} (${role}), thread ${threadId}`;
}

/** A session that has one connection for its life. */
function boundRows({ session, mode, pool }: SessionExplanation): SessionRow[] {
  const why = `keeps one connection for its life (mode = ${mode}, pool = ${pool})`;
  return [
    ['pin', why, session.ageMs],
    ['pinned_to', session.backend],
  ];
}

function recordRows(record: SessionRecord): SessionRow[] {
  const named =
    (item: string) =>
    ({ name, value }: NamedValue): SessionRow => [item, `${name} = ${value}`];
  return [
    ...record.pins.map(({ reason, sinceMs }): SessionRow => ['pin', reason, sinceMs]),
    ['pinned_to', record.pinnedTo],
    ['in_transaction', onOff(record.inTransaction)],
    ['autocommit', onOff(record.autocommit)],
    ['database', record.database],
    ['character_set', record.characterSet],
    ...record.settings.map(named('setting')),
    ...record.userVariables.map(named('user_variable')),
    ['prepared_statements', record.preparedStatements],
    ['causal_reads', record.causal.mode],
    ['causal_position', record.causal.position],
    ['causal_at_once', record.causal.atOnce],
    ['causal_waited', record.causal.waited],
    ['causal_fell_back', record.causal.fellBack],
    ...lastStatementRows(record),
    ...record.counters.map(({ name, count }): SessionRow => [name, count]),
  ];
}

function lastStatementRows({ lastStatement }: SessionRecord): SessionRow[] {
  if (lastStatement === null) return [];
  return [
    ['last_class', lastStatement.class],
    ['last_target', lastStatement.target],
    ['last_backend', lastStatement.backend],
    ...lastStatement.reasons.map((reason): SessionRow => ['last_reason', reason]),
  ];
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}

/** SHOW DIGESTS: the workers' counts joined, what took the most time first. */
export function digestsTable(digests: readonly DigestStats[]): Table {
  const rows = joined(digests)
    .toSorted((one, other) => other.sumMs - one.sumMs)
    .map((entry) => [
      entry.digest,
      entry.listener,
      entry.class,
      entry.count,
      milliseconds(entry.count === 0 ? 0 : entry.sumMs / entry.count),
      milliseconds(entry.maxMs),
      entry.bytes,
      entry.primary,
      entry.replica,
      entry.pipelined,
      entry.text,
    ]);
  return tableOf(
    [
      'digest',
      'listener',
      'class',
      'count#',
      'mean_ms',
      'max_ms',
      'bytes#',
      'primary#',
      'replica#',
      'pipelined#',
      'text',
    ],
    rows,
    'text',
  );
}

/** Most statements take less than a millisecond, so that whole ones would say nothing. */
function milliseconds(valueMs: number): string {
  return valueMs.toFixed(3);
}

function joined(digests: readonly DigestStats[]): DigestStats[] {
  const sums = new Map<string, DigestStats>();
  for (const entry of digests) {
    const key = JSON.stringify([entry.digest, entry.listener]);
    const known = sums.get(key);
    sums.set(key, known === undefined ? entry : addDigests(known, entry));
  }
  return [...sums.values()];
}

function addDigests(one: DigestStats, other: DigestStats): DigestStats {
  return {
    ...one,
    count: one.count + other.count,
    sumMs: one.sumMs + other.sumMs,
    maxMs: Math.max(one.maxMs, other.maxMs),
    bytes: one.bytes + other.bytes,
    primary: one.primary + other.primary,
    replica: one.replica + other.replica,
    pipelined: one.pipelined + other.pipelined,
  };
}

/** SHOW RULES: in the order in which they are looked at; an empty cell means any. */
export function rulesTable(rules: readonly RuleConfig[], stats: readonly WorkerStats[]): Table {
  const counted = stats.flatMap((worker) => worker.rules);
  const rows = rules.map((rule) => {
    const hits = counted.filter(({ name }) => name === rule.name).reduce((sum, one) => sum + one.hits, 0);
    return [rule.name, rule.user ?? '', rule.listener ?? '', rule.digest ?? '', rule.target, hits];
  });
  return tableOf(['name', 'user', 'listener', 'digest', 'target', 'hits#'], rows);
}
