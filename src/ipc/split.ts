/**
 * What a worker tells of its split endpoints: where one statement would go and why, what one session
 * depends on, and what was counted. Plain data, made by the worker that has the session, printed by the
 * admin port (EXPLAIN ROUTE, EXPLAIN SESSION, SHOW DIGESTS, SHOW RULES) and by the metrics. Words in
 * `reason` and `reasons` are for people; times are milliseconds of age, not points in time.
 */
import type { ListenerConfig } from '../config/config.ts';
import type { StatementClass } from '../sql/statement.ts';
import type { BackendRole } from '../topology/snapshot.ts';
import type { SessionInfo } from './session-info.ts';

/** Whose statement EXPLAIN ROUTE is about: that of a session, or the first one of a new session. */
export type RouteAsker =
  | { readonly kind: 'session'; readonly sessionId: number }
  | { readonly kind: 'fresh'; readonly listener: string };

/**
 * Where a statement goes: to the primary or a replica, also when the connection it is pinned to is there;
 * `dbproxy` answers or refuses it itself; `none`: no server can take it now.
 */
export type RouteTarget = 'primary' | 'replica' | 'dbproxy' | 'none';

/** EXPLAIN ROUTE: where a statement would go. Nothing has been run. */
export interface RouteExplanation {
  readonly listener: string;
  readonly target: RouteTarget;
  /** Null when it goes to no server, or when none can be had now. */
  readonly backend: string | null;
  readonly class: StatementClass;
  /** Why the session keeps its connection; null when it is free to go. */
  readonly pinnedBy: string | null;
  /** Every reason, in the order in which they decided. */
  readonly reasons: readonly string[];
  /** As `[rule]` sections write it: 0x and 16 hexadecimal digits. */
  readonly digest: string;
  /** The servers that may be asked to read, as they stand now. */
  readonly replicas: readonly ReplicaSight[];
}

/** One server as a reader. */
export interface ReplicaSight {
  readonly name: string;
  readonly readable: boolean;
  readonly lagMs: number | null;
  readonly roWeight: number;
  /** It has all that this session must see; null when it need not see anything in particular, or it is not known. */
  readonly hasPosition: boolean | null;
  /** Why it is not chosen, or what is odd about it; empty when there is nothing to say. */
  readonly reason: string;
}

/** EXPLAIN SESSION: what a session is, has and depends on. */
export interface SessionExplanation {
  /** As SHOW SESSIONS has it. */
  readonly session: SessionInfo;
  readonly mode: ListenerConfig['mode'];
  readonly pool: ListenerConfig['pool'];
  /** What dbproxy keeps of it; null for a session that keeps one connection for its life: that has it all. */
  readonly record: SessionRecord | null;
  /** Connections it holds now. */
  readonly connections: readonly HeldConnection[];
}

/** The state of a session that must be the same on whatever connection serves it next. */
export interface SessionRecord {
  readonly database: string;
  readonly characterSet: string;
  /** Session variables it has set, as literal SQL. */
  readonly settings: readonly NamedValue[];
  /** User variables whose value is known, as literal SQL. */
  readonly userVariables: readonly NamedValue[];
  readonly pins: readonly SessionPin[];
  /** The backend whose connection it must keep; null while nothing pins it. */
  readonly pinnedTo: string | null;
  readonly inTransaction: boolean;
  readonly autocommit: boolean;
  readonly preparedStatements: number;
  readonly causal: CausalState;
  /** Null before its first statement. */
  readonly lastStatement: LastStatement | null;
  /** What it has counted, by name, in the order to be shown. */
  readonly counters: readonly NamedCount[];
}

export interface NamedValue {
  readonly name: string;
  readonly value: string;
}

export interface NamedCount {
  readonly name: string;
  readonly count: number;
}

/** Why a session keeps its connection. */
export interface SessionPin {
  readonly reason: string;
  /** How long it has held. */
  readonly sinceMs: number;
}

export interface HeldConnection {
  readonly backend: string;
  /** The server's own id of the connection. */
  readonly threadId: number;
  /** As the topology has it now. */
  readonly role: BackendRole;
}

/** What a session's reads must have seen. */
export interface CausalState {
  readonly mode: ListenerConfig['causalReads'];
  /** The primary's position after the last write that counts; null when none does, or it is not asked for yet. */
  readonly position: string | null;
  readonly atOnce: number;
  readonly waited: number;
  readonly fellBack: number;
}

/** How the latest statement was routed. */
export interface LastStatement {
  readonly class: StatementClass;
  readonly target: RouteTarget;
  readonly backend: string | null;
  readonly reasons: readonly string[];
}

/** One form of statement on one endpoint of one worker, since it was first remembered. */
export interface DigestStats {
  /** 0x and 16 hexadecimal digits. */
  readonly digest: string;
  readonly listener: string;
  /** The text with its literals left out; bounded by who makes it. */
  readonly text: string;
  readonly class: StatementClass;
  readonly count: number;
  readonly sumMs: number;
  readonly maxMs: number;
  /** Of the answers. */
  readonly bytes: number;
  /** How many of them a primary answered, and a replica. */
  readonly primary: number;
  readonly replica: number;
  /** How many travelled on a connection shared at that moment. */
  readonly pipelined: number;
}

/** What became of the reads that had to see a write: the replica had it, was waited for, or the primary served. */
export interface CausalStats {
  readonly listener: string;
  readonly atOnce: number;
  readonly waited: number;
  readonly fellBack: number;
}

/** Reads that were sent again elsewhere; `reason` is one of few fixed words (it is a label of a metric). */
export interface RetryStats {
  readonly listener: string;
  readonly reason: string;
  readonly count: number;
}

/** Sessions that are pinned now; `reason` is one of few fixed words. A session with two reasons counts in each. */
export interface PinStats {
  readonly listener: string;
  readonly reason: string;
  readonly count: number;
}

/** How often a `[rule]` was the first that matched; there is one for each rule, hit or not. */
export interface RuleStats {
  readonly name: string;
  readonly hits: number;
}
