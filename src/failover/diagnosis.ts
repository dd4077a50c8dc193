/**
 * What is the matter with a cluster? Pure: from a survey to named findings, the gravest first, each with what is to
 * be done about it and what an operator reads. One row a diagnosis, in the order of their gravity; the headline of
 * a cluster is its first finding.
 *
 * A primary is called down only by three witnesses: our own checks, its replicas (none that we can ask still
 * receives from it), and an arbiter that answers us, so that it is not we who are cut off. One that is missing
 * makes another diagnosis, with another action.
 */
import { findCommitsWait } from './findings/commits-wait.ts';
import { NONE, type Action, type DiagnosisName, type Finding, type Found } from './findings/finding.ts';
import {
  findNoWritable,
  findPrimaryHung,
  findPrimaryLocked,
  findPrimaryReadOnly,
  findPrimaryReplicates,
} from './findings/idle-primary.ts';
import {
  findAllReplicasGone,
  findOnlyLagging,
  findOrphaned,
  findReplicaBroken,
  findReplicaDiverged,
  findReplicaGone,
  findReplicaLagging,
  findReplicaLeftBehind,
  findReplicaStopped,
  findReturned,
  findSemiSyncDegraded,
} from './findings/replicas.ts';
import {
  findAllServersGone,
  findCheckerBroken,
  findIsolated,
  findNoSafeCandidate,
  findNoWitness,
  findPrimaryDown,
  findPrimarySuspect,
  findSeenByReplicas,
} from './findings/unreachable-primary.ts';
import { findNobodyElectable } from './findings/electable.ts';
import {
  chargeFinder,
  findInMaintenance,
  findNobodyInCharge,
  findNotInCharge,
  findMonitorAccountRefused,
  findPromotionUnderWay,
  findPromotionUnfinished,
  findStateNotWritable,
} from './findings/ourselves.ts';
import { type View, viewOf } from './findings/view.ts';
import {
  findOldPrimaryWritable,
  findReplicaWritable,
  findStaleEpoch,
  findTwoWritable,
} from './findings/writers.ts';
import type { Survey } from './survey.ts';

interface Row {
  readonly name: DiagnosisName;
  readonly gravity: Finding['gravity'];
  /** Null when it does not hold. */
  readonly find: (view: View) => Found | null;
  /** Nothing else is said when it holds. */
  readonly hidesOthers?: true;
}

