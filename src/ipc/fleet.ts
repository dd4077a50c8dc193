/**
 * The workers as the supervisor sees them: started, started again when they die, asked questions, told
 * to stop. The fleet knows processes and messages; what the messages mean is the supervisor's business.
 */
import cluster, { type Worker } from 'node:cluster';
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { FromWorker, ToWorker } from './messages.ts';

/** Messages to a worker that are questions, without the number the fleet gives them. */
export type Question = WithoutId<Extract<ToWorker, { type: QuestionType }>>;

type QuestionType = keyof AnswerTypes;
type WithoutId<T> = T extends unknown ? Omit<T, 'requestId'> : never;

/** Which message answers which question. */
interface AnswerTypes {
  'end-sessions': 'sessions-ended';
  'hold-writes': 'writes-held';
  'stats-wanted': 'stats';
  'sessions-wanted': 'sessions';
  'digests-wanted': 'digests';
  'explain-session': 'session-explained';
  'explain-route': 'route-explained';
  'kill-session': 'session-killed';
  'session-asked': 'session-place';
}
export type AnswerTo<Q extends Question> = Extract<FromWorker, { type: AnswerTypes[Q['type']] }>;

type Answer = Extract<FromWorker, { type: AnswerTypes[QuestionType] }>;
/** A worker has begun with what it was asked. */
type Beginning = Extract<FromWorker, { type: 'writes-holding' }>;
/** Messages that workers send of their own accord. */
export type Report = Exclude<FromWorker, Answer | Beginning>;

export interface FleetOptions {
  readonly workers: number;
  /** Script and arguments of a worker process. */
  readonly entry: { readonly exec: string; readonly args: readonly string[] };
  readonly clock: Clock;
  readonly log: Log;
  /** The first message to a worker. */
  readonly greeting: (slot: number) => ToWorker;
  readonly onReport: (slot: number, report: Report) => void;
  /** A worker is gone; another one takes its slot unless the fleet stops. */
  readonly onDeath: (slot: number, how: string) => void;
}

interface Berth {
  readonly slot: number;
  worker: Worker | null;
  startedMs: number;
  /** Deaths in a row soon after the start. */
  earlyDeaths: number;
  restart: Timer | null;
}

interface Pending {
  readonly slot: number;
  /** It is at work: from now on it may take all of its time. */
  readonly begun: () => void;
  readonly settle: (answer: Answer | undefined) => void;
}

const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 10_000;
/** A worker that lived this long was well, so that its death starts a new count. */
const WELL_AFTER_MS = 10_000;
/** Unanswered questions to one worker; one that hangs must not fill our memory with more. */
const PENDING_MAX = 64;
/** How long a worker that was killed may take to be gone. */
const GONE_MS = 1_000;
/** How long after the time it was given a worker may still be on its way out. */
const EXIT_MARGIN_MS = 1_000;

/** How long to wait before a worker is started again that died early `earlyDeaths` times in a row. */
export function restartDelayMs(earlyDeaths: number): number {
  return earlyDeaths === 0 ? 0 : Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** (earlyDeaths - 1));
}

/**
 * Whether a worker that has `unanswered` questions already is asked one more. That its sessions end, or wait,
 * is always asked: only promotions and operators do so, and a worker that does not confirm it is killed.
 */
export function mayAsk(question: Question['type'], unanswered: number): boolean {
  return question === 'end-sessions' || question === 'hold-writes' || unanswered < PENDING_MAX;
}

