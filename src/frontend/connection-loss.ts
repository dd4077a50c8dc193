/**
 * A connection of a session is lost, or was taken away because another server becomes the primary: carries out what
 * lost-connection.ts decides. What the client cannot be told at once, because it waits for nothing, is owed to it
 * until its next statement; what nobody here can know is asked: whether that COMMIT has taken effect, and where it makes
 * a difference, whether what looked like a read may have written (hidden-writes.ts).
 */
import { refusal, type ProxyError } from '../base/errors.ts';
import type { BackendConnection } from '../backend/connection.ts';
import { Command, Status } from '../protocol/constants.ts';
import { hasNoReply } from '../protocol/reply-tracker.ts';
import type { LostCommit } from '../ipc/messages.ts';
import { Need } from '../sql/statement.ts';
import type { Attachment } from './attachment.ts';
import type { CommandAtHand } from './command-at-hand.ts';
import type { SessionContext, SharedEndpoint } from './context.ts';
import type { Delivery } from './delivery.ts';
import type { HiddenCodeCheck } from './hidden-code-check.ts';
import { HiddenWrites } from './hidden-writes.ts';
import { judgeLoss, type Loss, type LossVerdict } from './lost-connection.ts';
import type { Relay } from './relay.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';
import type { StatementCommands } from './statement-commands.ts';
import type { TransactionTrail } from './transaction-trail.ts';

/** The session that has lost its connection, in its parts. */
export interface LossParts {
  readonly context: Pick<SessionContext, 'clock' | 'resolveCommit'>;
  readonly shared: Pick<SharedEndpoint, 'causal' | 'marks'>;
  readonly atHand: CommandAtHand;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly connections: SessionConnections;
  readonly attachment: Attachment;
  readonly delivery: Delivery;
  readonly hiddenCode: HiddenCodeCheck;
  readonly prepared: StatementCommands;
  readonly trail: TransactionTrail;
  readonly cluster: string;
  readonly user: string;
  readonly endpoint: { readonly config: { readonly mode: 'write' | 'read' | 'split' } };
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

/** What was lost, where, and why. */
interface Lost {
  readonly backend: string;
  readonly reason: string;
  /** All that is known of a transaction to find it by; null where nobody is asked. */
  readonly question: LostCommit | null;
  /** What was under way, or the transaction, could write: it was at the primary, and not READ ONLY. */
  readonly couldWrite: boolean;
}

/** Values of completion_type with which a COMMIT is nothing but that. */
const ENDS_PLAINLY = /^(?:0|'?no_chain'?|default)$/i;

/** What is said of the command under way when the session ends. */
const UNDER_WAY_WORDS = {
  not_run: '; the statement under way was not run',
  unknown:
    '; whether the statement under way has taken effect is not known: look at the data before it is run again',
} as const;

export class ConnectionLoss {
  readonly #parts: LossParts;
  readonly #hiddenWrites: HiddenWrites;
  #owed: Owed | null = null;

  constructor(parts: LossParts) {
    this.#parts = parts;
    this.#hiddenWrites = new HiddenWrites(parts);
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
    this.#parts.hiddenCode.judgeUnasked(sent !== 'nothing');
    const loss: Loss = { ...this.#lossWith(sent), mayGoAgain: delivery.mayGoAgain };
    const verdict = judgeLoss(loss);
    const connection = attachment.leaveFailed();
    const isHome = connections.isHome(connection);
    const isReadOnly = (record.status & Status.IN_TRANS_READONLY) !== 0;
    const lost = {
      backend: connection.backend,
      reason,
      question: this.#question(connection, verdict, underWayMs),
      couldWrite: isHome && this.#parts.endpoint.config.mode !== 'read' && !isReadOnly,
    };
    shared.causal.forget(connection.backend);
    if (isHome && sent !== 'nothing') record.lost(loss.statement.needs);
    this.#forgetOpen();
    if (attachment.stopped) return;
    const ifWrote = lost.couldWrite && atHand.runsStatement ? judgeLoss(asIfItWrote(loss)) : verdict;
    if (ifWrote.kind === verdict.kind) return this.#act(ifWrote, lost);
    host.background(this.#actOnceAsked(verdict, ifWrote, lost));
  }

  /** The same while it was being got ready for the command at hand, of which nothing has been sent. */
  lostAtWork(backend: string, reason: string): void {
    const { host, hiddenCode } = this.#parts;
    hiddenCode.judgeUnasked(false);
    const verdict = judgeLoss(this.#lossWith('nothing'));
    this.#forgetOpen();
    if (verdict.kind === 'end') {
      return host.fail(refusal('DBPROXY_STATE_LOST', reason, verdict.lost ?? '', ''));
    }
    host.answerError(refusal('DBPROXY_TRANSACTION_LOST', `${backend}: ${reason}`));
  }

  #lossWith(sent: Loss['sent']): Loss {
    const { atHand, record } = this.#parts;
    const { statement, isRollback, command } = atHand;
    const { autocommit, mayBeOver, settings } = record;
    return {
      pins: new Map(record.pins),
      autocommit,
      mayBeOver,
      sent,
      // The command at hand is filled anew for each statement, and this one is judged later, too.
      statement: { class: statement.class, needs: statement.needs, leaves: statement.leaves },
      mayGoAgain: false,
      isRollback,
      endsOtherwise: !ENDS_PLAINLY.test(settings.variables.get('completion_type') ?? '0'),
      isBulk: command === Command.STMT_BULK_EXECUTE,
    };
  }

  /** What was open on the connection is gone with it. */
  #forgetOpen(): void {
    const { record, prepared, relay, trail } = this.#parts;
    record.lostConnection();
    prepared.lostConnection();
    relay.tracker.status = record.status;
    trail.clear();
  }

  /** What looked like a read may have written: the second verdict is of that. */
  async #actOnceAsked(verdict: LossVerdict, ifWrote: LossVerdict, lost: Lost): Promise<void> {
    const { host, delivery, prepared } = this.#parts;
    const text = delivery.mayGoAgain ? (prepared.textToRun ?? delivery.keptPayload) : null;
    const mayHaveWritten = await this.#hiddenWrites.mayBeIn(text);
    if (!host.isOver()) this.#act(mayHaveWritten ? ifWrote : verdict, lost);
  }

