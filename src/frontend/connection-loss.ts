/**
 * A connection of a session is lost, or was taken away because another server becomes the primary: carries out what
 * lost-connection.ts decides. What the client cannot be told at once, because it waits for nothing, is owed to it
 * until its next statement; what nobody here can know (has that COMMIT taken effect?) is asked.
 */
import { refusal, type ProxyError } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command } from '../protocol/constants.ts';
import { hasNoReply } from '../protocol/reply-tracker.ts';
import type { LostCommit } from '../ipc/messages.ts';
import type { Attachment } from './attachment.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import type { SessionContext, SharedEndpoint } from './context.ts';
import type { Delivery } from './delivery.ts';
import { judgeLoss, type LossVerdict } from './lost-connection.ts';
import type { Relay } from './relay.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';
import type { StatementCommands } from './statement-commands.ts';
import type { TransactionTrail } from './transaction-trail.ts';

/** The session that has lost its connection, in its parts. */
export interface LossParts {
  readonly context: Pick<SessionContext, 'clock' | 'resolveCommit'>;
  readonly shared: Pick<SharedEndpoint, 'causal'>;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly connections: SessionConnections;
  readonly attachment: Attachment;
  readonly delivery: Delivery;
  readonly prepared: StatementCommands;
  readonly trail: TransactionTrail;
  readonly cluster: string;
  readonly user: string;
  readonly host: {
    /** Since when the command at hand is under way. */
    readonly sinceMs: number;
    answerError(error: unknown): void;
    /** Ends the session with an error. */
    fail(error: unknown): void;
    isOver(): boolean;
    background(work: Promise<void>): void;
  };
  /** Answers the command at hand with an OK. */
  answerOk(): void;
}

/** What the client has not been told yet. */
interface Owed {
  readonly error: ProxyError;
  /** The session ends with it. */
  readonly ends: boolean;
}

export class ConnectionLoss {
  readonly #parts: LossParts;
  #owed: Owed | null = null;

  constructor(parts: LossParts) {
    this.#parts = parts;
  }

  /** Something is to be said before anything else is done. */
  get isOwed(): boolean {
    return this.#owed !== null;
  }

  /** The session begins anew: what is lost is not missed. */
  forget(): void {
    this.#owed = null;
  }

  /** True: the command has been answered with what its client had to be told. `isRollback`: it asks for what is so. */
  tells(command: number, isRollback: boolean): boolean {
    const owed = this.#owed;
    if (owed === null || command === Command.PING || hasNoReply(command)) return false;
    if (owed.ends) this.#parts.host.fail(owed.error);
    else {
      this.#owed = null;
      if (isRollback) return false;
      this.#parts.host.answerError(owed.error);
    }
    return true;
  }

  /** The connection that the session had in its hands is gone, and the client has seen nothing of an answer. */
  lost(reason: string): void {
    const { relay, atHand, attachment, shared, connections, record, delivery } = this.#parts;
    const { context, host } = this.#parts;
    const underWayMs = context.clock.nowMs() - host.sinceMs;
    const isSending = relay.isSending;
    const isUnderWay = relay.awaitsAnswer;
    const isWhole = relay.abandonAnswer();
    const sent = isUnderWay && isWhole ? 'whole' : isUnderWay || isSending ? 'part' : 'nothing';
    const { statement, isRollback } = atHand;
    const { pins, autocommit } = record;
    const mayGoAgain = delivery.mayGoAgain;
    const verdict = judgeLoss({ pins: new Map(pins), autocommit, sent, statement, mayGoAgain, isRollback });
    const connection = attachment.leaveFailed();
    const question = this.#question(connection, verdict, underWayMs);
    shared.causal.forget(connection.backend);
    if (connections.isHome(connection) && sent !== 'nothing') record.lost(statement.needs);
    this.#forgetOpen();
    if (!attachment.stopped) this.#act(verdict, connection.backend, reason, question);
  }

  /** The same while it was being got ready for the command at hand, of which nothing has been sent. */
  lostAtWork(backend: string, reason: string): void {
    const { atHand, record, host } = this.#parts;
    const { pins, autocommit } = record;
    const { statement } = atHand;
    const loss = { pins: new Map(pins), autocommit, sent: 'nothing', statement } as const;
    const verdict = judgeLoss({ ...loss, mayGoAgain: false, isRollback: false });
    this.#forgetOpen();
    if (verdict.kind === 'end') host.fail(refusal('DBPROXY_STATE_LOST', reason, verdict.lost ?? ''));
    else host.answerError(refusal('DBPROXY_TRANSACTION_LOST', `${backend}: ${reason}`));
  }

