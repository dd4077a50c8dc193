/**
 * The vote of an etcd: of several dbproxies of a cluster it names the one that may act. Who has the key
 * `dbproxy/CLUSTER/leader` has the right, for as long as the lease that the key goes with is kept alive; and beside it
 * is the state of the cluster (`dbproxy/CLUSTER/state`: epoch, primary, what was decided), which only the one with
 * the right can write, by a transaction that compares both. So no proxy that has lost the right, and does not know
 * it yet, can write down a promotion.
 *
 * All that is asked of etcd goes one after the other. What a proxy that has just got the right knows may be old: it
 * has the right only once its own state is not older than the shared one (`settle`).
 */
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve as absolute } from 'node:path';
import { messageOf } from '../base/message-of.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { formatRecord, isSameRecord, parseRecord, type SharedRecord } from '../topology/shared-state.ts';
import type { ClusterState } from '../topology/state-file.ts';
import type { ArbiterAnswer } from './arbiter-answer.ts';
import type { Etcd, EtcdEntry } from './etcd.ts';
import { leaseLeftMs, renewalMs, type Lease } from './lease.ts';

/** Who has the right to act, by the vote. */
export interface VoteSight {
  /** none: nobody, as far as can be told. */
  readonly vote: 'ours' | 'theirs' | 'none';
  /** The proxy that has it; null: nobody, or it is not known. */
  readonly holder: string | null;
  /** Why it is not ours, in words; empty when it is. */
  readonly why: string;
  /** The shared state of the cluster, as far as it says who the primary is; null: there is none. */
  readonly recorded: { readonly epoch: number; readonly primary: string } | null;
}

export interface VoteOptions {
  readonly cluster: string;
  /** Of this proxy, as others are told. */
  readonly name: string;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly etcd: Etcd;
  /** Whether this proxy tries to have the right, and keeps it. */
  readonly wants: () => boolean;
  /** Something is in doubt: time between two questions is this then, at most. */
  readonly isWorried: () => boolean;
  readonly worriedIntervalMs: number;
  /**
   * Takes over what is newer in the shared state, or (`isOurs`) puts there what is newer here; rejects when it could not.
   * `isHeld`: this proxy has the key, and can use it when that is done.
   */
  readonly settle: (isOurs: boolean, isHeld: boolean) => Promise<void>;
  /** Called when it has changed whether the right is ours. */
  readonly onChange: (sight: VoteSight) => void;
}

/** The key of the right, as it was read last. */
interface Leader {
  readonly name: string;
  readonly lease: string;
  readonly createRevision: string;
}

/** For so many leases another proxy may try, when the right was of no use here. */
const UNFIT_LEASES = 5;

/** A name for this proxy among those of a cluster. */
export function proxyName(stateDir: string): string {
  const host = hostname();
  const id = createHash('sha256')
    .update(`${host} ${absolute(stateDir)}`)
    .digest('hex')
    .slice(0, 8);
  return `${host}/${id}`;
}

export class LeaseVote {
  readonly #options: VoteOptions;
  readonly #leaderKey: string;
  readonly #stateKey: string;
  #lease: Lease | null = null;
  #leader: Leader | null = null;
  #record: SharedRecord | null = null;
  #recordRevision = '0';
  /** What is wrong with the shared state; null: nothing. */
  #recordTrouble: string | null = null;
  /** The highest epoch that was tried to be put there. */
  #triedEpoch = 0;
  /** The right (by when its key was made) with which our own state is not older than the shared one. */
  #settledFor: string | null = null;
  #settling: Promise<void> | null = null;
  #settleTrouble: string | null = null;
  /** Until then it does not try to have the right: it had it, and could not use it. */
  #unfitUntilMs = -Infinity;
  #answer: ArbiterAnswer | null = null;
  #answeredMs = -Infinity;
  /** When etcd has last told who has the right. */
  #toldMs = -Infinity;
  #lastTold = '';
  #queue: Promise<void> = Promise.resolve();
  #timer: Timer | null = null;
  #end: Timer | null = null;
  #lastStartMs = -Infinity;
  #running = false;
  #closed = false;

  constructor(options: VoteOptions) {
    this.#options = options;
    this.#leaderKey = `dbproxy/${options.cluster}/leader`;
    this.#stateKey = `dbproxy/${options.cluster}/state`;
  }

  /** Begins to ask; resolves when it was asked once, and what was newer there has been taken over. */
  async start(): Promise<void> {
    await this.#round();
    await this.#settling;
  }

