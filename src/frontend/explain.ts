/**
 * EXPLAIN ROUTE: where a statement would go, and why. The same functions decide here as for a statement that is
 * run, on the same record of the session; but nothing is run, counted, or changed: shares of the servers, hits of
 * rules, and what is known of a form of statement are looked at only.
 */
import type { BackendConnection } from '../backend/connection.ts';
import type { Preparation } from '../backend/wish.ts';
import { Settings } from '../backend/settings.ts';
import type { ReplicaSight, RouteExplanation, RouteTarget } from '../ipc/split.ts';
import { Collation } from '../protocol/constants.ts';
import { route, type Route } from '../routing/router.ts';
import { destinationOf, explainDestination, type ExplainedView } from '../routing/split.ts';
import { classify } from '../sql/classify.ts';
import { formatDigest } from '../sql/digest-text.ts';
import { parseKill } from '../sql/kill.ts';
import { guardRead } from '../sql/read-guard.ts';
import { Leave, Need, Statement, type SqlDialect } from '../sql/statement.ts';
import type { BackendRole, BackendView, Snapshot } from '../topology/snapshot.ts';
import type { SessionContext, SessionEndpoint, SharedEndpoint } from './context.ts';
import { dialectOf } from './dialect.ts';
import { whyNotFast } from './digests.ts';
import type { StatementDispatcher } from './dispatcher.ts';
import { mayName } from './hidden-code.ts';
import { factsOf } from './server-facts.ts';
import { staysHome } from './shared-endpoint.ts';
import type { Session } from './session.ts';
import { PIN_WORDS } from './session-record.ts';

/** What is looked at besides the session. */
export type ExplainContext = Pick<SessionContext, 'snapshot' | 'pool' | 'clock'>;

/** Where a statement of this session would go now. */
export function explainRoute(session: Session, sql: string, context: ExplainContext): RouteExplanation {
  const { endpoint, dispatcher, connection } = session;
  return explainFor({ endpoint, dispatcher, connection, user: session.info().user, context }, sql);
}

/** Where the first statement of a new session of this endpoint would go. */
export function explainFirstRoute(
  endpoint: SessionEndpoint,
  sql: string,
  context: ExplainContext,
): RouteExplanation {
  return explainFor({ endpoint, dispatcher: null, connection: null, user: null, context }, sql);
}

/** Whose statement it is, and what it is looked at with. */
interface Asker {
  readonly endpoint: SessionEndpoint;
  /** Null for a new session, and for one that keeps one connection. */
  readonly dispatcher: StatementDispatcher | null;
  readonly connection: BackendConnection | null;
  /** Null for a new session: nobody has logged in. */
  readonly user: string | null;
  readonly context: ExplainContext;
}

/** The text of a statement, and what the classifier says of it. */
interface Looked {
  readonly text: Buffer;
  readonly statement: Statement;
}

/** What there is to say of where it goes. */
type Verdict = Pick<RouteExplanation, 'target' | 'backend' | 'pinnedBy' | 'reasons'>;

function explainFor(asker: Asker, sql: string): RouteExplanation {
  const { endpoint } = asker;
  const text = Buffer.from(sql, 'utf8');
  const statement = new Statement();
  classify(text, 0, text.length, dialectFor(asker), statement);
  const looked = { text, statement };
  return {
    listener: endpoint.config.name,
    class: statement.class,
    digest: formatDigest(statement.digestHigh, statement.digestLow),
    ...(answeredHere(asker, looked) ??
      (endpoint.shared === null || staysHome(endpoint.config)
        ? whereBound(asker)
        : whereShared(asker, endpoint.shared, looked))),
    replicas: endpoint.config.mode === 'write' ? [] : sightsOf(asker),
  };
}

function dialectFor({ endpoint, dispatcher, context }: Asker): SqlDialect {
  const facts = endpoint.shared?.facts() ?? factsOf(context.snapshot(), endpoint.config.cluster);
  return dispatcher === null
    ? dialectOf(facts, Settings.initial(''), FRESH)
    : dialectOf(facts, dispatcher.record.settings, dispatcher.preparation);
}

