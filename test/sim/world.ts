/**
 * One history: a cluster of simulated servers, a dbproxy or two, clients, and the faults of a scenario, on virtual time.
 * After each event the invariants are looked at; what breaks one is told with the story of how it came to that.
 *
 * What must hold:
 * 1. One writer: no worker sends a write to a server once a newer epoch's primary has become writable, and what
 *    such a server acknowledges to a client of dbproxy is a violation too.
 * 2. Nothing acknowledged is lost: under semi_sync = require, what was acknowledged is on the primary of every later
 *    epoch, unless an operator has used FORCE. Acknowledged is what a client of dbproxy was told; of a client that
 *    goes past dbproxy, what it was told by a server that was waiting for its replicas. Under the other policies it
 *    holds for a switchover.
 * 3. Nothing happens twice: a statement is one transaction, and no server applies a transaction twice.
 * 4. Held statements end within hold_timeout, and promotions end.
 * 5. When the faults have ended the system gets well, or says why it needs an operator.
 *    Excused of 1 and 7 are, until they are one again, two dbproxies that cannot talk and both have had the VIP (`SimPair.isSplit`),
 *    and of 1 the workers of one that stood still (`SimWorker`). What they have told clients counts for 2.
 *    Excused of 2 and 5 are only two transactions with one global id: a crash had cost a server the one, and somebody wrote
 *    the other there before dbproxy had looked at it again (`Ledger.givenAgain`).
 * 6. Nothing is thrown that nobody expects.
 * 7. The epoch never goes back, and is of one primary only.
 * 8. Nobody replaces by itself a primary that lives as far as a replica can tell that dbproxy can ask, or while
 *    dbproxy itself has been cut off from its arbiter.
 */
import type { ProxyConfig } from '../../src/config/config.ts';
import { backendConfig, clusterConfig } from '../support/configs.ts';
import { startClient, startDirectClient } from './clients.ts';
import { Faults } from './faults.ts';
import { Ledger } from './ledger.ts';
import type { Mutations } from './mutations.ts';
import { Network } from './network.ts';
import { SimPair } from './pair.ts';
import { SimProxy } from './proxy.ts';
import { Random } from './random.ts';
import { FAULTS_END_MS, type Scenario } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { SimServer } from './server.ts';
import { whyNotWell } from './wellness.ts';
import type { Outcome } from './workers.ts';

export interface Violation {
  /** Number of the invariant. */
  readonly rule: number;
  readonly detail: string;
  readonly atMs: number;
}

export interface Result {
  readonly violation: Violation | null;
  readonly events: number;
  /** The last epoch, and statements by what became of them. */
  readonly epochs: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** What is left to an operator, who was told; empty when nothing is. */
  readonly operator: string;
  readonly endMs: number;
}

/** Time that the system has to get well. */
const RECOVERY_MS = 100_000;
const WELL_FOR_MS = 1_500;
const LOOK_EVERY_MS = 100;
/** How much longer than hold_timeout a held statement may take. */
const HOLD_MARGIN_MS = 500;
/** All bounds of all steps of a promotion, and of those of its way back, one after the other. */
const LONGEST_PROMOTION_MS = 90_000;

export class World {
  readonly scheduler = new Scheduler();
  readonly scenario: Scenario;
  readonly mutations: Mutations;
  readonly random: Random;
  readonly network: Network;
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly ledger: Ledger;
  readonly servers: readonly SimServer[];
  readonly proxies: readonly SimProxy[];
  /** What is between two of them; null: there is one. */
  readonly pair: SimPair | null;
  readonly #faults: Faults;
  readonly #story: string[] | null;
  readonly outcomes: Record<Outcome, number> = { acknowledged: 0, refused: 0, unknown: 0 };
  #violation: Violation | null = null;
  #lastId = 0;
  #nextLookMs = 0;
  readonly #promotingSinceMs = new Map<SimProxy, number | null>();
  #wellSinceMs: number | null = null;
  #operator = '';

  /** `tells`: keeps the story. */
  constructor(scenario: Scenario, mutations: Mutations, tells: boolean) {
    this.scenario = scenario;
    this.mutations = mutations;
    this.#story = tells ? [] : null;
    this.random = new Random(scenario.seed ^ 0x5eed);
    this.network = new Network(this.scheduler, this.random.stream());
    this.config = configOf(scenario, mutations);
    this.ledger = new Ledger(this);
    this.#faults = new Faults(this);
    this.servers = scenario.servers.map(
      (name, index) =>
        new SimServer(this, name, index + 1, scenario.family, scenario.settings, this.random.stream()),
    );
    const { pair } = scenario;
    const hosts = pair === undefined ? ['host-p1'] : this.servers.slice(0, 2).map(({ host }) => host);
    this.proxies = hosts.map((host) => new SimProxy(this, host, this.random.stream()));
    this.pair = pair === undefined ? null : new SimPair(this, pair, this.proxies, this.random);
  }

