/**
 * A database server of the simulated world, as far as failover is concerned: a log of transactions, read_only, its
 * replication, both sides of semi-synchronous replication, and what a crash leaves of it.
 *
 * Semi-synchronous replication is AFTER_SYNC: a commit is in the log at once, is sent to the replicas, and is
 * answered when one has acknowledged it, or when the primary's side is switched off. One whose session is ended
 * while it waits takes effect without an answer. read_only waits for those that wait.
 */
import type { ServerFacts } from '../../src/monitor/observation.ts';
import { Feeds } from './feeds.ts';
import { SimProcess } from './process.ts';
import type { Random } from './random.ts';
import { Replication } from './replication.ts';
import { factsOf, replicationFactsOf } from './server-facts.ts';
import { describe, TransactionLog, writerOf, type Family, type GlobalId, type Txn } from './transactions.ts';
import type { World } from './world.ts';

/** What the server's configuration file says: what holds after a restart. */
export interface Settings {
  readonly readOnly: boolean;
  readonly semiSyncPrimary: boolean;
  readonly semiSyncReplica: boolean;
  readonly semiSyncTimeoutMs: number;
  readonly hasSemiSync: boolean;
  /** MariaDB's gtid_strict_mode. */
  readonly isStrict: boolean;
  /**
   * A crash costs it the end of its log: what nobody has acknowledged, and what clients were told of in the last moments,
   * because only the next commit, or a second, brings that to the disk. MariaDB that starts as a semi-synchronous replica
   * (--init-rpl-role = SLAVE) forgets what was not committed for good in the storage engine, in any crash; MySQL with
   * sync_binlog = 0 what was not flushed, in one of its machine.
   */
  readonly dropsUnacknowledged: boolean;
  /** What was received and not applied survives a restart (MySQL without relay_log_recovery). */
  readonly keepsRelayLog: boolean;
}

/** A commit that waits for its acknowledgement. */
interface Waiting {
  readonly txn: Txn;
  readonly answer: (isAcknowledged: boolean) => void;
}

/** A timeout above it is none. */
const ENDLESS_MS = 60_000;
/** InnoDB flushes its log once a second, and with the next group of commits. */
const FLUSHED_AFTER_MS = 1_000;
const GROUP_MS = 5;
const MOST_IN_GROUP = 8;
/** How long a server waits for a position at once. */
const POSITION_WAIT_MS = 1_000;
/** The servers run for long when a history begins. */
const FIRST_UPTIME_SECONDS = 100_000;

export class SimServer {
  readonly name: string;
  readonly id: number;
  readonly family: Family;
  readonly settings: Settings;
  readonly writer: string;
  readonly host: string;
  readonly log: TransactionLog;
  readonly feeds: Feeds;
  readonly #world: World;
  readonly #random: Random;
  readonly #usualApplyMs: number;
  process: SimProcess;
  startedMs = 0;
  /** Since when its machine is gone, and answers nothing, not even that it refuses; null while it is there. */
  hostDownSinceMs: number | null = null;
  tooManyConnections = false;
  applySlowness = 1;
  readOnly = false;
  primarySide = { enabled: false, live: false };
  replicaSide = { enabled: false };
  replication: Replication | null = null;
  /** MariaDB's gtid_slave_pos. */
  slavePosition: GlobalId | null = null;
  /** Calls that are being answered: they end when the process dies. */
  readonly openCalls = new Set<() => void>();
  /** Connections of clients: they are told when they are ended. */
  readonly sessions = new Set<{ end(): void }>();
  #waiting: Waiting[] = [];
  /** What the last crash has cost it; nothing any more once dbproxy has looked at it. */
  #cutOff: readonly Txn[] = [];
  /** The last transactions of its own. */
  #written: { readonly txn: Txn; readonly atMs: number }[] = [];
  /** Commits that replicas have acknowledged since its start. */
  acknowledgedCount = 0;
  /** Who waits for it to become read-only. */
  #wantsReadOnly: (() => void)[] = [];
  #positionWaiters: { readonly position: string; readonly settle: (reached: boolean) => void }[] = [];
  #facts: ServerFacts | null = null;