export class WorkerFleet {
  readonly #options: FleetOptions;
  readonly #berths: Berth[];
  readonly #pending = new Map<number, Pending>();
  #lastRequestId = 0;
  #stopping = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#berths = Array.from({ length: options.workers }, (_, slot) => ({
      slot,
      worker: null,
      startedMs: 0,
      earlyDeaths: 0,
      restart: null,
    }));
  }

  /** Starts all workers. */
  start(): void {
    const { exec, args } = this.#options.entry;
    cluster.setupPrimary({ exec, args: [...args] });
    for (const berth of this.#berths) this.#launch(berth);
  }

  /** Slots that have a living worker. */
  slots(): number[] {
    return this.#berths.filter(({ worker }) => worker !== null).map(({ slot }) => slot);
  }

  send(slot: number, message: ToWorker): void {
    const worker = this.#berths[slot]?.worker;
    if (worker?.isConnected() === true) worker.send(message);
  }

  broadcast(message: ToWorker): void {
    for (const slot of this.slots()) this.send(slot, message);
  }

  /**
   * Asks one worker; undefined when it does not answer in time, dies, or is not there. `beginTimeoutMs`: nor is one
   * waited for any longer than that which does not even say that it has begun.
   */
  ask<Q extends Question>(
    slot: number,
    question: Q,
    timeoutMs: number,
    beginTimeoutMs = timeoutMs,
  ): Promise<AnswerTo<Q> | undefined> {
    const alreadyAsked = [...this.#pending.values()].filter((pending) => pending.slot === slot).length;
    if (this.#berths[slot]?.worker?.isConnected() !== true || !mayAsk(question.type, alreadyAsked)) {
      return Promise.resolve(undefined);
    }
    const requestId = ++this.#lastRequestId;
    return new Promise((resolve) => {
      const { clock } = this.#options;
      const giveUp = (): void => this.#settle(requestId, undefined);
      const answering = clock.after(timeoutMs, giveUp);
      const beginning = clock.after(beginTimeoutMs, giveUp);
      const settle = (answer: Answer | undefined): void => {
        answering.cancel();
        beginning.cancel();
        resolve(answer as AnswerTo<Q> | undefined);
      };
      this.#pending.set(requestId, { slot, begun: () => beginning.cancel(), settle });
      this.send(slot, { ...question, requestId });
    });
  }

  /** Asks all workers; one answer (or undefined) for each that lives now. */
  askAll<Q extends Question>(
    question: Q,
    timeoutMs: number,
  ): Promise<{ slot: number; answer: AnswerTo<Q> | undefined }[]> {
    return Promise.all(
      this.slots().map(async (slot) => ({ slot, answer: await this.ask(slot, question, timeoutMs) })),
    );
  }

  /**
   * Ends a worker at once: our own fence. Resolves when the process is gone, or after a bound: one that the kernel cannot
   * let go yet (it waits for a device) runs nothing of its own any more.
   */
  async kill(slot: number, reason: string): Promise<void> {
    const worker = this.#berths[slot]?.worker;
    if (worker === undefined || worker === null) return;
    const { clock, log } = this.#options;
    log.error('worker.killed', { worker: slot, reason });
    await new Promise<void>((resolve) => {
      worker.process.kill('SIGKILL');
      const timer = clock.after(GONE_MS, () => {
        log.error('worker.not_gone', { worker: slot, reason: `it was killed ${GONE_MS} ms ago` });
        resolve();
      });
      worker.once('exit', () => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Stops all workers, in order within `timeoutMs`, then whatever is left at once. */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    for (const berth of this.#berths) berth.restart?.cancel();
    if (this.slots().length === 0) return;
    const empty = new Promise<void>((resolve) => (this.#onEmpty = resolve));
    this.broadcast({ type: 'stop', timeoutMs });
    const timer = this.#options.clock.after(timeoutMs + EXIT_MARGIN_MS, () => this.killAll());
    await empty;
    timer.cancel();
  }

  /** Ends all workers at once. */
  killAll(): void {
    this.#stopping = true;
    for (const berth of this.#berths) {
      berth.restart?.cancel();
      berth.worker?.process.kill('SIGKILL');
    }
  }

  #launch(berth: Berth): void {
    const { clock, log, greeting, onReport } = this.#options;
    const worker = cluster.fork();
    berth.worker = worker;
    berth.startedMs = clock.nowMs();
    worker.on('message', (message: FromWorker) => {
      if (isAnswer(message)) this.#settle(message.requestId, message);
      else if (message.type === 'writes-holding') this.#pending.get(message.requestId)?.begun();
      else onReport(berth.slot, message);
    });
    // A message to a worker that is just dying fails; its exit is what counts.
    worker.on('error', (error) => log.debug('worker.channel', { worker: berth.slot, error: error.message }));
    worker.once('exit', (code: number | null, signal: string | null) => this.#died(berth, code, signal));
    log.info('worker.started', { worker: berth.slot, pid: worker.process.pid });
    this.send(berth.slot, greeting(berth.slot));
  }

  #died(berth: Berth, code: number | null, signal: string | null): void {
    const { clock, log, onDeath } = this.#options;
    berth.worker = null;
    for (const [requestId, { slot }] of this.#pending) {
      if (slot === berth.slot) this.#settle(requestId, undefined);
    }
    const livedMs = clock.nowMs() - berth.startedMs;
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    log[this.#stopping ? 'info' : 'error']('worker.exited', {
      worker: berth.slot,
      how,
      livedMs: Math.round(livedMs),
    });
    onDeath(berth.slot, how);
    if (this.#stopping) {
      if (this.slots().length === 0) this.#onEmpty?.();
      return;
    }
    berth.restart = clock.after(restartDelayMs(berth.earlyDeaths), () => this.#launch(berth));
    berth.earlyDeaths = livedMs >= WELL_AFTER_MS ? 0 : berth.earlyDeaths + 1;
  }

  #settle(requestId: number, answer: Answer | undefined): void {
    const pending = this.#pending.get(requestId);
    this.#pending.delete(requestId);
    pending?.settle(answer);
  }
}

function isAnswer(message: FromWorker): message is Answer {
  switch (message.type) {
    case 'sessions-ended':
    case 'writes-held':
    case 'stats':
    case 'sessions':
    case 'digests':
    case 'session-explained':
    case 'route-explained':
    case 'session-killed':
    case 'session-place':
      return true;
    case 'writes-holding':
    case 'ready':
    case 'listening':
    case 'listener-released':
    case 'listener-drained':
    case 'session-wanted':
    case 'accounts-wanted':
    case 'account-proven':
    case 'schema-changed':
    case 'slots-wanted':
    case 'slots-returned':
    case 'commit-lost':
    case 'backend-failed':
      return false;
  }
}