  /** Runs it to its end; must be called from the event loop. */
  run(): Result {
    const onRejection = (reason: unknown): void => this.violated(6, `nobody catches ${stackOf(reason)}`);
    process.on('unhandledRejection', onRejection);
    try {
      this.#begin();
      // Whose policy is not known to the control plane cannot get well by it.
      const getsWell = !this.mutations.ignoresSemiSync;
      const endMs = FAULTS_END_MS + (getsWell ? RECOVERY_MS : 0);
      const isOver = (): boolean => this.#isOver();
      this.scheduler.run(endMs, isOver, () => this.#look());
      if (getsWell && !isOver()) {
        this.violated(5, `not well ${RECOVERY_MS} ms after the faults: ${whyNotWell(this).reason}`);
      }
    } catch (error) {
      this.violated(6, `thrown: ${stackOf(error)}`);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    return {
      violation: this.#violation,
      events: this.scheduler.happened,
      epochs: this.ledger.recorded.epoch,
      outcomes: this.outcomes,
      operator: [...this.#faults.interventions, this.#operator].filter((one) => one !== '').join('; '),
      endMs: this.nowMs,
    };
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  get areFaultsOver(): boolean {
    return this.#faults.areOver;
  }

  /** What happened, in order. */
  get story(): readonly string[] {
    return this.#story ?? [];
  }

  /** A line for the story. */
  note(tell: () => string): void {
    this.#story?.push(`${this.nowMs.toFixed(1).padStart(9)}  ${tell()}`);
  }

  violated(rule: number, detail: string): void {
    this.note(() => `VIOLATION of ${rule}: ${detail}`);
    this.#violation ??= { rule, detail, atMs: this.nowMs };
  }

  /** Where an operator says what is to be done. */
  get inCharge(): SimProxy {
    return this.pair?.inCharge ?? this.proxies[0]!;
  }

  /** Where a client's statement goes; null: nowhere. */
  proxyForClient(random: Random): SimProxy | null {
    return this.pair === null ? random.pick(this.proxies) : this.pair.proxyForClient(random);
  }

  /** A number that nothing else has. */
  nextId(): number {
    return ++this.#lastId;
  }

  serverOf(name: string): SimServer {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new TypeError(`no such server: ${name}`);
    return found;
  }

  /** The first server is the primary, the others follow it, and all is as the policy wants it. */
  #begin(): void {
    const [primary, ...replicas] = this.servers;
    const { semiSync, clients, hasDirectClient } = this.scenario;
    for (const replica of replicas) {
      replica.readOnly = true;
      replica.primarySide = { enabled: false, live: false };
      replica.replicaSide.enabled = semiSync !== 'off';
      replica.follow(primary!);
    }
    primary!.readOnly = false;
    primary!.primarySide = { enabled: semiSync !== 'off', live: semiSync !== 'off' };
    this.pair?.start();
    for (const proxy of this.proxies) {
      proxy.disk.onEntry = (entry) => {
        this.ledger.entryIsOnDisk(entry, proxy);
        const step = 'step' in entry ? entry.step : '';
        const of = this.pair !== null ? ` of ${proxy.host}` : '';
        this.note(() => `journal${of}: ${entry.event} ${step} ${'detail' in entry ? entry.detail : ''}`);
        if (step !== '') this.#faults.trigger(step, entry.event);
      };
      proxy.start();
    }
    this.#faults.begin();
    for (let client = 0; client < clients; client++) startClient(this, this.random.stream());
    if (hasDirectClient) startDirectClient(this, this.random.stream());
  }

  // ---- looking -------------------------------------------------------------------------------------

  #isOver(): boolean {
    if (this.#violation !== null) return true;
    return this.#wellSinceMs !== null && this.nowMs - this.#wellSinceMs >= WELL_FOR_MS;
  }

  #look(): void {
    if (this.nowMs < this.#nextLookMs) return;
    this.#nextLookMs = this.nowMs + LOOK_EVERY_MS;
    this.pair?.noteUnity();
    for (const proxy of this.proxies) this.#lookAtHeld(proxy);
    for (const proxy of this.proxies) this.#lookAtPromotions(proxy);
    if (!this.areFaultsOver) return;
    const { reason, operator } = whyNotWell(this);
    if (reason === '') this.#wellSinceMs ??= this.nowMs;
    else this.#wellSinceMs = null;
    this.#operator = operator;
  }

  #lookAtHeld({ life }: SimProxy): void {
    const { holdTimeoutMs } = this.config.clusters[0]!;
    for (const worker of life?.workers ?? []) {
      // One that stands still lets nobody go; it is counted from when it goes on.
      if (worker === null || worker.process.pausedSinceMs !== null) continue;
      for (const { number, heldSinceMs } of worker.statements) {
        const sinceMs = Math.max(heldSinceMs ?? this.nowMs, worker.process.runsSinceMs);
        if (this.nowMs - sinceMs <= holdTimeoutMs + HOLD_MARGIN_MS) continue;
        this.violated(4, `statement ${number} is held for ${Math.round(this.nowMs - sinceMs)} ms`);
      }
    }
  }

  #lookAtPromotions(proxy: SimProxy): void {
    const underWay = proxy.life?.control.promotions.underWay ?? [];
    const sinceMs = underWay.length === 0 ? null : (this.#promotingSinceMs.get(proxy) ?? this.nowMs);
    this.#promotingSinceMs.set(proxy, sinceMs);
    if (sinceMs !== null && this.nowMs - sinceMs > LONGEST_PROMOTION_MS) {
      this.violated(4, `a promotion takes ${Math.round(this.nowMs - sinceMs)} ms`);
    }
  }
}

function configOf(scenario: Scenario, mutations: Mutations): Pick<ProxyConfig, 'clusters' | 'backends'> {
  return {
    clusters: [
      clusterConfig({
        checkIntervalMs: scenario.checkIntervalMs,
        checkFastIntervalMs: scenario.checkFastIntervalMs,
        checkTimeoutMs: 1_000,
        failover: scenario.failover,
        failoverCooldownMs: scenario.cooldownMs,
        failoverData: scenario.failoverData,
        arbiter: scenario.hasArbiter ? ['tcp:10.0.0.254:22'] : [],
        catchUpTimeoutMs: 3_000,
        holdTimeoutMs: 3_000,
        transactionGraceMs: 300,
        semiSync: mutations.ignoresSemiSync ? 'off' : scenario.semiSync,
      }),
    ],
    backends: scenario.servers.map((name) => backendConfig(name)),
  };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