  constructor(world: World, name: string, id: number, family: Family, settings: Settings, random: Random) {
    this.#world = world;
    this.name = name;
    this.id = id;
    this.family = family;
    this.settings = settings;
    this.writer = writerOf(family, id);
    this.host = `host-${name}`;
    this.log = new TransactionLog(family, this.writer);
    this.feeds = new Feeds(world, this);
    this.#random = random;
    this.#usualApplyMs = random.pick([0.5, 2, 10, 40]);
    this.process = new SimProcess(world.scheduler);
    this.replicaSide.enabled = settings.semiSyncReplica;
  }

  /** Takes writes of anybody. */
  get isWritable(): boolean {
    return this.process.isAlive && !this.readOnly;
  }

  /** What applying one transaction takes. */
  get applyMs(): number {
    return this.#usualApplyMs * this.applySlowness;
  }

  /** Commits that wait for their acknowledgement. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Commits wait, and nobody is there to wait for. */
  get waitsInVain(): boolean {
    const { enabled, live } = this.primarySide;
    return enabled && live && this.feeds.semiSyncClients === 0;
  }

  // ---- life and death ------------------------------------------------------------------------------

  kill(isOfMachine = false): void {
    if (!this.process.isAlive) return;
    this.process.kill();
    for (const end of [...this.openCalls]) end();
    this.openCalls.clear();
    for (const session of [...this.sessions]) session.end();
    this.sessions.clear();
    this.#wantsReadOnly = [];
    this.#positionWaiters = [];
    this.feeds.breakAll();
    this.#recover(isOfMachine);
    this.replication?.die();
  }

  /** What recovery makes of the commits that were waiting: they take effect, unless the crash has cut them off. */
  #recover(isOfMachine: boolean): void {
    const waiting = this.#waiting.splice(0).map(({ txn }) => txn);
    const unflushed = this.#unflushed();
    this.#written = [];
    const { dropsUnacknowledged, semiSyncReplica, readOnly } = this.settings;
    const isCut = this.family === 'mariadb' ? semiSyncReplica : isOfMachine;
    if (!dropsUnacknowledged || !isCut) return;
    const { ledger, scenario } = this.#world;
    // One that is writable at once, or that nobody keeps waiting, gives the ids of what clients were told of to others.
    const isFooled = scenario.faults.some((fault) => fault.kind === 'fool' && fault.server === this.name);
    const isHeldBack = readOnly && scenario.semiSync === 'require' && !isFooled;
    if (isHeldBack) ledger.dropped([...unflushed, ...waiting]);
    else if (ledger.recorded.primary === this.name) return;
    this.#cutOff = isHeldBack ? [...unflushed, ...waiting] : waiting;
    this.log.drop(this.#cutOff);
  }

  /** Of its own commits, the last ones: those that no later one has brought to the disk. */
  #unflushed(): Txn[] {
    const newest = this.#written.at(-1);
    if (newest === undefined || this.#world.nowMs - newest.atMs > FLUSHED_AFTER_MS) return [];
    // What it has applied of others since then came after it, and to the disk with it.
    if (this.log.last?.writer !== this.writer) return [];
    return this.#written.filter(({ atMs }) => newest.atMs - atMs <= GROUP_MS).map(({ txn }) => txn);
  }

