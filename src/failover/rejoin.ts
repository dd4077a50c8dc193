/**
 * REJOIN: brings a server back as a replica that has what nobody else has. What it has is read out of its binary log
 * and saved first; then it is made again at the primary as far as nothing stands against it (APPEND), undone where it
 * is, and forgotten there; then the server follows. A server that has nothing of its own only follows.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { PromoteStep } from '../ipc/operations.ts';
import { ControlConnection } from '../monitor/connection.ts';
import { DBPROXY_SCHEMA } from '../monitor/flavour/tables.ts';
import { extrasOver, lacksOwn } from './history.ts';
import { appendLost, forgetLost, undoLost } from './lost/apply.ts';
import { conflictsOf, isHarmless, type TransactionVerdict } from './lost/conflicts.ts';
import { collectLost, type CollectRequest } from './lost/collect.ts';
import { findLostTransactions, type LostTransactions } from './lost/find.ts';
import { readHeld } from './lost/held.ts';
import type { OpenServer, ServerControl } from './server-control.ts';
import { followsServer, isSeen, memberOf, type SeenMember, type Survey } from './survey.ts';

export type RejoinMode = 'plain' | 'append' | 'discard';

export interface RejoinRequest {
  readonly backend: string;
  readonly mode: RejoinMode;
  readonly dryRun: boolean;
}

/** What REJOIN needs of the rest of the control plane. */
export interface RejoinWorld {
  readonly clock: Clock;
  readonly stateDir: string;
  readonly openServer: OpenServer;
  survey(): Survey;
  isBusy(): boolean;
  takeInHand(backends: readonly string[]): Promise<void>;
  checkNow(backend: string): Promise<boolean>;
}

/** Bound of one look, and of a statement that has nothing to wait for. */
const LOOK_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 2_000;
const FENCE_TIMEOUT_MS = 10_000;
/** Bound of reading a binary log. */
const READ_TIMEOUT_MS = 60_000;

