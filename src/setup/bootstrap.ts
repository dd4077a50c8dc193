/**
 * BOOTSTRAP: looks at all servers of a cluster, proves that those which are to replicate have the same data as
 * the primary, or none, and carries out the plan (`plan.ts`), each step checked. A step that fails is taken back
 * together with all before it, as far as they can be. On a cluster that is well there is nothing to do, and that
 * is what it says.
 */
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { SetupReport } from '../ipc/operations.ts';
import type { ControlAccount } from '../monitor/connection.ts';
import type { Statement } from '../monitor/flavour/row.ts';
import { choosePrimary, objectionsTo, obstacles } from './choose-primary.ts';
import { copyOfAccounts, copyOfOwnSchema, hasEpochRow, NO_ACCOUNTS, objectionsToCopy } from './copy.ts';
import { surveyCluster, tryLogin } from './doctor.ts';
import type { ClusterSurvey, LoginTrial } from './finding.ts';
import { missingPrivileges } from '../monitor/flavour/grants.ts';
import {
  differencesInNames,
  differencesInTables,
  isEmpty,
  MAX_COMPARED_BYTES,
  takeInventory,
  type Inventory,
} from './inventory.ts';
import { fileLines } from './file-lines.ts';
import { planBootstrap, type AccountState, type Follower, type PlanInput } from './plan.ts';
import { follows } from './roles.ts';
import { Servers } from './servers.ts';
import { carryOut, plannedReports } from './steps.ts';
import type { Survey } from './survey.ts';
import type { SetupWorld } from './world.ts';

export interface BootstrapOptions {
  readonly cluster: ClusterConfig;
  /** Of this cluster and others. */
  readonly backends: readonly BackendConfig[];
  /** Who is to be the primary; null: whoever it should be. */
  readonly primary: string | null;
  /** Only says what would be done. */
  readonly dryRun: boolean;
  /** A server that was just filled from another one: it has the data, and knows up to where. */
  readonly filled?: string;
  /** As whom to log in, where that is not monitor_user. */
  readonly account?: ControlAccount;
}

/** One server with what it holds. */
interface Stocked {
  readonly survey: Survey;
  readonly inventory: Inventory;
}

/** How often a long comparison tells how far it is. */
const PROGRESS_MS = 2_000;

/** Does it; rejects with DBPROXY_SETUP_REFUSED, when nothing was changed, or with DBPROXY_SETUP_FAILED. */
export async function bootstrap(world: SetupWorld, options: BootstrapOptions): Promise<SetupReport[]> {
  const title = `BOOTSTRAP CLUSTER ${options.cluster.name}`;
  const account = options.account ?? options.cluster;
  const servers = new Servers(account, world.clock);
  try {
    const input = await prepare(world, options, account, servers, title);
    const steps = planBootstrap(input);
    const secrets = [options.cluster.monitorPassword, options.cluster.replicationPassword];
    // What is said of files is of use where something was set; a cluster that is well has the doctor for it.
    const lines = steps.length === 0 ? [] : linesForFiles(input);
    if (options.dryRun) return [...plannedReports(steps, secrets), ...lines];
    return [...(await carryOut({ ...options, world, servers, steps, secrets, title })), ...lines];
  } finally {
    servers.close();
  }
}

/** What a server that cannot keep settings itself has to read from its file at its next start. */
function linesForFiles({ primary, followers, cluster }: PlanInput): SetupReport[] {
  return [primary, ...followers.map(({ survey }) => survey)].flatMap((survey) => {
    const lines = fileLines(survey, cluster);
    if (lines.length === 0) return [];
    const detail = `SQL cannot keep it over a restart: ${lines.join('; ')}`;
    const server = survey.backend.name;
    return [{ server, step: 'lines for my.cnf', result: 'skipped' as const, detail, sql: '', durationMs: 0 }];
  });
}

/** All that has to be known, and proven, before the first change. */
async function prepare(
  world: SetupWorld,
  { cluster, backends, primary: named, filled: filledName }: BootstrapOptions,
  account: ControlAccount,
  servers: Servers,
  title: string,
): Promise<PlanInput> {
  const refuse = (reasons: readonly string[]): void => {
    if (reasons.length > 0) throw refusal('DBPROXY_SETUP_REFUSED', title, reasons.join('; '));
  };
  const all = await surveyCluster({ ...cluster, ...account }, backends, world.clock);
  const { surveys } = all;
  const filled = filledName ?? null;
  refuse(obstacles(all, account.monitorUser));
  const stocked: Stocked[] = [];
  for (const survey of surveys) {
    const { connection } = await servers.of(survey.backend);
    stocked.push({ survey, inventory: await takeInventory(connection, survey.words.family === 'mariadb') });
  }
  const candidates = {
    surveys,
    rwWeight: (backend: string) => world.rwWeight(backend),
    remembered: world.rememberedPrimary(cluster.name),
    withData: new Set(
      stocked.filter(({ inventory }) => !isEmpty(inventory)).map(({ survey }) => survey.backend.name),
    ),
  };
  const primary =
    named === null
      ? choosePrimary(candidates)
      : (surveys.find(({ backend }) => backend.name === named) ?? null);
  if (primary === null) throw refusal('DBPROXY_SETUP_REFUSED', title, noPrimary(named, surveys));
  refuse(objectionsTo(primary, { ...candidates, filled }));

  const own = stocked.find(({ survey }) => survey === primary)!;
  const others = stocked.filter(({ survey }) => survey !== primary);
  const differences: string[] = [];
  // One after the other: they share the connection to the primary, and its disks.
  for (const other of others) {
    if (other.survey.backend.name === filled || follows(other.survey, primary)) continue;
    differences.push(...(await compare(world, servers, own, other, cluster.name)));
  }
  refuse(differences);
  const followers: Follower[] = [];
  for (const other of others) followers.push(await followerOf(servers, own, other, filled));
  refuse(
    followers.flatMap(({ survey, accounts }) => objectionsToCopy(survey, accounts, account.monitorUser)),
  );
  return {
    cluster,
    primary,
    followers,
    // Where it was before anything was compared: what is written meanwhile (dbproxy's own heartbeat, at least) comes
    // to the replicas by replication.
    start: primary.facts,
    accounts: await accountStates(world, cluster, account, own, all),
    hasOwnTables: own.inventory.hasOwnTables,
    isRecorded:
      own.inventory.hasOwnTables &&
      world.rememberedPrimary(cluster.name) === primary.backend.name &&
      (await hasEpochRow(servers, primary, cluster.name)),
  };
}

