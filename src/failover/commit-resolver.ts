/**
 * What became of COMMITs whose answers were lost: the server that takes the writes now is asked for them, once it is
 * known who that is. What it had before a transaction began is remembered from the monitor's checks, so that only what
 * came after is looked at. An answer is exact, or it is `unknown`.
 */
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { CommitOutcome, LostCommit } from '../ipc/messages.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { isSeenWell, type HealthRecord } from '../monitor/detector.ts';
import type { ServerFacts } from '../monitor/observation.ts';
import { findCommits, type CommitQuestion } from './lost/find-commit.ts';
import type { Held } from './lost/held.ts';

export interface CommitResolverOptions {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  /** Who takes the writes of a cluster now; null: nobody. */
  readonly primaryOf: (cluster: string) => string | null;
  readonly recordOf: (backend: string) => HealthRecord;
}

export interface CommitVerdict {
  readonly outcome: CommitOutcome;
  /** How that is known, or why it is not. */
  readonly detail: string;
}

/** A server as it was at some moment. */
interface Sample {
  readonly wallMs: number;
  readonly serverId: number;
  readonly held: Held;
}

/** Questions at once; more are not known. */
const MOST_QUESTIONS = 1_000;
/** Samples of a server, and the least time between two: a minute or two of its past. */
const MOST_SAMPLES = 120;
const SAMPLE_GAP_MS = 500;
/** The clocks of this host and of the servers differ by less. */
const SKEW_MS = 10_000;
/** A sample counts when it is older than the transaction by this much. */
const MARGIN_MS = 1_000;
/** How often to look whether somebody takes the writes. */
const POLL_MS = 20;
const CONNECT_TIMEOUT_MS = 2_000;
const READ_TIMEOUT_MS = 5_000;

export class CommitResolver {
  readonly #options: CommitResolverOptions;
  readonly #samples = new Map<string, Sample[]>();
  #asked = 0;

  constructor(options: CommitResolverOptions) {
    this.#options = options;
  }

  /** A backend has been looked at: remembers how far it has come. */
  note(backend: string): void {
    const { facts } = this.#options.recordOf(backend);
    const held = facts === null ? null : heldOf(facts);
    if (facts === null || held === null) return;
    const samples = this.#samples.get(backend) ?? [];
    const wallMs = this.#options.clock.wallMs();
    const last = samples.at(-1);
    if (last !== undefined && wallMs - last.wallMs < SAMPLE_GAP_MS && wallMs >= last.wallMs) return;
    samples.push({ wallMs, serverId: facts.serverId, held });
    if (samples.length > MOST_SAMPLES) samples.shift();
    this.#samples.set(backend, samples);
  }

  /** What became of one; never rejects, and ends within hold_timeout and a little more. */
  async resolve(question: LostCommit): Promise<CommitVerdict> {
    if (this.#asked >= MOST_QUESTIONS) return unknown('too many are asked for at once');
    this.#asked++;
    try {
      return await this.#resolve(question);
    } catch (error) {
      return unknown(error instanceof Error ? error.message : String(error));
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
    const endMs = startMs + cluster.holdTimeoutMs;
    let primary = this.#primarySeenSince(cluster.name, startMs);
    while (primary === null && clock.nowMs() < endMs) {
      await sleep(clock, POLL_MS);
      primary = this.#primarySeenSince(cluster.name, startMs);
    }
    if (primary === null) return unknown('no server has taken over within hold_timeout');
    const backend = config.backends.find(({ name }) => name === primary)!;
    const since = this.#before(primary, question.beganAtMs - MARGIN_MS);
    if (since === null) return unknown(`what ${primary} had before is not known any more`);
    return this.#ask(question, serverId, since, backend, cluster);
  }

  /** Who takes the writes, when it has answered after the connection was lost: until then it may be the one that died. */
  #primarySeenSince(cluster: string, nowMs: number): string | null {
    const primary = this.#options.primaryOf(cluster);
    if (primary === null) return null;
    const record = this.#options.recordOf(primary);
    return isSeenWell(record) && record.seenMs !== null && record.seenMs > nowMs ? primary : null;
  }

  /** The youngest sample of a server that is older than that. */
  #before(backend: string, wallMs: number): Held | null {
    return this.#samples.get(backend)?.findLast((sample) => sample.wallMs <= wallMs)?.held ?? null;
  }

  async #ask(
    question: LostCommit,
    serverId: number,
    since: Held,
    backend: BackendConfig,
    cluster: ClusterConfig,
  ): Promise<CommitVerdict> {
    const { clock } = this.#options;
    const { replicationUser: user, replicationPassword: password } = cluster;
    const account =
      user === '' ? { user: cluster.monitorUser, password: cluster.monitorPassword } : { user, password };
    const connection = await ControlConnection.open(backend, cluster, clock, CONNECT_TIMEOUT_MS);
    try {
      const asked: CommitQuestion = {
        threadId: question.threadId,
        earlier: { kind: 'unknown' },
        sentAtMs: question.sentAtMs,
        skewMs: SKEW_MS,
        isAcknowledged: () => false,
        mark: null,
        statements: question.statements,
        rivals: null,
      };
      const bounds = { clock, timeoutMs: READ_TIMEOUT_MS };
      const [answer] = await findCommits(
        { serverId, since },
        [asked],
        { backend, account },
        connection,
        bounds,
      );
      return answer === undefined ? unknown('no answer') : { outcome: answer.outcome, detail: answer.detail };
    } finally {
      connection.close();
    }
  }
}

function heldOf(facts: ServerFacts): Held | null {
  if (!facts.hasGtid) return facts.filePosition === null ? null : { kind: 'position', ...facts.filePosition };
  if (facts.history === '') return null;
  return /mariadb/i.test(facts.version)
    ? { kind: 'mariadb', gtids: facts.history }
    : { kind: 'mysql', gtids: facts.history };
}

function unknown(detail: string): CommitVerdict {
  return { outcome: 'unknown', detail };
}
