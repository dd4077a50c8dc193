/**
 * REJOIN: brings a server back as a replica that has what nobody else has. What it has is read out of its binary log
 * and saved first; then it is made again at the primary as far as nothing stands against it (APPEND), undone where it
 * is, and forgotten there; then the server follows. A server that has nothing of its own only follows.
 */
import { messageOf } from '../base/message-of.ts';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import { copyAdvice, describeDivergence } from '../topology/divergence-words.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import { followByPlace, hasNothingOfItsOwn } from './follow-by-place.ts';
import {
  describeReminder,
  Diverged,
  extrasOver,
  heldBy,
  historyToBeginWith,
  lacksOwn,
  ownExtras,
  passedOver,
  whyItsPlaceIsUnknown,
  type Extras,
} from './history.ts';
import { appendLost, forgetLost, undoLost, undoObstacles } from './lost/apply.ts';
import { atServer, textOf } from './lost/connection.ts';
import { noteUndone } from './lost/files.ts';
import {
  countHarmless,
  describeFound,
  isOnlyOurs,
  warningOfTwice,
  whyInDoubt,
  type Found,
} from './lost/found.ts';
import { missingRights } from './lost/rights.ts';
import { standingOf } from './place.ts';
import { LostSearch, RejoinEnds, STATEMENT_TIMEOUT_MS } from './rejoin-search.ts';
import { takeReplicaSide } from './replica-side.ts';
import { LOOK_TIMEOUT_MS, type OpenServer, type ServerControl } from './server-control.ts';
import { factsInCluster, followsServer, isSeen, memberOf, type SeenMember, type Survey } from './survey.ts';
import type { Turn } from './turns.ts';

export type RejoinMode = 'plain' | 'append' | 'discard';

export interface RejoinRequest {
  readonly backend: string;
  readonly mode: RejoinMode;
  readonly dryRun: boolean;
  /** Nothing of anybody's is undone but dbproxy's own. */
  readonly onlyOurs?: boolean;
}

/** What REJOIN needs of the rest of the control plane. */
export interface RejoinWorld {
  readonly clock: Clock;
  readonly stateDir: string;
  /** In which all of it is done, or no more of it when a promotion begins. */
  readonly turn: Turn;
  /** Opens servers that are acted on in this turn alone. */
  readonly openServer: OpenServer;
  survey(): Survey;
  /** What else is being done to the servers of the cluster, in words; null: nothing. */
  inTheWay(): string | null;
  takeInHand(backends: readonly string[]): Promise<void>;
  checkNow(backend: string): Promise<boolean>;
}

/** One that somebody has put there, as far as we may see it. */
const ANY_TABLE = `SELECT CONCAT(table_schema, '.', table_name) AS name FROM information_schema.tables
  WHERE table_type = 'BASE TABLE'
  AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') LIMIT 1`;
const FENCE_TIMEOUT_MS = 10_000;

/**
 * Does it and answers the steps; rejects with DBPROXY_REJOIN_REFUSED (nothing was changed) or DBPROXY_REJOIN_FAILED. A dry
 * run answers in any case: why it would be refused is its last row.
 */
export async function rejoin(request: RejoinRequest, world: RejoinWorld): Promise<PromoteStep[]> {
  const run = new Rejoining(request, world);
  try {
    return await run.carryOut();
  } catch (error) {
    if (!request.dryRun) throw error;
    return run.foretellEnd(error);
  } finally {
    run.close();
  }
}

/** What was saved of a server that has what nobody else has. */
export interface SavedLost {
  /** How much, and where. */
  readonly detail: string;
  /** All of it is dbproxy's own (heartbeats): nobody misses it. */
  readonly isOnlyOurs: boolean;
}

/** Reads out what a server has that the primary has not, and saves it. */
export async function saveLost(backend: string, world: RejoinWorld): Promise<SavedLost> {
  const run = new Rejoining({ backend, mode: 'plain', dryRun: false }, world);
  try {
    return await run.save();
  } finally {
    run.close();
  }
}

