/**
 * The connection that a session has in its hands, from the time it is got ready for a command until it is given
 * back: being made ready, attached to the relay, worked on by dbproxy itself after an answer (`settleBy`), shared
 * with others for one read (a lane), and let go as soon as nothing pins the session to it.
 *
 * It knows nothing of statements. Who waits for the session to have left a backend is told from here.
 */
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { BackendConnection } from '../backend/connection.ts';
import type { Lane } from '../backend/lane.ts';
import type { Aftermath } from './aftermath.ts';
import type { HiddenCodeCheck } from './hidden-code-check.ts';
import type { Relay } from './relay.ts';
import type { SessionConnections } from './session-connections.ts';
import type { SessionRecord } from './session-record.ts';

/** The session that has the connection. */
export interface AttachmentParts {
  /** Who uses the connections, as they note it. */
  readonly user: object;
  readonly record: SessionRecord;
  readonly relay: Relay;
  readonly connections: SessionConnections;
  readonly aftermath: Aftermath;
  /** A connection stays with the session when nothing pins it, until a backend is left. */
  readonly staysHome: boolean;
  readonly context: { readonly clock: Clock; readonly log: Log };
  readonly dispatcher: {
    /** What pinned the session is gone with its connection. */
    onLost(reason: string): void;
    /** Judges what has run there and could not be judged before: it may pin the session to the connection. */
    judge(connection: BackendConnection): Promise<void>;
  };
  readonly hiddenCode: Pick<HiddenCodeCheck, 'hasUnjudged' | 'judgeUnasked'>;
  readonly host: { isOver(): boolean };
}

/** Stands for one who does not ask after what he did. */
const NOBODY = {};

export class Attachment {
  readonly #user: object;
  readonly #record: SessionRecord;
  readonly #relay: Relay;
  readonly #connections: SessionConnections;
  readonly #aftermath: Aftermath;
  readonly #staysHome: boolean;
  readonly #context: AttachmentParts['context'];
  readonly #dispatcher: AttachmentParts['dispatcher'];
  readonly #hiddenCode: AttachmentParts['hiddenCode'];
  readonly #host: AttachmentParts['host'];
  /** The connection that the relay has; stays while the session is pinned. */
  #connection: BackendConnection | null = null;
  /** One that is being got ready for the command at hand. */
  #preparing: BackendConnection | null = null;
  /** The lane on which the command at hand travels. */
  #lane: Lane | null = null;
  /** Work after an answer that the next command has to wait for. */
  #settling: Promise<void> | null = null;
  #leaveWhenTaken = false;
  /** Who waits for the session to have left a backend. */
  readonly #leaving = new Map<string, (() => void)[]>();
  #stopped = false;

  constructor(parts: AttachmentParts) {
    this.#user = parts.user;
    this.#record = parts.record;
    this.#relay = parts.relay;
    this.#connections = parts.connections;
    this.#aftermath = parts.aftermath;
    this.#staysHome = parts.staysHome;
    this.#context = parts.context;
    this.#dispatcher = parts.dispatcher;
    this.#hiddenCode = parts.hiddenCode;
    this.#host = parts.host;
  }

  /** The connection in use now, or the one that the session is pinned to. */
  get connection(): BackendConnection | null {
    return this.#connection;
  }

