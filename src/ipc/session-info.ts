/** One client session, for SHOW SESSIONS. Times are milliseconds of age, not points in time. */
export interface SessionInfo {
  id: number;
  user: string;
  clientAddress: string;
  /** What was agreed on TLS, and whose certificate the client showed; null without TLS. */
  tls: { version: string; cipher: string; peerSubject: string | null } | null;
  listener: string;
  backend: string | null;
  threadId: number | null;
  database: string;
  /** login, idle, active, transaction, closing. */
  state: string;
  ageMs: number;
  /** How long it is in this state. */
  stateMs: number;
  queries: number;
}
