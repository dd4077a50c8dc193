/**
 * Carries out the steps of a plan, one after the other, and reports each. When one fails, those before it are
 * taken back in the opposite order, as far as they say how.
 */
import { sleep } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import { messageOf } from '../base/message-of.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { SetupReport } from '../ipc/operations.ts';
import { readSemiSyncFacts, SEMI_SYNC_QUERY } from '../monitor/flavour/semi-sync.ts';
import type { Statement } from '../monitor/flavour/row.ts';
import { isSourceLost } from '../monitor/observation.ts';
import { noteEpoch } from '../monitor/flavour/tables.ts';
import type { SetupWorld } from './world.ts';
import type { SetupStep } from './plan.ts';
import { STATEMENT_TIMEOUT_MS, type Servers } from './servers.ts';

/** A plan, and what it is carried out with. */
export interface Work {
  readonly world: SetupWorld;
  readonly servers: Servers;
  readonly cluster: ClusterConfig;
  readonly backends: readonly BackendConfig[];
  readonly steps: readonly SetupStep[];
  /** What no report may show. */
  readonly secrets: readonly string[];
  /** The statement that is carried out, for messages. */
  readonly title: string;
}

/** How often a server is asked again while waiting for something it cannot announce. */
const POLL_MS = 50;
/** How long a replica may take to connect, and a primary to see that it acknowledges. */
const SETTLE_TIMEOUT_MS = 30_000;

/** How long a primary may take to see all of them. */
const ALL_REPLICAS_TIMEOUT_MS = 5_000;

/** The plan in words, nothing done. */
export function plannedReports(steps: readonly SetupStep[], secrets: readonly string[]): SetupReport[] {
  if (steps.length === 0) return [nothingToDo()];
  return steps.map((step) => ({
    server: step.server,
    step: step.what,
    result: 'planned',
    detail: step.undo.length === 0 ? '' : `taken back by: ${inWords(step.undo, secrets)}`,
    sql: inWords(step.sql, secrets),
    durationMs: 0,
  }));
}

/** Does all steps; rejects with DBPROXY_SETUP_FAILED. */
export async function carryOut(work: Work): Promise<SetupReport[]> {
  const { world, steps, secrets, cluster } = work;
  const reports: SetupReport[] = [];
  const report = (one: SetupReport): void => {
    reports.push(one);
    world.onReport(cluster.name, one);
  };
  if (steps.length === 0) report(nothingToDo());
  for (const [index, step] of steps.entries()) {
    const startMs = world.clock.nowMs();
    const told = (result: SetupReport['result'], detail: string): SetupReport => ({
      server: step.server,
      step: step.what,
      result,
      detail,
      sql: inWords(step.sql, secrets),
      durationMs: Math.round(world.clock.nowMs() - startMs),
    });
    try {
      world.stopping?.throwIfAborted();
      report(told('done', await doStep(work, step)));
    } catch (error) {
      report(told('failed', messageOf(error)));
      const left = await undo(work, steps.slice(0, index + 1), report);
      const aftermath =
        left.length === 0 ? 'what could be taken back was taken back' : `NOT taken back: ${left.join('; ')}`;
      throw refusal(
        'DBPROXY_SETUP_FAILED',
        work.title,
        `${step.server}: ${step.what}`,
        messageOf(error),
        aftermath,
      );
    }
  }
  for (const { name } of membersOf(work)) await world.checkNow(name);
  world.rejudge(cluster.name);
  return reports;
}

/** SQL as people read it, secrets left out. */
export function inWords(statements: readonly Statement[], secrets: readonly string[]): string {
  return statements.map((statement) => `${oneInWords(statement, secrets)};`).join(' ');
}