// What dbproxy answers itself.

function answeredHere(asker: Asker, { text }: Looked): Verdict | null {
  const { config } = asker.endpoint;
  if (parseKill(text, 0, text.length) !== undefined) {
    return byProxy('KILL: dbproxy finds the session, and has its server end it');
  }
  if (config.mode === 'read') {
    const guard = guardRead(text, 0, text.length, isOnPrimary(asker));
    if (guard.kind === 'refuse') return byProxy(`the read endpoint refuses ${guard.what}`);
    if (guard.kind === 'answer_ok') return byProxy('a read endpoint answers OK and stays READ ONLY');
  }
  if (asker.dispatcher?.knowsSet(text.toString('latin1')) === true) {
    return byProxy('a server has answered this SET before: it is executed together with the next statement');
  }
  return null;
}

function byProxy(reason: string): Verdict {
  return { target: 'dbproxy', backend: null, pinnedBy: null, reasons: [reason] };
}

/** On a read endpoint: the primary has to serve the reads. */
function isOnPrimary(asker: Asker): boolean {
  const { connection, context, endpoint } = asker;
  const { backends } = context.snapshot();
  if (connection !== null) return roleOf(context.snapshot(), connection.backend) !== 'replica';
  return !backends.some(({ cluster, readable }) => cluster === endpoint.config.cluster && readable);
}

// Sessions that keep one connection.

/** What is said of a session with `session_moves = on`. */
export function staysHomeWords(mode: 'write' | 'read' | 'split'): string {
  const when =
    mode === 'read'
      ? 'its server may not serve reads any more and another one may'
      : 'another server becomes the primary';
  return `keeps one connection, and another one only when ${when} (session_moves = on)`;
}

function whereBound({ endpoint, dispatcher, connection: kept, context }: Asker): Verdict {
  const { mode, pool } = endpoint.config;
  const connection = dispatcher?.attached ?? kept;
  const words = staysHome(endpoint.config)
    ? staysHomeWords(mode)
    : `keeps one connection for its life (mode = ${mode}, pool = ${pool})`;
  if (connection === null) {
    const chosen = routeTo(endpoint, mode, context);
    return { ...targetOf(chosen), pinnedBy: null, reasons: [`a session ${words}`, chosen.reason] };
  }
  const { backend } = connection;
  const target = targetOfRole(roleOf(context.snapshot(), backend));
  return { target, backend, pinnedBy: 'session', reasons: [`the session ${words}`] };
}

// Sessions that change connections.

function whereShared(asker: Asker, shared: SharedEndpoint, looked: Looked): Verdict {
  const { dispatcher } = asker;
  const { statement } = looked;
  const view = viewOf(asker.endpoint, dispatcher);
  const detour = dispatcher?.detourOf(statement) ?? 'none';
  switch (detour) {
    case 'refused':
      return refusedInReadOnly(view, dispatcher!);
    case 'moves_home': {
      const words = 'the READ ONLY transaction has read nothing yet: it begins anew where this can be';
      return withReason(words, atSide(asker, 'home', view, looked, []));
    }
    case 'ends_transaction': {
      const words = 'the READ ONLY transaction on a replica ends first';
      return withReason(words, whereByRules(asker, shared, looked, { ...view, pinned: false, pins: [] }));
    }
    case 'none':
      return whereByRules(asker, shared, looked, view);
  }
}

function withReason(reason: string, verdict: Verdict): Verdict {
  return { ...verdict, reasons: [reason, ...verdict.reasons] };
}

function refusedInReadOnly({ pins }: ExplainedView, dispatcher: StatementDispatcher): Verdict {
  const words = 'a READ ONLY transaction has read on a replica, where this cannot be: refused with 1235';
  return { target: 'dbproxy', backend: null, pinnedBy: pinnedBy(dispatcher), reasons: [...pins, words] };
}

