/**
 * Makes the faults of a scenario happen: at their times, or when a step of a promotion has come to the journal. At
 * a fixed time all of them end; from then on an operator is there who does what only an operator does.
 */
import type { DiagnosisName } from '../../src/failover/findings/finding.ts';
import { OPERATOR } from './ledger.ts';
import { beginInPair, hostDown, linesBetween } from './pair-faults.ts';
import type { Life } from './proxy.ts';
import { FAULTS_END_MS, type Deed, type Fault, type ProxyDeed, type ProxyIndex } from './scenario.ts';
import type { World } from './world.ts';

const FIRST_REPAIR_MS = 3_000;
const REPAIR_EVERY_MS = 10_000;
/** Diagnoses that may tell an operator to promote the primary of the epoch. */
const STUCK: ReadonlySet<string> = new Set<DiagnosisName>(['PrimaryReadOnly', 'PrimaryReplicates']);

export class Faults {
  readonly #world: World;
  /** Those that wait for a step. */
  readonly #armed: Fault[] = [];
  areOver = false;
  /** What an operator had to do, as the diagnosis told him. */
  readonly interventions: string[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  begin(): void {
    const { scheduler, scenario } = this.#world;
    for (const fault of scenario.faults) {
      if ('atMs' in fault) scheduler.at(fault.atMs, () => this.#strike(fault));
      else this.#armed.push(fault);
    }
    scheduler.at(FAULTS_END_MS, () => this.#endAll());
  }

  /** A step has come to the journal. */
  trigger(step: string, event: string): void {
    if (this.areOver) return;
    for (const fault of [...this.#armed]) {
      if (!('step' in fault) || fault.step !== step || fault.event !== event) continue;
      this.#armed.splice(this.#armed.indexOf(fault), 1);
      this.#world.scheduler.after(fault.afterMs, () => this.#strike(fault));
    }
  }

  #strike(deed: Deed): void {
    if (this.areOver) return;
    const world = this.#world;
    world.note(() => `FAULT ${JSON.stringify(deed)}`);
    const end = this.#begin(deed);
    if (end === null || !('forMs' in deed)) return;
    world.scheduler.at(Math.min(world.nowMs + deed.forMs, FAULTS_END_MS), () => {
      world.note(() => `end of ${deed.kind}`);
      end();
    });
  }

  /** Begins it, and answers how it ends; null: it does not, or there is nothing to end. */
  #begin(deed: Deed): (() => void) | null {
    switch (deed.kind) {
      case 'kill':
      case 'freeze':
      case 'host_down':
      case 'too_many_connections':
      case 'slow_apply':
      case 'stop_replication':
      case 'fool':
        return this.#beginAtServer(deed);
      case 'cut':
        return this.#cut([[deed.from, deed.to]], deed.bothWays);
      case 'isolate': {
        const others = this.#hosts().filter((host) => host !== deed.host);
        return this.#cut(
          others.map((host) => [deed.host, host]),
          true,
        );
      }
      case 'kill_proxy':
      case 'freeze_proxy':
      case 'freeze_worker':
      case 'kill_worker':
      case 'wall_jump':
      case 'disk_full':
      case 'checker_broken':
        return this.#beginAtProxy(deed);
      case 'freeze_host':
      case 'stop_proxy':
      case 'kill_keepalived':
      case 'deafen':
      case 'move_vip':
      case 'peer_gone':
        return beginInPair(this.#world, deed, (pairs, bothWays) => this.#cut(pairs, bothWays));
      case 'promote':
        return this.#promote(deed);
      case 'maintenance':
        this.#maintain(true);
        return () => this.#maintain(false);
      case 'weight': {
        const change = { [deed.server]: { rwWeight: deed.weight } };
        this.#say((life) => void life.store.change(change).catch(() => undefined));
        return null;
      }
    }
  }

  #beginAtServer(deed: Extract<Deed, { server: string }>): (() => void) | null {
    const server = this.#world.serverOf(deed.server);
    switch (deed.kind) {
      case 'kill':
        server.kill();
        return () => {
          if (server.hostDownSinceMs === null) server.start();
        };
      case 'freeze':
        server.pause();
        return () => server.goOn();
      case 'host_down':
        return hostDown(this.#world, server);
      case 'too_many_connections':
        server.tooManyConnections = true;
        return () => (server.tooManyConnections = false);
      case 'slow_apply':
        server.applySlowness = deed.times;
        return () => (server.applySlowness = 1);
      case 'stop_replication':
        server.process.enter(() => server.replication?.stop());
        return null;
      case 'fool':
        server.process.enter(() => {
          server.setWritable();
          this.#world.ledger.fooled(server);
          if (deed.writes) server.write('fool', 0, null, () => undefined);
        });
        return null;
      case 'weight':
        return null;
    }
  }

  #beginAtProxy(deed: ProxyDeed & { readonly proxy?: ProxyIndex }): (() => void) | null {
    const proxy = this.#world.proxies[deed.proxy ?? 0]!;
    switch (deed.kind) {
      case 'kill_proxy':
        if (deed.crash) proxy.crash();
        else proxy.kill();
        return () => {
          if (!proxy.isHostDown) proxy.start();
        };
      case 'freeze_proxy': {
        const process = proxy.life?.process;
        process?.pause();
        return () => process?.goOn();
      }
      case 'freeze_worker': {
        const worker = proxy.life?.workers[deed.slot];
        worker?.process.pause();
        return () => worker?.process.goOn();
      }
      case 'kill_worker':
        proxy.life?.workers[deed.slot]?.kill();
        return null;
      case 'wall_jump':
        proxy.wall.offsetMs += deed.byMs;
        return null;
      case 'disk_full':
        proxy.disk.isFull = true;
        return () => (proxy.disk.isFull = false);
      case 'checker_broken':
        proxy.checkerBroken = 'too many open files';
        return () => (proxy.checkerBroken = null);
    }
  }

  #hosts(): string[] {
    const { proxies, servers } = this.#world;
    return ['arbiter', ...proxies.map(({ host }) => host), ...servers.map(({ host }) => host)];
  }

