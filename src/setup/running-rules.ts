/**
 * What the dbproxy that runs on this host has diagnosed, as findings: it knows what no look at the servers shows, such as
 * that writes are stopped, or that its disk is full. Pure.
 */
import type { DiagnosisReport } from '../ipc/operations.ts';
import type { Finding, Severity } from './finding.ts';

/** The dbproxy of this host, as its admin port answered. */
export type RunningSight =
  | { readonly kind: 'runs'; readonly diagnoses: readonly RunningDiagnosis[] }
  | { readonly kind: 'silent'; readonly reason: string };

export type RunningDiagnosis = Pick<DiagnosisReport, 'cluster' | 'name' | 'gravity' | 'detail'>;

/** Diagnoses that say no more than these rules of the doctor, with what mends it. */
export const SAID_BY_RULE: Readonly<Record<string, string>> = {
  TwoWritablePrimaries: 'one_writer',
  NoWritablePrimary: 'one_writer',
  OldPrimaryWritable: 'read_only',
  ReplicaWritable: 'read_only',
  ReplicaBroken: 'replication_runs',
  ReplicaStopped: 'replication_runs',
  ReplicaGone: 'reachable',
  AllServersGone: 'reachable',
  MonitorAccountRefused: 'reachable',
  StateNotWritable: 'state_dir',
  PeerUnreachable: 'peer',
};

const SEVERITIES: Readonly<Record<RunningDiagnosis['gravity'], Severity | null>> = {
  critical: 'error',
  warning: 'warning',
  info: null,
};

export interface RunningView {
  readonly running: RunningSight;
  /** The configuration has another dbproxy, so one is to run here. */
  readonly isOfPair: boolean;
  /** What the doctor has found by itself. */
  readonly found: readonly Finding[];
  readonly backends: readonly { readonly name: string; readonly cluster: string }[];
}

/** One finding a diagnosis, unless the doctor has said the same of that cluster, or of the host. */
export function runningFindings({ running, isOfPair, found, backends }: RunningView): Finding[] {
  if (running.kind === 'silent') {
    if (!isOfPair) return [];
    const words = `no dbproxy answers on this host: ${running.reason}; nobody takes over from the other one`;
    return [finding('warning', 'dbproxy', 'host', words, 'systemctl start dbproxy')];
  }
  const clusters = new Map(backends.map(({ name, cluster }) => [name, cluster]));
  const isOf = (subject: string, cluster: string): boolean => (clusters.get(subject) ?? subject) === cluster;
  return running.diagnoses.flatMap(({ cluster, name, gravity, detail }) => {
    const severity = SEVERITIES[gravity];
    const isSaid = found.some(
      ({ id, subject }) =>
        id === SAID_BY_RULE[name] && (isOf(subject, cluster) || HOST_SUBJECTS.includes(subject)),
    );
    return severity === null || isSaid ? [] : [finding(severity, name, cluster, detail, '')];
  });
}

/** Of findings that hold for every cluster. */
const HOST_SUBJECTS = ['host', 'dbproxy'];

function finding(severity: Severity, id: string, subject: string, words: string, remedy: string): Finding {
  return { severity, id, subject, words, remedy, blocksBootstrap: false };
}