  /** What was open on the connection is gone with it. */
  #forgetOpen(): void {
    const { record, prepared, relay, trail } = this.#parts;
    record.lostConnection();
    prepared.lostConnection();
    relay.tracker.status = record.status;
    trail.clear();
  }

  #act(verdict: LossVerdict, backend: string, reason: string, question: LostCommit | null): void {
    const { host, delivery } = this.#parts;
    const why = `${backend}: ${reason}`;
    switch (verdict.kind) {
      case 'unnoticed':
        return;
      case 'tell_next':
        this.#owed = { error: refusal('DBPROXY_TRANSACTION_LOST', why), ends: false };
        return;
      case 'rolled_back':
        return host.answerError(refusal('DBPROXY_TRANSACTION_LOST', why));
      case 'unknown':
        return host.answerError(unknownOutcome(backend, reason, 'it cannot be looked up'));
      case 'resolve':
        return host.background(this.#resolve(question!, reason));
      case 'again':
        // A ROLLBACK, of which no copy is kept, has what it wanted.
        if (!delivery.mayGoAgain) return this.#parts.answerOk();
        if (!delivery.goElsewhere(backend))
          host.answerError(refusal('DBPROXY_BACKEND_LOST', backend, reason));
        return;
      case 'end':
        return this.#end(verdict.lost, backend, reason);
    }
  }

  #end(lost: string | null, backend: string, reason: string): void {
    const { host, relay } = this.#parts;
    if (lost === null) return host.fail(refusal('DBPROXY_BACKEND_LOST', backend, reason));
    const error = refusal('DBPROXY_STATE_LOST', `${backend}: ${reason}`, lost);
    if (relay.idle) this.#owed = { error, ends: true };
    else host.fail(error);
  }

  /** All that is known of a transaction to find it by; null where nobody is asked. */
  #question(
    { backend, threadId }: BackendConnection,
    verdict: LossVerdict,
    underWayMs: number,
  ): LostCommit | null {
    if (verdict.kind !== 'resolve') return null;
    const { trail, cluster, user, record, context } = this.#parts;
    const nowMs = context.clock.wallMs();
    return {
      cluster,
      backend,
      threadId,
      user,
      database: record.settings.database,
      beganAtMs: trail.writeCount === 0 ? nowMs : trail.beganAtMs,
      sentAtMs: nowMs - underWayMs,
      lostAtMs: nowMs,
      autocommit: verdict.autocommit,
      statements: trail.texts(),
      writeCount: trail.writeCount,
    };
  }

  async #resolve(question: LostCommit, reason: string): Promise<void> {
    const { context, host } = this.#parts;
    const { backend, autocommit, writeCount } = question;
    // A transaction that has written nothing has nothing to commit.
    if (!autocommit && writeCount === 0) return this.#parts.answerOk();
    const { outcome, detail } = await context.resolveCommit(question);
    if (host.isOver()) return;
    switch (outcome) {
      case 'committed':
        if (autocommit) return host.answerError(refusal('DBPROXY_ANSWER_LOST', detail, backend));
        return this.#parts.answerOk();
      case 'not_committed':
        return host.answerError(refusal('DBPROXY_TRANSACTION_LOST', `${backend}: ${reason}; ${detail}`));
      case 'unknown':
        return host.answerError(unknownOutcome(backend, reason, detail));
    }
  }
}

function unknownOutcome(backend: string, reason: string, detail: string): ProxyError {
  return refusal('DBPROXY_OUTCOME_UNKNOWN', backend, reason, detail);
}

/** A command that is a ROLLBACK of the whole transaction, as far as a look can tell. */
export function isRollback(command: number, bytes: Buffer, start: number, end: number): boolean {
  if (command !== Command.QUERY) return false;
  const words = bytes.toString('latin1', start + 1, Math.min(end, start + 200));
  return /^[^a-z]*rollback\s*(?:work\s*)?;?\s*$/i.test(words);
}
