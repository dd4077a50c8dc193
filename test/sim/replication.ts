/**
 * The replication of one server from another: its receiver, its relay log and its applier.
 *
 * - A receiver that loses its source tries again and again; one that its source refuses (1236) stops.
 * - MariaDB throws the relay log away when both threads are started anew, and asks for it once more.
 * - In MariaDB's strict mode an id below the last one stops the applier (1950).
 * - An applier whose server waits for replicas of its own, and has none, stands.
 */
import type { Feed } from './feeds.ts';
import type { Random } from './random.ts';
import type { SimServer } from './server.ts';
import { describe, type Txn } from './transactions.ts';
import type { World } from './world.ts';

const RETRY_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
/** After so long without a word a receiver takes its connection for lost. */
const NET_TIMEOUT_MS = 8_000;

export class Replication {
  readonly source: SimServer;
  readonly #world: World;
  readonly #server: SimServer;
  readonly #random: Random;
  receiver: 'running' | 'connecting' | 'stopped' = 'stopped';
  receiverErrno = 0;
  receiverError = '';
  applier: 'running' | 'stopped' = 'stopped';
  applierErrno = 0;
  applierError = '';
  /** Received and not applied. */
  relay: Txn[] = [];
  feed: Feed | null = null;
  /** Grows with each attempt to connect, so that what belongs to an earlier one is known. */
  attempt: number;
  knowsSource = false;
  /** When what is first in the relay log was received, or came to be the first. */
  lagSinceMs: number;
  /** How much was received. */
  received = 0;
  #isApplying = false;

  /** `attempt`: greater than any that this server has made. */
  constructor(world: World, server: SimServer, source: SimServer, random: Random, attempt: number) {
    this.#world = world;
    this.#server = server;
    this.source = source;
    this.#random = random;
    this.attempt = attempt;
    this.lagSinceMs = world.nowMs;
  }

