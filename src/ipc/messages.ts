/**
 * Every message between the supervisor (control plane) and its workers (data plane).
 * A worker gets `start` first and answers `ready` when all its listeners have been tried; requests
 * carry a `requestId` that the answer repeats.
 */
import type { BackendConfig, ProxyConfig } from '../config/config.ts';
import type { ClusterAccounts } from '../topology/account.ts';
import type { ProvenLogin } from '../topology/proven-logins.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import type { ListenerCertificates } from '../transport/certificates.ts';
import type { RsaKeyTexts } from '../transport/rsa-keys.ts';
import type { SessionInfo } from './session-info.ts';
import type {
  CausalStats,
  DigestStats,
  PinStats,
  RetryStats,
  RouteAsker,
  RouteExplanation,
  RuleStats,
  SessionExplanation,
} from './split.ts';

/** Listeners whose address another process has, and who that is; they are not to be opened, as it would be shared. */
export type TakenListeners = Readonly<Record<string, string>>;

export type ToWorker =
  | {
      type: 'start';
      slot: number;
      config: ProxyConfig;
      snapshot: Snapshot;
      /** Of the clusters whose accounts have been read. */
      accounts: ClusterAccounts[];
      proven: ProvenLogin[];
      /** Of the listeners that speak TLS. */
      certificates: ListenerCertificates[];
      /** For the TLS session tickets of all workers, in base64. */
      ticketKeys: string;
      rsa: RsaKeyTexts;
      taken: TakenListeners;
    }
  /** Other listeners than before are not to be opened. */
  | { type: 'listeners-taken'; taken: TakenListeners }
  /** A listener has a new certificate; sessions that exist keep the old one. */
  | { type: 'certificates'; certificates: ListenerCertificates }
  /** Servers have come or gone at run time; the next snapshot has these. */
  | { type: 'backends'; backends: readonly BackendConfig[] }
  | { type: 'snapshot'; snapshot: Snapshot }
  /** How far a replica had come at its latest check: between snapshots, which do not wait for it. */
  | { type: 'replica-position'; backend: string; gtidPosition: string | null }
  /** The accounts of a cluster have changed. */
  | { type: 'accounts'; accounts: ClusterAccounts }
  /** Answer to `accounts-wanted`: what has changed was sent before. `awaitsFirst`: none could be read so far, and it is tried again. */
  | { type: 'accounts-checked'; requestId: number; awaitsFirst: boolean }
  /** Another worker has learnt this. */
  | { type: 'account-proven'; login: ProvenLogin }
  /** A session of another worker has created, altered or dropped something. */
  | { type: 'schema-changed'; cluster: string }
  /** End all client sessions on a backend; those inside a transaction have until `graceMs`. */
  | { type: 'end-sessions'; requestId: number; backend: string; graceMs: number; reason: string }
  /**
   * A promotion: from now on statements that need the primary of `cluster` wait, until the next snapshot whose
   * cluster has `writesHeld` = false. What is open at `backend`, the old primary (null: there is none), may end
   * within `graceMs`, then it is cut. Answered by `writes-holding` at once, as a sign of life, and by `writes-held` when
   * nothing of this worker can reach it any more.
   */
  | {
      type: 'hold-writes';
      requestId: number;
      cluster: string;
      backend: string | null;
      graceMs: number;
      kind: 'switchover' | 'failover';
      reason: string;
    }
  /** Answer to `commit-lost`; `detail` says in words how that is known, or why it is not. */
  | { type: 'commit-resolved'; requestId: number; outcome: CommitOutcome; detail: string }
  | { type: 'stats-wanted'; requestId: number }
  | { type: 'sessions-wanted'; requestId: number }
  /** Not part of `stats`, as it can be large and nobody scrapes it. */
  | { type: 'digests-wanted'; requestId: number }
  | { type: 'explain-session'; requestId: number; sessionId: number }
  | { type: 'explain-route'; requestId: number; asker: RouteAsker; sql: string }
  /** Operator's KILL: `query` ends the running statement only. */
  | { type: 'kill-session'; requestId: number; sessionId: number; query: boolean }
  /** Another worker asks where a session of this one is (and has killed it, `ends`); answered by `session-place`. */
  | { type: 'session-asked'; requestId: number; sessionId: number; ends: boolean }
  /** Answer to `session-wanted`. */
  | { type: 'session-found'; requestId: number; place: SessionPlace | null }
  /** `count` slots of `key` are now the worker's (see `SlotLedger`). */
  | { type: 'slots-granted'; key: string; count: number }
  /** Others wait for slots of `key`: give back what idles; unless it `must` be, only what has idled for a while. */
  | { type: 'slots-wanted-back'; key: string; must: boolean }
  /** Stop accepting, let sessions end until `timeoutMs`, then exit. */
  | { type: 'stop'; timeoutMs: number };

