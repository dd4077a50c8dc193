/**
 * A server as the source of others: what it sends to the receivers that are connected, and what they acknowledge.
 */
import type { SimServer } from './server.ts';
import type { Txn } from './transactions.ts';
import type { World } from './world.ts';

/** A receiver that is connected. */
export interface Feed {
  readonly replica: SimServer;
  /** It acknowledges. */
  readonly semiSync: boolean;
  readonly sinceMs: number;
  cursor: number;
  isOpen: boolean;
  /** When its source has closed it; the receiver need not have heard of that. */
  closedMs: number | null;
}

export class Feeds {
  readonly #world: World;
  readonly #source: SimServer;
  readonly #feeds = new Map<SimServer, Feed>();

  constructor(world: World, source: SimServer) {
    this.#world = world;
    this.#source = source;
  }

  /** Receivers that acknowledge; one that went without a word still counts. */
  get semiSyncClients(): number {
    let count = 0;
    for (const feed of this.#feeds.values()) if (feed.isOpen && feed.semiSync) count++;
    return count;
  }

  get(replica: SimServer): Feed | undefined {
    return this.#feeds.get(replica);
  }

  /** A receiver asks for what it has not. */
  accept(replica: SimServer, attempt: number, semiSync: boolean): void {
    const source = this.#source;
    // A request that comes late is one of a connection that its client has given up.
    if (replica.replication?.attempt !== attempt || replica.replication.source !== source) return;
    const { network, nowMs } = this.#world;
    const back = (arrive: () => void): void =>
      network.send(source.host, replica.host, () => replica.process.enter(arrive));
    const start = this.#whereToStart(replica);
    if (typeof start === 'string') return back(() => replica.replication?.failed(attempt, 1236, start));
    const before = this.#feeds.get(replica);
    if (before !== undefined) this.#close(before);
    const feed: Feed = { replica, semiSync, cursor: start, isOpen: true, sinceMs: nowMs, closedMs: null };
    this.#feeds.set(replica, feed);
    source.changed();
    back(() => {
      if (replica.replication?.connected(attempt, feed) !== true) this.hangUp(replica, feed);
    });
    this.#send(feed);
  }

  /** The place in the log from which a replica has nothing, or why there is none. */
  #whereToStart(replica: SimServer): number | string {
    const { log, family } = this.#source;
    const { transactions } = log;
    if (family === 'mysql') {
      const index = transactions.findIndex((txn) => !replica.holds(txn));
      return index === -1 ? transactions.length : index;
    }
    const position = replica.receivedPosition;
    if (position === null) return 0;
    const { writer, sequence } = position;
    const index = transactions.findIndex((txn) => txn.writer === writer && txn.sequence === sequence);
    return index === -1
      ? `connecting slave requested to start from GTID 0-${writer}-${sequence}, which is not in the master's binlog`
      : index + 1;
  }

  /** The log has grown. */
  sendAll(): void {
    for (const feed of this.#feeds.values()) this.#send(feed);
  }

  #send(feed: Feed): void {
    const { transactions } = this.#source.log;
    const { replica } = feed;
    while (feed.isOpen && feed.cursor < transactions.length) {
      const txn = transactions[feed.cursor++]!;
      this.#world.network.send(this.#source.host, replica.host, () =>
        replica.process.enter(() => replica.replication?.receive(feed, txn)),
      );
    }
  }

  /** A replica has received this and all before it. */
  acknowledge(feed: Feed, txn: Txn): void {
    if (feed.isOpen && this.#feeds.get(feed.replica) === feed) this.#source.acknowledged(txn);
  }

  /** All connections end, as the process does: who can hear of it does. */
  breakAll(): void {
    const source = this.#source;
    for (const feed of this.#feeds.values()) {
      this.#close(feed);
      const { replica } = feed;
      if (source.hostDownSinceMs === null) {
        this.#world.network.send(source.host, replica.host, () =>
          replica.process.enter(() => replica.replication?.lost(feed)),
        );
      }
      replica.replication?.watchSilence();
    }
    this.#feeds.clear();
  }

  /** The receiver ends its connection; its source hears of it, unless nothing gets there. */
  hangUp(replica: SimServer, feed: Feed): void {
    const source = this.#source;
    this.#world.network.send(replica.host, source.host, () =>
      source.process.enter(() => {
        this.#close(feed);
        if (this.#feeds.get(replica) === feed) this.#feeds.delete(replica);
        source.changed();
      }),
    );
  }

  /** Nothing comes from here for a while, perhaps. */
  watchSilence(): void {
    for (const { replica } of this.#feeds.values()) replica.replication?.watchSilence();
  }

  #close(feed: Feed): void {
    feed.isOpen = false;
    feed.closedMs ??= this.#world.nowMs;
  }
}