  start(): void {
    const isFresh = this.receiver !== 'running' && this.applier === 'stopped';
    if (this.#server.family === 'mariadb' && isFresh) this.relay = [];
    this.applier = 'running';
    this.applierErrno = 0;
    this.applierError = '';
    if (this.receiver === 'stopped' || this.feed === null) {
      this.receiver = 'connecting';
      this.receiverErrno = 0;
      this.receiverError = '';
      this.#connect(++this.attempt);
    }
    this.#apply();
    this.#server.changed();
  }

  stopReceiver(): void {
    if (this.receiver === 'stopped') return;
    this.receiver = 'stopped';
    this.receiverErrno = 0;
    this.receiverError = '';
    this.#dropFeed();
    this.#server.changed();
  }

  stop(): void {
    this.stopReceiver();
    this.applier = 'stopped';
    this.#server.changed();
  }

  /** The process dies: what was received stays where it does. */
  die(): void {
    this.#isApplying = false;
    this.#dropFeed();
  }

  #dropFeed(): void {
    const { feed } = this;
    this.attempt++;
    this.feed = null;
    if (feed !== null && this.#server.hostDownSinceMs === null) this.source.feeds.hangUp(this.#server, feed);
  }

  // ---- receiving -----------------------------------------------------------------------------------

  #connect(attempt: number): void {
    const { source } = this;
    const server = this.#server;
    if (!this.#isCurrent(attempt) || !server.process.isAlive) return;
    const { network, scheduler } = this.#world;
    const semiSync = server.replicaSide.enabled;
    network.send(server.host, source.host, () => {
      if (source.hostDownSinceMs !== null) return;
      if (source.process.isAlive)
        return source.process.enter(() => source.feeds.accept(server, attempt, semiSync));
      network.send(source.host, server.host, () =>
        server.process.enter(() => this.failed(attempt, 2003, "Can't connect to server (111)")),
      );
    });
    scheduler.after(CONNECT_TIMEOUT_MS, () =>
      server.process.enter(() => {
        if (this.receiver === 'connecting') this.failed(attempt, 2003, "Can't connect to server (110)");
      }),
    );
  }

  /** The source has accepted; answers false when that is not wanted any more. */
  connected(attempt: number, feed: Feed): boolean {
    if (!this.#isCurrent(attempt) || this.receiver === 'stopped') return false;
    this.receiver = 'running';
    this.receiverErrno = 0;
    this.receiverError = '';
    this.feed = feed;
    this.knowsSource = true;
    this.#server.changed();
    // It was cut off in the same moment, perhaps.
    if (this.quietSinceMs !== null) this.watchSilence();
    return true;
  }

  /** The source has ended the connection. */
  lost(feed: Feed): void {
    if (this.feed === feed) this.failed(this.attempt, 2013, 'Lost connection');
  }

  failed(attempt: number, errno: number, error: string): void {
    if (!this.#isCurrent(attempt) || this.receiver === 'stopped') return;
    this.feed = null;
    this.receiverErrno = errno;
    this.receiverError = error;
    this.receiver = errno === 1236 ? 'stopped' : 'connecting';
    this.#server.changed();
    const next = ++this.attempt;
    if (errno === 1236) return;
    const { process } = this.#server;
    this.#world.scheduler.after(RETRY_MS, () => process.enter(() => this.#connect(next)));
  }

  /** Since when nothing can come from the source; null while it can. */
  get quietSinceMs(): number | null {
    const { source } = this;
    const times = [
      this.feed?.closedMs ?? null,
      source.process.pausedSinceMs,
      source.hostDownSinceMs,
      this.#world.network.cutSinceMs(source.host, this.#server.host),
    ].filter((one) => one !== null);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Something may keep the source quiet: a receiver that hears nothing for too long connects anew. */
  watchSilence(): void {
    const { feed } = this;
    if (feed === null) return;
    this.#world.scheduler.after(NET_TIMEOUT_MS, () =>
      this.#server.process.enter(() => {
        const { quietSinceMs } = this;
        if (this.feed !== feed || quietSinceMs === null) return;
        if (this.#world.nowMs - quietSinceMs < NET_TIMEOUT_MS) return this.watchSilence();
        this.failed(this.attempt, 2013, 'Lost connection: timeout');
      }),
    );
  }

  receive(feed: Feed, txn: Txn): void {
    if (this.feed !== feed || !feed.isOpen) return;
    const server = this.#server;
    this.received++;
    // MySQL's source leaves out what its replica has.
    if (server.family === 'mariadb' || !server.holds(txn)) {
      if (this.relay.length === 0) this.lagSinceMs = this.#world.nowMs;
      this.relay.push(txn);
    }
    server.changed();
    if (feed.semiSync) {
      const { source } = this;
      this.#world.network.send(server.host, source.host, () =>
        source.process.enter(() => source.feeds.acknowledge(feed, txn)),
      );
    }
    this.#apply();
  }

  // ---- applying ------------------------------------------------------------------------------------

  #apply(): void {
    if (this.#isApplying || this.applier === 'stopped' || this.relay.length === 0) return;
    this.#isApplying = true;
    const { process, applyMs } = this.#server;
    this.#world.scheduler.after(this.#random.between(0.3, 1.7) * applyMs, () =>
      process.enter(() => {
        if (!this.#isInUse) return;
        this.#isApplying = false;
        this.#applyFirst();
        this.#apply();
      }),
    );
  }

  #applyFirst(): void {
    const server = this.#server;
    const [txn] = this.relay;
    if (this.applier === 'stopped' || txn === undefined || server.waitsInVain) return;
    if (server.family === 'mariadb' && server.settings.isStrict && txn.sequence <= server.log.highest) {
      this.applier = 'stopped';
      this.applierErrno = 1950;
      this.applierError = `An attempt was made to binlog GTID 0-${txn.writer}-${txn.sequence} which would create an out-of-order sequence number`;
      server.changed();
      return;
    }
    this.relay.shift();
    this.lagSinceMs = this.#world.nowMs;
    if (server.log.has(txn.id)) {
      return this.#world.violated(
        3,
        `${server.name} is given ${describe(txn)} once more by ${this.source.name}`,
      );
    }
    server.applied(txn);
  }

  #isCurrent(attempt: number): boolean {
    return this.#isInUse && this.attempt === attempt;
  }

  /** The server may have been told to follow another one, or nobody. */
  get #isInUse(): boolean {
    return this.#server.replication === this;
  }
}
