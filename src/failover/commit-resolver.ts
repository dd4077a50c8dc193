/**
 * What became of COMMITs whose answers were lost: the server that takes the writes now is asked for them, once it is
 * known who that is. What it had before a transaction began is remembered from the monitor's checks, so that only what
 * came after is looked at. An answer is exact, or it is `unknown`.
 *
 * When that is the server that the COMMIT was sent to, all that it would have waited for has to be waited for here:
 * 1. the session has ended, so that nothing more comes of it;
 * 2. with `semi_sync = require` as many replicas have the transaction as a commit waits for, of those that a failover
 *    asks: else it could still be lost, and its client would have been told that it is saved.
 */
import { messageOf } from '../base/message-of.ts';
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { CommitOutcome, LostCommit } from '../ipc/messages.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { isSeenWell, type HealthRecord } from '../monitor/detector.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { findCommits, unknown, type CommitAnswer, type CommitQuestion } from './lost/find-commit.ts';
import { holder, type Held } from './lost/held.ts';
import { hasEnded } from './lost/session-end.ts';
import { SharedSearch } from './lost/shared-search.ts';

export interface CommitResolverOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  /** Who takes the writes of a cluster now; null: nobody. */
  readonly primaryOf: (cluster: string) => string | null;
  readonly recordOf: (backend: string) => HealthRecord;
  /** An operator has set it offline: a failover goes on without what it has. */
  readonly isGivenUp: (backend: string) => boolean;
}

export interface CommitVerdict {
  readonly outcome: CommitOutcome;
  /** How that is known, or why it is not. */
  readonly detail: string;
}

/** A server as it was at some moment, or before. */
interface Sample {
  readonly atMs: number;
  readonly serverId: number;
  readonly held: Held;
}

const OUTCOMES: readonly CommitOutcome[] = ['committed', 'not_committed', 'unknown'];
/** Questions at once; more are not known. */
const MOST_QUESTIONS = 1_000;
/** Of so many sessions is asked at once whether they have ended: the applications need the server more. */
const MOST_LOOKING = 16;
/** Samples of a server, and the least time between two: a minute or two of its past. */
const MOST_SAMPLES = 120;
const SAMPLE_GAP_MS = 500;
/** A sample counts when it is older than the transaction, or than its COMMIT, by this much. */
const MARGIN_MS = 1_000;
const COMMIT_MARGIN_MS = 100;
/** How often to look whether somebody takes the writes. */
const POLL_MS = 20;
const CONNECT_TIMEOUT_MS = 2_000;

export class CommitResolver {
  readonly #options: CommitResolverOptions;
  readonly #samples = new Map<string, Sample[]>();
  readonly #counts: ReadonlyMap<string, Record<CommitOutcome, number>>;
  /** By the server that is asked and the id of the one that the COMMITs were sent to. */
  readonly #searches = new Map<string, SharedSearch>();
  #asked = 0;
  #looking = 0;
  /** Questions that wait until one of those has been answered; they are among `#asked`. */
  readonly #waiting: (() => void)[] = [];

