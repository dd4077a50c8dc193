/**
 * The ledger of a history: which epochs there were and who reigned in them, which statements were acknowledged and
 * where they are. It looks on, and says when one of the invariants is broken (`world.ts` has the list).
 */
import type { JournalEntry, JournaledDecision } from '../../src/failover/journal.ts';
import type { DurableState } from '../../src/topology/state-file.ts';
import type { SimProxy } from './proxy.ts';
import type { SimServer } from './server.ts';
import { describe, type Txn } from './transactions.ts';
import type { World } from './world.ts';

/** Because of whom a promotion was made that no diagnosis has asked for. */
export const OPERATOR = 'an operator';

/** What has been so for longer can be known. */
const WITNESS_MS = 4_000;

interface Acknowledged {
  readonly statement: number;
  /** Who told the client. */
  readonly by: string;
  readonly atMs: number;
}

export class Ledger {
  readonly #world: World;
  /** The primary of the newest epoch on disk. */
  recorded: { readonly primary: string | null; readonly epoch: number } = { primary: null, epoch: 0 };
  /** The last of these that has been writable. */
  #sovereign: { readonly name: string; readonly epoch: number } | null = null;
  /** Two have reigned, and who reigns now has not been looked at. */
  #wasSplit = false;
  readonly #primaryOfEpoch = new Map<number, string>();
  readonly #txnOfStatement = new Map<number, number>();
  /** Statements that were committed on a server that was waiting for its replicas. */
  readonly #promised = new Set<number>();
  readonly #unpromised = new Set<number>();
  readonly #acknowledged = new Map<number, Acknowledged>();
  readonly #droppedInCrash = new Set<number>();
  readonly #givenUp = new Set<number>();
  /** Transactions of which two have the same global id. */
  readonly #givenAgain = new Set<number>();
  /** Servers that a fool has let writes in on, until dbproxy or a restart decides again. */
  readonly #fooled = new Set<SimServer>();
  /** What the promotion under way, or the last one, is. */
  #decision: JournaledDecision | null = null;
  /** An operator, or a policy that he has chosen, takes losses into account. */
  #mayLose = false;

  constructor(world: World) {
    this.#world = world;
  }

  // ---- epochs --------------------------------------------------------------------------------------

