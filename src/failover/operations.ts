/**
 * What the control plane offers to the doors (admin and HTTP port): the part of `Operations` that is about who is
 * the primary.
 */
import { refusal } from '../base/errors.ts';
import type { ClusterConfig, ProxyConfig } from '../config/config.ts';
import type { DiagnosisReport, Operations, PlanReport } from '../ipc/operations.ts';
import type { TopologyStore } from '../topology/store.ts';
import type { ControlPlane } from './control.ts';
import { actionWords } from './findings/action-words.ts';
import { readLostRows } from './lost/files.ts';
import type { RunningPlan } from './promotion-run.ts';
import { rejoin } from './rejoin.ts';
import { changePrimary, rehearse } from './requests.ts';

export type ControlOperations = Pick<
  Operations,
  | 'promote'
  | 'changePrimary'
  | 'rehearse'
  | 'rejoin'
  | 'lostTransactions'
  | 'setMaintenance'
  | 'diagnoses'
  | 'charges'
  | 'plans'
  | 'promotions'
>;

/** The operations of a control plane. */
export function controlOperations(
  config: Pick<ProxyConfig, 'clusters' | 'backends' | 'dbproxy'>,
  control: ControlPlane,
  store: TopologyStore,
): ControlOperations {
  const { promotions } = control;
  const { clusters, dbproxy } = config;
  const requireMember = (cluster: string, backend: string | null): void => {
    if (backend === null || config.backends.some((one) => one.name === backend && one.cluster === cluster))
      return;
    throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'TO', backend, `it is not in cluster ${cluster}`);
  };
  return {
    promotions: () => promotions.counts(),
    diagnoses: () =>
      clusters.flatMap((cluster) =>
        diagnosesOf(control, cluster, store.decisionsOf(cluster.name).maintenance === true),
      ),
    charges: () => clusters.map(({ name }) => ({ cluster: name, isOurs: control.charge(name).isOurs })),
    plans: () => promotions.plans.map(reportOf),
    async promote(name, force) {
      const known = config.backends.map((backend) => backend.name);
      if (!known.includes(name)) {
        throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known.join(', '));
      }
      const said = `PROMOTE ${name}${force ? ' FORCE' : ''}`;
      const wish = { target: name, named: true, as: 'any', force, said } as const;
      return promotions.promote(wish, 'PROMOTE of an operator', true);
    },
    async changePrimary(cluster, change) {
      requireMember(cluster, change.to);
      return changePrimary(control.survey(cluster), change, promotions);
    },
    async rehearse(cluster, to) {
      requireMember(cluster, to);
      return rehearse(() => control.survey(cluster), to, promotions);
    },
    async rejoin(request) {
      const cluster = config.backends.find(({ name }) => name === request.backend)!.cluster;
      if (!request.dryRun) control.requireCharge(cluster);
      return rejoin(request, control.rejoinWorld(cluster));
    },
    lostTransactions: () => readLostRows(dbproxy.stateDir),
    async setMaintenance(cluster, on) {
      control.requireCharge(cluster);
      if (store.rememberedPrimary(cluster) === null) {
        throw refusal(
          'DBPROXY_ADMIN_BAD_VALUE',
          'CLUSTER',
          cluster,
          'it has no primary yet, so nothing is done there',
        );
      }
      if (!on && store.maintenanceOf(cluster).endsWith('haconf')) {
        throw refusal(
          'DBPROXY_ADMIN_BAD_VALUE',
          'CLUSTER',
          cluster,
          'the haconf of this host says maintenance: write N into its column 1',
        );
      }
      await store.decide(cluster, { maintenance: on });
      control.consider(cluster);
    },
  };
}

function diagnosesOf(control: ControlPlane, cluster: ClusterConfig, maintenance: boolean): DiagnosisReport[] {
  const { findings, isCoolingDown } = control.governorOf(cluster.name);
  const charge = control.charge(cluster.name);
  return findings.map(({ name, gravity, detail, action }) => ({
    cluster: cluster.name,
    name,
    gravity,
    detail,
    action: actionWords(action, { cluster, maintenance, isCoolingDown, charge }),
  }));
}

function reportOf(plan: RunningPlan): PlanReport {
  const { cluster, kind, target, now, undoneFor } = plan;
  const steps = [...plan.steps];
  const detail = plan.isWaiting ? plan.because : (undoneFor ?? plan.because);
  const result = plan.isWaiting ? 'waiting' : undoneFor === null ? 'running' : 'undoing';
  if (now !== '') steps.push({ step: now, result, detail, durationMs: 0 });
  const left = undoneFor === null ? '' : 'to be taken back';
  for (const step of plan.left) steps.push({ step, result: 'planned', detail: left, durationMs: 0 });
  return { cluster, kind, target, steps };
}
