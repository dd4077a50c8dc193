/**
 * How a dbproxy looks at and acts on simulated servers: the monitor's Checker and the ServerControl of failover,
 * with the bounds of the real ones.
 */
import type { BackendConfig } from '../../src/config/config.ts';
import { classifyError, type Observation, type ServerFacts } from '../../src/monitor/observation.ts';
import type { Checker } from '../../src/monitor/monitor.ts';
import {
  LET_LOOSE_WITHIN_MS,
  type EpochNote,
  type LogAfter,
  type OpenServer,
  type SemiSyncSide,
  type ServerControl,
} from '../../src/failover/server-control.ts';
import { call, type Caller } from './calls.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

const STATEMENT_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 2_000;
const POLL_MS = 50;

/** The checks of one server by one dbproxy. */
export function checkerOf(
  world: World,
  caller: Caller,
  server: SimServer,
  onLost: () => void,
  brokenChecker: () => string | null,
): Checker {
  let closed = false;
  let watched: unknown = null;
  /** The connection that is kept breaks when the process there dies. */
  const watch = (): void => {
    const { process } = server;
    if (watched === process) return;
    watched = process;
    process.onDeath(() => {
      if (server.hostDownSinceMs !== null) return;
      world.network.send(server.host, caller.host, () =>
        caller.process.enter(() => {
          if (!closed) onLost();
        }),
      );
    });
  };
  return {
    async check(timeoutMs): Promise<Observation> {
      const broken = brokenChecker();
      if (broken !== null) return { kind: 'failed', failure: { kind: 'checker_broken', message: broken } };
      try {
        const facts = await call<ServerFacts>(world, caller, server, timeoutMs, (answer, refuse) => {
          if (server.tooManyConnections) {
            return refuse(Object.assign(new Error('Too many connections'), { errno: 1040 }));
          }
          answer(server.look());
        });
        watch();
        return { kind: 'seen', facts };
      } catch (error) {
        return { kind: 'failed', failure: classifyError(error) };
      }
    },
    close: () => {
      closed = true;
    },
  };
}

/** Opens simulated servers. */
export function openServers(world: World, caller: Caller): OpenServer {
  return async (backend) => {
    const server = world.serverOf(backend.name);
    await call<void>(world, caller, server, CONNECT_TIMEOUT_MS, (answer, refuse) => {
      if (server.tooManyConnections) return refuse(new Error('Too many connections'));
      answer();
    });
    return new SimServerControl(world, caller, backend, server);
  };
}

class SimServerControl implements ServerControl {
  readonly backend: BackendConfig;
  readonly #world: World;
  readonly #caller: Caller;
  readonly #server: SimServer;

  constructor(world: World, caller: Caller, backend: BackendConfig, server: SimServer) {
    this.#world = world;
    this.#caller = caller;
    this.backend = backend;
    this.#server = server;
  }

  look(timeoutMs: number): Promise<ServerFacts> {
    return this.#call(timeoutMs, (answer) => answer(this.#server.look()));
  }

  async makeReadOnly(timeoutMs: number, endsSessions: boolean): Promise<void> {
    const server = this.#server;
    let settle: () => void = () => undefined;
    try {
      await this.#call<void>(timeoutMs, (answer) => {
        settle = answer;
        server.setReadOnly(endsSessions, settle);
      });
    } catch (error) {
      // The statement that did not come back is ended from outside, where the server can be reached.
      await this.#call<void>(STATEMENT_TIMEOUT_MS, (answer) => {
        server.dropReadOnly(settle);
        answer();
      }).catch(() => undefined);
      throw new Error(`${this.backend.name} did not become read-only: ${String(error)}`, { cause: error });
    }
  }

  makeWritable(withinMs = LET_LOOSE_WITHIN_MS): Promise<void> {
    const { scheduler } = this.#world;
    const untilMs = scheduler.nowMs + withinMs;
    return this.#do(() => {
      if (scheduler.nowMs >= untilMs) throw new Error('what was to make it writable has come too late');
      this.#server.setWritable();
      this.#world.ledger.letLoose(this.#server);
    });
  }

  stopReceiver(): Promise<void> {
    return this.#do(() => this.#server.replication?.stopReceiver());
  }

  startReplication(): Promise<void> {
    return this.#do(() => this.#server.startReplication());
  }

  async stopReplication(): Promise<string> {
    await this.#do(() => this.#server.replication?.stop());
    return '';
  }

  forgetSource(): Promise<void> {
    return this.#do(() => this.#server.forgetSource());
  }

  hasApplied(position: string): Promise<boolean> {
    return this.#call(1_000 + STATEMENT_TIMEOUT_MS, (answer) => this.#server.waitFor(position, answer));
  }

  bringTo(): Promise<void> {
    return Promise.reject(new Error('simulated servers have global ids'));
  }

  logAfter(): Promise<LogAfter> {
    return Promise.reject(new Error('simulated servers have global ids'));
  }

  async follow(
    source: BackendConfig,
    timeoutMs: number,
    _takesBackOwn: boolean,
    _place: unknown,
    isOvertaken: () => boolean = () => false,
  ): Promise<void> {
    const { scheduler } = this.#world;
    await this.#do(() => this.#server.follow(this.#world.serverOf(source.name)));
    const endMs = scheduler.nowMs + timeoutMs;
    for (;;) {
      const { replication } = await this.look(STATEMENT_TIMEOUT_MS);
      if (replication?.receiver === 'running' && replication.applier === 'running') return;
      if (scheduler.nowMs >= endMs || isOvertaken()) {
        throw new Error(`${this.backend.name} does not replicate: ${replication?.receiverError ?? ''}`);
      }
      await new Promise<void>((resolve) => {
        scheduler.after(POLL_MS, () => this.#caller.process.enter(resolve));
      });
    }
  }

  setSemiSync(side: SemiSyncSide, on: boolean): Promise<void> {
    return this.#do(() => {
      if (!this.#server.settings.hasSemiSync) throw new Error('it has no semi-synchronous replication');
      this.#server.setSemiSync(side, on);
    });
  }

  /** A simulated log has no files. */
  beginNewLog(): Promise<void> {
    return this.#do(() => undefined);
  }

  noteEpoch({ epoch, backend }: EpochNote): Promise<void> {
    return this.#call(STATEMENT_TIMEOUT_MS, (answer) => this.#server.noteEpoch(epoch, backend, answer));
  }

  close(): void {
    // Nothing is kept between two calls.
  }

  #do(act: () => void): Promise<void> {
    return this.#call<void>(STATEMENT_TIMEOUT_MS, (answer, refuse) => {
      try {
        act();
        answer();
      } catch (error) {
        refuse(error as Error);
      }
    });
  }

  #call<T>(
    timeoutMs: number,
    work: (answer: (value: T) => void, refuse: (error: Error) => void) => void,
  ): Promise<T> {
    return call(this.#world, this.#caller, this.#server, timeoutMs, work);
  }
}
