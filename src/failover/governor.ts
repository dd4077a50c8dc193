/**
 * The governor of one cluster: looks at what the monitor knows, has it diagnosed, and acts on it as far as it may.
 * The decisions are those of `diagnosis.ts`, `election.ts` and `chores.ts`; here is when they are asked, and what
 * forbids to act: a promotion that runs or was left unfinished, maintenance, a cooldown, a failure a moment ago.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { ClusterConfig } from '../config/config.ts';
import { Diverged } from './care.ts';
import { choresOf, isAnswered, type Chore, type Divergence } from './chores.ts';
import { diagnose, type Finding } from './diagnosis.ts';
import { elect } from './election.ts';
import type { Promotions } from './promotion.ts';
import type { SavedLost } from './rejoin.ts';
import { followsServer, memberOf, type Survey } from './survey.ts';

/** What the governor needs of the rest of the control plane. */
export interface GovernorWorld {
  readonly clock: Clock;
  readonly log: Log;
  survey(cluster: string): Survey;
  /** False while nothing may be done: servers not looked at yet, this process stood still a moment ago. */
  mayAct(): boolean;
  /** What an operator and an earlier process have left. */
  decisionsOf(cluster: string): { maintenance?: boolean; failoverWallMs?: number };
  adoptEpoch(cluster: string, backend: string, epoch: number): Promise<void>;
  decide(
    cluster: string,
    change: { alone?: boolean; inHand?: readonly string[]; failoverWallMs?: number },
  ): Promise<void>;
  stopWrites(cluster: string, reason: string | null): void;
  setDiagnosis(cluster: string, finding: Finding): void;
  /** Does one chore; rejects when it did not succeed. */
  carryOut(cluster: ClusterConfig, chore: Chore): Promise<string>;
  /** Saves what only this server has. */
  saveLost(cluster: string, backend: string): Promise<SavedLost>;
  /** Undoes what only this server has, and has it follow. */
  discardLost(cluster: string, backend: string): Promise<void>;
  /** A line for SHOW EVENTS and the log. */
  tell(level: 'info' | 'warn' | 'error', event: string, subject: string, detail: string): void;
  readonly promotions: Pick<Promotions, 'promote' | 'isBusy'>;
}

/** How long to leave alone what failed: at first, and at most. */
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 30_000;

interface Attempt {
  running: boolean;
  failures: number;
  notBeforeMs: number;
}

export class Governor {
  readonly #cluster: ClusterConfig;
  readonly #world: GovernorWorld;
  /** By what they are about: one chore a server at a time, and the failover. */
  readonly #attempts = new Map<string, Attempt>();
  #findings: readonly Finding[] = [];
  #told = new Set<string>();
  /** Why nothing is done about what calls for it, as it was told. */
  readonly #excuses = new Set<string>();
  #divergences: readonly Divergence[] = [];
  /** Those of which what they have is in a file. */
  #saved = new Set<string>();
  /** The last failover, and when this process came to know of it. */
  #lastFailover: { readonly wallMs: number; readonly knownMs: number } | null = null;
  #replicalessSinceMs: number | null = null;
  /** What servers have that the primary has not, in words. */
  readonly #diverged = new Map<string, string>();
  #adopting = false;
  #ticker: Timer | null = null;
  #closed = false;

  constructor(cluster: ClusterConfig, world: GovernorWorld) {
    this.#cluster = cluster;
    this.#world = world;
  }

  /** Begins to look by itself, too: what has to wait for a time has no other occasion. */
  start(): void {
    this.#ticker = this.#world.clock.every(this.#cluster.checkFastIntervalMs, () => this.consider());
    this.consider();
  }

  close(): void {
    this.#closed = true;
    this.#ticker?.cancel();
  }

  /** What is the matter now, the gravest first. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** Servers that have what the primary has not. */
  get divergences(): readonly Divergence[] {
    return this.#divergences;
  }

