/**
 * What one check of one server found, as plain data. A failed check says how it failed, because a
 * refused connection, a wrong password and a full server mean different things: only some of them mean
 * that the server is gone.
 */
import type { ServerGreeting } from '../topology/snapshot.ts';

export type ProbeErrorKind =
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

export interface ReplicationFacts {
  readonly receiver: ReceiverState;
  readonly applier: ApplierState;
  /** As the server reports it; null when it does not know. */
  readonly lagMs: number | null;
  readonly sourceHost: string;
  readonly sourcePort: number;
  /** 0 when the server has not learnt it. */
  readonly sourceServerId: number;
  /** All that was received has been applied. */
  readonly drained: boolean;
  /** The transactions received in full, by their global ids; empty when that is not known. */
  readonly receivedPosition: string;
  readonly receiverError: string;
  readonly applierError: string;
  /** Number of sources; the facts above are then those of the one that is worst off. */
  readonly channels: number;
}

export interface ServerFacts {
  readonly version: string;
  readonly greeting: ServerGreeting;
  readonly serverId: number;
  readonly readOnly: boolean;
  /** It writes a binary log, so that others can follow it. */
  readonly logsChanges: boolean;
  /** It numbers transactions globally, so that a replica can change its source without losing its place. */
  readonly hasGtid: boolean;
  /** The sql_mode that new sessions begin with. */
  readonly sqlMode: string;
  /** All that is in its binary log, by global ids. */
  readonly position: string;
  /** What it has applied as a replica, where that is kept apart. */
  readonly replicatedPosition: string;
  /** Null when there is no replication set up. */
  readonly replication: ReplicationFacts | null;
}

export type Observation =
  | { readonly kind: 'seen'; readonly facts: ServerFacts }
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
  'EADDRNOTAVAIL',
  'ENOTFOUND',
  'EAI_AGAIN',
]);
const LOST_CODES = new Set(['ECONNRESET', 'EPIPE', 'PROTOCOL_CONNECTION_LOST']);

/** Sorts an error of the driver into one of the kinds. */
export function classifyError(error: unknown): ProbeFailure {
  const { code, errno, message } = errorParts(error);
  // The server's own error numbers first: the driver gives some of them codes of its own.
  if (ACCESS_DENIED_ERRORS.has(errno)) return { kind: 'access_denied', message };
  if (TOO_MANY_ERRORS.has(errno)) return { kind: 'too_many_connections', message };
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

/** True when the server answered that this account may not do what was asked. */
export function isDenied(error: unknown): boolean {
  return ACCESS_DENIED_ERRORS.has(errorParts(error).errno);
}

/** A failure in words for `reason`. */
export function describeFailure(failure: ProbeFailure): string {
  switch (failure.kind) {
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
