/**
 * The steps of a promotion as they are done on the servers: the thin shell around `plan.ts`. Each step is one
 * method of doing and, where there is one, one of undoing; each ends within a bound, can be done twice, and answers
 * in words what it did. Nothing here decides what comes next.
 *
 * What a step has learnt that a later one, or an undoing, needs is in the *notes*, which are kept in the journal: a
 * promotion that was cut off is taken up by another process.
 */
import { sleep, type Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { ReplicationFacts, ServerFacts } from '../monitor/observation.ts';
import type { BackendOverride } from '../topology/state-file.ts';
import type { Decision } from './check.ts';
import { elect, type Election } from './election.ts';
import { extrasOver, lacksOwn } from './history.ts';
import type { StepName } from './plan.ts';
import { semiSyncCovers } from './semi-sync.ts';
import type { OpenServer, ServerControl } from './server-control.ts';
import { descendsFrom, memberOf, type Member, type Survey } from './survey.ts';

/** What workers are asked to hold, and which server to leave (`hold-writes` of the messages between the planes). */
export interface HoldWrites {
  readonly cluster: string;
  readonly backend: string | null;
  readonly graceMs: number;
  readonly kind: 'switchover' | 'failover';
  readonly reason: string;
}

/** What a step needs from the rest of the control plane. */
export interface PromotionWorld {
  readonly clock: Clock;
  readonly openServer: OpenServer;
  hold(cluster: string, held: boolean): void;
  /** Has all workers leave the old primary and hold their statements; those that do not answer in time are killed. */
  holdWrites(
    request: HoldWrites,
    timeoutMs: number,
  ): Promise<{ moved: number; ended: number; workersKilled: number }>;
  /** Remembers the primary under the next epoch, on disk; answers the epoch. */
  recordPromotion(cluster: string, primary: string): Promise<number>;
  /** The epoch of the remembered primary. */
  epochOf(cluster: string): number;
  /** Writes down that the replication of servers is about to be stopped, to be started again. */
  takeInHand(cluster: string, backends: readonly string[]): Promise<void>;
  /** Remembers, on disk, that the primary goes on without a replica to wait for, or no longer. */
  setAlone(cluster: string, alone: boolean): Promise<void>;
  changeSettings(changes: Readonly<Record<string, BackendOverride>>): Promise<void>;
  rwWeight(backend: string): number;
  rememberedPrimary(cluster: string): string | null;
  /** The cluster as it is known now. */
  survey(cluster: string): Survey;
  /** Looks at a backend now; false when that did not succeed. */
  checkNow(backend: string): Promise<boolean>;
  /** The primary has changed: judge the rest of the cluster by the new one. */
  rejudge(cluster: string): void;
}

/** What a step did, in words; `skipped` when there was nothing to do. */
export interface StepReport {
  readonly result: 'done' | 'skipped';
  readonly detail: string;
}

/** What a promotion has learnt so far. */
export interface Notes {
  /** Who is promoted: in a failover the election may take another than was thought at first. */
  readonly target: string;
  /** The old primary had been read-only before we came; null: that has not been read, and nothing was changed. */
  readonly wasReadOnly: boolean | null;
  /** All that the old primary has in its binary log, once nobody can write there any more. */
  readonly fencedPosition: string | null;
  /** Replicas whose receivers were stopped. */
  readonly stopped: readonly string[];
  /** Whom to remember again when the record has to be taken back. */
  readonly rememberedBefore: string | null;
  /** The state file may name the new primary. */
  readonly recordTried: boolean;
  /** The new primary may have been made writable. */
  readonly writableTried: boolean;
  /** What was lost, in words; empty: nothing that is known of. */
  readonly loss: string;
}

/** Bound of one look. */
const LOOK_TIMEOUT_MS = 2_000;
/** How often a server is asked again while waiting for something it cannot announce. */
const POLL_MS = 20;
/** How long to try to reach an old primary that is thought to be gone. */
const FENCE_GONE_TIMEOUT_MS = 1_000;

export class PromotionActions {
  readonly #world: PromotionWorld;
  readonly #cluster: ClusterConfig;
  readonly #decision: Decision;
  readonly #servers = new Map<string, ServerControl>();
  #notes: Notes;

  /** `notes` of a promotion that is taken up again. */
  constructor(world: PromotionWorld, cluster: ClusterConfig, decision: Decision, notes?: Notes) {
    this.#world = world;
    this.#cluster = cluster;
    this.#decision = decision;
    this.#notes = notes ?? {
      target: decision.target.name,
      wasReadOnly: null,
      fencedPosition: null,
      stopped: [],
      rememberedBefore: world.rememberedPrimary(cluster.name),
      recordTried: false,
      writableTried: false,
      loss: '',
    };
  }

  get notes(): Notes {
    return this.#notes;
  }

  /** Does one step; rejects with the reason when it could not be done. */
  do(step: StepName): Promise<StepReport> {
    switch (step) {
      case 'hold':
        return this.#hold();
      case 'end_sessions':
        return this.#endSessions();
      case 'stop_receivers':
        return this.#stopReceivers();
      case 'elect':
        return this.#elect();
      case 'fence':
        return this.#decision.kind === 'failover' ? this.#fenceGone() : this.#fence();
      case 'catch_up':
        return this.#decision.kind === 'switchover' ? this.#catchUpWithOld() : this.#drainRelayLog();
      case 'stop_replication':
        return this.#stopReplication();
      case 'record':
        return this.#record();
      case 'make_writable':
        return this.#makeWritable();
      case 'weights':
        return this.#swapWeights();
      case 'publish':
        return this.#publish();
      case 'repoint':
        return this.#repoint();
      case 'semi_sync':
        return this.#carrySemiSync();
    }
  }

  /** Takes one step back; rejects with the reason when it could not be. */
  undo(step: StepName): Promise<string> {
    switch (step) {
      case 'hold':
        return this.#release();
      case 'stop_receivers':
        return this.#startReceivers();
      case 'fence':
        return this.#unfence();
      case 'stop_replication':
        return this.#restartReplication();
      case 'record':
        return this.#recordBack();
      case 'make_writable':
        return this.#makeReadOnlyAgain();
      case 'end_sessions':
      case 'elect':
      case 'catch_up':
      case 'weights':
      case 'publish':
      case 'repoint':
      case 'semi_sync':
        return Promise.reject(new Error(`step ${step} has no way back`));
    }
  }

  /** Closes the connections to the servers. */
  close(): void {
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
  }

  // ---- the steps, in their order -------------------------------------------------------------------

  async #hold(): Promise<StepReport> {
    this.#world.hold(this.#cluster.name, true);
    return done('statements that need the primary wait');
  }

  async #endSessions(): Promise<StepReport> {
    const { old, kind } = this.#decision;
    if (old === null || kind === 'adopt') return skipped('there is no old primary');
    const { name: cluster, holdTimeoutMs, transactionGraceMs } = this.#cluster;
    // A worker needs some of hold_timeout to answer, and a dead server's transactions cannot end well.
    const graceMs = kind === 'failover' ? 0 : Math.min(transactionGraceMs, holdTimeoutMs / 2);
    const reason = `${this.#notes.target} becomes the primary instead of ${old.name}`;
    const request = { cluster, backend: old.name, graceMs, kind, reason };
    const { moved, ended, workersKilled } = await this.#world.holdWrites(request, holdTimeoutMs);
    const killed = workersKilled === 0 ? '' : `; ${workersKilled} worker(s) did not answer and were killed`;
    return done(
      `${moved} client session(s) have left ${old.name}, ${ended} had something there that ended${killed}`,
    );
  }

  /** On every replica of the old primary that can be reached; one that cannot has no say in the election. */
  async #stopReceivers(): Promise<StepReport> {
    const survey = this.#world.survey(this.#cluster.name);
    const old = memberOf(survey, this.#oldBackend().name);
    const replicas = survey.members.filter(
      (member) =>
        old !== undefined &&
        member !== old &&
        member.record.reach !== 'down' &&
        descendsFrom(survey, member, old),
    );
    const names = replicas.map(({ backend }) => backend.name);
    this.#note({ stopped: [...new Set([...this.#notes.stopped, ...names])] });
    await this.#world.takeInHand(this.#cluster.name, names);
    const outcomes = await Promise.allSettled(
      replicas.map(async ({ backend }) => (await this.#server(backend)).stopReceiver()),
    );
    const failures = outcomes.flatMap((outcome, index) =>
      outcome.status === 'rejected' ? [`${names[index]}: ${messageOf(outcome.reason)}`] : [],
    );
    // One that goes on receiving may go on acknowledging what the old primary writes.
    if (failures.length > 0) throw new Error(failures.join('; '));
    return done(`${names.join(', ')} receive(s) nothing more from ${this.#oldBackend().name}`);
  }

  async #elect(): Promise<StepReport> {
    const { only, force } = this.#decision;
    const before = this.#world.survey(this.#cluster.name);
    const members = await Promise.all(before.members.map((member) => this.#lookAgain(member)));
    const survey: Survey = { ...before, members };
    const old = memberOf(survey, this.#oldBackend().name);
    if (old === undefined) throw new Error(`${this.#oldBackend().name} is not in the cluster`);
    const election = elect(survey, old, { only, force });
    if (election.winner === null) throw new Error(election.reason);
    const uncovered = semiSyncCovers(survey, old, election.winner.name);
    if (uncovered !== null && !force) throw new Error(uncovered);
    const loss = [election.loss, uncovered ?? ''].filter((part) => part !== '').join('; ');
    this.#note({ target: election.winner.name, loss });
    return done(`${describe(election)}${loss === '' ? '' : `; it may lack: ${loss}`}`);
  }

  async #fence(): Promise<StepReport> {
    const old = await this.#server(this.#oldBackend());
    const { holdTimeoutMs } = this.#cluster;
    if (this.#notes.wasReadOnly === null) {
      this.#note({ wasReadOnly: (await old.look(LOOK_TIMEOUT_MS)).readOnly });
    }
    await old.makeReadOnly(holdTimeoutMs, true);
    const { position } = await old.look(LOOK_TIMEOUT_MS);
    this.#note({ fencedPosition: position });
    return done(`${old.backend.name} is read-only at ${position || 'an empty binary log'}`);
  }

  /**
   * An old primary that cannot be reached is fenced when it comes back (see `caretaker.ts`). One that answers, only
   * does not write, must be fenced now, or be unable to acknowledge anything: its replicas do not receive any more.
   */
  async #fenceGone(): Promise<StepReport> {
    const old = this.#oldBackend();
    const isReachable = memberOf(this.#world.survey(this.#cluster.name), old.name)?.record.reach === 'up';
    if (!isReachable) return skipped(`${old.name} is not to be reached; it is fenced when it comes back`);
    try {
      const server = await this.#server(old);
      await server.makeReadOnly(Math.min(FENCE_GONE_TIMEOUT_MS, this.#cluster.holdTimeoutMs), true);
      this.#note({ wasReadOnly: false });
      return done(`${old.name} is read-only`);
    } catch (error) {
      if (this.#cluster.semiSync !== 'require') throw error;
      return skipped(`${messageOf(error)}; it can acknowledge nothing, as no replica receives from it`);
    }
  }

  async #catchUpWithOld(): Promise<StepReport> {
    const position = this.#notes.fencedPosition ?? '';
    if (position === '') return skipped('the old primary has never written anything');
    const target = await this.#target();
    await this.#waitsForNobody(target);
    const applied = await this.#waitUntil(this.#cluster.catchUpTimeoutMs, async () => {
      if (await target.hasApplied(position)) return true;
      throwWhenApplierStopped(target.backend.name, (await target.look(LOOK_TIMEOUT_MS)).replication);
      return false;
    });
    if (!applied) throw new Error(this.#tooSlow(`${target.backend.name} has not applied ${position}`));
    const old = await (await this.#server(this.#oldBackend())).look(LOOK_TIMEOUT_MS);
    const extras = extrasOver(await target.look(LOOK_TIMEOUT_MS), old);
    if (extras.count !== 0n && !this.#decision.force) {
      throw new Error(`${target.backend.name} has what ${this.#oldBackend().name} has not: ${extras.detail}`);
    }
    return done(`${target.backend.name} has applied ${position}, all that ${this.#oldBackend().name} had`);
  }

  /** Without the old primary, all there is to wait for is what had been received from it. */
  async #drainRelayLog(): Promise<StepReport> {
    const target = await this.#target();
    const { name } = target.backend;
    await this.#waitsForNobody(target);
    const drained = await this.#waitUntil(this.#cluster.catchUpTimeoutMs, async () => {
      const { replication } = await target.look(LOOK_TIMEOUT_MS);
      if (replication === null || replication.drained) return true;
      throwWhenApplierStopped(name, replication);
      await sleep(this.#world.clock, POLL_MS);
      return false;
    });
    const rest = `what ${this.#oldBackend().name} had not sent yet stays there`;
    if (drained) return done(`${name} has applied all it received; ${rest}`);
    const slow = this.#tooSlow(`${name} has not applied all it received`);
    if (this.#cluster.failoverData === 'wait' && !this.#decision.force) throw new Error(slow);
    this.#note({
      loss: [this.#notes.loss, `what ${name} had received and not applied`].filter(Boolean).join('; '),
    });
    return done(
      `${slow}; it is promoted without that, as ${this.#decision.force ? 'FORCE' : 'failover_data'} says; ${rest}`,
    );
  }

  async #stopReplication(): Promise<StepReport> {
    const target = await this.#target();
    const sourceIsGone = this.#decision.kind === 'failover';
    const oddity = await target.stopReplication(sourceIsGone, this.#cluster.catchUpTimeoutMs);
    return done(`replication is stopped on ${target.backend.name}${oddity}`);
  }

  async #record(): Promise<StepReport> {
    const { target, recordTried } = this.#notes;
    const { name: cluster } = this.#cluster;
    if (recordTried && this.#world.rememberedPrimary(cluster) === target) {
      return skipped(
        `${target} is the primary of epoch ${this.#world.epochOf(cluster)} in the state file already`,
      );
    }
    this.#note({ recordTried: true });
    const epoch = await this.#world.recordPromotion(cluster, target);
    return done(`${target} is the primary of epoch ${epoch} in the state file`);
  }

  /** The epoch is written down there first, so that who finds it writable finds out in which epoch it is. */
  async #makeWritable(): Promise<StepReport> {
    const target = await this.#target();
    const { name } = target.backend;
    const epoch = this.#world.epochOf(this.#cluster.name);
    const { replication } = await target.look(LOOK_TIMEOUT_MS);
    if (replication !== null && (replication.receiver !== 'stopped' || replication.applier !== 'stopped')) {
      await target.stopReplication(true, this.#cluster.catchUpTimeoutMs);
    }
    // A source that is only stopped would be followed again after the server's next restart.
    await target.forgetSource();
    await this.#waitsForNobody(target);
    this.#note({ writableTried: true });
    await target.noteEpoch({ cluster: this.#cluster.name, epoch, backend: name });
    // From the first write on: it waits until a replica follows, or until it is let go on alone.
    if (this.#cluster.semiSync === 'require') await target.setSemiSync('primary', true);
    await target.makeWritable();
    return done(`${name} is writable in epoch ${epoch} and follows nobody`);
  }

  /** A server that could not be elected becomes the primary: it takes the weight over, as the older scripts expect. */
  async #swapWeights(): Promise<StepReport> {
    const { target } = this.#notes;
    if (this.#world.rwWeight(target) > 0) return skipped(`${target} has an rw_weight already`);
    const old = this.#oldBackend().name;
    const weight = this.#world.rwWeight(old) || 1;
    await this.#world.changeSettings({ [old]: { rwWeight: 0 }, [target]: { rwWeight: weight } });
    return done(`rw_weight of ${target} is ${weight}, of ${old} 0`);
  }

  async #publish(): Promise<StepReport> {
    const { target } = this.#notes;
    // The new snapshot must be made of what the server is now, not of what it was a second ago.
    const seen = await this.#world.checkNow(target);
    this.#world.rejudge(this.#cluster.name);
    this.#world.hold(this.#cluster.name, false);
    if (!seen) throw new Error(`${target} does not answer, so its writes wait`);
    return done(`${target} takes the writes`);
  }

  async #repoint(): Promise<StepReport> {
    const backends = this.#followersToBe();
    if (backends.length === 0) await this.#startOthers([]);
    if (backends.length === 0) return skipped('no other server is alive that is to follow it');
    const target = this.#targetBackend();
    const outcomes = await Promise.allSettled(backends.map((backend) => this.#follow(backend, target)));
    await this.#startOthers(backends);
    await Promise.all(backends.map((backend) => this.#world.checkNow(backend.name)));
    const failures = outcomes.flatMap((outcome, index) =>
      outcome.status === 'rejected' ? [`${backends[index]!.name}: ${messageOf(outcome.reason)}`] : [],
    );
    if (failures.length > 0) throw new Error(failures.join('; '));
    return done(`${backends.map(({ name }) => name).join(', ')} follow(s) ${target.name}`);
  }

  /**
   * The new primary waits for acknowledgements as soon as there is somebody to give them. Where it must and there is
   * nobody, it goes on alone by a decision that is on disk first.
   */
  async #carrySemiSync(): Promise<StepReport> {
    const { semiSync, name: cluster } = this.#cluster;
    if (semiSync === 'off') return skipped('semi_sync = off');
    const target = await this.#target();
    const { name } = target.backend;
    const hasReplica = await this.#anyFollows();
    if (hasReplica) {
      await target.setSemiSync('replica', false).catch(() => undefined);
      await target.setSemiSync('primary', true);
      await this.#world.setAlone(cluster, false);
      return done(`${name} acknowledges a write when a replica has it`);
    }
    if (semiSync === 'require') {
      await this.#world.setAlone(cluster, true);
      await target.setSemiSync('primary', false);
    }
    return skipped(
      `no replica follows ${name}, so it acknowledges writes alone until one has caught up; what is lost with ${name} before that is lost`,
    );
  }

  // ---- the ways back -------------------------------------------------------------------------------

  async #release(): Promise<string> {
    const { old } = this.#decision;
    for (const name of [old?.name, this.#notes.target]) {
      if (name !== undefined) await this.#world.checkNow(name);
    }
    this.#world.rejudge(this.#cluster.name);
    this.#world.hold(this.#cluster.name, false);
    return 'writes go on as before';
  }

  async #startReceivers(): Promise<string> {
    // Who was asked to stop is known unless that was cut off: then all are asked to go on that replicate.
    const { stopped } = this.#notes;
    const replicas = this.#world
      .survey(this.#cluster.name)
      .members.filter(({ record }) => (record.facts?.replication ?? null) !== null);
    const backends = replicas
      .map(({ backend }) => backend)
      .filter(({ name }) => stopped.length === 0 || stopped.includes(name));
    const outcomes = await Promise.allSettled(
      backends.map(async (backend) => (await this.#server(backend)).startReplication()),
    );
    const failures = outcomes.flatMap((outcome, index) =>
      outcome.status === 'rejected' ? [`${backends[index]!.name}: ${messageOf(outcome.reason)}`] : [],
    );
    if (failures.length > 0) throw new Error(failures.join('; '));
    return `${backends.map(({ name }) => name).join(', ') || 'nobody'} receive(s) again`;
  }

  async #unfence(): Promise<string> {
    const { name } = this.#oldBackend();
    if (this.#notes.wasReadOnly === null) return `${name} had not been touched`;
    if (this.#notes.wasReadOnly) return `${name} is read-only, as it was before`;
    await (await this.#server(this.#oldBackend())).makeWritable();
    return `${name} is writable again`;
  }

  /** Starts the replica again; one whose source has been forgotten by now is pointed at it anew. */
  async #restartReplication(): Promise<string> {
    const target = await this.#target();
    const { replication } = await target.look(LOOK_TIMEOUT_MS);
    if (replication === null) await target.follow(this.#oldBackend(), this.#cluster.holdTimeoutMs, false);
    else await target.startReplication();
    return `${target.backend.name} replicates again`;
  }

  async #recordBack(): Promise<string> {
    const { recordTried, rememberedBefore, target } = this.#notes;
    if (!recordTried) return 'the state file had not been changed';
    // A write that was reported as failed may be on the disk all the same: only a newer one is sure.
    const before = rememberedBefore ?? this.#decision.old?.name ?? null;
    if (before === null) return `${target} may stay remembered: nobody was before it`;
    const epoch = await this.#world.recordPromotion(this.#cluster.name, before);
    return `${before} is the primary of epoch ${epoch} in the state file`;
  }

  async #makeReadOnlyAgain(): Promise<string> {
    const { old } = this.#decision;
    const { target, writableTried } = this.#notes;
    if (!writableTried) return `${target} had not been made writable`;
    try {
      await (await this.#target()).makeReadOnly(this.#cluster.holdTimeoutMs, true);
    } catch (error) {
      const fenced =
        old === null ? '' : `, so ${old.name} is left as it is and is not given the writes again`;
      throw new Error(
        `${target} may be writable (${messageOf(error)})${fenced}; ${target} is remembered as the primary: when it answers, PROMOTE ${target} if it is read-only`,
        { cause: error },
      );
    }
    return `${target} is read-only`;
  }

  // ---- helpers -------------------------------------------------------------------------------------

  #note(news: Partial<Notes>): void {
    this.#notes = { ...this.#notes, ...news };
  }

  #members(): BackendConfig[] {
    return this.#world.survey(this.#cluster.name).members.map(({ backend }) => backend);
  }

  /** What is known of a member, with what it is now; one that does not answer is as good as gone. */
  async #lookAgain(member: Member): Promise<Member> {
    if (member.backend.name === this.#decision.old?.name || member.record.reach === 'down') return member;
    try {
      const facts: ServerFacts = await (await this.#server(member.backend)).look(LOOK_TIMEOUT_MS);
      return { ...member, record: { ...member.record, facts, reach: 'up', reachReason: '' } };
    } catch (error) {
      return { ...member, record: { ...member.record, reach: 'suspect', reachReason: messageOf(error) } };
    }
  }

  /** Who is to follow the new primary: all that answer and do not follow it, through others or directly. */
  #followersToBe(): BackendConfig[] {
    const survey = this.#world.survey(this.#cluster.name);
    const target = memberOf(survey, this.#notes.target);
    const old = memberOf(survey, this.#decision.old?.name ?? null);
    return survey.members
      .filter((member) => {
        if (member === target || target === undefined || member.record.reach === 'down') return false;
        // An old primary that was lost is looked into before it follows anybody.
        if (member === old) return this.#decision.kind === 'switchover';
        const replicates = (member.record.facts?.replication ?? null) !== null;
        return replicates && !descendsFrom(survey, member, target);
      })
      .map(({ backend }) => backend);
  }

  /** Whose receivers were stopped and who stay where they are: below the new primary already. */
  async #startOthers(moved: readonly BackendConfig[]): Promise<void> {
    const { stopped, target } = this.#notes;
    const old = this.#decision.old?.name;
    const left = this.#members().filter(
      ({ name }) =>
        stopped.includes(name) && name !== target && name !== old && !moved.some((one) => one.name === name),
    );
    // Who cannot be asked now is started when it is seen again: it is in hand.
    await Promise.allSettled(left.map(async (backend) => (await this.#server(backend)).startReplication()));
  }

  async #follow(backend: BackendConfig, source: BackendConfig): Promise<void> {
    const server = await this.#server(backend);
    if (this.#cluster.semiSync !== 'off') {
      await server.setSemiSync('primary', false).catch(() => undefined);
      await server.setSemiSync('replica', true).catch(() => undefined);
    }
    const own = await server.look(LOOK_TIMEOUT_MS);
    const theirs = await (await this.#target()).look(LOOK_TIMEOUT_MS);
    // Who was not there when it was elected may have received more.
    if (this.#decision.kind === 'failover') {
      const extras = extrasOver(own, theirs);
      if (extras.count !== 0n) throw new Error(`it has what ${source.name} has not: ${extras.detail}`);
    }
    await this.#world.takeInHand(this.#cluster.name, [backend.name]);
    await server.follow(source, this.#cluster.holdTimeoutMs, lacksOwn(own, theirs));
  }

  /** Until the step semi_sync says so: its applier, and its own first writes, would wait for replicas that it has not. */
  async #waitsForNobody(target: ServerControl): Promise<void> {
    if (this.#cluster.semiSync !== 'off') await target.setSemiSync('primary', false);
  }

  async #anyFollows(): Promise<boolean> {
    const survey = this.#world.survey(this.#cluster.name);
    const target = memberOf(survey, this.#notes.target);
    for (const member of survey.members) {
      if (member === target || target === undefined || member.record.reach === 'down') continue;
      try {
        const { replication } = await (await this.#server(member.backend)).look(LOOK_TIMEOUT_MS);
        const follows = replication?.sourceServerId === target.record.facts?.serverId;
        if (replication?.receiver === 'running' && follows) return true;
      } catch {
        // One that cannot be asked does not follow, as far as acknowledgements go.
      }
    }
    return false;
  }

  #target(): Promise<ServerControl> {
    return this.#server(this.#targetBackend());
  }

  #targetBackend(): BackendConfig {
    const { target } = this.#notes;
    const found = this.#members().find(({ name }) => name === target);
    if (found === undefined) throw new Error(`${target} is not in the cluster`);
    return found;
  }

  #oldBackend(): BackendConfig {
    const { old } = this.#decision;
    if (old === null) throw new Error('this promotion has no old primary');
    return old;
  }

  /** The connection to a server: the one at hand, or a new one. */
  async #server(backend: BackendConfig): Promise<ServerControl> {
    const kept = this.#servers.get(backend.name);
    if (kept !== undefined) return kept;
    const server = await this.#world.openServer(backend, this.#cluster);
    this.#servers.set(backend.name, server);
    return server;
  }

  /** Asks until the answer is yes or the time is over; `ask` does its own waiting in between. */
  async #waitUntil(timeoutMs: number, ask: () => Promise<boolean>): Promise<boolean> {
    const endMs = this.#world.clock.nowMs() + timeoutMs;
    do {
      if (await ask()) return true;
    } while (this.#world.clock.nowMs() < endMs);
    return false;
  }

  #tooSlow(what: string): string {
    return `${what} within catch_up_timeout (${this.#cluster.catchUpTimeoutMs} ms)`;
  }
}

function describe({ winner, candidacies }: Election): string {
  const others = candidacies
    .filter(({ outcome }) => outcome !== 'elected')
    .map(({ backend, reason }) => `${backend} (${reason})`);
  return `${winner!.name} is elected${others.length === 0 ? '' : `, not ${others.join(', ')}`}`;
}

function throwWhenApplierStopped(name: string, replication: ReplicationFacts | null): void {
  if (replication?.applier !== 'stopped') return;
  const error = replication.applierError === '' ? '' : `: ${replication.applierError}`;
  throw new Error(`the applier of ${name} has stopped${error}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function done(detail: string): StepReport {
  return { result: 'done', detail };
}

function skipped(detail: string): StepReport {
  return { result: 'skipped', detail };
}