  /** Looks, and acts if there is something to do and nothing forbids it. */
  consider(): void {
    // In the middle of a promotion nothing is as it should be, and that is as it should be.
    if (this.#closed || this.#world.promotions.isBusy(this.#cluster.name)) return;
    const survey = this.#world.survey(this.#cluster.name);
    const findings = diagnose(survey);
    this.#publish(findings);
    if (!this.#world.mayAct()) return;
    this.#noteReplicas(survey);
    this.#noteFailover();
    for (const finding of findings) {
      if (finding.action.kind === 'adopt_epoch')
        return this.#adopt(finding.action.backend, finding.action.epoch);
    }
    if (this.#world.decisionsOf(this.#cluster.name).maintenance === true) return;
    for (const { action } of findings) {
      if (action.kind !== 'finish') continue;
      this.#finish(action.backend);
      // Who was before it may have come back writable: it is fenced, or this never ends.
      return this.#work(survey, findings);
    }
    const failover = findings.find(({ action }) => action.kind === 'failover');
    if (failover !== undefined) return this.#failOver(survey, failover);
    this.#work(survey, findings);
  }

  // ---- what is known -------------------------------------------------------------------------------

  #publish(findings: readonly [Finding, ...Finding[]]): void {
    const { name } = this.#cluster;
    this.#findings = findings;
    this.#world.setDiagnosis(name, findings[0]);
    for (const { name: diagnosis, gravity, detail } of findings) {
      // The same finding in other words is news only where the words hold no number that always moves.
      if (this.#told.has(diagnosis)) continue;
      this.#world.tell(gravity === 'info' ? 'info' : 'warn', `diagnosis.${diagnosis}`, name, detail);
    }
    this.#told = new Set(findings.map((finding) => finding.name));
    if (!findings.some(({ action }) => action.kind === 'failover' || action.kind === 'finish'))
      this.#excuses.clear();
    const stop = findings.find(({ action }) => action.kind === 'stop_writes');
    this.#world.stopWrites(name, stop?.detail ?? null);
  }

  #noteReplicas(survey: Survey): void {
    if (isAnswered(survey)) this.#replicalessSinceMs = null;
    else this.#replicalessSinceMs ??= this.#world.clock.nowMs();
  }

  // ---- acting --------------------------------------------------------------------------------------

  #adopt(backend: string, epoch: number): void {
    if (this.#adopting) return;
    this.#adopting = true;
    const { name } = this.#cluster;
    this.#world.adoptEpoch(name, backend, epoch).then(
      () => {
        this.#adopting = false;
        this.#world.tell(
          'warn',
          'cluster.epoch_adopted',
          name,
          `${backend} is the primary of epoch ${epoch}`,
        );
      },
      (error: unknown) => {
        this.#adopting = false;
        this.#world.tell('error', 'cluster.epoch_not_adopted', name, String(error));
      },
    );
  }

