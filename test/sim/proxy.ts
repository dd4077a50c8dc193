/**
 * One dbproxy of the simulated world: the real store, monitor and control plane, joined as the supervisor joins
 * them, with workers, servers and disk that are simulated. It can be stopped, killed and started again. One of a pair has
 * the real Peer, too, and is on the host of a server.
 */
import type { Log } from '../../src/base/log.ts';
import type { HoldWrites } from '../../src/failover/steps/world.ts';
import { ControlPlane } from '../../src/failover/control.ts';
import { unfinishedRuns } from '../../src/failover/journal.ts';
import type { HoldBounds } from '../../src/ipc/worker-questions.ts';
import type { ArbiterAnswer } from '../../src/monitor/arbiter-answer.ts';
import { Monitor, type Checker } from '../../src/monitor/monitor.ts';
import type { Peer } from '../../src/peer/peer.ts';
import { joinPair } from '../../src/supervisor/pair.ts';
import type { DurableState } from '../../src/topology/state-file.ts';
import { TopologyStore, type Sharing } from '../../src/topology/store.ts';
import { SimDisk } from './disk.ts';
import type { SimPair } from './pair.ts';
import { simulatedLink } from './peer-link.ts';
import { ProcessClock, SimProcess } from './process.ts';
import type { Random } from './random.ts';
import { checkerOf, openServers } from './server-control.ts';
import { SimWorker } from './workers.ts';
import type { World } from './world.ts';

const WORKERS = 2;
const WORKER_RESTART_MS = 150;

/** What lives as long as its process. */
export interface Life {
  readonly process: SimProcess;
  readonly clock: ProcessClock;
  readonly store: TopologyStore;
  readonly monitor: Monitor;
  readonly control: ControlPlane;
  /** Null: it is the only one. */
  readonly peer: Peer | null;
  readonly workers: (SimWorker | null)[];
}

export class SimProxy {
  readonly host: string;
  readonly disk: SimDisk;
  readonly wall = { offsetMs: 1_700_000_000_000 };
  readonly #world: World;
  readonly #random: Random;
  /** Why it cannot check anything; null while it can. */
  checkerBroken: string | null = null;
  life: Life | null = null;

  /** How often its host has been started. */
  boots = 0;

  constructor(world: World, host: string, random: Random) {
    this.host = host;
    this.#world = world;
    this.#random = random;
    this.disk = new SimDisk(world.scheduler, random.stream(), (state) => {
      // Of a pair it counts when it is on both disks, or the other is gone.
      if (world.pair === null) world.ledger.stateCounts(state);
    });
  }