  #cut(pairs: readonly (readonly [string, string])[], bothWays: boolean): () => void {
    const { network, servers } = this.#world;
    for (const [from, to] of pairs) {
      for (const [near, far] of linesBetween(this.#world, from, to)) {
        network.cut(near, far);
        if (bothWays) network.cut(far, near);
      }
    }
    for (const server of servers) server.feeds.watchSilence();
    this.#world.pair?.noteSplit();
    return () => {
      for (const [from, to] of pairs) {
        for (const [near, far] of linesBetween(this.#world, from, to)) {
          network.heal(near, far);
          network.heal(far, near);
        }
      }
    };
  }

  #promote({ target, as, named, force, proxy }: Omit<Extract<Deed, { kind: 'promote' }>, 'kind'>): null {
    const world = this.#world;
    this.#say((life) => {
      life.control.promotions.promote({ target, named, as, force }, OPERATOR, true).then(
        () => world.note(() => `operator: ${target} is promoted`),
        (error: unknown) => world.note(() => `operator: ${String(error)}`),
      );
    }, proxy);
    return null;
  }

  #maintain(maintenance: boolean): void {
    this.#say((life) => void life.store.decide('main', { maintenance }).catch(() => undefined));
  }

  /** An operator says something, at the dbproxy in charge or at this one, which refuses it unless it is in charge. */
  #say(statement: (life: Life) => void, proxy?: ProxyIndex): void {
    const world = this.#world;
    const { life } = proxy === undefined ? world.inCharge : world.proxies[proxy]!;
    life?.process.enter(() => {
      try {
        life.peer?.requireCharge();
      } catch (error) {
        return world.note(() => `operator: ${String(error)}`);
      }
      statement(life);
    });
  }

  /** Whatever is broken is whole again. */
  #endAll(): void {
    const { network, proxies, pair, servers, scheduler } = this.#world;
    this.#world.note(() => 'ALL FAULTS END');
    this.areOver = true;
    network.healAll();
    for (const keepalived of pair?.keepaliveds ?? []) {
      keepalived.goOn();
      keepalived.start();
    }
    for (const proxy of proxies) {
      proxy.disk.isFull = false;
      proxy.checkerBroken = null;
      proxy.life?.process.goOn();
      for (const worker of proxy.life?.workers ?? []) worker?.process.goOn();
      proxy.start();
    }
    for (const server of servers) {
      server.tooManyConnections = false;
      server.applySlowness = 1;
      server.goOn();
      server.hostUp();
    }
    scheduler.after(FIRST_REPAIR_MS, () => this.#repair());
  }

  /** An operator lifts his own maintenance, starts what he has stopped, and follows the advice of the diagnosis. */
  #repair(): void {
    const { servers, inCharge, ledger, scheduler, scenario } = this.#world;
    this.#maintain(false);
    for (const server of servers) {
      const { replication } = server;
      if (replication === null || replication.applier === 'running' || replication.applierErrno !== 0)
        continue;
      // One that dbproxy has stopped is not his business.
      if (server.name === ledger.recorded.primary) continue;
      this.#world.note(() => `operator: START SLAVE on ${server.name}`);
      server.startReplication();
    }
    const findings = inCharge.life?.control.governorOf('main').findings ?? [];
    // With failover = manual a promotion that got stuck is his to finish.
    const words = scenario.failover === 'manual' ? /PROMOTE|got no further/ : /PROMOTE/;
    const isAdvised = findings.some(({ name, detail }) => STUCK.has(name) && words.test(detail));
    // Two halves of a pair have made the same epoch: who takes the writes of one of them is to have it (docs/pair.md).
    const isOfTwo =
      this.#world.pair?.wasSplit === true && findings.some(({ name }) => name === 'PrimaryReadOnly');
    const winner = isOfTwo ? servers.find(({ isWritable }) => isWritable) : undefined;
    if (winner !== undefined) {
      this.interventions.push('PROMOTE after a split');
      this.#promote({ target: winner.name, as: 'any', named: true, force: false });
    }
    const { primary } = ledger.recorded;
    if (winner === undefined && isAdvised && primary !== null) {
      this.interventions.push('PROMOTE');
      this.#world.note(() => `operator follows the advice: PROMOTE ${primary}`);
      this.#promote({ target: primary, as: 'any', named: true, force: false });
    }
    scheduler.after(REPAIR_EVERY_MS, () => this.#repair());
  }
}