function oneInWords({ sql, values = [] }: Statement, secrets: readonly string[]): string {
  let index = 0;
  const filled = sql.replaceAll('?', () => {
    const value = values[index++];
    if (typeof value === 'number') return String(value);
    return secrets.includes(value ?? '') ? "'…'" : `'${value ?? ''}'`;
  });
  // A copied account comes with the hash of its password.
  return filled.replaceAll(/\s+/g, ' ').replaceAll(/(PASSWORD|USING|AS) ('[^']*'|0x[0-9A-F]+)/g, "$1 '…'");
}

function nothingToDo(): SetupReport {
  const detail = 'all is there already';
  return { server: '', step: 'nothing', result: 'skipped', detail, sql: '', durationMs: 0 };
}

async function doStep(work: Work, step: SetupStep): Promise<string> {
  await runSql(work, step);
  const backend = backendOf(work, step);
  if (step.also === undefined) return '';
  switch (step.also) {
    case 'wait_until_following':
      return waitUntilFollowing(work, backend);
    case 'wait_until_acknowledged':
      return waitUntilAcknowledged(work, backend);
    case 'record_primary':
      return recordPrimary(work, backend);
  }
}

async function runSql(work: Work, step: SetupStep): Promise<void> {
  if (step.onlyAt !== undefined) {
    const { position } = await work.servers.identity(backendOf(work, step));
    if (position !== step.onlyAt) throw new Error('it was written to since its data was compared');
  }
  const { connection } = await work.servers.of(backendOf(work, step));
  const run = (statement: Statement | string): Promise<unknown> =>
    connection.run(statement, STATEMENT_TIMEOUT_MS);
  if (step.unlogged === true) await run('SET SESSION sql_log_bin = 0');
  try {
    for (const statement of step.sql) await run(statement);
  } catch (error) {
    for (const statement of step.whenHalfDone ?? []) await run(statement).catch(() => undefined); // it was not done
    throw error;
  } finally {
    if (step.unlogged === true && connection.usable) await run('SET SESSION sql_log_bin = 1');
  }
}

async function waitUntilFollowing({ servers, world }: Work, backend: BackendConfig): Promise<string> {
  const endMs = world.clock.nowMs() + SETTLE_TIMEOUT_MS;
  for (;;) {
    world.stopping?.throwIfAborted();
    const replication = await servers.replication(backend);
    if (replication?.receiver === 'running' && replication.applier === 'running' && replication.drained) {
      return 'it has all that was sent to it';
    }
    const error = replication?.receiverError || replication?.applierError || '';
    const errno = replication?.receiverErrno ?? 0;
    // It tries again by itself, and waiting helps only where it cannot reach its source yet.
    const isHopeless = replication?.applier === 'stopped' || (errno !== 0 && !isSourceLost(errno));
    if (isHopeless || world.clock.nowMs() > endMs) {
      throw new Error(`it does not replicate${error === '' ? '' : `: ${error}`}`);
    }
    await sleep(world.clock, POLL_MS);
  }
}

/** All replicas, or at least one when the others take too long. */
async function waitUntilAcknowledged(work: Work, backend: BackendConfig): Promise<string> {
  const { servers, world } = work;
  const startMs = world.clock.nowMs();
  const replicas = membersOf(work).length - 1;
  for (;;) {
    world.stopping?.throwIfAborted();
    const { flavour } = await servers.of(backend);
    const settings = await servers.ask(backend, SEMI_SYNC_QUERY);
    const { primary } = readSemiSyncFacts(settings, await servers.ask(backend, flavour.status));
    const clients = primary?.live === true ? primary.clients : 0;
    const waitedMs = world.clock.nowMs() - startMs;
    const isEnough = clients >= replicas || (clients > 0 && waitedMs > ALL_REPLICAS_TIMEOUT_MS);
    if (isEnough) return `${clients} of ${replicas} replica(s) acknowledge`;
    if (waitedMs > SETTLE_TIMEOUT_MS) throw new Error('no replica acknowledges');
    await sleep(world.clock, POLL_MS);
  }
}

/** The state file first: what the servers know must never be ahead of what dbproxy remembers. */
async function recordPrimary({ world, cluster, servers }: Work, backend: BackendConfig): Promise<string> {
  const isKnown = world.rememberedPrimary(cluster.name) === backend.name;
  const epoch = isKnown ? world.epoch(cluster.name) : await world.recordPromotion(cluster.name, backend.name);
  const { connection } = await servers.of(backend);
  await connection.run(
    noteEpoch(cluster.name, epoch, backend.name, world.clock.wallMs()),
    STATEMENT_TIMEOUT_MS,
  );
  return `${backend.name} is the primary of epoch ${epoch}`;
}

/** Takes steps back, the last first; answers what could not be. */
async function undo(
  work: Work,
  steps: readonly SetupStep[],
  report: (one: SetupReport) => void,
): Promise<string[]> {
  const left: string[] = [];
  for (const step of steps.toReversed()) {
    if (step.undo.length === 0) continue;
    const startMs = work.world.clock.nowMs();
    const sql = inWords(step.undo, work.secrets);
    try {
      const { connection } = await work.servers.of(backendOf(work, step));
      for (const statement of step.undo) await connection.run(statement, STATEMENT_TIMEOUT_MS);
      const durationMs = Math.round(work.world.clock.nowMs() - startMs);
      report({ server: step.server, step: step.what, result: 'undone', detail: '', sql, durationMs });
    } catch (error) {
      left.push(`${step.server}: ${step.what} (${messageOf(error)})`);
    }
  }
  return left;
}

function membersOf({ backends, cluster }: Work): BackendConfig[] {
  return backends.filter((backend) => backend.cluster === cluster.name);
}

function backendOf({ backends }: Work, { server }: SetupStep): BackendConfig {
  const backend = backends.find(({ name }) => name === server);
  if (backend === undefined) throw new TypeError(`the plan names ${server}, which is no backend`);
  return backend;
}