  /** A state counts: it has come to the disk, or, of a pair, to both, or to that of the one that goes on alone. */
  stateCounts(state: DurableState): void {
    const cluster = state.clusters.main;
    if (cluster === undefined) return;
    const epoch = cluster.epoch ?? state.epoch;
    // The other one of a pair may not have heard of the newest.
    if (epoch < this.recorded.epoch && this.#world.pair === null)
      this.#world.violated(7, `epoch ${epoch} after ${this.recorded.epoch}`);
    const known = this.#primaryOfEpoch.get(epoch);
    if (known !== undefined && known !== cluster.primary) {
      // Each half goes on with what it reaches, and one of them gives way when they meet.
      if (this.#world.pair?.isSplit === true) return;
      this.#world.violated(7, `epoch ${epoch} is of ${known} and of ${cluster.primary}`);
    }
    this.#primaryOfEpoch.set(epoch, cluster.primary);
    if (this.recorded.epoch >= epoch) return;
    this.recorded = { primary: cluster.primary, epoch };
    this.#world.note(() => `state file: ${cluster.primary} is the primary of epoch ${epoch}`);
    this.#crown();
  }

  /** A pair that was split is one again, in this state: all that either half has acknowledged is to be in it. */
  unitedIn(state: DurableState): void {
    const { primary } = state.clusters.main!;
    const epoch = state.clusters.main!.epoch ?? state.epoch;
    this.#primaryOfEpoch.set(epoch, primary);
    this.recorded = { primary, epoch };
    this.#sovereign = null;
    this.#wasSplit = true;
    this.#crown();
  }

  /** An entry has come to a journal. */
  entryIsOnDisk(entry: JournalEntry, proxy: SimProxy): void {
    // What is taken over was judged when it was decided.
    if (entry.event === 'opened' && entry.takenOver !== true) {
      this.#decision = entry.decision;
      if (entry.decision.force) {
        this.#mayLose = true;
        for (const id of this.#droppedInCrash) this.#givenUp.add(id);
      }
      this.#judge(entry.decision, proxy);
    }
    // The policy says that an incomplete relay log may be lost, and the loss is reported.
    const isReported = 'notes' in entry && entry.notes.loss !== '';
    if (isReported && this.#world.scenario.failoverData === 'lose_with_report') this.#mayLose = true;
  }

  /** A server has become writable, or nobody's replica. */
  writabilityChanged(server: SimServer): void {
    this.#fooled.delete(server);
    if (server.name === this.recorded.primary) this.#crown();
  }

  /** A fool has let writes in. */
  fooled(server: SimServer): void {
    this.#fooled.add(server);
  }

  /** The primary of the newest epoch takes writes now, perhaps: then it must have all that was acknowledged. */
  #crown(): void {
    const { primary, epoch } = this.recorded;
    if (primary === null || this.#sovereign?.epoch === epoch) return;
    const server = this.#world.serverOf(primary);
    if (!server.isWritable || server.replication !== null) return;
    const before = this.#sovereign;
    this.#sovereign = { name: primary, epoch };
    this.#world.note(() => `${primary} reigns in epoch ${epoch}`);
    if (before !== null && before.name !== primary)
      this.#lookForLosses(this.#world.serverOf(before.name), server);
    else if (this.#wasSplit) this.#lookForLosses(null, server);
    this.#wasSplit = false;
  }

  /**
   * dbproxy has made a server writable. When that is the primary that reigns already, back after a crash, it must have all
   * that was acknowledged, unless nobody has it any more.
   */
  letLoose(server: SimServer): void {
    const sovereign = this.#sovereign;
    if (sovereign?.name !== server.name || sovereign.epoch !== this.recorded.epoch) return;
    if (this.#world.scenario.semiSync !== 'require' || this.#mayLose) return;
    for (const [id, { statement, by, atMs }] of this.#acknowledged) {
      if (server.log.has(id)) continue;
      const holder = this.#holderOf(id);
      if (holder === undefined || this.#unpromised.has(statement) || this.#givenAgain.has(id)) {
        this.#acknowledged.delete(id);
        continue;
      }
      return this.#world.violated(
        2,
        `statement ${statement}, acknowledged by ${by} at ${atMs.toFixed(1)}, is not on ${server.name}, which goes on as the primary of epoch ${sovereign.epoch}; ${holder.name} has it`,
      );
    }
  }

  /** A crash has cost a server the end of its log. */
  dropped(txns: readonly Txn[]): void {
    for (const { id } of txns) this.#droppedInCrash.add(id);
  }

  /**
   * A crash had cost a server the one, and before dbproxy looked at it again somebody wrote the other there, which has got
   * the same global id: nothing but the data tells who has which (docs/failover.md, "What dbproxy cannot see").
   */
  givenAgain(one: Txn, other: Txn): void {
    this.#world.note(() => `the id of ${describe(one)} is given again to ${describe(other)}`);
    this.#givenAgain.add(one.id).add(other.id);
  }

  /** Its id is that of another one as well, and dbproxy cannot know. */
  isGivenAgain(id: number): boolean {
    return this.#givenAgain.has(id);
  }

  /** What a crash has cost the primary, and an operator gave up for good: who has it has to be copied anew. */
  isGivenUp(id: number): boolean {
    return this.#givenUp.has(id);
  }

  /** Who has it, applied or received. */
  #holderOf(id: number): SimServer | undefined {
    return this.#world.servers.find(
      ({ log, replication }) => log.has(id) || replication?.relay.some((txn) => txn.id === id) === true,
    );
  }

  #lookForLosses(old: SimServer | null, server: SimServer): void {
    const isRequired = this.#world.scenario.semiSync === 'require';
    const isSwitchover = this.#decision?.shape.kind === 'switchover';
    // What is taken back has told no client of dbproxy anything; who goes past it writes where nobody has let him.
    const isHandedOver = (by: string): boolean => by === 'dbproxy' || old?.name === this.#decision?.old;
    for (const [id, { statement, by, atMs }] of this.#acknowledged) {
      if (server.log.has(id)) continue;
      if (
        this.#mayLose ||
        this.#unpromised.has(statement) ||
        this.#givenAgain.has(id) ||
        (this.#droppedInCrash.has(id) && this.#holderOf(id) === undefined) ||
        !(isRequired || (isSwitchover && isHandedOver(by) && old?.log.has(id) === true))
      ) {
        this.#acknowledged.delete(id);
        continue;
      }
      return this.#world.violated(
        2,
        `statement ${statement}, acknowledged by ${by} at ${atMs.toFixed(1)}, is not on ${server.name}, the primary of epoch ${this.recorded.epoch}`,
      );
    }
    this.#mayLose = false;
  }

  /** Was there reason to replace that primary? */
  #judge({ shape, because, old }: JournaledDecision, { host }: SimProxy): void {
    if (shape.kind !== 'failover' || because === OPERATOR || old === null) return;
    // It is back, and lacks what it had.
    if (because.includes('a crash has cut its binary log short')) return;
    const { network, servers, nowMs, scenario } = this.#world;
    const primary = this.#world.serverOf(old);
    const witness = servers.find(
      (replica) =>
        primary.feedsForMs(replica) > WITNESS_MS &&
        !replica.tooManyConnections &&
        network.wholeForMs(host, replica.host) > WITNESS_MS &&
        network.wholeForMs(replica.host, host) > WITNESS_MS,
    );
    if (witness !== undefined) {
      this.#world.violated(8, `${old} is replaced, but lives, and ${witness.name} knows (${because})`);
    }
    const cutMs = network.cutSinceMs(host, 'arbiter');
    if (scenario.hasArbiter && cutMs !== null && nowMs - cutMs > WITNESS_MS) {
      this.#world.violated(
        8,
        `${old} is replaced by a dbproxy that is cut off from its arbiter (${because})`,
      );
    }
  }

