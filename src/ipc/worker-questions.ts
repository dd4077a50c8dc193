/**
 * What the supervisor asks its workers, each question with its bound: what they know of sessions and statements, and
 * that they end sessions or hold writes.
 */
import { refusal } from '../base/errors.ts';
import type { AnswerTo, Question, WorkerFleet } from './fleet.ts';
import type { SessionPlace, ToWorker, WorkerStats } from './messages.ts';
import type { SessionInfo } from './session-info.ts';
import { slotOfSessionId } from './session-id.ts';
import { sharedWhileInFlight } from './shared-question.ts';
import type { DigestStats, RouteAsker, RouteExplanation, SessionExplanation } from './split.ts';

type HoldWrites = Omit<Extract<ToWorker, { type: 'hold-writes' }>, 'type' | 'requestId'>;

/** How long workers may take to hold writes. */
export interface HoldBounds {
  /** Until one says that it has begun: one that has not by then hangs. */
  readonly beginTimeoutMs: number;
  /** Until one that has begun has ended. */
  readonly timeoutMs: number;
}

/** How long a worker may take to answer a question of an operator. */
const ANSWER_TIMEOUT_MS = 2_000;

export class WorkerQuestions {
  readonly #fleet: WorkerFleet;
  readonly #workers: number;

  /** `workers`: how many there are to be. */
  constructor(fleet: WorkerFleet, workers: number) {
    this.#fleet = fleet;
    this.#workers = workers;
  }

  /** Of all that answer in time. Scrapes that come while one is being answered get the same answer. */
  readonly stats = sharedWhileInFlight(async (): Promise<WorkerStats[]> => {
    const answers = await this.#fleet.askAll({ type: 'stats-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => (answer === undefined ? [] : [answer.stats]));
  });

  /** Of all that answer in time. */
  async sessions(): Promise<SessionInfo[]> {
    const answers = await this.#fleet.askAll({ type: 'sessions-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => answer?.sessions ?? []);
  }

  /** Of all that answer in time. */
  async digests(): Promise<DigestStats[]> {
    const answers = await this.#fleet.askAll({ type: 'digests-wanted' }, ANSWER_TIMEOUT_MS);
    return answers.flatMap(({ answer }) => answer?.digests ?? []);
  }

  /** Sessions that hold a connection to a backend, or wait for one. */
  async sessionsOn(backend: string): Promise<number> {
    const workers = await this.stats();
    return workers
      .flatMap(({ pools }) => pools)
      .filter((pool) => pool.backend === backend)
      .reduce((sum, { used, connecting, waiting }) => sum + used + connecting + waiting, 0);
  }

  /** A session is known to its own worker alone; of a new one each worker can tell. */
  async explainRoute(asker: RouteAsker, sql: string): Promise<RouteExplanation | null> {
    const slot = asker.kind === 'session' ? this.#workerOf(asker.sessionId) : (this.#fleet.slots()[0] ?? 0);
    if (slot === undefined) return null;
    const { explanation } = await this.#answer(slot, { type: 'explain-route', asker, sql });
    return explanation;
  }

  /** Null when there is no such session. */
  async explainSession(sessionId: number): Promise<SessionExplanation | null> {
    const slot = this.#workerOf(sessionId);
    if (slot === undefined) return null;
    const { explanation } = await this.#answer(slot, { type: 'explain-session', sessionId });
    return explanation;
  }

  /** Where a session is; `ends`: the one who asks is about to end it. */
  async findSession(sessionId: number, ends: boolean): Promise<SessionPlace | null> {
    const slot = slotOfSessionId(sessionId);
    if (slot === undefined) return null;
    const answer = await this.#fleet.ask(slot, { type: 'session-asked', sessionId, ends }, ANSWER_TIMEOUT_MS);
    return answer?.place ?? null;
  }

  /** Ends a session, or only what it runs; false when there is none. */
  async killSession(sessionId: number, query: boolean): Promise<boolean> {
    const slot = slotOfSessionId(sessionId);
    if (slot === undefined) return false;
    const answer = await this.#fleet.ask(slot, { type: 'kill-session', sessionId, query }, ANSWER_TIMEOUT_MS);
    return answer?.found ?? false;
  }

  /** Ends the sessions of a backend; nothing depends on every worker's answer. */
  async endSessions(backend: string, graceMs: number, reason: string): Promise<number> {
    const answers = await this.#fleet.askAll(
      { type: 'end-sessions', backend, graceMs, reason },
      graceMs + ANSWER_TIMEOUT_MS,
    );
    return answers.reduce((sum, { answer }) => sum + (answer?.ended ?? 0), 0);
  }

  /**
   * Has all workers hold the statements of a cluster; one that does not confirm within `timeoutMs` is killed, or has not
   * begun within `beginTimeoutMs`.
   */
  async holdWrites(
    { cluster, backend, graceMs, kind, reason }: HoldWrites,
    { beginTimeoutMs, timeoutMs }: HoldBounds,
  ): Promise<{ moved: number; ended: number; workersKilled: number }> {
    const question = { type: 'hold-writes', cluster, backend, graceMs, kind, reason } as const;
    const answers = await Promise.all(
      this.#fleet.slots().map(async (slot) => {
        const answer = await this.#fleet.ask(slot, question, timeoutMs, beginTimeoutMs);
        if (answer === undefined) {
          await this.#fleet.kill(slot, `did not confirm that nothing of it can reach ${backend} any more`);
        }
        return answer;
      }),
    );
    const moved = answers.reduce((sum, answer) => sum + (answer?.moved ?? 0), 0);
    const ended = answers.reduce((sum, answer) => sum + (answer?.ended ?? 0), 0);
    return { moved, ended, workersKilled: answers.filter((answer) => answer === undefined).length };
  }

  /** The worker that a session would be in; undefined for an id that none of ours gives out. */
  #workerOf(sessionId: number): number | undefined {
    const slot = slotOfSessionId(sessionId);
    return slot !== undefined && slot < this.#workers ? slot : undefined;
  }

  /** The answer of one worker, where there is nothing to say without it. */
  async #answer<Q extends Question>(slot: number, question: Q): Promise<AnswerTo<Q>> {
    const answer = await this.#fleet.ask(slot, question, ANSWER_TIMEOUT_MS);
    if (answer === undefined) throw refusal('DBPROXY_ADMIN_NO_ANSWER', `worker ${slot}`, ANSWER_TIMEOUT_MS);
    return answer;
  }
}