/** Does it and answers the steps; rejects with DBPROXY_REJOIN_REFUSED (nothing was changed) or DBPROXY_REJOIN_FAILED. */
export async function rejoin(request: RejoinRequest, world: RejoinWorld): Promise<PromoteStep[]> {
  const run = new Rejoining(request, world);
  try {
    return await run.carryOut();
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

/** Undoes what only this server has, and has it follow the primary. */
export async function discardLost(backend: string, world: RejoinWorld): Promise<void> {
  await rejoin({ backend, mode: 'discard', dryRun: false }, world);
}

interface Found {
  readonly lost: LostTransactions;
  readonly verdicts: readonly TransactionVerdict[];
}

class Rejoining {
  readonly #request: RejoinRequest;
  readonly #world: RejoinWorld;
  readonly #cluster: ClusterConfig;
  readonly #steps: PromoteStep[] = [];
  readonly #open: { close(): void }[] = [];

  constructor(request: RejoinRequest, world: RejoinWorld) {
    this.#request = request;
    this.#world = world;
    this.#cluster = world.survey().cluster;
  }

  close(): void {
    for (const connection of this.#open) connection.close();
  }

  async carryOut(): Promise<PromoteStep[]> {
    const { dryRun } = this.#request;
    const { member, primary } = this.#check();
    const server = await this.#server(member.backend);
    if (!dryRun) {
      await this.#do('fence', async () => {
        await server.makeReadOnly(FENCE_TIMEOUT_MS, true);
        return 'it is read-only, and the sessions of its clients were ended';
      });
    }
    const source = await this.#server(primary.backend);
    const extras = extrasOver(await server.look(LOOK_TIMEOUT_MS), await source.look(LOOK_TIMEOUT_MS));
    if (extras.count === 0n) {
      this.#tell('compare', `it has nothing that ${primary.backend.name} has not`);
    } else {
      this.#tell('compare', `it has what ${primary.backend.name} has not: ${extras.detail}`);
      await this.#settle(member.backend, primary.backend, server);
    }
    if (dryRun) this.#tell('follow', `it would follow ${primary.backend.name}`);
    else await this.#follow(server, primary.backend);
    return this.#steps;
  }

  async save(): Promise<SavedLost> {
    const { member, primary } = this.#check();
    const { files, found } = await this.#saveFound(member.backend, primary.backend);
    return { detail: `${describe(found)}; saved in ${files}`, isOnlyOurs: isOnlyOurs(found) };
  }

  // ---- the steps -----------------------------------------------------------------------------------

  #check(): { member: SeenMember; primary: SeenMember } {
    const survey = this.#world.survey();
    const { backend } = this.#request;
    const member = memberOf(survey, backend);
    const primary = memberOf(survey, survey.remembered);
    if (this.#world.isBusy()) throw this.#refused('a promotion is under way; wait for its end');
    if (member === undefined) throw this.#refused('there is no such backend in the cluster');
    if (primary === undefined) throw this.#refused('the cluster has no primary that it could follow');
    if (member === primary) throw this.#refused('it is the primary');
    if (!isSeen(primary) || primary.record.facts.readOnly) {
      throw this.#refused(`the primary ${primary.backend.name} does not take writes now`);
    }
    if (!isSeen(member)) throw this.#refused(`it does not answer well: ${member.record.reachReason}`);
    if (
      followsServer(member, primary) &&
      extrasOver(member.record.facts, primary.record.facts).count !== 0n
    ) {
      throw this.#refused(
        `it follows ${primary.backend.name} already, with transactions of its own in between: CLONE BACKEND ${backend} copies it anew`,
      );
    }
    return { member, primary };
  }

  /** What it has of its own is saved; then, as the operator wants, made again elsewhere, and undone here. */
  async #settle(backend: BackendConfig, primary: BackendConfig, server: ServerControl): Promise<void> {
    const { mode, dryRun } = this.#request;
    if (dryRun) {
      const found = await this.#find(backend, primary);
      this.#tell('save', `${describe(found)}; all would be saved under lost/ of state_dir`);
      if (mode === 'append')
        this.#tell('append', `${harmless(found)} would be made again at ${primary.name}`);
      if (mode === 'plain') throw this.#refused(`${describe(found)}: say APPEND or DISCARD`);
      this.#tell('undo', 'all of them would be undone here');
      return;
    }
    let found: Found | null = null;
    await this.#do('save', async () => {
      const saved = await this.#saveFound(backend, primary);
      found = saved.found;
      return `${describe(found)}; saved in ${saved.files}`;
    });
    if (mode === 'plain') {
      throw this.#refused(
        `${describe(found!)}: SHOW LOST TRANSACTIONS ${backend.name} lists them; REJOIN ${backend.name} APPEND makes the harmless ones again at ${primary.name}, DISCARD does not, and both undo them here`,
      );
    }
    if (mode === 'append') await this.#do('append', () => this.#append(found!, primary));
    await this.#do('undo', () => this.#undo(found!, backend, server));
  }

  async #append({ lost }: Found, primary: BackendConfig): Promise<string> {
    const connection = await this.#connect(primary);
    const outcomes = await appendLost(lost.transactions, connection, STATEMENT_TIMEOUT_MS);
    const count = (result: string): number => outcomes.filter((outcome) => outcome.result === result).length;
    const refused = outcomes.filter(({ result }) => result === 'refused').map(({ why }) => why);
    const why = refused.length === 0 ? '' : ` (${[...new Set(refused)].slice(0, 3).join('; ')})`;
    return `${count('appended')} made again at ${primary.name}, ${count('already_there')} were there already, ${refused.length} were not${why}`;
  }

  async #undo({ lost }: Found, backend: BackendConfig, server: ServerControl): Promise<string> {
    const connection = await this.#connect(backend);
    const { replication, superReadOnly } = await server.look(LOOK_TIMEOUT_MS);
    if (replication !== null) {
      await server.stopReplication(true, STATEMENT_TIMEOUT_MS);
      await server.forgetSource();
    }
    // Undoing writes; nobody else can, as read_only stays.
    if (superReadOnly) await connection.run('SET GLOBAL super_read_only = 0', STATEMENT_TIMEOUT_MS);
    try {
      const outcome = await undoLost(lost, connection, STATEMENT_TIMEOUT_MS);
      if (outcome.kind === 'needs_copy') {
        throw new Error(`${outcome.why.join('; ')}: CLONE BACKEND ${backend.name} copies it anew`);
      }
      await forgetLost(lost, connection, STATEMENT_TIMEOUT_MS);
      return `${outcome.changes} change(s) of rows undone, and their ids forgotten`;
    } finally {
      if (superReadOnly) await connection.run('SET GLOBAL super_read_only = 1', STATEMENT_TIMEOUT_MS);
    }
  }

  async #follow(server: ServerControl, primary: BackendConfig): Promise<void> {
    await this.#do('follow', async () => {
      if (this.#cluster.semiSync !== 'off') {
        await server.setSemiSync('primary', false);
        await server.setSemiSync('replica', true);
      }
      await this.#world.takeInHand([server.backend.name]);
      const source = await this.#server(primary);
      const isShort = lacksOwn(await server.look(LOOK_TIMEOUT_MS), await source.look(LOOK_TIMEOUT_MS));
      await server.follow(primary, this.#cluster.holdTimeoutMs, isShort);
      await this.#world.checkNow(server.backend.name);
      return `it follows ${primary.name}`;
    });
  }

  // ---- finding -------------------------------------------------------------------------------------

  /** Finds, compares and saves. */
  async #saveFound(backend: BackendConfig, primary: BackendConfig): Promise<{ files: string; found: Found }> {
    const { stateDir } = this.#world;
    const request = await this.#lostRequest(backend, primary);
    const found = await collectLost({ ...request, stateDir, epoch: this.#world.survey().epoch });
    return { files: found.file ?? 'no file', found };
  }

  /** Finds and compares. */
  async #find(backend: BackendConfig, primary: BackendConfig): Promise<Found> {
    const request = await this.#lostRequest(backend, primary);
    const lost = await findLostTransactions({ ...request, onRaw: null });
    return { lost, verdicts: await conflictsOf(lost.transactions, request.newPrimary, STATEMENT_TIMEOUT_MS) };
  }

  async #lostRequest(
    backend: BackendConfig,
    primary: BackendConfig,
  ): Promise<Omit<CollectRequest, 'stateDir' | 'epoch'>> {
    const { clock } = this.#world;
    const { monitorUser, monitorPassword, replicationUser, replicationPassword } = this.#cluster;
    const account =
      replicationUser === ''
        ? { user: monitorUser, password: monitorPassword }
        : { user: replicationUser, password: replicationPassword };
    const connection = await this.#connect(backend);
    const newPrimary = await this.#connect(primary);
    const [row] = await newPrimary.run('SELECT VERSION() AS version', STATEMENT_TIMEOUT_MS);
    const kind = /mariadb/i.test(String(row?.version)) ? 'mariadb' : 'mysql';
    const held = await readHeld(newPrimary, kind, STATEMENT_TIMEOUT_MS);
    const bounds = { clock, timeoutMs: READ_TIMEOUT_MS };
    return { source: { backend, account }, connection, newPrimary, held, bounds };
  }

  // ---- helpers -------------------------------------------------------------------------------------

  async #server(backend: BackendConfig): Promise<ServerControl> {
    const server = await this.#world.openServer(backend, this.#cluster);
    this.#open.push(server);
    return server;
  }

  async #connect(backend: BackendConfig): Promise<ControlConnection> {
    const { clock } = this.#world;
    const connection = await ControlConnection.open(backend, this.#cluster, clock, CONNECT_TIMEOUT_MS);
    this.#open.push(connection);
    return connection;
  }

  async #do(step: string, work: () => Promise<string>): Promise<void> {
    const { clock } = this.#world;
    const startMs = clock.nowMs();
    try {
      const detail = await work();
      this.#steps.push({ step, result: 'done', detail, durationMs: Math.round(clock.nowMs() - startMs) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw refusal('DBPROXY_REJOIN_FAILED', this.#request.backend, step, reason);
    }
  }

  #tell(step: string, detail: string): void {
    this.#steps.push({ step, result: this.#request.dryRun ? 'planned' : 'done', detail, durationMs: 0 });
  }

  #refused(reason: string): Error {
    return refusal('DBPROXY_REJOIN_REFUSED', this.#request.backend, reason);
  }
}

function describe({ lost, verdicts }: Found): string {
  const count = lost.transactions.length + lost.further;
  return `${count} transaction(s) that nobody else has, ${harmless({ lost, verdicts })} of them harmless`;
}

function isOnlyOurs({ lost }: Found): boolean {
  return (
    lost.further === 0 &&
    lost.transactions.every(
      ({ changes, ddl, undoProblems }) =>
        ddl === null &&
        undoProblems.length === 0 &&
        changes.length > 0 &&
        changes.every(({ table }) => table.database === DBPROXY_SCHEMA),
    )
  );
}

function harmless({ lost, verdicts }: Found): number {
  return lost.transactions.filter((transaction, index) => isHarmless(transaction, verdicts[index] ?? []))
    .length;
}