  start(): void {
    if (this.process.isAlive) return;
    const { settings, replication } = this;
    this.process = new SimProcess(this.#world.scheduler);
    this.startedMs = this.#world.nowMs;
    this.acknowledgedCount = 0;
    this.readOnly = settings.readOnly;
    this.primarySide = { enabled: settings.semiSyncPrimary, live: settings.semiSyncPrimary };
    this.replicaSide = { enabled: settings.semiSyncReplica };
    this.changed();
    this.#world.note(() => `${this.name} starts ${settings.readOnly ? 'read-only' : 'writable'}`);
    this.#world.ledger.writabilityChanged(this);
    if (replication === null) return;
    if (!settings.keepsRelayLog) replication.relay = [];
    replication.start();
  }

  pause(): void {
    this.process.pause();
    this.feeds.watchSilence();
  }

  goOn(): void {
    this.process.goOn();
  }

  hostDown(): void {
    this.hostDownSinceMs ??= this.#world.nowMs;
    this.kill(true);
  }

  hostUp(): void {
    this.hostDownSinceMs = null;
    this.start();
  }

  /** For how long it has run without a break; 0 while it does not. */
  get runsForMs(): number {
    const { process } = this;
    const runs = process.isAlive && process.pausedSinceMs === null && this.hostDownSinceMs === null;
    return runs ? this.#world.nowMs - process.runsSinceMs : 0;
  }

  /** For how long it has been feeding this replica without a break; 0 while it does not. */
  feedsForMs(replica: SimServer): number {
    const feed = this.feeds.get(replica);
    const { nowMs, network } = this.#world;
    if (feed === undefined || !feed.isOpen || replica.replication?.feed !== feed) return 0;
    const wholeMs = network.wholeForMs(this.host, replica.host);
    return Math.min(nowMs - feed.sinceMs, this.runsForMs, replica.runsForMs, wholeMs);
  }

  // ---- writing -------------------------------------------------------------------------------------

  /** A transaction of its own; `answer` is called when its client may be told, with false when it must not be. */
  write(
    kind: Txn['kind'],
    statement: number,
    epoch: Txn['epoch'],
    answer: (isAcknowledged: boolean) => void,
  ): Txn {
    const id = this.#world.nextId();
    const txn: Txn = { id, writer: this.writer, sequence: this.log.nextSequence, kind, statement, epoch };
    this.log.append(txn);
    const before = this.#cutOff.find(({ sequence }) => sequence === txn.sequence);
    if (before !== undefined) this.#world.ledger.givenAgain(before, txn);
    this.#written = [...this.#written.slice(-MOST_IN_GROUP), { txn, atMs: this.#world.nowMs }];
    this.changed();
    this.#world.note(() => `${this.name} logs ${describe(txn)}`);
    if (this.primarySide.enabled && this.primarySide.live) this.#wait({ txn, answer });
    else answer(true);
    this.feeds.sendAll();
    return txn;
  }

  #wait(waiting: Waiting): void {
    this.#waiting.push(waiting);
    const { semiSyncTimeoutMs } = this.settings;
    if (semiSyncTimeoutMs > ENDLESS_MS) return;
    const { process } = this;
    this.#world.scheduler.after(semiSyncTimeoutMs, () =>
      process.enter(() => {
        if (!this.#waiting.includes(waiting)) return;
        this.primarySide.live = false;
        this.#release(this.#waiting.length, true);
      }),
    );
  }

  /** The first `count` of those that wait take effect. */
  #release(count: number, isAcknowledged: boolean): void {
    for (const { answer } of this.#waiting.splice(0, count)) answer(isAcknowledged);
    this.changed();
    this.#tryReadOnly();
  }

  /** A replica has this and all before it. */
  acknowledged(txn: Txn): void {
    const index = this.#waiting.findIndex((one) => one.txn === txn);
    if (index >= 0) {
      this.acknowledgedCount += index + 1;
      return this.#release(index + 1, true);
    }
    const { primarySide } = this;
    if (!primarySide.enabled || primarySide.live || txn !== this.log.last) return;
    primarySide.live = true;
    this.changed();
  }

  /** A promotion is written down, once. */
  noteEpoch(epoch: number, backend: string, answer: () => void): void {
    if (this.log.transactions.some((txn) => txn.epoch?.epoch === epoch)) return answer();
    this.write('epoch', 0, { epoch, backend }, answer);
  }

  setReadOnly(endsSessions: boolean, settle: () => void): void {
    this.#wantsReadOnly.push(settle);
    if (endsSessions) this.#endSessions();
    this.#tryReadOnly();
  }

  /** Nobody waits for it any more. */
  dropReadOnly(settle: () => void): void {
    this.#wantsReadOnly = this.#wantsReadOnly.filter((one) => one !== settle);
  }

  #endSessions(): void {
    for (const session of [...this.sessions]) session.end();
    this.sessions.clear();
    if (this.#waiting.length > 0) this.#release(this.#waiting.length, false);
  }

