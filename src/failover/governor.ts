/**
 * The governor of one cluster: looks at what the monitor knows, has it diagnosed, and acts on it as far as it may.
 * The decisions are those of `diagnosis.ts`, `election.ts` and `chores.ts`; here is when they are asked, and what
 * forbids to act: a promotion that runs or was left unfinished, maintenance, a cooldown, a failure a moment ago.
 */
import { messageOf } from '../base/message-of.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { ClusterConfig } from '../config/config.ts';
import { missingForMs, noteAcknowledgements, type Acknowledgements } from './acknowledgements.ts';
import { choresOf, fencesOf, type Chore } from './chores.ts';
import { diagnose } from './diagnosis.ts';
import type { Finding } from './findings/finding.ts';
import { divergencesOf, ownWritesOf } from './divergence.ts';
import { longGoneOf } from './long-gone.ts';
import { cureOfDivergence, describeDivergence } from '../topology/divergence-words.ts';
import type { ClusterState, Divergence, LongGone, OwnWrites } from '../topology/state-file.ts';
import { elect } from './election.ts';
import { Diverged } from './history.ts';
import type { Promotions } from './promotion.ts';
import type { SavedLost } from './rejoin.ts';
import { NotYet } from './not-yet.ts';
import { memberOf, type FailoverFailure, type Survey } from './survey.ts';
import { Overtaken } from './turns.ts';
import type { WorkUnderWay } from './work-under-way.ts';

/** What the governor needs of the rest of the control plane. */
export interface GovernorWorld {
  readonly clock: Clock;
  readonly log: Log;
  survey(cluster: string): Survey;
  /** False while nothing may be done: servers not looked at yet, this process stood still a moment ago. */
  mayAct(cluster: string): boolean;
  /** What the servers know better may be written down here: a pair has one state. */
  mayWriteDown(cluster: string): boolean;
  /** This proxy is the one that acts on the servers of a cluster. */
  isInCharge(cluster: string): boolean;
  /** What else is being done to the servers of a cluster on an operator's word; null: nothing. */
  workUnderWay(cluster: string): WorkUnderWay | null;
  /** What an operator and an earlier process have left. */
  decisionsOf(cluster: string): Pick<ClusterState, 'maintenance' | 'failoverWallMs' | 'diverged'>;
  /** Writes down which servers have what the primary has not. */
  writeDiverged(cluster: string, diverged: readonly Divergence[]): Promise<void>;
  /** Writes down what replicas have written that the primary has as well. */
  writeOwnWrites(cluster: string, ownWrites: OwnWrites): Promise<void>;
  /** Writes down which replicas the primary need not wait for when it is back after a crash. */
  writeLongGone(cluster: string, longGone: LongGone): Promise<void>;
  adoptEpoch(cluster: string, backend: string, epoch: number): Promise<void>;
  /** Looks whether the replication of these runs again, and writes it down of those at which no chore is. */
  letGo(cluster: string, backends: readonly string[], isAtRest: (backend: string) => boolean): Promise<void>;
  stopWrites(cluster: string, reason: string | null): void;
  setDiagnosis(cluster: string, finding: Finding): void;
  /** Whether the data of each of these servers is what its primary has; null: as far as is known it is. */
  setDiverged(backends: ReadonlyMap<string, Divergence | null>): void;
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
/** How long nothing must have called for what failed until that is forgotten. */
const FORGET_MS = 5_000;
/** What was not yet to be had so often is told: some 16 s. */
const PATIENT_FAILURES = 6;

interface Attempt {
  running: boolean;
  failures: number;
  notBeforeMs: number;
  /** The last failure. */
  lastFailure: { readonly wallMs: number; readonly reason: string } | null;
  /** When something called for it last. */
  askedMs: number;
}

export class Governor {
  readonly #cluster: ClusterConfig;
  readonly #world: GovernorWorld;
  /** By what they are about: one chore a server at a time, and the failover. */
  readonly #attempts = new Map<string, Attempt>();
  #findings: readonly Finding[] = [];
  /** What kept this dbproxy from being in charge when they were found; null: nothing. */
  #charge: string | null = null;
  #told = new Set<string>();
  /** Why nothing is done about what calls for it, as it was told. */
  readonly #excuses = new Set<string>();
  #divergences: readonly Divergence[] = [];
  /** Those of which what they have is in a file. */
  #saved = new Set<string>();
  /** What was told of the last find at a server, as long as it has something of its own. */
  readonly #toldSaved = new Map<string, string>();
  /** The last failover, and when this process came to know of it. */
  #lastFailover: { readonly wallMs: number; readonly knownMs: number } | null = null;
  #acknowledgements: Acknowledgements | null = null;
  #ticker: Timer | null = null;
  #closed = false;

