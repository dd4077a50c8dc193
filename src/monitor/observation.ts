/**
 * What one check of one server found, as plain data. A failed check says how it failed, because a
 * refused connection, a wrong password and a full server mean different things: only some of them mean
 * that the server is gone.
 */
import type { ServerGreeting } from '../topology/snapshot.ts';
import type { Forgotten } from './log-memory.ts';

export type ProbeErrorKind =
  /** Something is wrong on our own side: it says nothing of the server. */
  | 'checker_broken'
  | 'refused'
  | 'timed_out'
  | 'host_unreachable'
  | 'access_denied'
  | 'too_many_connections'
  | 'protocol'
  | 'other';

export interface ProbeFailure {
  readonly kind: ProbeErrorKind;
  /** What the server or the operating system said. */
  readonly message: string;
}

/** The thread that fetches the primary's changes. */
export type ReceiverState = 'running' | 'connecting' | 'stopped';

/** The thread that applies them. */
export type ApplierState = 'running' | 'stopped';

/** A place in the binary log of one server. */
export interface FilePosition {
  readonly file: string;
  readonly position: number;
}

export interface ReplicationFacts {
  /** Name of the channel (MariaDB: of the connection) that the facts are of; usually empty. */
  readonly channelName: string;
  readonly receiver: ReceiverState;
  readonly applier: ApplierState;
  /** As the server reports it; null when it does not know. */
  readonly lagMs: number | null;
  readonly sourceHost: string;
  readonly sourcePort: number;
  /** 0 when the server has not learnt it. */
  readonly sourceServerId: number;
  /** Empty when the server has not learnt it, or its family has none. */
  readonly sourceUuid: string;
  /** All that was received has been applied. */
  readonly drained: boolean;
  /** The transactions received in full, by their global ids; empty when that is not known. */
  readonly receivedPosition: string;
  /** How far it has received and applied, in terms of its source's binary log; null when it has not learnt that. */
  readonly receivedFile: FilePosition | null;
  readonly appliedFile: FilePosition | null;
  /** The last error of each thread, and its number (0: none). */
  readonly receiverError: string;
  readonly receiverErrno: number;
  readonly applierError: string;
  readonly applierErrno: number;
  /** How often the source speaks when it has nothing to send; null when not known, 0 when it never does. */
  readonly heartbeatPeriodMs: number | null;
  /** Changes whenever the receiver has got anything from its source; its text means nothing else. */
  readonly signs: string;
  /** Number of sources that count; the facts above are then those of the one that is worst off. */
  readonly channels: number;
}

/** A server that waits for replicas with each commit, as its plugin for primaries says. */
export interface SemiSyncPrimary {
  /** Its commits are to wait, also while no replica is connected: it is switched on, and not standing by. */
  readonly enabled: boolean;
  /** Commits wait now: false after a wait that took too long, until a replica has caught up. */
  readonly live: boolean;
  /** Semi-synchronous replicas that are connected. */
  readonly clients: number;
  readonly timeoutMs: number;
  readonly waitPoint: 'after_sync' | 'after_commit';
  readonly waitForReplicas: number;
  /** Sessions whose commits wait just now. */
  readonly waiting: number;
  /** Commits that replicas have acknowledged since its start. */
  readonly acknowledged: number;
}

/** A server that tells its source what it has received, as its plugin for replicas says. */
export interface SemiSyncReplica {
  readonly enabled: boolean;
  /** It is connected as one that answers. */
  readonly live: boolean;
}

/** Each half is null where the server has no such plugin installed. */
export interface SemiSyncFacts {
  readonly primary: SemiSyncPrimary | null;
  readonly replica: SemiSyncReplica | null;
}

/** A promotion, as it is written down in the servers themselves. */
export interface EpochRow {
  readonly epoch: number;
  /** The backend that it made the primary. */
  readonly backend: string;
}

export interface ServerFacts {
  readonly version: string;
  readonly greeting: ServerGreeting;
  readonly serverId: number;
  /** Names the data directory, and with it the binary log, as no other; empty where the family has none. */
  readonly serverUuid: string;
  /** How long the server runs; together with the number of the connection it tells a restart. */
  readonly uptimeSeconds: number;
  /** Our own number of the connection that it was asked on: no two have the same. */
  readonly connectionId: number;
  readonly readOnly: boolean;
  /** Nobody may write, not even accounts that may on a server that is only read-only; false where there is no such lock. */
  readonly superReadOnly: boolean;
  /** It writes a binary log, so that others can follow it. */
  readonly logsChanges: boolean;
  /** It numbers transactions globally, so that a replica can change its source without losing its place. */
  readonly hasGtid: boolean;
  /** Why places in binary logs cannot stand in for the global ids that it has not; empty when they can. */
  readonly whyNotByPlace: string;
  /** What was in its binary log, and may have been sent, is there after any crash, of the server or of its machine. */
  readonly keepsLog: boolean;
  /** So is what its clients were told of. */
  readonly keepsAcknowledged: boolean;
  /** The sql_mode that new sessions begin with. */
  readonly sqlMode: string;
  /** All that is in its binary log, by global ids. */
  readonly position: string;
  /** What it has applied as a replica, where that is kept apart. */
  readonly replicatedPosition: string;
  /**
   * As `position`, but in MariaDB with the last number of *each* server that has written (the state of the
   * binary log): after a failover two servers may give the same number to different transactions.
   */
  readonly history: string;
  /** What of `history` it has written itself. */
  readonly ownTransactions: string;
  /**
   * A crash has made it forget what is in its own log: the three above are by the log, where that tells. Absent: it says
   * itself what it has.
   */
  readonly forgotten?: Forgotten;
  /** The end of its binary log, asked only of a server without global ids; null otherwise. */
  readonly filePosition: FilePosition | null;
  readonly semiSync: SemiSyncFacts;
  /** The last promotion of its cluster that it knows of; null when it knows of none, or does not let us read it. */
  readonly epoch: EpochRow | null;
  /** The last beat that it has in `dbproxy.heartbeat`, if any; null when it was not asked, or does not let us read it. */
  readonly beat: { readonly atMs: number | null } | null;
  /** Null when there is no replication set up. */
  readonly replication: ReplicationFacts | null;
}