  constructor(options: CommitResolverOptions) {
    this.#options = options;
    this.#counts = new Map(
      options.config.clusters.map(({ name }) => [name, { committed: 0, not_committed: 0, unknown: 0 }]),
    );
  }

  /** A backend has been looked at: remembers how far it has come. */
  note(backend: string): void {
    const { facts } = this.#options.recordOf(backend);
    const held = facts === null ? null : heldOf(facts);
    if (facts === null || held === null) return;
    const samples = this.#samples.get(backend) ?? [];
    const atMs = this.#options.clock.nowMs();
    const last = samples.at(-1);
    if (last !== undefined && atMs - last.atMs < SAMPLE_GAP_MS) return;
    samples.push({ atMs, serverId: facts.serverId, held });
    if (samples.length > MOST_SAMPLES) samples.shift();
    this.#samples.set(backend, samples);
  }

  /** There is no such server any more: one that gets its name later is another. */
  forget(backend: string): void {
    this.#samples.delete(backend);
  }

  /** Those that were asked for so far. */
  counts(): { cluster: string; outcome: CommitOutcome; count: number }[] {
    return [...this.#counts].flatMap(([cluster, counts]) =>
      OUTCOMES.map((outcome) => ({ cluster, outcome, count: counts[outcome] })),
    );
  }

  /** What became of one; never rejects, and ends within hold_timeout and a little more. */
  async resolve(question: LostCommit): Promise<CommitVerdict> {
    const verdict = await this.#tryToResolve(question);
    const counts = this.#counts.get(question.cluster);
    if (counts !== undefined) counts[verdict.outcome]++;
    return verdict;
  }

  async #tryToResolve(question: LostCommit): Promise<CommitVerdict> {
    if (this.#asked >= MOST_QUESTIONS) return unknown('too many are asked for at once');
    this.#asked++;
    try {
      return await this.#resolve(question);
    } catch (error) {
      return unknown(messageOf(error));
    } finally {
      this.#asked--;
    }
  }

  async #resolve(question: LostCommit): Promise<CommitVerdict> {
    const { clock, config } = this.#options;
    const cluster = config.clusters.find(({ name }) => name === question.cluster);
    if (cluster === undefined) return unknown('there is no such cluster');
    const serverId = this.#samples.get(question.backend)?.at(-1)?.serverId ?? 0;
    if (serverId === 0) return unknown(`the id of ${question.backend} is not known`);
    const startMs = clock.nowMs();
    // Wall clocks are set, so samples go by the other one; a question is on its way for a moment only.
    const shiftMs = startMs - clock.wallMs();
    const earlier = this.#before(question.backend, question.sentAtMs + shiftMs - COMMIT_MARGIN_MS);
    const asked = askedOf(question, earlier?.held ?? null);
    const endMs = startMs + cluster.holdTimeoutMs;
    for (;;) {
      const primary = await this.#awaitPrimary(cluster.name, startMs, endMs);
      if (primary === null) return unknown('no server has taken over within hold_timeout');
      const backend = config.backends.find(({ name }) => name === primary)!;
      const since = this.#before(primary, question.beganAtMs + shiftMs - MARGIN_MS);
      if (since === null) return unknown(`what ${primary} had before is not known any more`);
      const verdict = await this.#ask(question, asked, { serverId, since }, backend, cluster, endMs);
      // What a server has that is replaced meanwhile counts no more.
      if (this.#options.primaryOf(cluster.name) === primary) return verdict;
      if (clock.nowMs() >= endMs) return unknown(`another server than ${primary} is becoming the primary`);
    }
  }

  async #awaitPrimary(cluster: string, startMs: number, endMs: number): Promise<string | null> {
    const { clock } = this.#options;
    for (;;) {
      const primary = this.#primarySeenSince(cluster, startMs);
      if (primary !== null || clock.nowMs() >= endMs) return primary;
      await sleep(clock, POLL_MS);
    }
  }

  /** Who takes the writes, when it has answered after the connection was lost: until then it may be the one that died. */
  #primarySeenSince(cluster: string, nowMs: number): string | null {
    const primary = this.#options.primaryOf(cluster);
    if (primary === null) return null;
    const record = this.#options.recordOf(primary);
    return isSeenWell(record) && record.seenMs !== null && record.seenMs > nowMs ? primary : null;
  }

  /** The youngest sample of a server that is older than that. */
  #before(backend: string, atMs: number): Sample | null {
    return this.#samples.get(backend)?.findLast((sample) => sample.atMs <= atMs) ?? null;
  }

  async #inTurn<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#looking < MOST_LOOKING) this.#looking++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await ask();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#looking--;
      else next();
    }
  }

  async #ask(
    question: LostCommit,
    asked: CommitQuestion,
    { serverId, since }: { readonly serverId: number; readonly since: Sample },
    backend: BackendConfig,
    cluster: ClusterConfig,
    endMs: number,
  ): Promise<CommitVerdict> {
    const isSame = backend.name === question.backend;
    if (isSame) {
      const hasSessionEnded = await this.#inTurn(() => this.#awaitEnd(question, backend, cluster, endMs));
      if (!hasSessionEnded) return unknown(`session ${question.threadId} of ${backend.name} has not ended`);
    }
    const search = this.#searchOf(serverId, backend, cluster);
    const { outcome, detail, gtid } = await search.ask(asked, since, endMs);
    const mustBeCopied = isSame && outcome === 'committed' && this.#waitsForReplicas(backend.name, cluster);
    if (mustBeCopied && !(await this.#isCopied(gtid, backend.name, cluster.name, endMs))) {
      const needed = this.#copiesNeeded(backend.name);
      const none = needed === 1 ? 'no replica has' : `fewer than ${needed} replicas have`;
      return unknown(`${detail}; but ${none} been seen with it, so it may still be lost`);
    }
    return { outcome, detail };
  }

  /** Whether nothing more comes of the session. */
  async #awaitEnd(
    { threadId, sentAtMs }: LostCommit,
    backend: BackendConfig,
    cluster: ClusterConfig,
    endMs: number,
  ): Promise<boolean> {
    const { clock } = this.#options;
    if (clock.nowMs() >= endMs) throw new Error('too many were asked for at once');
    const connection = await ControlConnection.open(backend, cluster, clock, CONNECT_TIMEOUT_MS);
    try {
      const timeoutMs = Math.max(1, endMs - clock.nowMs());
      return await hasEnded(connection, threadId, clock.wallMs() - sentAtMs, { clock, timeoutMs });
    } finally {
      connection.close();
    }
  }

  /** The search that questions about this server share. */
  #searchOf(serverId: number, backend: BackendConfig, cluster: ClusterConfig): SharedSearch {
    for (const [key, search] of this.#searches) if (search.isIdle) this.#searches.delete(key);
    const key = `${backend.name} ${serverId}`;
    const known = this.#searches.get(key);
    if (known !== undefined) return known;
    const search = new SharedSearch(this.#options.clock, (...request) =>
      this.#read(serverId, backend, cluster, ...request),
    );
    this.#searches.set(key, search);
    return search;
  }

  async #read(
    serverId: number,
    backend: BackendConfig,
    cluster: ClusterConfig,
    since: Held,
    questions: readonly CommitQuestion[],
    timeoutMs: number,
  ): Promise<CommitAnswer[]> {
    const { clock } = this.#options;
    const { replicationUser: user, replicationPassword: password } = cluster;
    const account =
      user === '' ? { user: cluster.monitorUser, password: cluster.monitorPassword } : { user, password };
    const connection = await ControlConnection.open(backend, cluster, clock, CONNECT_TIMEOUT_MS);
    try {
      const bounds = { clock, timeoutMs };
      return await findCommits({ serverId, since }, questions, { backend, account }, connection, bounds);
    } finally {
      connection.close();
    }
  }

  /** Its clients are told that a transaction is saved only when a replica has it. */
  #waitsForReplicas(primary: string, { semiSync }: ClusterConfig): boolean {
    const { facts } = this.#options.recordOf(primary);
    return semiSync === 'require' && facts?.semiSync.primary?.live !== false;
  }

  /** So many replicas acknowledge a commit before its client hears of it. */
  #copiesNeeded(primary: string): number {
    return this.#options.recordOf(primary).facts?.semiSync.primary?.waitForReplicas ?? 1;
  }

  /**
   * As many replicas as a commit waits for are seen to have it, within the time. Those do not count that a failover
   * does not ask what they have: one that follows and is never elected, and one that is given up.
   */
  async #isCopied(gtid: string | null, primary: string, cluster: string, endMs: number): Promise<boolean> {
    const { clock, config, isGivenUp } = this.#options;
    const replicas = config.backends.filter((one) => one.cluster === cluster && one.name !== primary);
    const counts = ({ name, follow }: BackendConfig): boolean => {
      if (follow || isGivenUp(name)) return false;
      const last = this.#samples.get(name)?.at(-1);
      return last !== undefined && holder(last.held)({ gtid });
    };
    while (replicas.filter(counts).length < this.#copiesNeeded(primary)) {
      if (gtid === null || clock.nowMs() >= endMs) return false;
      await sleep(clock, POLL_MS);
    }
    return true;
  }
}

/** `earlier`: what the server had at some moment before the COMMIT was sent to it. */
function askedOf({ threadId, mark, statements }: LostCommit, earlier: Held | null): CommitQuestion {
  const isEarlier = earlier === null ? () => false : holder(earlier);
  const isAnother = (gtid: string): boolean => isEarlier({ gtid });
  return { threadId, earlier: { kind: 'unknown' }, isAnother, mark, statements, rivals: null };
}

function heldOf(facts: ServerFacts): Held | null {
  if (!facts.hasGtid) return facts.filePosition === null ? null : { kind: 'position', ...facts.filePosition };
  if (facts.history === '') return null;
  return /mariadb/i.test(facts.version)
    ? { kind: 'mariadb', gtids: facts.history }
    : { kind: 'mysql', gtids: facts.history };
}