/** Every diagnosis, the gravest first. */
const ROWS: readonly Row[] = [
  // In the middle of a promotion nothing is as it should be, and that is as it should be.
  { name: 'PromotionUnderWay', gravity: 'info', find: findPromotionUnderWay, hidesOthers: true },
  { name: 'PromotionUnfinished', gravity: 'critical', find: findPromotionUnfinished },
  { name: 'PeerUnheard', gravity: 'critical', find: chargeFinder('PeerUnheard') },
  { name: 'BothInCharge', gravity: 'critical', find: chargeFinder('BothInCharge') },
  { name: 'StaleEpoch', gravity: 'critical', find: findStaleEpoch },
  { name: 'TwoWritablePrimaries', gravity: 'critical', find: findTwoWritable },
  { name: 'CheckerBroken', gravity: 'critical', find: findCheckerBroken },
  { name: 'Isolated', gravity: 'critical', find: findIsolated },
  { name: 'AllServersGone', gravity: 'critical', find: findAllServersGone },
  {
    name: 'PrimaryUnreachableButReplicasSeeIt',
    gravity: 'critical',
    find: findSeenByReplicas,
  },
  { name: 'PrimaryUnreachableNoWitness', gravity: 'critical', find: findNoWitness },
  { name: 'NoSafeCandidate', gravity: 'critical', find: findNoSafeCandidate },
  { name: 'PrimaryDown', gravity: 'critical', find: findPrimaryDown },
  { name: 'PrimaryHung', gravity: 'critical', find: findPrimaryHung },
  { name: 'PrimaryLocked', gravity: 'critical', find: findPrimaryLocked },
  { name: 'PrimaryReadOnly', gravity: 'critical', find: findPrimaryReadOnly },
  { name: 'PrimaryReplicates', gravity: 'critical', find: findPrimaryReplicates },
  { name: 'CommitsWait', gravity: 'critical', find: findCommitsWait },
  { name: 'NoWritablePrimary', gravity: 'critical', find: findNoWritable },
  { name: 'OldPrimaryWritable', gravity: 'warning', find: findOldPrimaryWritable },
  { name: 'ReplicaWritable', gravity: 'warning', find: findReplicaWritable },
  { name: 'PrimarySuspect', gravity: 'warning', find: findPrimarySuspect },
  { name: 'NobodyInCharge', gravity: 'warning', find: findNobodyInCharge },
  { name: 'StateNotWritable', gravity: 'warning', find: findStateNotWritable },
  { name: 'MonitorAccountRefused', gravity: 'warning', find: findMonitorAccountRefused },
  { name: 'AllReplicasGone', gravity: 'warning', find: findAllReplicasGone },
  { name: 'SemiSyncDegraded', gravity: 'warning', find: findSemiSyncDegraded },
  { name: 'ReplicaDiverged', gravity: 'warning', find: findReplicaDiverged },
  { name: 'ReplicaLeftBehind', gravity: 'warning', find: findReplicaLeftBehind },
  { name: 'ReplicaBroken', gravity: 'warning', find: findReplicaBroken },
  { name: 'ReplicaStopped', gravity: 'warning', find: findReplicaStopped },
  { name: 'ReplicaGone', gravity: 'warning', find: findReplicaGone },
  { name: 'ReplicaOrphaned', gravity: 'warning', find: findOrphaned },
  { name: 'NobodyElectable', gravity: 'warning', find: findNobodyElectable },
  { name: 'OnlyLaggingCandidate', gravity: 'warning', find: findOnlyLagging },
  { name: 'ReplicaLagging', gravity: 'warning', find: findReplicaLagging },
  { name: 'OldPrimaryReturned', gravity: 'warning', find: findReturned },
  { name: 'PeerUnreachable', gravity: 'warning', find: chargeFinder('PeerUnreachable') },
  { name: 'NotInCharge', gravity: 'info', find: findNotInCharge },
  { name: 'InMaintenance', gravity: 'info', find: findInMaintenance },
];

/** All that is the matter, the gravest first; one finding AllHealthy when nothing is. */
export function diagnose(survey: Survey): readonly [Finding, ...Finding[]] {
  const view = viewOf(survey);
  const findings: Finding[] = [];
  for (const { name, gravity, find, hidesOthers } of ROWS) {
    const found = find(view);
    if (found === null) continue;
    // What is done about the rest is decided when the promotion that was cut off has ended.
    const waits = survey.promotion !== null && found.action?.kind !== 'take_up';
    const action = (waits ? null : found.action) ?? NONE;
    const finding = { name, gravity, detail: `${found.detail}${triedWords(action, survey)}`, action };
    if (hidesOthers === true) return [finding];
    findings.push(finding);
  }
  const [first, ...others] = findings;
  if (first !== undefined) return [first, ...others];
  const { primary, replicas } = view;
  const followers =
    replicas.length === 0 ? 'no replica' : replicas.map(({ backend }) => backend.name).join(', ');
  const detail = `${primary?.backend.name ?? 'nobody'} takes the writes of epoch ${survey.epoch}; in sync: ${followers}`;
  return [{ name: 'AllHealthy', gravity: 'info', detail, action: NONE }];
}

/** What was tried about it already, for whoever wonders why nothing has come of it. */
function triedWords({ kind }: Action, { failoverFailure }: Survey): string {
  if (failoverFailure === null || (kind !== 'failover' && kind !== 'finish')) return '';
  const { failures, lastWallMs, reason } = failoverFailure;
  const often = failures === 1 ? 'once' : `${failures} times`;
  return `; tried ${often}, last at ${new Date(lastWallMs).toISOString()}: ${reason}`;
}