  // ---- statements ----------------------------------------------------------------------------------

  /** A worker sends a client's write somewhere. */
  sent(server: SimServer, statement: number): void {
    if (this.#world.pair?.isSplit === true) return;
    const sovereign = this.#sovereign;
    if (sovereign === null || sovereign.name === server.name || sovereign.epoch !== this.recorded.epoch)
      return;
    this.#world.violated(
      1,
      `a worker sends statement ${statement} to ${server.name}, but ${sovereign.name} is the primary of epoch ${sovereign.epoch} and has become writable`,
    );
  }

  /** A statement is in the log of a server, which waited for its replicas then or did not. */
  committed(server: SimServer, statement: number, txn: Txn, waits: boolean): void {
    if (this.#txnOfStatement.has(statement)) this.#world.violated(3, `statement ${statement} was run twice`);
    this.#txnOfStatement.set(statement, txn.id);
    // Where a fool has let writes in, against a promotion or before the server waits, nobody has promised anything.
    const isFooled = this.#fooled.has(server);
    if (waits && !(isFooled && server.name !== this.recorded.primary)) this.#promised.add(statement);
    if (isFooled && !waits) this.#unpromised.add(statement);
  }

  /** A client of dbproxy was told that its statement has succeeded. */
  acknowledgedByProxy(statement: number): void {
    const id = this.#acknowledge(statement, 'dbproxy');
    if (this.#world.pair?.isSplit === true) return;
    const sovereign = this.#sovereign;
    if (sovereign === null || sovereign.epoch !== this.recorded.epoch) return;
    if (this.#world.scenario.semiSync !== 'require' || this.#mayLose) return;
    const server = this.#world.serverOf(sovereign.name);
    // One that has crashed meanwhile is judged when it is let loose.
    if (server.log.has(id) || !server.isWritable) return;
    this.#world.violated(
      2,
      `statement ${statement} is acknowledged, but not on ${sovereign.name}, the primary of epoch ${sovereign.epoch}`,
    );
  }

  /** One that goes past dbproxy was told so: it counts when the server had promised to wait. */
  acknowledgedBy(server: SimServer, statement: number): void {
    if (this.#promised.has(statement)) this.#acknowledge(statement, `${server.name} directly`);
  }

  /** True when a write through dbproxy has been acknowledged since then. */
  hasAcknowledgedSince(sinceMs: number): boolean {
    for (const { atMs, by } of this.#acknowledged.values())
      if (atMs >= sinceMs && by === 'dbproxy') return true;
    return false;
  }

  #acknowledge(statement: number, by: string): number {
    const id = this.#txnOfStatement.get(statement)!;
    this.#acknowledged.set(id, { statement, by, atMs: this.#world.nowMs });
    return id;
  }
}
