/**
 * The data plane as the control plane meets it: workers that carry the statements of clients to the server that
 * their last snapshot names, hold them when they are told to, and leave the old primary before they say so. One
 * that stands still does not answer and is killed; one whose supervisor is gone ends itself.
 */
import type { HoldWrites } from '../../src/failover/steps/world.ts';
import type { Snapshot } from '../../src/topology/snapshot.ts';
import { executeWrite } from './clients.ts';
import { SimProcess } from './process.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

/** What became of a statement, as its client was told. */
export type Outcome = 'acknowledged' | 'refused' | 'unknown';

/** A statement that was given to a worker, or to a server directly. */
export interface Statement {
  readonly number: number;
  /** Held since then; null while it is not. */
  heldSinceMs: number | null;
  readonly end: (outcome: Outcome) => void;
}

/** A statement that was sent to a server and not answered. */
interface Flight {
  readonly server: SimServer;
  cut(): void;
}

/** A supervisor that went on looks within 100 ms, and what it tells is under way for less than that. */
const TOLD_WITHIN_MS = 200;

export class SimWorker {
  readonly #world: World;
  readonly #host: string;
  readonly #supervisor: SimProcess;
  readonly #holdTimeoutMs: number;
  readonly process: SimProcess;
  readonly #flights = new Set<Flight>();
  readonly #held = new Set<Statement>();
  /** Those that it has not looked at, as it stands still. */
  readonly #given = new Set<Statement>();
  #snapshot: Snapshot;
  /** The last server that took the writes. */
  #primary: string | null;
  #isHolding = false;
  #lastPrimary: string | null = null;
  #noneAtOld: (() => void) | null = null;
  #leaving: SimServer | null = null;

  constructor(world: World, host: string, supervisor: SimProcess, holdTimeoutMs: number, snapshot: Snapshot) {
    this.#supervisor = supervisor;
    this.#world = world;
    this.#host = host;
    this.#holdTimeoutMs = holdTimeoutMs;
    this.process = new SimProcess(world.scheduler);
    this.#snapshot = snapshot;
    this.#primary = snapshot.clusters[0]!.primary;
    this.#isHolding = snapshot.clusters[0]!.writesHeld;
  }

  /** Statements of clients that it has. */
  get statements(): readonly Statement[] {
    return [...this.#held];
  }

  /** Its clients lose their connections: what became of their statements is not known to them. */
  kill(): void {
    if (!this.process.isAlive) return;
    this.process.kill();
    for (const statement of [...this.#held, ...this.#given]) statement.end('refused');
    this.#held.clear();
    this.#given.clear();
    for (const flight of [...this.#flights]) flight.cut();
  }

  takeSnapshot(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    const cluster = snapshot.clusters[0]!;
    const { primary, writesStopped } = cluster;
    const old = this.#primary;
    if (primary !== null) this.#primary = primary;
    const isOther = primary !== null && primary !== old;
    if (old !== null && (isOther || writesStopped)) this.#cutFlights(this.#world.serverOf(old));
    if (cluster.writesHeld) this.#isHolding ||= !this.#world.mutations.ignoresHold;
    else if (this.#isHolding) {
      this.#isHolding = false;
      for (const statement of [...this.#held]) this.#run(statement);
    }
  }

  /** Answers when nothing of it can reach the old primary any more. */
  hold({ backend, graceMs }: HoldWrites, answer: (moved: number, ended: number) => void): void {
    if (this.#world.mutations.ignoresHold || backend === null) return answer(0, 0);
    this.#isHolding = true;
    const old = this.#world.serverOf(backend);
    const flying = this.#flightsTo(old).length;
    if (flying === 0) return answer(0, 0);
    this.#leaving = old;
    const finish = (): void => {
      if (this.#noneAtOld !== finish) return;
      this.#noneAtOld = null;
      timer.cancelled = true;
      const ended = this.#flightsTo(old).length;
      this.#cutFlights(old);
      answer(flying - ended, ended);
    };
    const timer = this.#world.scheduler.after(graceMs, () => this.process.enter(finish));
    this.#noneAtOld = finish;
  }

  /** A client's write. */
  take(statement: Statement): void {
    this.#given.add(statement);
    this.process.enter(() => {
      this.#given.delete(statement);
      this.#run(statement);
    });
  }

  #run(statement: Statement): void {
    const cluster = this.#snapshot.clusters[0]!;
    if (this.#isHolding) return this.#holdOne(statement);
    this.#held.delete(statement);
    statement.heldSinceMs = null;
    // A mutation: it goes on where it was.
    if (cluster.primary === null && cluster.writesHeld && this.#lastPrimary !== null) {
      return this.#send(statement, this.#world.serverOf(this.#lastPrimary));
    }
    if (cluster.primary === null) return statement.end('refused');
    this.#lastPrimary = cluster.primary;
    this.#send(statement, this.#world.serverOf(cluster.primary));
  }

  #holdOne(statement: Statement): void {
    if (this.#held.has(statement)) return;
    this.#held.add(statement);
    statement.heldSinceMs = this.#world.nowMs;
    this.#world.scheduler.after(this.#holdTimeoutMs, () =>
      this.process.enter(() => {
        if (this.#held.delete(statement)) statement.end('refused');
      }),
    );
  }

  #send(statement: Statement, server: SimServer): void {
    const world = this.#world;
    if (!this.#mayNotKnow) world.ledger.sent(server, statement.number);
    let isOpen = true;
    const end = (outcome: Outcome): void => {
      if (!isOpen) return;
      isOpen = false;
      this.#flights.delete(flight);
      statement.end(outcome);
      if (this.#noneAtOld !== null && this.#leaving !== null && this.#flightsTo(this.#leaving).length === 0) {
        this.#noneAtOld();
      }
    };
    const flight: Flight = { server, cut: () => end('unknown') };
    this.#flights.add(flight);
    executeWrite(world, world.random, server, this.#host, statement.number, (outcome) =>
      this.process.enter(() => end(outcome)),
    );
    // A client does not wait for ever.
    world.scheduler.after(15_000, () => this.process.enter(() => end('unknown')));
  }

  /**
   * Of a pair the other goes on without one that stands still; whose workers go on until it has told them, when it goes on
   * itself (docs/pair.md, "What a pair cannot see"). Of one dbproxy the promotion waits for its workers.
   */
  get #mayNotKnow(): boolean {
    const { pair } = this.#world;
    return (
      pair !== null && [this.process, this.#supervisor].some((one) => one.stoodStillWithin(TOLD_WITHIN_MS))
    );
  }

  #flightsTo(server: SimServer): Flight[] {
    return [...this.#flights].filter((flight) => flight.server === server);
  }

  #cutFlights(server: SimServer): void {
    for (const flight of this.#flightsTo(server)) flight.cut();
  }
}
