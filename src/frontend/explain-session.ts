/**
 * EXPLAIN SESSION: what a session is, has and depends on, from the record by which it can change connections.
 * Nothing is asked of a server, and nothing changed.
 */
import type { BackendConnection } from '../backend/connection.ts';
import type { Preparation } from '../backend/wish.ts';
import { NAMES, type Settings } from '../backend/settings.ts';
import type {
  CausalState,
  HeldConnection,
  LastStatement,
  NamedValue,
  SessionExplanation,
  SessionRecord as ToldRecord,
} from '../ipc/split.ts';
import { explainDestination } from '../routing/split.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import type { SessionEndpoint } from './context.ts';
import type { LastRoute, StatementDispatcher } from './dispatcher.ts';
import { roleOf, staysHomeWords, targetOfRole, viewOf, type ExplainContext } from './explain.ts';
import type { Session } from './session.ts';
import { PIN_WORDS } from './session-record.ts';

/** What a session is, has and depends on. */
export function explainSession(session: Session, context: ExplainContext): SessionExplanation {
  const { endpoint, dispatcher, connection } = session;
  const { mode, pool } = endpoint.config;
  const snapshot = context.snapshot();
  const attached = dispatcher === null ? connection : dispatcher.attached;
  const held = [...(attached === null ? [] : [attached]), ...(dispatcher?.connections.held ?? [])];
  return {
    session: session.info(),
    mode,
    pool,
    record: recordOf(session, context),
    connections: held.map((one) => toldConnection(one, snapshot)),
  };
}

/** Null for a session that keeps one connection; of one that is still logging in there is nothing to tell. */
function recordOf(session: Session, context: ExplainContext): ToldRecord | null {
  const { dispatcher, endpoint } = session;
  if (dispatcher !== null) return toldRecord(session, dispatcher, context);
  return endpoint.shared === null
    ? null
    : { ...NOTHING_YET, causal: { ...NOTHING_YET.causal, mode: endpoint.config.causalReads } };
}

function toldRecord(session: Session, dispatcher: StatementDispatcher, context: ExplainContext): ToldRecord {
  const { record, counts } = dispatcher;
  const { settings } = record;
  const nowMs = context.clock.nowMs();
  return {
    database: Buffer.from(settings.database, 'latin1').toString('utf8'),
    characterSet: characterSetOf(settings, dispatcher.preparation),
    settings: named(settings.variables),
    userVariables: named(settings.userVariables, '@'),
    pins: [
      ...(dispatcher.staysHome
        ? [{ reason: staysHomeWords(session.endpoint.config.mode), sinceMs: session.info().ageMs }]
        : []),
      ...[...record.pins].map(([pin, sinceMs]) => ({ reason: PIN_WORDS[pin], sinceMs: nowMs - sinceMs })),
    ],
    pinnedTo: dispatcher.pinned ? (dispatcher.attached?.backend ?? null) : null,
    inTransaction: record.inTransaction,
    autocommit: record.autocommit,
    preparedStatements: dispatcher.statements.count,
    causal: causalState(session.endpoint, dispatcher),
    lastStatement: lastStatement(session, dispatcher, context),
    counters: [
      { name: 'statements_home', count: counts.home },
      { name: 'statements_replica', count: counts.replica },
      { name: 'statements_pipelined', count: counts.pipelined },
      { name: 'retries', count: counts.retried },
    ],
  };
}

function named(values: ReadonlyMap<string, string>, prefix = ''): NamedValue[] {
  return [...values].map(([name, value]) => ({ name: `${prefix}${name}`, value }));
}

function characterSetOf({ variables }: Settings, { collation }: Preparation): string {
  const set = variables.get('character_set_client') ?? variables.get(NAMES);
  return set?.replaceAll("'", '') ?? `that of its login (collation ${collation})`;
}

function causalState({ config }: SessionEndpoint, { connections, record }: StatementDispatcher): CausalState {
  const position = record.hasWritten ? null : connections.position;
  return { mode: config.causalReads, position, ...connections.causalCounts };
}

function lastStatement(
  session: Session,
  dispatcher: StatementDispatcher,
  context: ExplainContext,
): LastStatement | null {
  const last = dispatcher.lastRoute;
  if (last === null) return null;
  const { statement, to, by } = last;
  if (by === null) {
    const reason = 'dbproxy has answered it, as a server has answered the same before';
    return { class: statement.class, target: 'dbproxy', backend: null, reasons: [reason] };
  }
  const target = targetOfRole(roleOf(context.snapshot(), by));
  const reasons = whyLast(session, dispatcher, last);
  const wasMeant = to !== 'replica' || target === 'replica' || session.endpoint.config.mode !== 'split';
  if (!wasMeant) reasons.push('no replica could serve it, so the primary did');
  if (reasons.length === 0) reasons.push('a replica has refused it or was lost');
  return { class: statement.class, target, backend: by, reasons };
}

function whyLast(session: Session, dispatcher: StatementDispatcher, { statement, to }: LastRoute): string[] {
  const { endpoint } = session;
  const { user } = session.info();
  const view = viewOf(endpoint, dispatcher);
  const { digestHigh, digestLow } = statement;
  const hasText = digestHigh !== 0 || digestLow !== 0;
  const rule = hasText ? endpoint.shared!.rules.peek(user, digestHigh, digestLow) : null;
  return explainDestination(statement, to, view, rule, '');
}

function toldConnection({ backend, threadId }: BackendConnection, snapshot: Snapshot): HeldConnection {
  return { backend, threadId, role: roleOf(snapshot, backend) };
}

/** A session that has not logged in. */
const NOTHING_YET: ToldRecord = {
  database: '',
  characterSet: '',
  settings: [],
  userVariables: [],
  pins: [],
  pinnedTo: null,
  inTransaction: false,
  autocommit: true,
  preparedStatements: 0,
  causal: { mode: 'off', position: null, atOnce: 0, waited: 0, fellBack: 0 },
  lastStatement: null,
  counters: [],
};