/**
 * Undoes what only this server has, as long as that is dbproxy's own, and has it follow the primary. It may have been
 * written to since that was found, until it is fenced: refused when there is more behind the fence.
 */
export async function discardLost(backend: string, world: RejoinWorld): Promise<void> {
  await rejoin({ backend, mode: 'discard', dryRun: false, onlyOurs: true }, world);
}

class Rejoining {
  readonly #request: RejoinRequest;
  readonly #world: RejoinWorld;
  readonly #cluster: ClusterConfig;
  readonly #ends: RejoinEnds;
  readonly #search: LostSearch;
  readonly #steps: PromoteStep[] = [];
  #isUndone = false;
  #refusal: string | null = null;
  /** Of APPEND, once it is done: whatever comes then, that stays. */
  #appended: string | null = null;

  constructor(request: RejoinRequest, world: RejoinWorld) {
    this.#request = request;
    this.#world = world;
    this.#cluster = world.survey().cluster;
    this.#ends = new RejoinEnds(world);
    this.#search = new LostSearch(world, this.#ends);
  }

  close(): void {
    this.#ends.close();
  }

  async carryOut(): Promise<PromoteStep[]> {
    const { dryRun } = this.#request;
    const { member, primary } = this.#check();
    const server = await this.#ends.server(member.backend);
    const source = await this.#ends.server(primary.backend);
    if (followsServer(member, primary) && (await this.#followsWell(server, source))) {
      this.#tell(
        'follow',
        `it follows ${primary.backend.name} already, and has nothing of its own`,
        'skipped',
      );
      return this.#steps;
    }
    await this.#refuseUnknown(server);
    if (!dryRun) {
      await this.#do('fence', async () => {
        await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
        return 'it is read-only, and the sessions of its clients were ended';
      });
    }
    const extras = await this.#extrasOf(server, source);
    if (extras.count === 0n) {
      this.#tell('compare', `it has nothing that ${primary.backend.name} has not`);
    } else {
      this.#tell('compare', `it has what ${primary.backend.name} has not: ${extras.detail}`);
      const isSettled = await this.#settle(member.backend, primary.backend, server);
      if (!isSettled) return this.#steps;
    }
    if (dryRun) this.#tell('follow', `it would follow ${primary.backend.name}`);
    else await this.#follow(server, primary.backend);
    return this.#steps;
  }

  /** What a dry run has found, with what it has come to an end at. */
  foretellEnd(error: unknown): PromoteStep[] {
    this.#tell('check', this.#refusal ?? messageOf(error), this.#refusal === null ? 'failed' : 'refused');
    return this.#steps;
  }

  async save(): Promise<SavedLost> {
    const { member, primary } = this.#check();
    const { files, found } = await this.#search.save(member.backend, primary.backend);
    return {
      detail: `${this.#describe(found, primary.backend)}; saved in ${files}`,
      isOnlyOurs: isOnlyOurs(found),
    };
  }

  /** From where it would follow must be known: all that it has would come a second time. */
  async #refuseUnknown(server: ServerControl): Promise<void> {
    const { backend } = server;
    const facts = await server.look(LOOK_TIMEOUT_MS);
    const why = whyItsPlaceIsUnknown(backend.name, facts);
    if (why !== null) throw this.#refused(why);
    if (!facts.hasGtid || facts.replication !== null || heldBy(facts) !== '') return;
    const connection = atServer(backend.name, await this.#ends.connect(backend));
    const [table] = await connection.run(ANY_TABLE, STATEMENT_TIMEOUT_MS);
    if (table === undefined) return;
    const name = textOf(table['name']);
    throw this.#refused(
      `it says that it has nothing, and has data (${name}), which would come a second time; ${copyAdvice(backend.name)}`,
    );
  }

  /** It replicates, and has written nothing itself that the primary has not; refused when it has. */
  async #followsWell(server: ServerControl, source: ServerControl): Promise<boolean> {
    const own = await server.look(LOOK_TIMEOUT_MS);
    const theirs = await source.look(LOOK_TIMEOUT_MS);
    const extras = ownExtras(own, theirs);
    const missing = passedOver(own, theirs);
    if (missing !== null) {
      const { name } = server.backend;
      const lack = describeDivergence({ backend: name, extras: missing, kind: 'lacks' }, source.backend.name);
      throw this.#refused(`it ${lack}; ${copyAdvice(name)}`);
    }
    if (extras !== null) {
      throw this.#refused(
        `it follows ${source.backend.name}, with transactions of its own in between: ${extras}; ${copyAdvice(server.backend.name)}`,
      );
    }
    return own.replication?.receiver === 'running' && own.replication.applier === 'running';
  }

  async #extrasOf(server: ServerControl, source: ServerControl): Promise<Extras> {
    const survey = this.#world.survey();
    const own = factsInCluster(survey, server.backend, await server.look(LOOK_TIMEOUT_MS));
    const theirs = await source.look(LOOK_TIMEOUT_MS);
    if (own.hasGtid) return extrasOver(own, theirs);
    const { handover } = survey;
    const standing = standingOf(own, theirs, handover, false);
    if (standing.kind === 'unknown')
      throw this.#refused(`${standing.why}: it needs a fresh copy of the data of ${source.backend.name}`);
    // A replica is looked at when it is moved.
    if (standing.kind !== 'old_primary') return { count: 0n, detail: '' };
    try {
      await hasNothingOfItsOwn(server, source.backend, handover!);
      return { count: 0n, detail: '' };
    } catch (error) {
      if (error instanceof Diverged) return { count: null, detail: error.extras };
      throw this.#refused(messageOf(error));
    }
  }

  // ---- the steps -----------------------------------------------------------------------------------

  #check(): { member: SeenMember; primary: SeenMember } {
    const survey = this.#world.survey();
    const { backend } = this.#request;
    const member = memberOf(survey, backend);
    const primary = memberOf(survey, survey.remembered);
    const inTheWay = this.#world.inTheWay();
    if (inTheWay !== null) throw this.#refused(`${inTheWay} is under way; wait for its end`);
    if (member === undefined) throw this.#refused('there is no such backend in the cluster');
    if (primary === undefined) throw this.#refused('the cluster has no primary that it could follow');
    if (member === primary) throw this.#refused('it is the primary');
    if (!isSeen(primary) || primary.record.facts.readOnly) {
      throw this.#refused(`the primary ${primary.backend.name} does not take writes now`);
    }
    if (!isSeen(member)) throw this.#refused(`it does not answer well: ${member.record.reachReason}`);
    return { member, primary };
  }

  /**
   * What it has of its own is saved; then, as the operator wants, made again elsewhere, and undone here. False: a dry
   * run has found that it cannot be undone.
   */
  async #settle(backend: BackendConfig, primary: BackendConfig, server: ServerControl): Promise<boolean> {
    const { mode, dryRun } = this.#request;
    if (dryRun) return this.#foretell(backend, primary);
    let found: Found | null = null;
    await this.#do('save', async () => {
      const saved = await this.#search.save(backend, primary);
      found = saved.found;
      return `${this.#describe(found, primary)}; saved in ${saved.files}`;
    });
    if (mode === 'plain' && found!.lost.doubtful.length === 0) {
      throw this.#refused(
        `${this.#describe(found!, primary)}: SHOW LOST TRANSACTIONS ${backend.name} lists them; REJOIN ${backend.name} APPEND makes the harmless ones again at ${primary.name}, DISCARD does not, and both undo them here${warningOfTwice(countHarmless(found!))}`,
      );
    }
    if (this.#request.onlyOurs === true && !isOnlyOurs(found!)) {
      throw this.#refused(
        `${this.#describe(found!, primary)}: that is not only dbproxy's own any more, so it is not undone without an operator`,
      );
    }
    await this.#refuseHalfWays(found!, backend, primary);
    if (mode === 'append') {
      // What is written at the primary must be there before a promotion fences it.
      const append = (): Promise<string> => this.#append(found!, primary);
      await this.#do('append', async () => {
        this.#appended = await this.#world.turn.act(primary.name, append);
        return this.#appended;
      });
    }
    await this.#do('undo', () => this.#undo(found!, backend, server));
    return true;
  }

  /** Says what #settle would do; false: not all of it. */
  async #foretell(backend: BackendConfig, primary: BackendConfig): Promise<boolean> {
    const { mode } = this.#request;
    const found = await this.#search.find(backend, primary);
    const what = this.#describe(found, primary);
    this.#tell('save', `${what}; all would be saved under lost/ of state_dir`);
    if (mode === 'plain') {
      const warning = warningOfTwice(countHarmless(found));
      throw this.#refused(`${what}: say APPEND or DISCARD${warning}`);
    }
    await this.#refuseHalfWays(found, backend, primary);
    if (mode === 'append') {
      const count = countHarmless(found);
      this.#tell('append', `${count} would be made again at ${primary.name}${warningOfTwice(count)}`);
    }
    const obstacles = undoObstacles(found.lost);
    if (obstacles.length === 0) {
      this.#tell(
        'undo',
        'all of them would be undone here, as far as their rows are still as they left them',
      );
      return true;
    }
    this.#tell('undo', `it would fail here: ${obstacles.join('; ')}; ${copyAdvice(backend.name)}`);
    return false;
  }

  /** What would stop half-way, with something made again or undone and the server of no use, is not begun. */
  async #refuseHalfWays(found: Found, backend: BackendConfig, primary: BackendConfig): Promise<void> {
    const doubt = whyInDoubt(found, primary.name);
    if (doubt !== null) throw this.#refused(`${doubt}: compare the data; ${copyAdvice(backend.name)}`);
    if (backend.channel !== undefined) {
      throw this.#refused(
        `${this.#describe(found, primary)}: a server forgets ids of its own only with all its channels stopped, and dbproxy touches none but ${backend.channel}; it needs a fresh copy of the data of ${primary.name}`,
      );
    }
    const { monitorUser } = this.#cluster;
    const { tables } = found.lost;
    const ends = [
      [backend, 'old primary'],
      [primary, 'new primary'],
    ] as const;
    for (const [server, end] of ends) {
      const { name } = server;
      const connection = atServer(name, await this.#ends.connect(server));
      const missing = await missingRights(connection, monitorUser, end, tables, STATEMENT_TIMEOUT_MS);
      if (missing.length > 0)
        throw this.#refused(
          `${monitorUser} may not do all that this takes; say on ${name}: SET SESSION sql_log_bin = 0; ${missing.join('; ')}`,
        );
    }
  }

  #describe(found: Found, { name }: BackendConfig): string {
    const doubt = whyInDoubt(found, name);
    return doubt === null
      ? describeFound(found)
      : `${describeFound(found)}, if they are lost at all: ${doubt}`;
  }

  async #append({ lost }: Found, primary: BackendConfig): Promise<string> {
    const connection = atServer(primary.name, await this.#ends.connect(primary));
    const outcomes = await appendLost(lost.transactions, connection, STATEMENT_TIMEOUT_MS);
    const count = (result: string): number => outcomes.filter((outcome) => outcome.result === result).length;
    const refused = outcomes.filter(({ result }) => result === 'refused').map(({ why }) => why);
    const why = refused.length === 0 ? '' : ` (${[...new Set(refused)].slice(0, 3).join('; ')})`;
    const own = count('own') === 0 ? '' : `, and ${count('own')} of dbproxy's own, which are not`;
    return `${count('appended')} made again at ${primary.name}, ${count('already_there')} were there already, ${refused.length} were not${why}${own}${warningOfTwice(count('appended'))}`;
  }

  async #undo({ lost }: Found, backend: BackendConfig, server: ServerControl): Promise<string> {
    const connection = atServer(backend.name, await this.#ends.connect(backend));
    const { hasGtid, replication, superReadOnly } = await server.look(LOOK_TIMEOUT_MS);
    if (replication !== null) {
      await server.stopReplication(true, STATEMENT_TIMEOUT_MS);
      await server.forgetSource();
    }
    // Undoing writes; nobody else can, as read_only stays.
    if (superReadOnly) await connection.run('SET GLOBAL super_read_only = 0', STATEMENT_TIMEOUT_MS);
    try {
      const outcome = await undoLost(lost, connection, STATEMENT_TIMEOUT_MS);
      if (outcome.kind === 'needs_copy') {
        const remedy = hasGtid
          ? copyAdvice(backend.name)
          : 'it needs a fresh copy of the data (docs/failover.md, "Without global ids")';
        throw new Error(`${outcome.why.join('; ')}: ${remedy}`);
      }
      this.#isUndone = true;
      const undone = `${outcome.changes} change(s) of rows undone`;
      if (!hasGtid) return `${undone}; ${this.#noteUndone(backend)}`;
      await forgetLost(lost, connection, STATEMENT_TIMEOUT_MS);
      return `${undone}, and their ids forgotten; ${this.#noteUndone(backend)}`;
    } finally {
      if (superReadOnly) await connection.run('SET GLOBAL super_read_only = 1', STATEMENT_TIMEOUT_MS);
    }
  }

  /** That it cannot be written down is no reason to stop half-way. */
  #noteUndone({ name }: BackendConfig): string {
    try {
      noteUndone(this.#world.stateDir, name);
      return 'SHOW LOST TRANSACTIONS lists them no more, their files stay';
    } catch (error) {
      return `SHOW LOST TRANSACTIONS goes on listing them (${messageOf(error)})`;
    }
  }

  async #follow(server: ServerControl, primary: BackendConfig): Promise<void> {
    await this.#do('follow', async () => {
      await takeReplicaSide(server, this.#cluster);
      await this.#world.takeInHand([server.backend.name]);
      const source = await this.#ends.server(primary);
      const own = await server.look(LOOK_TIMEOUT_MS);
      const theirs = await source.look(LOOK_TIMEOUT_MS);
      if (!own.hasGtid) {
        await followByPlace(server, source, {
          handover: this.#world.survey().handover,
          followMs: this.#cluster.holdTimeoutMs,
          catchUpMs: this.#cluster.catchUpTimeoutMs,
          receives: false,
          isUndone: this.#isUndone,
        });
        await this.#world.checkNow(server.backend.name);
        return `it follows ${primary.name}`;
      }
      await this.#tellWhoWrote(server.backend, historyToBeginWith(own, theirs));
      const isShort = lacksOwn(own, theirs);
      await server.follow(primary, this.#cluster.holdTimeoutMs, isShort, null);
      await this.#world.checkNow(server.backend.name);
      return `it follows ${primary.name}${describeReminder(own)}`;
    });
  }

  /** To one that was filled from a backup; else it would say, once it is the primary, that it does not have theirs. */
  async #tellWhoWrote(backend: BackendConfig, history: string): Promise<void> {
    if (history === '') return;
    const connection = atServer(backend.name, await this.#ends.connect(backend));
    await connection.run(`SET GLOBAL gtid_binlog_state = '${history}'`, STATEMENT_TIMEOUT_MS);
  }

  // ---- helpers -------------------------------------------------------------------------------------

  async #do(step: string, work: () => Promise<string>): Promise<void> {
    const { clock } = this.#world;
    const startMs = clock.nowMs();
    try {
      const detail = await work();
      this.#steps.push({ step, result: 'done', detail, durationMs: Math.round(clock.nowMs() - startMs) });
    } catch (error) {
      const stays =
        this.#appended === null ? '' : `; what was made again at the primary stays there (${this.#appended})`;
      const reason = `${messageOf(error)}${stays}`;
      throw refusal('DBPROXY_REJOIN_FAILED', this.#request.backend, step, reason);
    }
  }

  #tell(
    step: string,
    detail: string,
    result: PromoteStep['result'] = this.#request.dryRun ? 'planned' : 'done',
  ): void {
    this.#steps.push({ step, result, detail, durationMs: 0 });
  }

  #refused(reason: string): Error {
    this.#refusal = reason;
    return refusal('DBPROXY_REJOIN_REFUSED', this.#request.backend, reason);
  }
}
