/**
 * How one worker leaves a server that is the primary no longer, or soon will not be. Sessions that nothing keeps there
 * leave at once, or a moment later when they may ask after their last statement. What is open may end within a grace;
 * what still runs then is killed on the server; what is left is cut. That takes KILLING_MS and CLOSING_MS beyond the
 * grace at most. From the cut on the worker has no connection there that may write, nor one on its way. READ ONLY
 * ones, of read endpoints and of the reads of split endpoints, stay: to them it is a server like the others.
 */
import { refusal } from '../base/errors.ts';
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendPool } from '../backend/pool.ts';
import { CLOSING_MS, KILLING_MS } from '../ipc/leaving.ts';
import { isInTransaction, stateLostWith } from './lost-connection.ts';
import type { Session } from './session.ts';

export interface LeaveRequest {
  readonly backend: string;
  /** How long what is open there may take to end. */
  readonly graceMs: number;
  /** Why, in words: who is cut is told so. */
  readonly reason: string;
}

export interface LeaveParts {
  readonly clock: Clock;
  readonly sessions: Iterable<Session>;
  /** Its connections; undefined when there never was one. */
  readonly pool: BackendPool | undefined;
}

/** How many sessions had something there and go on elsewhere, and how many lost what they had. */
export interface LeaveOutcome {
  moved: number;
  ended: number;
}

/** How long a session stays to ask after the statement before (SHOW WARNINGS), as drivers do by themselves. */
const ASKS_AFTER_MS = 50;
/** A session that has rested so long will not end by itself what keeps it there, unless it is a transaction. */
const RESTS_MS = 1000;

export async function leavePrimary(
  { clock, sessions, pool }: LeaveParts,
  { backend, graceMs, reason }: LeaveRequest,
): Promise<LeaveOutcome> {
  if (pool === undefined) return { moved: 0, ended: 0 };
  const there = [...sessions].filter((one) => one.endpoint.config.mode !== 'read' && one.isOn(backend));
  const movable = there.filter(({ dispatcher }) => dispatcher !== null);
  const deadlineMs = clock.nowMs() + graceMs;
  const error = refusal('DBPROXY_SESSION_ENDED', reason);
  pool.shut();
  const ends = there
    .filter(({ dispatcher }) => dispatcher === null)
    .map((session) => session.endWhenIdle(error, deadlineMs));
  let ended = ends.length;
  for (const session of movable) {
    if (graceMs > ASKS_AFTER_MS) leaveSoon(clock, session, backend);
    else session.dispatcher?.leave(backend, nobodyWaits);
    if (session.dispatcher?.followsLog === true) session.end(error);
    else if (isFutile(session, backend)) session.dispatcher?.attached?.cut(reason);
    else continue;
    ended++;
  }
  const emptied = pool.emptied();
  if (graceMs > 0) {
    await Promise.race([emptied, sleep(clock, graceMs)]);
    await Promise.race([emptied, sleep(clock, KILLING_MS), killRunning(movable, backend, emptied)]);
  }
  ended += pool.cut(reason);
  // Whoever keeps one connection ends with it.
  await Promise.race([Promise.all([emptied, ...ends]), sleep(clock, CLOSING_MS)]);
  return { moved: Math.max(0, there.length - ended), ended };
}

/** The session leaves the backend as soon as nothing keeps it there; at rest at once, but for what is asked after. */
export function leaveSoon(clock: Clock, session: Session, backend: string): void {
  const leave = (): void => void session.dispatcher?.leave(backend, nobodyWaits);
  if (mayAskAfter(session)) clock.after(ASKS_AFTER_MS, leave);
  else leave();
}

const nobodyWaits = (): void => undefined;

/**
 * It has something there that cannot be made anew elsewhere, and has rested for so long that it will hardly clean up
 * within the grace: all others would wait for nothing.
 */
function isFutile(session: Session, backend: string): boolean {
  const { dispatcher } = session;
  if (dispatcher === null || session.isActive || session.backend !== backend) return false;
  const { pins } = dispatcher.record;
  return stateLostWith(pins) !== '' && !isInTransaction(pins) && session.info().stateMs >= RESTS_MS;
}

/** Its last statement has left something that only its connection knows, a moment ago. */
function mayAskAfter(session: Session): boolean {
  return session.dispatcher?.isAskedAfter === true && session.info().stateMs < ASKS_AFTER_MS;
}

/**
 * The server ends what still runs, so that its client hears for certain that it has not been done, instead of not
 * knowing. Resolves when there is nothing that could be killed, or all of it has ended.
 */
async function killRunning(
  sessions: readonly Session[],
  backend: string,
  emptied: Promise<void>,
): Promise<void> {
  const running = sessions.filter((session) => session.isActive && session.backend === backend);
  if (running.length === 0) return;
  await Promise.allSettled(running.map((session) => session.killQuery()));
  await emptied;
}