export type Observation =
  | {
      readonly kind: 'seen';
      readonly facts: ServerFacts;
      /** When the connection was made that told it; the server has been running since then at the latest. */
      readonly metMs?: number;
      /** Why a new login of our account was refused last; null or absent: none was. */
      readonly accountTrouble?: string | null;
    }
  | { readonly kind: 'failed'; readonly failure: ProbeFailure };

/** True for a failure that an answering server has sent: it is alive, it only would not let us in. */
export function isAlive(failure: ProbeFailure): boolean {
  return failure.kind === 'access_denied' || failure.kind === 'too_many_connections';
}

const ACCESS_DENIED_ERRORS = new Set([
  1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1698, 1820, 1862, 3118, 3159, 4151,
]);
const TOO_MANY_ERRORS = new Set([1040, 1203, 1226]);
const REFUSED_CODES = new Set(['ECONNREFUSED', 'ENOENT']);
const TIMED_OUT_CODES = new Set(['ETIMEDOUT', 'PROTOCOL_SEQUENCE_TIMEOUT']);
const UNREACHABLE_CODES = new Set([
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
/** No more files, memory or ports for us, or no right to use a socket. */
const CHECKER_BROKEN_CODES = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EACCES',
  'EPERM',
  'EADDRNOTAVAIL',
]);
const LOST_CODES = new Set(['ECONNRESET', 'EPIPE', 'PROTOCOL_CONNECTION_LOST']);

/** Sorts an error of the driver into one of the kinds. */
export function classifyError(error: unknown): ProbeFailure {
  const { code, errno, message } = errorParts(error);
  // The server's own error numbers first: the driver gives some of them codes of its own.
  if (ACCESS_DENIED_ERRORS.has(errno)) return { kind: 'access_denied', message };
  if (TOO_MANY_ERRORS.has(errno)) return { kind: 'too_many_connections', message };
  if (CHECKER_BROKEN_CODES.has(code)) return { kind: 'checker_broken', message };
  if (REFUSED_CODES.has(code)) return { kind: 'refused', message };
  if (TIMED_OUT_CODES.has(code)) return { kind: 'timed_out', message };
  if (UNREACHABLE_CODES.has(code)) return { kind: 'host_unreachable', message };
  if (LOST_CODES.has(code)) return { kind: 'other', message: `connection lost: ${message}` };
  if (code.startsWith('PROTOCOL_') || code.startsWith('HANDSHAKE_')) return { kind: 'protocol', message };
  return { kind: 'other', message };
}

/** True when the connection broke, so that the same question on a new connection may be answered. */
export function isConnectionLost(error: unknown): boolean {
  return LOST_CODES.has(errorParts(error).code);
}

/** The server's number of an error; 0 when it is not the server's. */
export function errnoOf(error: unknown): number {
  return errorParts(error).errno;
}

/** True when there was no answer in time. */
export function isTimeout(error: unknown): boolean {
  return TIMED_OUT_CODES.has(errorParts(error).code);
}

/** True when the server answered that this account may not do what was asked. */
export function isDenied(error: unknown): boolean {
  return ACCESS_DENIED_ERRORS.has(errorParts(error).errno);
}

/** Errors of a client that could not reach a server, or lost it, as a receiver reports them; all else a server has sent. */
const SOURCE_LOST_ERRORS = new Set([1158, 1159, 1160, 1161, 2002, 2003, 2004, 2005, 2006, 2013, 2055]);

/** True when this last error of a receiver means that it cannot reach its source. */
export function isSourceLost(receiverErrno: number): boolean {
  return SOURCE_LOST_ERRORS.has(receiverErrno);
}

/** A failure in words for `reason`. */
export function describeFailure(failure: ProbeFailure): string {
  switch (failure.kind) {
    case 'checker_broken':
      return `dbproxy itself cannot check it (${failure.message}); look at the limits and rights of its process`;
    case 'refused':
      return `connection refused (${failure.message})`;
    case 'timed_out':
      return `timed out (${failure.message})`;
    case 'host_unreachable':
      return `host unreachable (${failure.message})`;
    case 'access_denied':
      return `the server is alive but denies monitor_user access (${failure.message}); check monitor_user, monitor_password and its grants`;
    case 'too_many_connections':
      return `the server is alive but has too many connections (${failure.message}); raise its max_connections`;
    case 'protocol':
      return `does not speak the MySQL protocol as expected (${failure.message})`;
    case 'other':
      return `check failed (${failure.message})`;
  }
}

function errorParts(error: unknown): { code: string; errno: number; message: string } {
  if (!(error instanceof Error)) return { code: '', errno: 0, message: String(error) };
  const { code, errno } = error as Error & { code?: unknown; errno?: unknown };
  return {
    code: typeof code === 'string' ? code : '',
    errno: typeof errno === 'number' ? errno : 0,
    message: error.message || (typeof code === 'string' ? code : error.name),
  };
}