  #act(verdict: LossVerdict, lost: Lost): void {
    const { host, relay, delivery } = this.#parts;
    const { backend, reason } = lost;
    const why = `${backend}: ${reason}`;
    switch (verdict.kind) {
      case 'unnoticed':
        return relay.goOn();
      case 'tell_next':
        this.#owed = { error: refusal('DBPROXY_TRANSACTION_LOST', why), ends: false };
        return relay.goOn();
      case 'rolled_back':
        return host.answerError(refusal('DBPROXY_TRANSACTION_LOST', why));
      case 'unknown':
        return host.answerError(unknownOutcome(backend, reason, 'it cannot be looked up'));
      case 'resolve':
        return host.background(this.#resolve(lost.question!, lost));
      case 'again':
        // A ROLLBACK, of which no copy is kept, has what it wanted.
        if (!delivery.mayGoAgain) return this.#parts.answerOk();
        if (!delivery.goElsewhere(backend))
          host.answerError(refusal('DBPROXY_BACKEND_LOST', backend, reason));
        return;
      case 'end':
        return this.#end(verdict, lost);
    }
  }

  #end(
    { lost, underWay }: LossVerdict & { kind: 'end' },
    { backend, reason, couldWrite }: Pick<Lost, 'backend' | 'reason' | 'couldWrite'>,
  ): void {
    const { host, relay } = this.#parts;
    const words = couldWrite && underWay !== null ? UNDER_WAY_WORDS[underWay] : '';
    if (lost === null) return host.fail(refusal('DBPROXY_BACKEND_LOST', backend, `${reason}${words}`));
    const error = refusal('DBPROXY_STATE_LOST', `${backend}: ${reason}`, lost, words);
    if (!relay.idle) return host.fail(error);
    this.#owed = { error, ends: true };
    relay.goOn();
  }

  /** All that is known of a transaction to find it by; null where nobody is asked. */
  #question(
    { backend, threadId }: BackendConnection,
    verdict: LossVerdict,
    underWayMs: number,
  ): LostCommit | null {
    if (verdict.kind !== 'resolve') return null;
    const { trail, cluster, user, record, context, shared } = this.#parts;
    const nowMs = context.clock.wallMs();
    const openMs = context.clock.nowMs() - trail.beganAtMs;
    return {
      cluster,
      backend,
      threadId,
      user,
      database: record.settings.database,
      beganAtMs: trail.writeCount === 0 ? nowMs : nowMs - openMs,
      sentAtMs: nowMs - underWayMs,
      lostAtMs: nowMs,
      autocommit: verdict.autocommit,
      statements: trail.texts(),
      writeCount: trail.writeCount,
      mark: trail.mark?.kind === 'savepoint' && shared.marks!.areRefused ? null : trail.mark,
    };
  }

  async #resolve(question: LostCommit, { reason, couldWrite }: Lost): Promise<void> {
    const { context, host } = this.#parts;
    const { backend, autocommit, writeCount, mark } = question;
    // One statement is known by its own text, a marked transaction by its mark.
    const isAsked = couldWrite && !autocommit && mark === null;
    const mayHideWrites = isAsked && (await this.#hiddenWrites.mayBeIn(null));
    if (host.isOver()) return;
    // A transaction that has surely written nothing has nothing to commit.
    if (!autocommit && writeCount === 0 && !mayHideWrites) return this.#parts.answerOk();
    const asked = mayHideWrites ? { ...question, statements: [] } : question;
    const { outcome, detail } = await context.resolveCommit(asked);
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

/** The same loss, if the read that was under way has called a function that writes. */
function asIfItWrote(loss: Loss): Loss {
  const { statement } = loss;
  if (statement.class !== 'read') return loss;
  return {
    ...loss,
    statement: { ...statement, needs: statement.needs | Need.UNKNOWN_FUNCTION },
    mayGoAgain: false,
  };
}

function unknownOutcome(backend: string, reason: string, detail: string): ProxyError {
  return refusal('DBPROXY_OUTCOME_UNKNOWN', backend, reason, detail);
}

/** A command that is a ROLLBACK of the whole transaction, as far as a look can tell. */
export function isRollback(command: number, bytes: Buffer, start: number, end: number): boolean {
  if (command !== Command.QUERY) return false;
  const words = bytes.toString('latin1', start + 1, Math.min(end, start + 200));
  // Before the text there may be query attributes, but no comment.
  return /^[^a-z#/-]*rollback\s*(?:work\s*)?;?\s*$/i.test(words);
}