  constructor(cluster: ClusterConfig, world: GovernorWorld) {
    this.#cluster = cluster;
    this.#world = world;
    // Who is to be compared with whom may not be there any more.
    this.#divergences = world.decisionsOf(cluster.name).diverged ?? [];
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
    const { name } = this.#cluster;
    // A promotion that runs has not been told of anybody, and a process that has just begun has found nothing yet.
    const isOld = this.#findings.length === 0 || this.#world.promotions.isBusy(name);
    return isOld ? diagnose(this.#world.survey(name)) : this.#findings;
  }

  /** Servers that have what the primary has not. */
  get divergences(): readonly Divergence[] {
    return this.#divergences;
  }

  /** What has become of the failover that is called for; null: nothing was tried, or it went well. */
  get failoverFailure(): FailoverFailure | null {
    const attempt = this.#attempts.get(this.#failoverSubject);
    if (attempt === undefined || attempt.lastFailure === null) return null;
    const { wallMs, reason } = attempt.lastFailure;
    return { failures: attempt.failures, lastWallMs: wallMs, reason };
  }

  /** The last failover by itself is less than failover_cooldown ago. */
  get isCoolingDown(): boolean {
    return this.#cooldownLeftMs() > 0;
  }

  /** Looks, and acts if there is something to do and nothing forbids it. */
  consider(): void {
    if (this.#closed) return;
    const { name } = this.#cluster;
    if (this.#world.promotions.isBusy(name)) return this.#publishUnfinished();
    const survey = this.#lookForDivergences(this.#world.survey(name));
    const findings = diagnose(survey);
    this.#charge = survey.charge?.diagnosis ?? null;
    this.#publish(findings);
    if (!this.#world.mayAct(name)) return;
    const work = this.#world.workUnderWay(name);
    const isExclusive = work?.isExclusive === true;
    // A failover ends what can be ended; nothing else is done beside what may change any server.
    if (isExclusive && work?.end === null) return;
    this.#acknowledgements = noteAcknowledgements(this.#acknowledgements, survey);
    this.#noteFailover();
    const isInCharge = this.#world.isInCharge(name);
    if (isInCharge) {
      this.#writeDiverged();
      this.#writeOwnWrites(survey);
      this.#writeLongGone(survey);
    }
    for (const finding of findings) {
      if (finding.action.kind === 'adopt_epoch' && !isExclusive && this.#world.mayWriteDown(name))
        return this.#adopt(finding.action.backend, finding.action.epoch);
    }
    if (!isInCharge || this.#world.decisionsOf(name).maintenance === true) return;
    for (const { action } of findings) {
      if (action.kind !== 'finish') continue;
      this.#finish(action.backend);
      // Who was before it may have come back writable: it is fenced, or this never ends.
      return isExclusive ? undefined : this.#work(survey, findings);
    }
    const failover = findings.find(({ action }) => action.kind === 'failover');
    if (failover === undefined) return isExclusive ? undefined : this.#work(survey, findings);
    this.#failOver(survey, failover);
    // Nobody is promoted beside somebody who is writable: who was the primary before is fenced, or that never ends.
    if (!isExclusive) this.#carryOut(fencesOf(survey, findings));
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

  /** While a promotion that was cut off has not ended, that is what is the matter; one that runs tells of itself. */
  #publishUnfinished(): void {
    const { name } = this.#cluster;
    const survey = this.#world.survey(name);
    const stop = this.#findings.find(({ action }) => action.kind === 'stop_writes');
    // What kept this one from being in charge is over: its clients wait for the promotion alone.
    if (stop?.name === this.#charge && survey.charge?.stopsWrites !== true)
      this.#world.stopWrites(name, null);
    const [finding] = diagnose(survey);
    if (finding.name !== 'PromotionUnfinished') return;
    this.#world.setDiagnosis(name, finding);
    if (this.#told.has(finding.name)) return;
    this.#told.add(finding.name);
    this.#world.tell('warn', `diagnosis.${finding.name}`, name, finding.detail);
  }

  #lookForDivergences(survey: Survey): Survey {
    const diverged = divergencesOf(survey, this.#divergences);
    this.#noteDivergences(diverged);
    const known = diverged.map((one) => [one.backend, one] as const);
    const none = survey.members.map(({ backend }) => [backend.name, null] as const);
    this.#world.setDiverged(new Map([...none, ...known]));
    return { ...survey, diverged };
  }

  /** The next process may have nobody to compare them with. */
  #writeDiverged(): void {
    const { name } = this.#cluster;
    const divergences = this.#divergences;
    const written = this.#world.decisionsOf(name).diverged ?? [];
    const isWritten =
      written.length === divergences.length &&
      written.every((one) => divergences.some((other) => nameDivergence(one) === nameDivergence(other)));
    if (!isWritten) this.#attempt('diverged', () => this.#world.writeDiverged(name, divergences));
  }

  /** The next process may never see the primary. */
  #writeOwnWrites(survey: Survey): void {
    const of = ownWritesOf(survey);
    if (JSON.stringify(of) === JSON.stringify(survey.ownWrites)) return;
    const { epoch } = survey;
    this.#attempt('own writes', () => this.#world.writeOwnWrites(this.#cluster.name, { epoch, of }));
  }

  /** The next process may find both dead. */
  #writeLongGone(survey: Survey): void {
    const servers = longGoneOf(survey);
    if (servers.join() === survey.longGone.join()) return;
    const { epoch } = survey;
    this.#attempt('long gone', () => this.#world.writeLongGone(this.#cluster.name, { epoch, servers }));
  }

  /** One was found out when it, or its primary, was acted on. */
  setDivergence(found: Divergence): void {
    this.#noteDivergences([...this.#divergences.filter(({ backend }) => backend !== found.backend), found]);
  }

  #noteDivergences(divergences: readonly Divergence[]): void {
    const known = new Set(this.#divergences.map(nameDivergence));
    this.#divergences = divergences;
    this.#saved = new Set(divergences.map(nameDivergence).filter((name) => this.#saved.has(name)));
    for (const backend of this.#toldSaved.keys()) {
      if (!divergences.some((one) => one.backend === backend)) this.#toldSaved.delete(backend);
    }
    for (const divergence of divergences) {
      if (known.has(nameDivergence(divergence))) continue;
      const detail = `${describeDivergence(divergence, 'the primary')}; ${cureOfDivergence(divergence)}`;
      this.#world.tell('warn', 'rejoin.diverged', divergence.backend, detail);
    }
  }

  // ---- acting --------------------------------------------------------------------------------------

  #adopt(backend: string, epoch: number): void {
    const { name } = this.#cluster;
    const work = async (): Promise<void> => {
      await this.#world.adoptEpoch(name, backend, epoch);
      const detail = `${backend} is the primary of epoch ${epoch}`;
      this.#world.tell('warn', 'cluster.epoch_adopted', name, detail);
    };
    this.#attempt(name, work, 'cluster.epoch_not_adopted');
  }

  #failOver(survey: Survey, finding: Finding): void {
    const { name, failover } = this.#cluster;
    if (failover !== 'auto') {
      return this.#tellOnce(
        'failover.manual',
        `failover = manual: it waits for FAILOVER CLUSTER ${name} (${finding.detail})`,
      );
    }
    const waitMs = this.#cooldownLeftMs();
    if (waitMs > 0) {
      return this.#tellOnce(
        'failover.cooldown',
        `the last failover is less than failover_cooldown (${this.#cluster.failoverCooldownMs} ms) ago: it waits for FAILOVER CLUSTER ${name}`,
      );
    }
    const old = memberOf(survey, survey.remembered);
    const winner = old === undefined ? null : elect(survey, old, { only: null, force: false }).winner;
    if (winner === null) return;
    this.#attempt(this.#failoverSubject, async () => {
      const wish = {
        target: winner.name,
        named: false,
        as: 'failover',
        force: false,
        isAutomatic: true,
        said: `the failover of cluster ${name} by itself, to ${winner.name},`,
      } as const;
      await this.#world.promotions.promote(wish, `${finding.name}: ${finding.detail}`, false);
    });
  }