  #failOver(survey: Survey, finding: Finding): void {
    const { name, failover } = this.#cluster;
    if (failover !== 'auto') {
      return this.#tellOnce(
        'failover.manual',
        `failover = manual: nothing is done about it by itself (${finding.detail})`,
      );
    }
    const waitMs = this.#cooldownLeftMs();
    if (waitMs > 0) {
      return this.#tellOnce(
        'failover.cooldown',
        `the last failover is less than failover_cooldown (${this.#cluster.failoverCooldownMs} ms) ago: an operator may FAILOVER`,
      );
    }
    const old = memberOf(survey, survey.remembered);
    const winner = old === undefined ? null : elect(survey, old, { only: null, force: false }).winner;
    if (winner === null) return;
    this.#attempt(`failover of ${name}`, async () => {
      const wish = { target: winner.name, named: false, as: 'failover', force: false } as const;
      await this.#world.promotions.promote(wish, `${finding.name}: ${finding.detail}`, false);
      await this.#world.decide(name, { failoverWallMs: Math.round(this.#world.clock.wallMs()) });
    });
  }

  /** Who is remembered as the primary is made it: nobody else may be. */
  #finish(backend: string): void {
    const { name, failover } = this.#cluster;
    if (failover !== 'auto') {
      return this.#tellOnce(
        'failover.manual',
        `failover = manual: PROMOTE ${backend} finishes what was begun`,
      );
    }
    this.#attempt(`failover of ${name}`, async () => {
      const wish = { target: backend, named: true, as: 'any', force: false } as const;
      await this.#world.promotions.promote(wish, 'a promotion had got no further than the state file', true);
    });
  }

  #noteFailover(): void {
    const { failoverWallMs: wallMs } = this.#world.decisionsOf(this.#cluster.name);
    if (wallMs === undefined) this.#lastFailover = null;
    else if (this.#lastFailover?.wallMs !== wallMs) {
      this.#lastFailover = { wallMs, knownMs: this.#world.clock.nowMs() };
    }
  }

  /** By the host's clock, which goes on over restarts; by our own at the latest, should the host's have gone back. */
  #cooldownLeftMs(): number {
    if (this.#lastFailover === null) return 0;
    const { clock } = this.#world;
    const { wallMs, knownMs } = this.#lastFailover;
    const passedMs = Math.max(clock.wallMs() - wallMs, clock.nowMs() - knownMs);
    return Math.max(0, this.#cluster.failoverCooldownMs - passedMs);
  }

  #work(survey: Survey, findings: readonly Finding[]): void {
    const sinceMs = this.#replicalessSinceMs;
    const replicalessMs = sinceMs === null ? 0 : this.#world.clock.nowMs() - sinceMs;
    this.#letGo(survey);
    const { chores, divergences } = choresOf(survey, findings, replicalessMs);
    this.#noteDivergences(this.#divergent(survey, divergences));
    for (const chore of chores) {
      this.#attempt(chore.backend, async () => {
        const detail = await this.#world.carryOut(this.#cluster, chore).catch((error: unknown) => {
          if (error instanceof Diverged) this.#diverged.set(chore.backend, error.extras);
          throw error;
        });
        this.#world.tell('info', `care.${chore.kind}`, chore.backend, `${detail}; because: ${chore.because}`);
      });
    }
  }

  /** Whose replication is seen to run again is in nobody's hands any more. */
  #letGo({ members, inHand }: Survey): void {
    const runs = members.filter(({ record }) => record.facts?.replication?.receiver === 'running');
    const left = inHand.filter((name) => !runs.some(({ backend }) => backend.name === name));
    const isIdle = inHand.every((name) => !this.#attempts.has(name));
    if (left.length === inHand.length || !isIdle) return;
    this.#attempt('inHand', () => this.#world.decide(this.#cluster.name, { inHand: left }));
  }

  /** Those that have been found out, by a look or when they were to be moved, and have not been moved since. */
  #divergent(survey: Survey, found: readonly Divergence[]): Divergence[] {
    const primary = memberOf(survey, survey.remembered);
    for (const member of survey.members) {
      const isMoved = primary !== undefined && (member === primary || followsServer(member, primary));
      if (isMoved) this.#diverged.delete(member.backend.name);
    }
    for (const { backend, extras } of found) this.#diverged.set(backend, extras);
    return [...this.#diverged].map(([backend, extras]) => ({ backend, extras }));
  }

  #noteDivergences(divergences: readonly Divergence[]): void {
    const known = new Set(this.#divergences.map(nameDivergence));
    this.#divergences = divergences;
    this.#saved = new Set(divergences.map(nameDivergence).filter((name) => this.#saved.has(name)));
    for (const divergence of divergences) {
      const { backend, extras } = divergence;
      const name = nameDivergence(divergence);
      if (!known.has(name)) {
        const detail = `has what the primary has not: ${extras}; SHOW LOST TRANSACTIONS ${backend} lists it, REJOIN ${backend} APPEND or DISCARD brings it back`;
        this.#world.tell('warn', 'rejoin.diverged', backend, detail);
      }
      if (this.#cluster.rejoin === 'off' || this.#saved.has(name)) continue;
      this.#attempt(`what only ${backend} has`, async () => {
        const saved = await this.#world.saveLost(this.#cluster.name, backend);
        this.#world.tell('warn', 'rejoin.saved', backend, saved.detail);
        if (saved.isOnlyOurs && this.#cluster.rejoin === 'auto') {
          await this.#world.discardLost(this.#cluster.name, backend);
          this.#world.tell(
            'info',
            'rejoin.discarded',
            backend,
            'only beats of dbproxy itself, which nobody misses',
          );
        }
        this.#saved.add(name);
      });
    }
  }

  /** Begins a piece of work about `subject`, unless one runs or has failed a moment ago. */
  #attempt(subject: string, work: () => Promise<void>): void {
    const { clock } = this.#world;
    const attempt = this.#attempts.get(subject) ?? { running: false, failures: 0, notBeforeMs: -Infinity };
    if (attempt.running || clock.nowMs() < attempt.notBeforeMs) return;
    this.#attempts.set(subject, attempt);
    attempt.running = true;
    work().then(
      () => {
        this.#attempts.delete(subject);
      },
      (error: unknown) => {
        attempt.running = false;
        attempt.notBeforeMs = clock.nowMs() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt.failures);
        attempt.failures++;
        const reason = error instanceof Error ? error.message : String(error);
        if (attempt.failures === 1) this.#world.tell('error', 'care.failed', subject, reason);
        else this.#world.log.warn('care.failed', { subject, reason, failures: attempt.failures });
      },
    );
  }

  #tellOnce(event: string, detail: string): void {
    if (this.#excuses.has(event)) return;
    this.#excuses.add(event);
    this.#world.tell('warn', event, this.#cluster.name, detail);
  }
}

function nameDivergence({ backend, extras }: Divergence): string {
  return `${backend} ${extras}`;
}