  /** Whether etcd has answered when it was asked last; null: it has not been asked yet. */
  get answer(): ArbiterAnswer | null {
    return this.#answer;
  }

  get answeredMs(): number {
    return this.#answeredMs;
  }

  get record(): SharedRecord | null {
    return this.#record;
  }

  get lastEpoch(): number {
    return Math.max(this.#record?.epoch ?? 0, this.#triedEpoch);
  }

  /** Who has the right now. To be asked each time: it ends by time alone. */
  get sight(): VoteSight {
    const { clock, name, ttlMs } = this.#options;
    const nowMs = clock.nowMs();
    const record = this.#record;
    const recorded = record === null ? null : { epoch: record.epoch, primary: record.state.primary };
    if (this.leftMs > 0) return { vote: 'ours', holder: name, why: '', recorded };
    const none = (why: string): VoteSight => ({ vote: 'none', holder: null, why, recorded });
    const silence = this.#answer?.kind === 'reachable' ? '' : `: ${this.#answer?.reason ?? 'not asked yet'}`;
    if (nowMs - this.#toldMs >= ttlMs) return none(`etcd does not say who has the lease${silence}`);
    const leader = this.#leader;
    if (leader === null) return none('nobody has the lease');
    if (this.#isOurs(leader)) {
      const trouble = this.#settleTrouble ?? this.#recordTrouble;
      if (trouble !== null) return none(`this proxy has the lease and cannot use it (${trouble})`);
      return none(
        this.#settledFor === leader.createRevision
          ? `the lease may have run out${silence}`
          : 'this proxy has just got the lease, and reads what was decided',
      );
    }
    if (leader.name === name)
      return none('the process of this proxy before this one has the lease, until it runs out');
    return { vote: 'theirs', holder: leader.name, why: `${leader.name} has the lease`, recorded };
  }

  /** How long the right is ours for sure; 0: it may not be. */
  get leftMs(): number {
    if (this.#lease === null || this.#leader === null || !this.#isOurs(this.#leader)) return 0;
    if (this.#settledFor !== this.#leader.createRevision || this.#recordTrouble !== null) return 0;
    return leaseLeftMs(this.#lease, this.#options.clock.nowMs());
  }

  /** Renews the right now; answers how long it is ours for sure. */
  async confirm(): Promise<number> {
    if (this.leftMs > 0) await this.#ask();
    return this.leftMs;
  }

  /** Puts the state of the cluster there; rejects when the right is not ours, or somebody else was faster. */
  async publish(state: ClusterState, epoch: number): Promise<void> {
    // Who waits for its turn at an etcd that does not answer keeps others waiting.
    if (this.leftMs === 0) throw new Error(`not written down, as ${this.sight.why}`);
    await this.#inTurn(async () => {
      // A second time when an earlier attempt, which was not answered, turns out to have got there.
      for (let attempt = 1; ; attempt++) {
        if (this.leftMs === 0) throw new Error(`not written down, as ${this.sight.why}`);
        const record = this.#record;
        if (record !== null && record.epoch > epoch)
          throw new Error(
            `not written down: ${record.by} has written down epoch ${record.epoch} (${record.state.primary})`,
          );
        if (record !== null && isSameRecord(record, state, epoch)) return;
        this.#triedEpoch = Math.max(this.#triedEpoch, epoch);
        const { etcd, name } = this.#options;
        const { succeeded, entries } = await etcd.transact({
          compare: [
            { key: this.#leaderKey, createRevision: this.#leader!.createRevision },
            { key: this.#stateKey, modRevision: this.#recordRevision },
          ],
          put: [{ key: this.#stateKey, value: formatRecord({ epoch, state, by: name }) }],
          read: [this.#leaderKey, this.#stateKey],
        });
        this.#note(entries);
        if (succeeded) return;
        if (attempt === 2) throw new Error('not written down: somebody else is writing it');
      }
    });
    this.#tell();
  }

  /** Tells when it ends by time alone, too. */
  #watchEnd(): void {
    this.#end?.cancel();
    const { clock } = this.#options;
    this.#end =
      this.#lease === null ? null : clock.after(leaseLeftMs(this.#lease, clock.nowMs()), () => this.#tell());
  }

  /** Asks as soon as the rate allows. */
  askSoon(): void {
    if (!this.#running && !this.#closed) this.#schedule();
  }

  /** Gives the right back, so that another proxy can have it at once; never rejects. */
  async release(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#end?.cancel();
    await this.#inTurn(() => this.#giveBack()).catch(() => undefined);
  }

  /** Asks no more. What is ours runs out by itself, unless it was given back. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#end?.cancel();
    this.#options.etcd.close();
  }

  #isOurs(leader: Leader): boolean {
    return leader.lease === this.#lease?.id;
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    const { clock, ttlMs, isWorried, worriedIntervalMs } = this.#options;
    const isHasty = isWorried() || this.#answer?.kind !== 'reachable';
    const intervalMs = isHasty ? Math.min(worriedIntervalMs, renewalMs(ttlMs)) : renewalMs(ttlMs);
    const delayMs = Math.max(0, this.#lastStartMs + intervalMs - clock.nowMs());
    this.#timer = clock.after(delayMs, () => void this.#round());
  }

  async #round(): Promise<void> {
    this.#running = true;
    this.#lastStartMs = this.#options.clock.nowMs();
    await this.#ask();
    this.#running = false;
    this.#schedule();
  }

  /** Renews or tries to get, and reads; never rejects. */
  async #ask(): Promise<void> {
    const { clock } = this.#options;
    try {
      await this.#inTurn(() => this.#renew());
      this.#answer = { kind: 'reachable' };
    } catch (error) {
      this.#answer = { kind: 'unreachable', reason: messageOf(error) };
    }
    this.#answeredMs = clock.nowMs();
    if (!this.#closed && this.#answer.kind === 'reachable') this.#settle();
    this.#tell();
  }

  async #renew(): Promise<void> {
    const { clock, etcd, name, ttlMs } = this.#options;
    const isFit = clock.nowMs() >= this.#unfitUntilMs;
    const wants = this.#options.wants() && isFit && !this.#closed;
    if (!wants && this.#lease !== null) await this.#giveBack();
    if (this.#lease !== null) {
      const askedMs = clock.nowMs();
      const { id } = this.#lease;
      const leftMs = await etcd.keepAlive(id);
      this.#lease = leftMs > 0 ? { id, ttlMs: leftMs, askedMs } : null;
    }
    if (this.#lease === null && wants) {
      const askedMs = clock.nowMs();
      this.#lease = { ...(await etcd.grant(ttlMs)), askedMs };
    }
    this.#watchEnd();
    const read = [this.#leaderKey, this.#stateKey];
    const lease = this.#lease;
    const { entries } = await etcd.transact(
      lease === null
        ? { compare: [], put: [], read }
        : {
            compare: [{ key: this.#leaderKey, createRevision: '0' }],
            put: [{ key: this.#leaderKey, value: name, lease: lease.id }],
            read,
          },
    );
    this.#note(entries);
  }

  /** What was read in one moment. */
  #note([leader = null, state = null]: readonly (EtcdEntry | null)[]): void {
    this.#toldMs = this.#options.clock.nowMs();
    this.#leader =
      leader === null
        ? null
        : { name: leader.value, lease: leader.lease, createRevision: leader.createRevision };
    this.#recordRevision = state?.modRevision ?? '0';
    const record = state === null ? null : parseRecord(state.value);
    this.#recordTrouble =
      typeof record === 'string' ? `${this.#stateKey} cannot be understood: ${record}` : null;
    if (typeof record !== 'string') this.#record = record;
  }

  async #giveBack(): Promise<void> {
    const lease = this.#lease;
    this.#lease = null;
    this.#settledFor = null;
    if (lease !== null) await this.#options.etcd.revoke(lease.id);
  }

  /** One at a time; what comes meanwhile is seen when etcd is asked next. */
  #settle(): void {
    const leader = this.#leader;
    const isOurs = leader !== null && this.#isOurs(leader);
    if (isOurs && this.#settledFor !== leader.createRevision) this.#settledFor = null;
    if (this.#settling !== null || this.#recordTrouble !== null) return;
    this.#settling = this.#options
      .settle(isOurs && this.#settledFor !== null, isOurs)
      .then(
        () => {
          this.#settleTrouble = null;
          if (isOurs) this.#settledFor = leader.createRevision;
        },
        (error: unknown) => {
          this.#settleTrouble = messageOf(error);
          if (isOurs) this.#unfitUntilMs = this.#options.clock.nowMs() + UNFIT_LEASES * this.#options.ttlMs;
        },
      )
      .then(() => {
        this.#settling = null;
        this.#tell();
      });
  }

  /** Once it is known whether what is ours can be used. */
  #tell(): void {
    if (this.#settling !== null) return;
    const sight = this.sight;
    const told = `${sight.vote} ${sight.holder}`;
    if (told === this.#lastTold) return;
    this.#lastTold = told;
    this.#options.onChange(sight);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }
}
