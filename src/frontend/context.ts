/**
 * What a session is given: by its worker, and by the endpoint it came in at.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { BackendPool, LaneTerms } from '../backend/pool.ts';
import type { Slots } from '../backend/slots.ts';
import type { ListenerConfig } from '../config/config.ts';
import type { CommitOutcome, LostCommit, SessionPlace } from '../ipc/messages.ts';
import type { Credits } from '../routing/balance.ts';
import type { Snapshot } from '../topology/snapshot.ts';
import type { RsaKeys } from '../protocol/login-server.ts';
import type { TlsServer } from '../transport/tls-stream.ts';
import type { CausalReads, CausalWords } from './causal.ts';
import type { Counters } from './counters.ts';
import type { Digests } from './digests.ts';
import type { CommitMarks } from './commit-marks.ts';
import type { HiddenCodeWatch } from './hidden-code.ts';
import type { WriteHold } from './hold.ts';
import type { KnownLogins } from './known-logins.ts';
import type { KnownSettings } from './known-settings.ts';
import type { Offer } from './offer.ts';
import type { Rules } from './rules.ts';
import type { TransactionNames } from './session-settings.ts';
import type { UserDirectory } from './users.ts';

/** What a session needs of its worker. */
export interface SessionContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly slots: Slots;
  readonly counters: Counters;
  readonly users: UserDirectory;
  /** What a client encrypts its password with that has no TLS; undefined: such a login is refused. */
  readonly rsa: RsaKeys | undefined;
  /** The newest snapshot. */
  snapshot(): Snapshot;
  /** Resolves at the next snapshot, or after `timeoutMs`. */
  nextSnapshot(timeoutMs: number): Promise<void>;
  /**
   * Has the accounts of a cluster looked at anew, within a bounded time; true when some have changed. `patienceMs`: so
   * long the first ones are waited for, while there are none.
   */
  refreshAccounts(cluster: string, patienceMs?: number): Promise<boolean>;
  pool(backend: string): BackendPool;
  /** Sessions of this worker on a backend: for least_connections. */
  sessionsOn(backend: string): number;
  /** Where the session with this id lives, over all workers; null when there is none. */
  placeOf(sessionId: number): Promise<SessionPlace | null>;
  /** Ends the session with this id, which a server has killed already; resolves when its client is told. */
  endKilled(sessionId: number): Promise<void>;
  /** Asks what became of a transaction whose COMMIT was not answered; within a bounded time. */
  resolveCommit(question: LostCommit): Promise<{ outcome: CommitOutcome; detail: string }>;
  /** A session has created, altered or dropped something: what is known of triggers and views is forgotten. */
  schemaChanged(cluster: string): void;
}

/** What the sessions of an endpoint that change connections have in common, in one worker. */
export interface SharedEndpoint {
  /** Where statements that need the primary wait while another server becomes it. */
  readonly hold: WriteHold;
  readonly causal: CausalReads;
  readonly rules: Rules;
  readonly knownSettings: KnownSettings;
  readonly logins: KnownLogins;
  readonly hiddenCode: HiddenCodeWatch;
  /** Null: commits are not marked. */
  readonly marks: CommitMarks | null;
  /** Identities whose clear password a server has asked for that nobody here knows: their next login is asked. */
  readonly passwords: Set<string>;
  /** Identities that have been introduced to the replicas with their password. */
  readonly introduced: Set<string>;
  readonly retries: Map<string, number>;
  readonly digests: Digests;
  /** Statements that travelled on a lane. */
  pipelined: number;
  /** Times that a connection was brought to other settings than it had. */
  restores: number;
  /** How short reads share connections; null where they do not. */
  readonly laneTerms: LaneTerms | null;
  /** What there is to know of the servers behind it; the same object until that changes. */
  facts(): ServerFacts;
}

/** What the sessions must know of the servers behind an endpoint. */
export interface ServerFacts {
  readonly isMariaDb: boolean;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** sql_mode of a session that has just begun. */
  readonly sqlMode: string;
  readonly transactionNames: TransactionNames;
  readonly causal: CausalWords;
}

/** An endpoint as its sessions see it. */
export interface SessionEndpoint {
  readonly config: ListenerConfig;
  /** Memory of the weighted round robin. */
  readonly credits: Credits;
  /** Version string and capability flags to greet with, by the newest snapshot. */
  offer(): Offer;
  /** The certificate to answer an SSL request with, as last read; null when TLS is off. */
  tls(): TlsServer | null;
  /** Null where every session keeps one connection for its life. */
  readonly shared: SharedEndpoint | null;
}