function whereByRules(asker: Asker, shared: SharedEndpoint, looked: Looked, view: ExplainedView): Verdict {
  const { text, statement } = looked;
  const { user, dispatcher, context } = asker;
  const rule = shared.rules.peek(user ?? '', statement.digestHigh, statement.digestLow);
  const namesView = mayName(shared.hiddenCode.allViews(), text, 0, text.length);
  if (namesView) {
    statement.needs |= Need.UNKNOWN_FUNCTION;
    statement.leaves |= Leave.ANYTHING;
  }
  const to = destinationOf(statement, view, rule?.target ?? 'none');
  const reasons = explainDestination(statement, to, view, rule, evidenceOf(text, statement));
  if (namesView) reasons.push('it may name a view that does more than read');
  if (user === null && shared.rules.dependOnUser) {
    reasons.push('rules of one user are not looked at, as none is named: FOR SESSION id names one');
  }
  if (to === 'here') {
    const { backend } = dispatcher!.attached!;
    const target = targetOfRole(roleOf(context.snapshot(), backend));
    return { target, backend, pinnedBy: pinnedBy(dispatcher), reasons };
  }
  const asked = to === 'last' ? (dispatcher?.connectionToAsk(statement.needs) ?? null) : null;
  if (asked === 'gone') {
    const words = 'which has served others since: refused with 1235';
    return { target: 'dbproxy', backend: null, pinnedBy: null, reasons: [...reasons, words] };
  }
  if (asked !== null) {
    const target = targetOfRole(roleOf(context.snapshot(), asked.backend));
    return { target, backend: asked.backend, pinnedBy: null, reasons };
  }
  return atSide(asker, to === 'replica' ? 'replica' : 'home', view, looked, reasons);
}

/** At home or on a replica: which server that is now, and what is thought of before it is asked. */
function atSide(
  asker: Asker,
  side: 'home' | 'replica',
  { splits }: ExplainedView,
  { statement }: Looked,
  reasons: readonly string[],
): Verdict {
  const { endpoint, context, dispatcher } = asker;
  const { mode } = endpoint.config;
  const homeMode = mode === 'read' ? 'read' : 'write';
  const chosen = routeTo(endpoint, side === 'home' ? homeMode : 'read', context);
  const all = [...reasons];
  if (side === 'replica') all.push(...causalWords(endpoint, dispatcher));
  if ((statement.needs & Need.LAST_INSERT_ID) !== 0) all.push('its LAST_INSERT_ID is set there first');
  // That home is the primary has been said.
  if (chosen.backend === null || side === 'replica' || !splits) all.push(chosen.reason);
  const lane = laneWords(endpoint.shared!, statement, endpoint.config.causalReads === 'global');
  if (lane !== null) all.push(lane);
  return { ...targetOf(chosen), pinnedBy: null, reasons: all };
}

/** The session as the decision sees it; `dispatcher` null: it has just begun. */
export function viewOf({ config }: SessionEndpoint, dispatcher: StatementDispatcher | null): ExplainedView {
  const home = config.mode === 'read' ? 'a replica' : 'the primary';
  const splits = config.mode === 'split';
  const seesAll = config.causalReads === 'global';
  if (dispatcher === null) return { pinned: false, autocommit: true, splits, seesAll, pins: [], home };
  const { pinned, autocommit, record } = dispatcher;
  const pins = [...record.pins.keys()].map((pin) => PIN_WORDS[pin]);
  if (dispatcher.staysHome) pins.unshift(staysHomeWords(config.mode));
  return {
    pinned,
    autocommit,
    splits,
    seesAll,
    pins,
    home,
  };
}

function pinnedBy(dispatcher: StatementDispatcher | null): string | null {
  const pins = [...(dispatcher?.record.pins.keys() ?? [])];
  return pins.length === 0 ? null : pins.join(', ');
}