  /** Who is remembered as the primary is made it: nobody else may be. */
  #finish(backend: string): void {
    const { failover } = this.#cluster;
    if (failover !== 'auto') {
      return this.#tellOnce(
        'failover.manual',
        `failover = manual: PROMOTE ${backend} finishes what was begun`,
      );
    }
    this.#attempt(this.#failoverSubject, async () => {
      const said = `the end of the promotion of ${backend}`;
      const wish = { target: backend, named: true, as: 'any', force: false, said } as const;
      await this.#world.promotions.promote(wish, 'a promotion had got no further than the state file', true);
    });
  }

  get #failoverSubject(): string {
    return `failover of ${this.#cluster.name}`;
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
    this.#letGo(survey);
    const unacknowledgedMs = missingForMs(this.#acknowledgements, survey);
    this.#saveWhatDiverged();
    const chores = choresOf(survey, findings, unacknowledgedMs);
    this.#carryOut(survey.mayGoAlone === false ? chores.filter(({ kind }) => kind !== 'go_alone') : chores);
    this.#forgetFailures();
  }

  #carryOut(chores: readonly Chore[]): void {
    for (const chore of chores) {
      this.#attempt(chore.backend, async () => {
        const detail = await this.#world.carryOut(this.#cluster, chore).catch((error: unknown) => {
          if (error instanceof Diverged) this.setDivergence({ backend: chore.backend, extras: error.extras });
          throw error;
        });
        this.#world.tell('info', `care.${chore.kind}`, chore.backend, `${detail}; because: ${chore.because}`);
      });
    }
  }

  /** Whose replication is seen to run again is in nobody's hands any more. */
  #letGo({ members, inHand }: Survey): void {
    const runs = members.filter(({ record }) => record.facts?.replication?.receiver === 'running');
    const done = inHand.filter((name) => runs.some(({ backend }) => backend.name === name));
    const isAtRest = (name: string): boolean => !this.#attempts.has(name);
    if (done.length === 0 || !inHand.every(isAtRest)) return;
    this.#attempt('inHand', () => this.#world.letGo(this.#cluster.name, done, isAtRest));
  }

  #saveWhatDiverged(): void {
    for (const divergence of this.#divergences) {
      const { backend } = divergence;
      const name = nameDivergence(divergence);
      if (divergence.kind !== undefined || this.#cluster.rejoin === 'off' || this.#saved.has(name)) continue;
      this.#attempt(`what only ${backend} has`, async () => {
        const saved = await this.#world.saveLost(this.#cluster.name, backend);
        if (this.#toldSaved.get(backend) !== saved.detail) {
          this.#toldSaved.set(backend, saved.detail);
          this.#world.tell('warn', 'rejoin.saved', backend, saved.detail);
        }
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

  /** Begins a piece of work about `subject`, unless one runs or has failed a moment ago; `failed`: the event that tells of it. */
  #attempt(subject: string, work: () => Promise<void>, failed = 'care.failed'): void {
    const { clock } = this.#world;
    const askedMs = clock.nowMs();
    const known = this.#attempts.get(subject);
    const attempt = known ?? {
      running: false,
      failures: 0,
      notBeforeMs: -Infinity,
      lastFailure: null,
      askedMs,
    };
    attempt.askedMs = askedMs;
    if (attempt.running || clock.nowMs() < attempt.notBeforeMs) return;
    this.#attempts.set(subject, attempt);
    attempt.running = true;
    work().then(
      () => {
        this.#attempts.delete(subject);
      },
      (error: unknown) => {
        attempt.running = false;
        // It is decided on anew when the promotion has ended.
        if (error instanceof Overtaken) return;
        attempt.notBeforeMs = clock.nowMs() + Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt.failures);
        attempt.failures++;
        const reason = messageOf(error);
        attempt.lastFailure = { wallMs: clock.wallMs(), reason };
        if (error instanceof NotYet && attempt.failures < PATIENT_FAILURES)
          this.#world.log.debug('care.not_yet', { subject, reason, failures: attempt.failures });
        else if (attempt.failures === (error instanceof NotYet ? PATIENT_FAILURES : 1))
          this.#world.tell('error', failed, subject, reason);
        else this.#world.log.warn(failed, { subject, reason, failures: attempt.failures });
      },
    );
  }

  /** What nothing calls for any more is well, whoever has put it right: the next time is another incident. */
  #forgetFailures(): void {
    const nowMs = this.#world.clock.nowMs();
    for (const [subject, { running, notBeforeMs, askedMs }] of this.#attempts) {
      if (!running && nowMs >= notBeforeMs && nowMs - askedMs >= FORGET_MS) this.#attempts.delete(subject);
    }
  }

  #tellOnce(event: string, detail: string): void {
    if (this.#excuses.has(event)) return;
    this.#excuses.add(event);
    this.#world.tell('warn', event, this.#cluster.name, detail);
  }
}

function nameDivergence({ backend, extras, kind }: Divergence): string {
  return `${backend} ${kind ?? 'has'} ${extras}`;
}