  get lane(): Lane | null {
    return this.#lane;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  // Taking one.

  /** The connection is being got ready; `attach`, `putBack` or `abandon` comes after that. */
  beginPreparing(connection: BackendConnection): void {
    this.#preparing = connection;
  }

  /** It is not used, and is as it was. */
  putBack(connection: BackendConnection): void {
    this.#preparing = null;
    this.#connections.leave(connection, false);
  }

  /** It is not needed, or not right. One that pins the session stays. */
  abandon(connection: BackendConnection): void {
    this.#preparing = null;
    const isNeeded = this.#record.pinned && !connection.closed && !this.#host.isOver();
    if (isNeeded) return this.attach(connection);
    if (connection === this.#connection) this.detach();
    const isReusable = !connection.closed && !this.#record.pinned && !this.#host.isOver();
    this.#connections.discard(connection, isReusable);
  }

  attach(connection: BackendConnection): void {
    this.#preparing = null;
    connection.takenBy(this.#user);
    if (this.#connection === connection) return;
    this.#connection = connection;
    this.#relay.attach(connection);
  }

  detach(): void {
    this.#connection = null;
    this.#relay.detach();
  }

  /** The connection goes to somebody else as it is; null when there is none that could. */
  handOver(): BackendConnection | null {
    const connection = this.#connection;
    if (connection === null || connection.closed || this.#settling !== null) return null;
    this.detach();
    return connection;
  }

  /** A connection at home with the session's settings, to which a statement may be sent now; it is being prepared. */
  async obtainHome(): Promise<BackendConnection> {
    for (;;) {
      const connection = await this.#connections.obtain('home');
      this.#preparing = connection;
      try {
        await this.#connections.bring(connection);
      } catch (error) {
        this.#preparing = null;
        this.#connections.discard(connection, !connection.closed);
        throw error;
      }
      if (this.#connections.mayServe(connection, 'home') || this.#host.isOver()) return connection;
      this.putBack(connection);
    }
  }

  /**
   * Does a little work of dbproxy's own on a connection at home, which is put back then; false: home does not serve now,
   * or has been lost.
   */
  async atHome(patienceMs: number, work: (connection: BackendConnection) => Promise<void>): Promise<boolean> {
    const connection = await this.#connections.obtainHomeSoon(patienceMs);
    if (connection === null) return false;
    this.#preparing = connection;
    try {
      // As the session wants it: with autocommit off the work would begin a transaction.
      await this.#connections.bring(connection);
      await work(connection);
      if (connection.closed || this.#host.isOver()) this.abandon(connection);
      else this.putBack(connection);
      return true;
    } catch (error) {
      this.abandon(connection);
      if (error instanceof TypeError) throw error;
      return false;
    } finally {
      this.tellLeft();
    }
  }

  /** The command at hand travels on a lane, until `endRide`. */
  beginRide(lane: Lane): void {
    this.#lane = lane;
  }

  endRide(): void {
    this.#lane = null;
    this.tellLeft();
  }

  // Work on it after an answer.

  /** The next command has to wait. */
  get isSettling(): boolean {
    return this.#settling !== null;
  }

  /** Resolves when no command has to wait. */
  async settled(): Promise<void> {
    while (this.#settling !== null) await this.#settling;
  }

  /** Work on the attached connection, which the next command waits for. */
  settleBy(work: () => Promise<void>): void {
    const connection = this.#connection!;
    this.#relay.detach();
    const done = (this.#settling ?? Promise.resolve())
      .then(work)
      .catch((error: unknown) => this.#unsettled(connection, error))
      .then(() => {
        if (this.#settling !== done) return;
        this.#settling = null;
        this.#settledOn(connection);
      });
    this.#settling = done;
  }

  /** What is set there is not known, and so is what the next connection would need. */
  #unsettled(connection: BackendConnection, error: unknown): void {
    if (this.#stopped) return;
    this.#record.pin('settings', this.#context.clock.nowMs());
    this.#context.log.warn('session.settings_unread', { backend: connection.backend, error: String(error) });
  }

  #settledOn(connection: BackendConnection): void {
    if (this.#stopped) return;
    if (connection.closed) {
      if (this.#record.pinned) return this.#dispatcher.onLost('it was closed');
      this.#connection = null;
      this.#connections.leave(connection, false);
      return;
    }
    this.#relay.attach(connection);
    this.leaveIfFree();
  }

  // Letting it go.

  /** A command has been answered: what does not pin the session lets its connection go, when no work is left. */
  answered(): void {
    if (this.#settling === null) this.leaveIfFree();
  }

  /** The client has taken all of an answer that it was slow to take. */
  answerTaken(): void {
    if (!this.#leaveWhenTaken) return;
    this.#leaveWhenTaken = false;
    this.answered();
  }

  /** Nothing is under way: what does not pin the session lets its connection go. */
  leaveIfFree(): void {
    const connection = this.#connection;
    if (connection === null || this.#stopped) return;
    if (this.#record.pinned) return this.#leavePinned(connection);
    if (this.#staysHome && !this.#leaving.has(connection.backend)) return;
    // The client has not taken all of the answer, and the rest is in the connection's own input.
    if (this.#relay.answerUntaken) {
      this.#leaveWhenTaken = true;
      return;
    }
    if (this.#hiddenCode.hasUnjudged) return this.settleBy(() => this.#dispatcher.judge(connection));
    this.detach();
    const { isAskedAfter } = this.#aftermath;
    this.#connections.leave(connection, isAskedAfter);
    // What other connections knew of the statement before is not asked for any more.
    this.#connections.letGo(isAskedAfter ? connection : null);
    this.tellLeft();
  }

  /** A backend is left: what can be said again on another connection keeps nobody here. */
  #leavePinned(connection: BackendConnection): void {
    const { backend } = connection;
    if (!this.#leaving.has(backend) || !this.#record.mayMove || this.#relay.answerUntaken) return;
    // To ask there would be the transaction that SET TRANSACTION was for.
    this.#hiddenCode.judgeUnasked(false);
    if (!this.#record.mayMove) return;
    this.#record.lostConnection();
    this.detach();
    this.#connections.discard(connection, false);
    this.tellLeft();
  }

  /** The connection that has not answered goes; its pool sees what is left of it. */
  leaveFailed(): BackendConnection {
    if (this.#lane !== null) {
      const { connection } = this.#lane;
      this.#lane = null;
      this.tellLeft();
      return connection;
    }
    const connection = this.#connection!;
    this.detach();
    this.#connections.leave(connection, false);
    this.tellLeft();
    return connection;
  }

  /** The same when it has answered with a refusal that is not the client's: nobody is to find that in its list. */
  leaveRefused(): void {
    const connection = this.#lane?.connection ?? this.#connection!;
    connection.lastComplainer = NOBODY;
    this.leaveFailed();
  }

  /** True when nothing of the session is on the backend any more; else `left` is called when that is so. */
  leaveBackend(backend: string, left: () => void): boolean {
    this.#connections.drop(backend);
    if (!this.isOn(backend)) return true;
    const listeners = this.#leaving.get(backend) ?? [];
    this.#leaving.set(backend, listeners);
    if (this.#isAtRest) this.leaveIfFree();
    if (!this.isOn(backend)) return true;
    // Who is asked once more while something keeps it there need not be told twice.
    if (!listeners.includes(left)) listeners.push(left);
    return false;
  }

  /** No command is under way on the connection, and no work of dbproxy's own. */
  get #isAtRest(): boolean {
    return this.#settling === null && this.#relay.tracker.idle && !this.#relay.isSending;
  }

  /** Something of the session is on the backend. */
  isOn(backend: string): boolean {
    const isInUse = this.#connection?.backend === backend || this.#preparing?.backend === backend;
    return isInUse || this.#lane?.connection.backend === backend || this.#connections.holdsOn(backend);
  }

  /** Tells who waits for the session to have left a backend. */
  tellLeft(): void {
    if (this.#leaving.size === 0) return;
    for (const [backend, listeners] of this.#leaving) {
      this.#connections.drop(backend);
      if (this.isOn(backend)) continue;
      this.#leaving.delete(backend);
      for (const left of listeners) left();
    }
  }

  /** The session is over. `reusable`: nothing is under way on its connection. */
  stop(reusable: boolean): void {
    this.#stopped = true;
    this.#lane = null;
    // Whatever it is in the middle of ends with it.
    if (this.#preparing !== null && this.#preparing !== this.#connection) this.#preparing.close();
    const connection = this.#connection;
    this.detach();
    if (connection !== null) {
      const isQuiet = reusable && this.#settling === null;
      const isFree = !this.#record.pinned && !this.#hiddenCode.hasUnjudged;
      if (isQuiet && isFree) this.#connections.leave(connection, false);
      else this.#connections.discard(connection, isQuiet);
    }
    this.#connections.stop();
  }
}