function causalWords({ config }: SessionEndpoint, dispatcher: StatementDispatcher | null): string[] {
  const { causalReads, causalTimeoutMs } = config;
  const terms = `the replica has ${causalTimeoutMs} ms to have it, else the primary serves`;
  if (causalReads === 'global') return [`the position of the primary is asked for first; ${terms}`];
  if (causalReads === 'off' || dispatcher === null) return [];
  if (dispatcher.record.hasWritten) {
    return [`the session has written: the position of the primary is asked for first; ${terms}`];
  }
  const { position } = dispatcher.connections;
  return position === null ? [] : [`the session has written up to ${position}; ${terms}`];
}

/** Whether it would share a connection with statements of others; null where none do. */
function laneWords(
  { laneTerms, digests }: SharedEndpoint,
  statement: Statement,
  asksFirst: boolean,
): string | null {
  if (laneTerms === null) return null;
  if (asksFirst)
    return 'it shares no connection with others: with causal_reads = global it has to wait for a position';
  if (statement.class !== 'read' || statement.needs !== 0 || statement.leaves !== 0) {
    return 'it shares no connection with others: it is no plain read';
  }
  const digest = digests.find(statement.digestHigh, statement.digestLow);
  const why = whyNotFast(digest, laneTerms.fastMs);
  if (why !== null) return `it shares no connection with others: ${why}`;
  return laneTerms.sharesFirst
    ? 'it may share a connection with others, as its form is fast'
    : 'it may share a connection with others when all are busy, as its form is fast';
}

function evidenceOf(text: Buffer, { evidenceStart, evidenceEnd }: Statement): string {
  const words = text.toString('utf8', evidenceStart, evidenceEnd).replaceAll(/\s+/g, ' ');
  return words.length <= MOST_EVIDENCE ? words : `${words.slice(0, MOST_EVIDENCE)}...`;
}

// Servers.

/** The server that would be chosen next; the memory of the shares stays as it is. */
function routeTo(
  { config, credits }: SessionEndpoint,
  mode: 'write' | 'read' | 'split',
  { snapshot, pool }: ExplainContext,
): Route {
  const usedOn = (name: string): number => pool(name).inUse;
  return route(snapshot(), { ...config, mode }, new Map(credits), usedOn, new Set());
}

function targetOf({ backend }: Route): Pick<RouteExplanation, 'target' | 'backend'> {
  return backend === null
    ? { target: 'none', backend: null }
    : { target: targetOfRole(backend.role), backend: backend.name };
}

export function targetOfRole(role: BackendRole): RouteTarget {
  return role === 'replica' ? 'replica' : 'primary';
}

export function roleOf({ backends }: Snapshot, name: string): BackendRole {
  return backends.find((backend) => backend.name === name)?.role ?? 'unknown';
}

/** Those that read, or would if they were well. */
function sightsOf({ endpoint, dispatcher, context }: Asker): ReplicaSight[] {
  const { cluster, causalReads } = endpoint.config;
  const position = causalReads === 'session' ? (dispatcher?.connections.position ?? null) : null;
  const isNewer = dispatcher?.record.hasWritten === true;
  return context
    .snapshot()
    .backends.filter((view) => view.cluster === cluster && (view.role !== 'primary' || view.roWeightSet))
    .map((view) => ({
      name: view.name,
      readable: mayRead(view),
      lagMs: view.lagMs,
      roWeight: view.roWeight,
      hasPosition:
        position === null || isNewer ? null : endpoint.shared!.causal.isKnownToHave(view.name, position),
      reason: sightReason(view),
    }));
}

function mayRead({ role, readable, state }: BackendView): boolean {
  const isUp = state === 'online' || state === 'suspect';
  return isUp && (role === 'primary' || readable);
}

function sightReason({ state, reason, roWeight }: BackendView): string {
  if (reason !== '') return reason;
  if (state !== 'online') return `it is ${state}`;
  return roWeight <= 0 ? 'its ro_weight is 0' : '';
}

/** Of a text that decided, as much is shown. */
const MOST_EVIDENCE = 60;

/** As sessions begin that say nothing of their own. */
const FRESH: Preparation = {
  database: '',
  collation: Collation.UTF8MB4_GENERAL_CI,
  readOnly: false,
  attributes: Buffer.alloc(0),
  settingFlags: 0,
};