  /** The machine is down, with its server. */
  get isHostDown(): boolean {
    return this.#world.servers.some(
      ({ host, hostDownSinceMs }) => host === this.host && hostDownSinceMs !== null,
    );
  }

  get isUp(): boolean {
    return this.life !== null;
  }

  /** True when a promotion was opened and not closed. */
  get hasUnfinished(): boolean {
    return unfinishedRuns(this.disk.entries).length > 0;
  }

  start(): void {
    if (this.life !== null) return;
    const world = this.#world;
    const process = new SimProcess(world.scheduler);
    const clock = new ProcessClock(world.scheduler, process, this.#random.stream(), this.wall);
    const { config } = world;
    const caller = { host: this.host, process };
    const store = new TopologyStore(config, this.disk.openState(process));
    const epochBefore = store.durable.epoch;
    const log = this.#log();
    const peer = world.pair === null ? null : this.#openPeer(world.pair, process, clock, store, log);
    const adopting = new Map<string, Promise<void>>();
    const adoptFirst = (cluster: string): void => {
      if (store.rememberedPrimary(cluster) !== null || adopting.has(cluster)) return;
      const adoption = store
        .adoptFirstPrimary(cluster)
        .then((primary) => {
          if (primary !== null) monitor.rejudge(cluster);
        })
        .catch(() => undefined)
        .finally(() => adopting.delete(cluster));
      adopting.set(cluster, adoption);
    };
    const isOnlyWitness = world.mutations.oneWitness;
    const askArbiter = (): Promise<ArbiterAnswer> =>
      isOnlyWitness ? Promise.resolve({ kind: 'reachable' }) : this.#askArbiter(process, clock);
    const monitor: Monitor = new Monitor({
      config,
      clock,
      log,
      primaryOf: (cluster) => store.rememberedPrimary(cluster),
      onHealth: (backend, health) => {
        store.observe(backend, health);
        if (peer?.right.mayAct !== false || world.mutations.ignoresPeer) adoptFirst('main');
        control.consider('main');
      },
      makeChecker: (backend, _cluster, onLost) => {
        const server = world.serverOf(backend.name);
        const checker = checkerOf(world, caller, server, onLost, () => this.checkerBroken);
        if (!isOnlyWitness) return checker;
        return parroting(checker, () => {
          const primary = store.rememberedPrimary('main');
          return primary === null || monitor.recordOf(primary).reach === 'up';
        });
      },
      askArbiter,
    });
    const journal = this.disk.openJournal(process);
    const workers: (SimWorker | null)[] = Array.from({ length: WORKERS }, () => null);
    const life: Life = {
      process,
      clock,
      store,
      monitor,
      workers,
      peer,
      control: new ControlPlane({
        config,
        clock,
        log,
        store,
        monitor,
        journal: world.mutations.forgetsJournal ? forgetful(journal) : journal,
        openServer: openServers(world, caller),
        stateDir: '',
        lost: {
          save: () => Promise.resolve({ detail: 'saved', isOnlyOurs: false }),
          discard: () => Promise.resolve(),
        },
        ...(peer !== null && !world.mutations.ignoresPeer && { pair: peer }),
        holdWrites: (request, bounds) => this.#holdWrites(life, request, bounds),
        tell: (level, event, subject, detail) => log[level](event, { subject, detail }),
        onEvent: () => undefined,
      }),
    };
    const { control } = life;
    this.life = life;
    store.onSnapshot((snapshot) => {
      // What the last process had written down, and perhaps not told, counts when this one may act.
      const isNews = (durable: DurableState): boolean => durable.epoch > epochBefore || peer!.right.mayAct;
      if (peer !== null && isNews(store.durable)) world.ledger.stateCounts(store.durable);
      for (const worker of workers) {
        if (worker !== null) this.#tell(() => worker.process.enter(() => worker.takeSnapshot(snapshot)));
      }
    });
    control.holdUnfinished();
    const charge = peer?.right.charge ?? null;
    if (charge?.stopsWrites === true) store.stopWrites('main', charge.detail);
    for (let slot = 0; slot < WORKERS; slot++) this.#startWorker(life, slot);
    void this.#begin(life, adopting);
  }

  #openPeer(pair: SimPair, process: SimProcess, clock: ProcessClock, store: TopologyStore, log: Log): Peer {
    const world = this.#world;
    const random = this.#random.stream();
    const peer = joinPair({
      process: `${this.host} ${++this.#starts}`,
      clusters: ['main'],
      clock,
      link: simulatedLink({ world, random, from: this, to: pair.otherThan(this), process, clock }),
      timeoutMs: world.scenario.pair!.peerTimeoutMs,
      store,
      holdsVip: () => pair.holdsVip(this),
      control: () => this.life!.control,
      monitor: () => this.life!.monitor,
      version: 'simulated',
      config: '',
      onSettings: () => undefined,
      tell: (level, event, detail) => log[level](event, { detail }),
    });
    store.shareWith(world.mutations.ignoresPeer ? unasked(peer) : peer);
    return peer;
  }

  async #begin(
    { monitor, control, peer }: Life,
    adopting: ReadonlyMap<string, Promise<void>>,
  ): Promise<void> {
    peer?.start();
    await monitor.start();
    await Promise.all(adopting.values());
    await control.start();
  }

  /** As the supervisor stops: what has begun ends, and the other of a pair is told; then `ended`. */
  stop(ended: () => void): void {
    const { life } = this;
    life?.process.enter(() => {
      void this.#stop(life).then(() => {
        if (this.life !== life) return;
        this.kill();
        ended();
      });
    });
  }

  async #stop({ control, peer }: Life): Promise<void> {
    await control.stop();
    if (control.promotions.underWay.length === 0) await peer?.leave();
  }

  /** Its workers end themselves when they find out. */
  kill(): void {
    const { life } = this;
    if (life === null) return;
    this.life = null;
    life.process.kill();
    for (const worker of life.workers) {
      if (worker === null) continue;
      // One that stands still notices before it does anything else.
      if (worker.process.pausedSinceMs !== null) worker.kill();
      else this.#world.scheduler.after(this.#random.between(0, 5), () => worker.kill());
    }
  }

  /** The machine dies, with what was not on disk. */
  crash(): void {
    this.boots++;
    this.kill();
    this.disk.crash();
  }

  /** A worker for a client. */
  worker(random: Random): SimWorker | null {
    return this.life === null ? null : random.pick(this.life.workers);
  }

  #startWorker(life: Life, slot: number): void {
    if (!life.process.isAlive) return;
    const { holdTimeoutMs } = this.#world.config.clusters[0]!;
    const worker = new SimWorker(this.#world, this.host, life.process, holdTimeoutMs, life.store.snapshot);
    life.workers[slot] = worker;
    worker.process.onDeath(() => {
      if (life.workers[slot] !== worker) return;
      life.workers[slot] = null;
      life.clock.after(WORKER_RESTART_MS, () => this.#startWorker(life, slot));
    });
  }

  /** A message between supervisor and worker. */
  #tell(arrive: () => void): void {
    const delayMs = this.#random.chance(0.02) ? this.#random.between(5, 60) : this.#random.between(0.05, 0.5);
    this.#lastToldMs = Math.max(this.#lastToldMs, this.#world.nowMs + delayMs);
    this.#world.scheduler.at(this.#lastToldMs, arrive);
  }
  #lastToldMs = 0;
  /** Processes so far. */
  #starts = 0;

  /** As the supervisor does: all are asked, and who does not begin, or answer, in time is killed. */
  async #holdWrites(
    { workers, process, clock }: Life,
    request: HoldWrites,
    { beginTimeoutMs, timeoutMs }: HoldBounds,
  ): Promise<{ moved: number; ended: number; workersKilled: number }> {
    let moved = 0;
    let ended = 0;
    let workersKilled = 0;
    const asked = workers.filter((worker) => worker !== null);
    await Promise.all(
      asked.map(
        (worker) =>
          new Promise<void>((resolve) => {
            const giveUp = (): void => {
              answering.cancel();
              beginning.cancel();
              workersKilled++;
              worker.kill();
              resolve();
            };
            const answering = clock.after(timeoutMs, giveUp);
            const beginning = clock.after(beginTimeoutMs, giveUp);
            worker.process.onDeath(() => process.enter(resolve));
            this.#tell(() =>
              worker.process.enter(() => {
                this.#tell(() => process.enter(() => beginning.cancel()));
                worker.hold(request, (left, cut) =>
                  this.#tell(() =>
                    process.enter(() => {
                      moved += left;
                      ended += cut;
                      answering.cancel();
                      beginning.cancel();
                      resolve();
                    }),
                  ),
                );
              }),
            );
          }),
      ),
    );
    return { moved, ended, workersKilled };
  }

  #askArbiter(process: SimProcess, clock: ProcessClock): Promise<ArbiterAnswer> {
    const { network } = this.#world;
    return new Promise((resolve) => {
      const timer = clock.after(1_000, () => resolve({ kind: 'unreachable', reason: 'no answer' }));
      network.send(this.host, 'arbiter', () =>
        network.send('arbiter', this.host, () =>
          process.enter(() => {
            timer.cancel();
            resolve({ kind: 'reachable' });
          }),
        ),
      );
    });
  }

  #log(): Log {
    const world = this.#world;
    const write =
      (level: string) =>
      (event: string, fields?: unknown): void => {
        const who = world.pair !== null ? `${this.host}: ` : '';
        if (level !== 'debug') world.note(() => `  ${who}${level} ${event} ${JSON.stringify(fields)}`);
      };
    const log: Log = {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      child: () => log,
    };
    return log;
  }
}

/** A mutation: replicas that say what we believe of their source. */
function parroting(checker: Checker, primaryIsUp: () => boolean): Checker {
  return {
    async check(timeoutMs) {
      const observation = await checker.check(timeoutMs);
      if (observation.kind === 'failed' || observation.facts.replication === null || primaryIsUp()) {
        return observation;
      }
      const { replication } = observation.facts;
      const lost = { ...replication, receiver: 'connecting' as const, receiverErrno: 2003 };
      return { kind: 'seen', facts: { ...observation.facts, replication: lost } };
    },
    close: () => checker.close(),
  };
}

/** A mutation: nobody waits for what the other one says. */
function unasked(peer: Peer): Sharing {
  return {
    requireCharge: () => undefined,
    share: () => Promise.resolve('held'),
    compare: (one, other) => peer.compare(one, other),
  };
}

/** A mutation: a journal that has nothing to say after a restart. */
function forgetful(journal: ReturnType<SimDisk['openJournal']>): ReturnType<SimDisk['openJournal']> {
  const before = journal.entries().length;
  return { entries: () => journal.entries().slice(before), append: (...entry) => journal.append(...entry) };
}