  #tryReadOnly(): void {
    if (this.#wantsReadOnly.length === 0 || this.#waiting.length > 0) return;
    this.readOnly = true;
    this.changed();
    this.#world.note(() => `${this.name} is read-only`);
    this.#world.ledger.writabilityChanged(this);
    for (const settle of this.#wantsReadOnly.splice(0)) settle();
  }

  setWritable(): void {
    this.readOnly = false;
    this.changed();
    this.#world.note(() => `${this.name} is writable`);
    this.#world.ledger.writabilityChanged(this);
  }

  setSemiSync(side: 'primary' | 'replica', on: boolean): void {
    this.#world.note(() => `${this.name}: semi-sync ${side} ${on ? 'on' : 'off'}`);
    if (side === 'replica') this.replicaSide.enabled = on;
    else if (this.primarySide.enabled !== on) {
      this.primarySide = { enabled: on, live: on };
      // Whoever waited is told that it is done.
      if (!on) this.#release(this.#waiting.length, true);
    }
    this.changed();
  }

  // ---- being a replica -----------------------------------------------------------------------------

  startReplication(): void {
    if (this.replication === null) throw new Error('there is no replication to start');
    this.replication.start();
  }

  forgetSource(): void {
    if (this.replication === null) return;
    this.replication.stop();
    this.replication = null;
    this.changed();
    this.#world.note(() => `${this.name} follows nobody`);
    this.#world.ledger.writabilityChanged(this);
  }

  follow(source: SimServer): void {
    const { last } = this.log;
    if (this.replication !== null) this.replication.stop();
    else if (this.family === 'mariadb' && last !== null) {
      // gtid_slave_pos is set to where it stands itself, as a primary has none.
      if (last.sequence > (this.slavePosition?.sequence ?? 0)) this.slavePosition = last;
    }
    // That place is written down in a table, and all that came before it reaches the disk with it.
    this.#written = [];
    this.#world.note(() => `${this.name} is to follow ${source.name}`);
    const attempt = (this.replication?.attempt ?? 0) + this.#world.nextId();
    this.replication = new Replication(this.#world, this, source, this.#random, attempt);
    this.replication.start();
    this.#world.ledger.writabilityChanged(this);
  }

  /** Its applier has this one. */
  applied(txn: Txn): void {
    this.log.append(txn);
    this.slavePosition = txn;
    this.changed();
    this.feeds.sendAll();
    const reached = this.#positionWaiters.filter(({ position }) => this.#hasReached(position));
    this.#positionWaiters = this.#positionWaiters.filter((one) => !reached.includes(one));
    for (const { settle } of reached) settle(true);
  }

  /** MySQL: whether it has this one, applied or only received. */
  holds(txn: Txn): boolean {
    return this.log.countOf(txn.writer) >= txn.sequence || (this.replication?.relay.includes(txn) ?? false);
  }

  /** MariaDB: the last id received. */
  get receivedPosition(): GlobalId | null {
    return this.replication?.relay.at(-1) ?? this.slavePosition;
  }

  /** Calls back when it has applied `position`, or after a moment. */
  waitFor(position: string, settle: (reached: boolean) => void): void {
    if (this.#hasReached(position)) return settle(true);
    const waiter = { position, settle };
    this.#positionWaiters.push(waiter);
    const { process } = this;
    this.#world.scheduler.after(POSITION_WAIT_MS, () =>
      process.enter(() => {
        const index = this.#positionWaiters.indexOf(waiter);
        if (index < 0) return;
        this.#positionWaiters.splice(index, 1);
        settle(false);
      }),
    );
  }

  #hasReached(position: string): boolean {
    if (position === '') return true;
    return position.split(',').every((item) => {
      if (this.family === 'mariadb') return (this.slavePosition?.sequence ?? 0) >= Number(item.split('-')[2]);
      const [uuid, interval] = item.split(':');
      return this.log.countOf(uuid!) >= Number(interval!.split('-').at(-1));
    });
  }

  // ---- being looked at -----------------------------------------------------------------------------

  /** What was found by the last look does not hold any more. */
  changed(): void {
    this.#facts = null;
  }

  /** A look of dbproxy. */
  look(): ServerFacts {
    this.#cutOff = [];
    return this.facts();
  }

  /** What a look finds. */
  facts(): ServerFacts {
    const { nowMs } = this.#world;
    const first = this.startedMs === 0 ? FIRST_UPTIME_SECONDS : 0;
    const uptimeSeconds = first + Math.floor((nowMs - this.startedMs) / 1000);
    const replication = this.replication === null ? null : replicationFactsOf(this, this.replication, nowMs);
    const kept = this.#facts;
    if (kept !== null && replication === null && kept.uptimeSeconds === uptimeSeconds) return kept;
    return (this.#facts = { ...(kept ?? factsOf(this)), uptimeSeconds, replication });
  }
}
