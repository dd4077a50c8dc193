/**
 * Whose turn it is to act on the servers of a cluster: many chores at a time, or one promotion, and never both.
 *
 * A chore takes a *turn* when it is decided on, and does all its acts within it. An act begins only while that
 * decision holds: no promotion has begun since, and the epoch is the same. A promotion begins by overtaking the
 * chores: from then on none of their acts begins any more, and it waits for those that have begun.
 */
import type { Clock } from '../base/clock.ts';
import type { OpenServer, ServerControl } from './server-control.ts';

export interface TurnsOptions {
  readonly clock: Clock;
  /** A promotion of the cluster runs, or was left unfinished. */
  readonly isBusy: (cluster: string) => boolean;
  readonly epochOf: (cluster: string) => number;
  /** This proxy is the one that acts on the servers of the cluster. */
  readonly isInCharge: (cluster: string) => boolean;
}

/** The right to act as it was decided on, until something overtakes it. */
export interface Turn {
  /** True once nothing more may be done in it. */
  readonly isOver: boolean;
  /**
   * Does one act, on this server or (null) on none; rejects before it begins when the turn is over. Acts within an
   * act are part of it.
   */
  act<T>(backend: string | null, work: () => Promise<T>): Promise<T>;
}

/** The turn was over before the act began. */
export class Overtaken extends Error {
  constructor() {
    super('a promotion has begun since this was decided on, or another dbproxy acts, so it is not done');
  }
}

/** An act that has begun and not ended. */
interface ActInFlight {
  readonly backend: string | null;
  readonly ended: Promise<void>;
}

/** How often it is asked whether a server that is waited for answers still. */
const POLL_MS = 100;

export class Turns {
  readonly #options: TurnsOptions;
  readonly #inFlight = new Map<string, Set<ActInFlight>>();
  /** How often promotions have begun. */
  readonly #overtaken = new Map<string, number>();

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** For what is decided on what is known now. `onServers`: it acts on them, which only the one in charge does. */
  begin(cluster: string, onServers = true): Turn {
    const { isBusy, epochOf, isInCharge } = this.#options;
    const epoch = epochOf(cluster);
    const round = this.#roundOf(cluster);
    const isOver = (): boolean =>
      isBusy(cluster) ||
      this.#roundOf(cluster) !== round ||
      epochOf(cluster) !== epoch ||
      (onServers && !isInCharge(cluster));
    const inFlight = this.#inFlightOf(cluster);
    let depth = 0;
    return {
      get isOver() {
        return isOver();
      },
      async act(backend, work) {
        if (depth === 0 && isOver()) throw new Overtaken();
        depth++;
        let end: () => void = () => undefined;
        const one = { backend, ended: new Promise<void>((resolve) => (end = resolve)) };
        inFlight.add(one);
        try {
          return await work();
        } finally {
          depth--;
          inFlight.delete(one);
          end();
        }
      },
    };
  }

  /** An act has begun and not ended. */
  isActing(cluster: string): boolean {
    return this.#inFlightOf(cluster).size > 0;
  }

  /**
   * A promotion begins: `isBusy` must say so already. Resolves when no act is in flight any more, with whether any
   * was; rejects when one has not ended within `timeoutMs`. What is in flight at a server that does not answer is not
   * waited for: it has been done by now or never will be, and its server is looked at when it is back.
   */
  async overtake(
    cluster: string,
    timeoutMs: number,
    answers: (backend: string) => boolean,
  ): Promise<boolean> {
    this.#overtaken.set(cluster, this.#roundOf(cluster) + 1);
    const begun = [...this.#inFlightOf(cluster)];
    const left = (): ActInFlight[] =>
      begun
        .filter((one) => this.#inFlightOf(cluster).has(one))
        .filter(({ backend }) => backend === null || answers(backend));
    if (left().length === 0) return false;
    await this.#until(() => left().length === 0, begun, timeoutMs);
    if (left().length === 0) return true;
    const names = [...new Set(left().map(({ backend }) => backend ?? 'the state file'))].join(', ');
    throw new Error(`what dbproxy was doing at ${names} has not ended within ${timeoutMs} ms; try again`);
  }

  /** Asked when one of these ends, and now and again: a server may stop answering meanwhile. */
  #until(isOver: () => boolean, begun: readonly ActInFlight[], timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const timers = [clock.after(timeoutMs, () => end()), clock.every(POLL_MS, () => look())];
      const end = (): void => {
        for (const timer of timers) timer.cancel();
        resolve();
      };
      const look = (): void => {
        if (isOver()) end();
      };
      for (const { ended } of begun) void ended.then(look);
    });
  }

  #inFlightOf(cluster: string): Set<ActInFlight> {
    const known = this.#inFlight.get(cluster) ?? new Set();
    this.#inFlight.set(cluster, known);
    return known;
  }

  #roundOf(cluster: string): number {
    return this.#overtaken.get(cluster) ?? 0;
  }
}

/** Servers on which nothing is done but in this turn; looking at them is free. */
export function serversInTurn(openServer: OpenServer, turn: Turn): OpenServer {
  return async (backend, cluster) => inTurn(await openServer(backend, cluster), turn);
}

function inTurn(server: ServerControl, turn: Turn): ServerControl {
  const { backend } = server;
  const act = <T>(work: () => Promise<T>): Promise<T> => turn.act(backend.name, work);
  return {
    backend,
    look: (...args) => server.look(...args),
    hasApplied: (...args) => server.hasApplied(...args),
    makeReadOnly: (...args) => act(() => server.makeReadOnly(...args)),
    makeWritable: (...args) => act(() => server.makeWritable(...args)),
    beginNewLog: () => act(() => server.beginNewLog()),
    stopReceiver: () => act(() => server.stopReceiver()),
    startReplication: () => act(() => server.startReplication()),
    stopReplication: (...args) => act(() => server.stopReplication(...args)),
    forgetSource: () => act(() => server.forgetSource()),
    logAfter: (...args) => server.logAfter(...args),
    bringTo: (place, receives, timeoutMs) =>
      act(() => server.bringTo(place, receives, timeoutMs, () => turn.isOver)),
    follow: (source, timeoutMs, takesBackOwn, place) =>
      act(() => server.follow(source, timeoutMs, takesBackOwn, place, () => turn.isOver)),
    setSemiSync: (...args) => act(() => server.setSemiSync(...args)),
    noteEpoch: (...args) => act(() => server.noteEpoch(...args)),
    close: () => server.close(),
  };
}