function noPrimary(named: string | null, surveys: readonly Survey[]): string {
  if (named === null) return 'no backend has rw_weight above 0';
  const names = surveys.map(({ backend }) => backend.name).join(', ');
  return `${named} is no backend of this cluster; those are ${names}`;
}

/** What speaks against letting a server begin where the primary is; empty when it is empty or the same. */
async function compare(
  world: SetupWorld,
  servers: Servers,
  own: Stocked,
  other: Stocked,
  cluster: string,
): Promise<string[]> {
  const primary = own.survey.backend;
  const { name } = other.survey.backend;
  const cure = `empty ${name} and say CLONE BACKEND ${name}, or take it out of cluster ${cluster}`;
  if (isEmpty(other.inventory) && !isEmpty(own.inventory)) {
    return [`${name} is empty, and ${primary.name} has data: say CLONE BACKEND ${name}`];
  }
  const names = differencesInNames(
    { name: primary.name, inventory: own.inventory },
    { name, inventory: other.inventory },
  );
  if (names.length > 0) return [`${name} has other data than ${primary.name}: ${names.join(', ')}; ${cure}`];
  const bytes = Math.max(own.inventory.bytes, other.inventory.bytes);
  if (bytes > MAX_COMPARED_BYTES) {
    const size = `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
    const most = `${MAX_COMPARED_BYTES / 1024 ** 3} GiB`;
    return [`${name} holds ${size}, too much to be compared with ${primary.name} (at most ${most}); ${cure}`];
  }
  const [one, two] = await Promise.all([servers.of(primary), servers.of(other.survey.backend)]);
  const count = own.inventory.tables.length;
  const tell = atMostEvery(PROGRESS_MS, world.clock, (compared: number) =>
    world.onProgress(cluster, name, `compared ${compared} of ${count} tables with ${primary.name}`),
  );
  const differences = await differencesInTables(
    { name: primary.name, connection: one.connection },
    { name, connection: two.connection },
    own.inventory.tables,
    (compared) => {
      world.stopping?.throwIfAborted();
      tell(compared);
    },
  );
  if (differences.length === 0) return [];
  return [`${name} has other data than ${primary.name}: ${differences.join(', ')}; ${cure}`];
}

async function followerOf(
  servers: Servers,
  own: Stocked,
  { survey, inventory }: Stocked,
  filled: string | null,
): Promise<Follower> {
  const isFilled = survey.backend.name === filled;
  if (!isFilled && follows(survey, own.survey)) {
    return { survey, follows: true, startsWhereItIs: false, accounts: NO_ACCOUNTS, ownSchema: [] };
  }
  const known = new Set(inventory.accounts);
  const missing = own.inventory.accounts.filter((account) => !known.has(account));
  const accounts = await copyOfAccounts(servers, own.survey, missing);
  const either = !isFilled && (own.inventory.hasOwnSchema || inventory.hasOwnSchema);
  const ownSchema: Statement[] = either
    ? await copyOfOwnSchema(servers, own.survey, own.inventory.hasOwnSchema)
    : [];
  return { survey, follows: false, startsWhereItIs: isFilled, accounts, ownSchema };
}

/** Whether dbproxy's two accounts are on the primary, with what they need. */
async function accountStates(
  world: SetupWorld,
  cluster: ClusterConfig,
  actsAs: ControlAccount,
  { survey, inventory }: Stocked,
  all: ClusterSurvey,
): Promise<PlanInput['accounts']> {
  const exists = (user: string): boolean =>
    inventory.accounts.some((account) => account.startsWith(`${user}@`));
  const { words } = survey;
  const stateOf = (
    user: string,
    trial: LoginTrial | undefined,
    needed: typeof words.monitorPrivileges,
  ): AccountState => {
    if (!exists(user)) return 'missing';
    if (trial?.kind !== 'in') return 'well'; // it may be let in from other hosts only; the steps will show
    const missing = missingPrivileges(trial.grants, needed).filter(({ optional }) => optional !== true);
    return missing.length === 0 ? 'well' : 'lacks_privileges';
  };
  const monitorTrial: LoginTrial =
    actsAs.monitorUser === cluster.monitorUser
      ? { kind: 'in', grants: survey.grants }
      : await tryLogin(survey.backend, cluster, world.clock);
  return {
    monitor: stateOf(cluster.monitorUser, monitorTrial, words.monitorPrivileges),
    replication: stateOf(
      cluster.replicationUser,
      all.replicationLogins.get(survey.backend.name),
      words.replicationPrivileges,
    ),
  };
}

/** Passes on one call every so often; the others are dropped. */
function atMostEvery(
  intervalMs: number,
  clock: Clock,
  tell: (value: number) => void,
): (value: number) => void {
  let nextMs = clock.nowMs() + intervalMs;
  return (value) => {
    if (clock.nowMs() < nextMs) return;
    nextMs = clock.nowMs() + intervalMs;
    tell(value);
  };
}
