/**
 * CLONE BACKEND: an empty server is filled from another one by the servers' own means, and then follows the
 * primary as in a bootstrap. Which means there are is decided first: MySQL's clone plugin, else a dump that is
 * loaded while it is made (`mariadb-dump`, `mysqldump`). A server that holds anything is refused, as what is there
 * would be gone; it is said how to empty it.
 */
import { agree } from '../base/grammar.ts';
import { messageOf } from '../base/message-of.ts';
import { refusal } from '../base/errors.ts';
import type { SetupReport } from '../ipc/operations.ts';
import type { ControlAccount } from '../monitor/connection.ts';
import { compareNumbers, grantStatements, versionNumbers } from '../monitor/flavour/setup.ts';
import { bootstrap, type BootstrapOptions } from './bootstrap.ts';
import type { SetupWorld } from './world.ts';
import { obstacles } from './choose-primary.ts';
import { cloneByDump, findDumpPrograms, type DumpPrograms } from './clone-dump.ts';
import type { CloneJob } from './clone-job.ts';
import { cloneByPlugin } from './clone-plugin.ts';
import { surveyCluster } from './doctor.ts';
import { missingPrivileges } from '../monitor/flavour/grants.ts';
import { copyOfAccounts, objectionsToCopy } from './copy.ts';
import { isEmpty, quoteSchema, schemasOf, takeInventory, type Inventory } from './inventory.ts';
import { follows, primaryAmong } from './roles.ts';
import { isOlder } from './server-rules.ts';
import { Servers } from './servers.ts';
import type { Survey } from './survey.ts';

export interface CloneOptions extends Omit<BootstrapOptions, 'primary' | 'filled'> {
  /** The server to fill. */
  readonly target: string;
  /** Where the data is; null: the primary. */
  readonly from: string | null;
}

/** Schemas that a refusal names before it tells how to drop them all. */
const MOST_NAMED = 5;

type Means = { readonly kind: 'plugin' } | { readonly kind: 'dump'; readonly programs: DumpPrograms };

/** Does it; rejects with DBPROXY_SETUP_REFUSED, when nothing was changed, or with DBPROXY_SETUP_FAILED. */
export async function cloneInto(world: SetupWorld, options: CloneOptions): Promise<SetupReport[]> {
  const { cluster, target, dryRun } = options;
  const title = `CLONE BACKEND ${target}`;
  const account = options.account ?? options.cluster;
  const servers = new Servers(account, world.clock);
  try {
    const { job, means } = await prepare(world, options, servers, account, title);
    const planned = planOf(job, means);
    if (dryRun) return [planned, laterStep(job)];
    await begin(world, target).catch((error: unknown) => {
      throw refusal('DBPROXY_SETUP_REFUSED', title, messageOf(error));
    });
    const startMs = world.clock.nowMs();
    const detail = await (
      means.kind === 'plugin' ? cloneByPlugin(job) : cloneByDump(job, means.programs)
    ).catch((error: unknown) => {
      const aftermath = `${target} may hold a part; empty it before the next try`;
      throw refusal('DBPROXY_SETUP_FAILED', title, planned.step, messageOf(error), aftermath);
    });
    const durationMs = Math.round(world.clock.nowMs() - startMs);
    const filled: SetupReport = { ...planned, result: 'done', detail, durationMs };
    world.onReport(cluster.name, filled);
    await world.beginJoining?.().catch((error: unknown) => {
      const aftermath = `${target} is filled`;
      throw refusal('DBPROXY_SETUP_FAILED', title, 'follow the primary', messageOf(error), aftermath);
    });
    const joined = await bootstrap(world, { ...options, primary: null, filled: target }).catch(
      (error: unknown) => {
        const aftermath = `${target} is filled: when that is mended, REJOIN ${target} has it follow`;
        throw refusal('DBPROXY_SETUP_FAILED', title, 'follow the primary', messageOf(error), aftermath);
      },
    );
    return [filled, ...joined];
  } finally {
    servers.close();
  }
}

async function begin(world: SetupWorld, target: string): Promise<void> {
  world.stopping?.throwIfAborted();
  await world.beginFilling?.(target);
}

