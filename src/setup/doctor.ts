/**
 * `dbproxy doctor`: looks at all servers of a configuration and at this host, changes nothing, and says what is missing. No
 * running dbproxy is needed; one that runs is asked for its diagnoses. The judgement is in the tables of rules; here is only the looking.
 */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import { ControlConnection, type ControlAccount } from '../monitor/connection.ts';
import { text } from '../monitor/flavour/row.ts';
import { classifyError } from '../monitor/observation.ts';
import { findingsOf, sortFindings } from './cluster-rules.ts';
import { membersInForce } from '../topology/members.ts';
import { openStateFile } from '../topology/state-file.ts';
import type { ClusterSurvey, Finding, LoginTrial } from './finding.ts';
import { hostFindings } from './host-rules.ts';
import { surveyHost, type HostQuestions } from './host-survey.ts';
import { runningFindings, type RunningSight } from './running-rules.ts';
import { surveyServer } from './survey.ts';

const LOGIN_TIMEOUT_MS = 5_000;

export interface DoctorQuestions extends HostQuestions {
  /** What the dbproxy of this host says; never rejects. */
  readonly running: () => Promise<RunningSight>;
}

/** All findings, the worst first. */
export async function examine(
  config: ProxyConfig,
  questions: DoctorQuestions,
  clock: Clock,
): Promise<Finding[]> {
  const backends = membersOf(config);
  const [running, host, ...clusters] = await Promise.all([
    questions.running(),
    surveyHost(config, questions, clock),
    ...config.clusters.map((cluster) => surveyCluster(cluster, backends, clock)),
  ]);
  const found = [
    ...stateFindings(config.dbproxy.stateDir),
    ...clusters.flatMap(findingsOf),
    ...hostFindings(host),
  ];
  const isOfPair = config.peer !== undefined;
  return sortFindings([...runningFindings({ running, isOfPair, found, backends }), ...found]);
}

/** True when nothing but hints was found. */
export function isWell(findings: readonly Finding[]): boolean {
  return findings.every(({ severity }) => severity === 'hint');
}

/** Those of the file, with what was added and dropped at run time, where this user may read that. */
function membersOf(config: ProxyConfig): readonly BackendConfig[] {
  const { stateDir } = config.dbproxy;
  try {
    return existsSync(stateDir) ? membersInForce(config, openStateFile(stateDir).load()) : config.backends;
  } catch {
    return config.backends;
  }
}

/** Looks at all servers of a cluster at once. */
export async function surveyCluster(
  cluster: ClusterConfig,
  backends: readonly BackendConfig[],
  clock: Clock,
): Promise<ClusterSurvey> {
  const members = backends.filter((backend) => backend.cluster === cluster.name);
  const results = await Promise.all(members.map((backend) => surveyServer(backend, cluster, clock)));
  const surveys = results.flatMap((result) => (result.kind === 'seen' ? [result.survey] : []));
  const replication: ControlAccount = {
    monitorUser: cluster.replicationUser,
    monitorPassword: cluster.replicationPassword,
  };
  const trials = await Promise.all(
    surveys.map(async ({ backend }) => [backend.name, await tryLogin(backend, replication, clock)] as const),
  );
  return {
    cluster,
    surveys,
    unreached: results.flatMap((result) => (result.kind === 'unreached' ? [result.unreached] : [])),
    replicationLogins: new Map(trials),
  };
}

/** Logs in once, and looks what this account may do; never rejects. */
export async function tryLogin(
  backend: BackendConfig,
  account: ControlAccount,
  clock: Clock,
): Promise<LoginTrial> {
  try {
    const connection = await ControlConnection.open(backend, account, clock, LOGIN_TIMEOUT_MS);
    try {
      const rows = await connection.run('SHOW GRANTS', LOGIN_TIMEOUT_MS);
      return { kind: 'in', grants: rows.map((row) => text(Object.values(row)[0])) };
    } finally {
      connection.close();
    }
  } catch (error) {
    const { kind, message } = classifyError(error);
    return { kind: kind === 'access_denied' ? 'denied' : 'failed', reason: message };
  }
}

/** The place of what must survive a restart; the first start makes the folder, when its parent lets it. */
function stateFindings(stateDir: string): Finding[] {
  const complaint = stateComplaint(stateDir);
  if (complaint === null) return [];
  const remedy = `mkdir -p ${stateDir}, writable for the user that dbproxy runs as`;
  return [
    {
      severity: 'error',
      id: 'state_dir',
      subject: 'dbproxy',
      words: `state_dir ${stateDir} ${complaint}`,
      remedy,
      blocksBootstrap: true,
    },
  ];
}

function stateComplaint(stateDir: string): string | null {
  let existing = stateDir;
  while (!existsSync(existing)) existing = dirname(existing);
  if (!statSync(existing).isDirectory()) return `cannot be made: ${existing} is a file`;
  try {
    accessSync(existing, constants.W_OK);
    return null;
  } catch {
    return existing === stateDir ? 'cannot be written' : `cannot be made: ${existing} cannot be written`;
  }
}