export type FromWorker =
  | { type: 'ready' }
  /** Listening, or not yet because this host does not have the address (`error` then says so). */
  | { type: 'listening'; listener: string; error: string | null }
  /** It has listened, and its address has left this host; `listening` follows. So many sessions are kept for drain_timeout. */
  | { type: 'listener-released'; listener: string; kept: number }
  /** The address was not back in time: so many of them were ended. */
  | { type: 'listener-drained'; listener: string; ended: number }
  | { type: 'sessions-ended'; requestId: number; ended: number }
  /** Statements wait from now on, and what is open at the old primary leaves it: `writes-held` follows. */
  | { type: 'writes-holding'; requestId: number }
  /** `moved`: sessions that go on at the new primary. `ended`: those that could not, and transactions that were cut. */
  | { type: 'writes-held'; requestId: number; moved: number; ended: number }
  | { type: 'stats'; requestId: number; stats: WorkerStats }
  | { type: 'sessions'; requestId: number; sessions: SessionInfo[] }
  | { type: 'digests'; requestId: number; digests: DigestStats[] }
  /** Null: there is no such session. */
  | { type: 'session-explained'; requestId: number; explanation: SessionExplanation | null }
  /** Null: there is no such session. */
  | { type: 'route-explained'; requestId: number; explanation: RouteExplanation | null }
  | { type: 'session-killed'; requestId: number; found: boolean }
  /** Where is the session with this id? Asked for KILL from another session; `ends`: it has been killed. */
  | { type: 'session-wanted'; requestId: number; sessionId: number; ends: boolean }
  /** Answer to `session-asked`. */
  | { type: 'session-place'; requestId: number; place: SessionPlace | null }
  /** A login does not fit what is known of the accounts: are there newer ones? */
  | { type: 'accounts-wanted'; requestId: number; cluster: string }
  /** A login has proved more of an account than the servers store. */
  | { type: 'account-proven'; login: ProvenLogin }
  /** A session has created, altered or dropped something: triggers and views may be others. */
  | { type: 'schema-changed'; cluster: string }
  | { type: 'slots-wanted'; key: string; count: number }
  | { type: 'slots-returned'; key: string; count: number }
  /** The answer to a commit was lost with its connection: has it taken effect? Answered by `commit-resolved`. */
  | { type: 'commit-lost'; requestId: number; question: LostCommit }
  /** A connection to the backend failed on the data path: worth a probe at once. */
  | { type: 'backend-failed'; backend: string; error: string };

/** What became of a transaction whose COMMIT was not answered. */
export type CommitOutcome = 'committed' | 'not_committed' | 'unknown';

/** A transaction whose COMMIT was under way when its connection was lost: all that is known to find it by. */
export interface LostCommit {
  cluster: string;
  /** The server it was on, and the number of the connection there. */
  backend: string;
  threadId: number;
  user: string;
  database: string;
  /** When its first write was sent, its COMMIT, and when its connection was lost: Unix milliseconds of this host. */
  beganAtMs: number;
  sentAtMs: number;
  lostAtMs: number;
  /** One statement that commits by itself. */
  autocommit: boolean;
  /** Its statements that may write, as they were sent as text; empty when some were not, or they were too many. */
  statements: string[];
  /** How many they were in all. */
  writeCount: number;
  /** It was marked, and no other one like it; null: it was not. */
  mark: CommitMark | null;
}

/** A name that is logged with a transaction: of a savepoint, or in a comment of its only statement. */
export interface CommitMark {
  readonly kind: 'savepoint' | 'comment';
  readonly name: string;
}

/** Where a proxied session lives on the server side. */
export interface SessionPlace {
  /** Empty while it has no connection. */
  backend: string;
  /** The server's own id of the connection (its processlist id); 0 while it has none. */
  threadId: number;
  /** Whose it is. */
  user: string;
}

/** Histogram bounds of `dbproxy_query_duration_seconds`, in seconds. */
export const DURATION_BOUNDS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

/** Statements of one cluster that wait, or have waited, for a promotion. */
export interface HoldStats {
  cluster: string;
  /** How many wait now. */
  held: number;
  /** How many have waited, and how long, by the buckets of DURATION_BOUNDS_SECONDS as in `QueryStats`. */
  count: number;
  durationBuckets: number[];
  durationSumSeconds: number;
}

/** What a worker has counted since its start, and what it holds now. */
export interface WorkerStats {
  slot: number;
  /** Process id: another one in the same slot has counted from zero again. */
  pid: number;
  /** Client connections now, by listener. */
  clientConnections: { listener: string; count: number }[];
  pools: PoolStats[];
  queries: QueryStats[];
  /** MySQL error numbers that dbproxy itself sent to clients, and those it relayed are not counted. */
  errors: { code: number; count: number }[];
  bytes: { fromClients: number; toClients: number };
  poolWaits: number;
  /** Sessions that wait for a backend connection or a primary now. */
  waiting: number;
  loginsRefused: { reason: string; count: number }[];
  holds: HoldStats[];
  causal: CausalStats[];
  /** Reads that were sent again to another server. */
  retries: RetryStats[];
  /** Statements that travelled on a connection shared at that moment. */
  pipelined: number;
  /** Times that a connection was brought to the state of the session it was lent to. */
  restores: number;
  /** Sessions that keep their connection now, by why. */
  pinned: PinStats[];
  /** Statements that clients have prepared and not closed. */
  preparedStatements: number;
  rules: RuleStats[];
  residentBytes: number;
  eventLoopLagMs: number;
}

export interface PoolStats {
  backend: string;
  user: string;
  used: number;
  idle: number;
  /** Being opened or reset. */
  connecting: number;
  waiting: number;
}

export interface QueryStats {
  listener: string;
  backend: string;
  /** Statement class as SPEC names it. */
  class: string;
  count: number;
  /** Per bucket of DURATION_BOUNDS_SECONDS (not cumulative), one more for above the last. */
  durationBuckets: number[];
  durationSumSeconds: number;
}