async function prepare(
  world: SetupWorld,
  { cluster, backends, target: name, from }: CloneOptions,
  servers: Servers,
  account: ControlAccount,
  title: string,
): Promise<{ job: CloneJob; means: Means }> {
  const refuse = (reasons: readonly string[]): void => {
    if (reasons.length > 0) throw refusal('DBPROXY_SETUP_REFUSED', title, reasons.join('; '));
  };
  const all = await surveyCluster({ ...cluster, ...account }, backends, world.clock);
  refuse(obstacles(all, account.monitorUser));
  const target = all.surveys.find(({ backend }) => backend.name === name)!;
  const chosen = from ?? world.rememberedPrimary(cluster.name);
  const others = all.surveys.filter((survey) => survey !== target);
  const source =
    chosen === null
      ? primaryAmong(others)
      : (all.surveys.find(({ backend }) => backend.name === chosen) ?? null);
  if (source === null) {
    throw refusal('DBPROXY_SETUP_REFUSED', title, 'it is not clear which server has the data: say FROM');
  }
  const { connection } = await servers.of(target.backend);
  const held = await takeInventory(connection, target.words.family === 'mariadb');
  const donor = await servers.of(source.backend);
  const stock = await takeInventory(donor.connection, source.words.family === 'mariadb');
  refuse(objections(world, cluster.name, source, target, all.surveys, held));
  refuse([...missing(source, 'source', account), ...missing(target, 'target', account)]);
  const means = meansOf(source, target);
  if (typeof means === 'string') throw refusal('DBPROXY_SETUP_REFUSED', title, means);
  const lacking = stock.accounts.filter((one) => !held.accounts.includes(one));
  const accounts = await copyOfAccounts(servers, source, means.kind === 'plugin' ? [] : lacking);
  refuse(objectionsToCopy(target, accounts, account.monitorUser));
  const tell = (detail: string): void => world.onProgress(cluster.name, name, detail);
  return { job: { world, servers, account, source, target, stock, accounts, tell }, means };
}

function objections(
  world: SetupWorld,
  cluster: string,
  source: Survey,
  target: Survey,
  surveys: readonly Survey[],
  held: Inventory,
): string[] {
  const { name } = target.backend;
  const reasons: string[] = [];
  if (source === target) reasons.push('a server cannot be filled from itself');
  if (world.rememberedPrimary(cluster) === name) reasons.push(`${name} is the primary`);
  if (!isEmpty(held) || target.facts.replication !== null) reasons.push(howToEmpty(target, held, cluster));
  const followers = surveys.filter((survey) => survey !== target && follows(survey, target));
  if (followers.length > 0) {
    const names = followers.map(({ backend }) => backend.name).join(', ');
    reasons.push(`${names} ${agree(followers, 'follows', 'follow')} ${name}`);
  }
  if (isOlder(target, source)) reasons.push(`${name} is of an older version than ${source.backend.name}`);
  return reasons;
}

/** Under MAINTENANCE, as dbproxy would have a server follow again that somebody has just stopped. */
function howToEmpty({ backend, facts, flavour }: Survey, held: Inventory, cluster: string): string {
  const { name } = backend;
  const schemas = schemasOf(held);
  const sql = [
    ...(facts.replication === null ? [] : [flavour.stopReplication, flavour.forgetSource]),
    ...(facts.superReadOnly ? ['SET GLOBAL super_read_only = 0'] : []),
    'SET SESSION sql_log_bin = 0',
    ...schemas.map((schema) => `DROP DATABASE ${quoteSchema(schema)}`),
  ];
  const what = [
    ...(isEmpty(held)
      ? []
      : [
          `is not empty (${schemas.slice(0, MOST_NAMED).join(', ')}${schemas.length > MOST_NAMED ? ', …' : ''})`,
        ]),
    ...(facts.replication === null ? [] : ['replicates already']),
  ];
  return `${name} ${what.join(' and ')}. When all of it may go: MAINTENANCE ON CLUSTER ${cluster}; on ${name} itself: ${sql.join('; ')}; then CLONE BACKEND ${name}; MAINTENANCE OFF CLUSTER ${cluster}`;
}

function missing(survey: Survey, end: 'source' | 'target', account: ControlAccount): string[] {
  const needed = missingPrivileges(survey.grants, survey.words.clonePrivileges[end]);
  if (needed.length === 0) return [];
  const grants = grantStatements(needed, account.monitorUser);
  return [
    `${survey.backend.name}: ${account.monitorUser} may not do all that this takes: ${grants.join('; ')}`,
  ];
}

/** The means that both ends have, or why there are none. */
function meansOf(source: Survey, target: Survey): Means | string {
  const [major, minor] = versionNumbers(source.facts.version);
  const [targetMajor, targetMinor] = versionNumbers(target.facts.version);
  const isSameSeries = compareNumbers([major, minor], [targetMajor, targetMinor]) === 0;
  if (source.words.clonePlugin !== null && target.words.clonePlugin !== null && isSameSeries) {
    return { kind: 'plugin' };
  }
  const programs = findDumpPrograms(source.words.family);
  if (typeof programs === 'string') return programs;
  return { kind: 'dump', programs };
}

function planOf({ source, target }: CloneJob, means: Means): SetupReport {
  const step = `fill it from ${source.backend.name}`;
  const how =
    means.kind === 'plugin'
      ? "by MySQL's clone plugin; the server restarts at the end"
      : `by ${means.programs.dump.split('/').at(-1)}, loaded while it is made`;
  return { server: target.backend.name, step, result: 'planned', detail: how, sql: '', durationMs: 0 };
}

function laterStep({ target }: CloneJob): SetupReport {
  const detail = 'settings, semi-sync, replication, as BOOTSTRAP does them';
  return {
    server: target.backend.name,
    step: 'follow the primary',
    result: 'planned',
    detail,
    sql: '',
    durationMs: 0,
  };
}
