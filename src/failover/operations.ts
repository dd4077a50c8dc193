/**
 * What the control plane offers to the doors (admin and HTTP port): the part of `Operations` that is about who is
 * the primary.
 */
import { refusal } from '../base/errors.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { DiagnosisReport, Operations, PlanReport } from '../ipc/operations.ts';
import type { TopologyStore } from '../topology/store.ts';
import type { ControlPlane } from './control.ts';
import { readLostRows } from './lost/files.ts';
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
  | 'plan'
  | 'promotions'
>;

/** The operations of a control plane. */
export function controlOperations(
  { clusters, backends, dbproxy }: Pick<ProxyConfig, 'clusters' | 'backends' | 'dbproxy'>,
  control: ControlPlane,
  store: TopologyStore,
): ControlOperations {
  const { promotions } = control;
  const requireMember = (cluster: string, backend: string | null): void => {
    if (backend === null || backends.some((one) => one.name === backend && one.cluster === cluster)) return;
    throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'TO', backend, `it is not in cluster ${cluster}`);
  };
  return {
    promotions: () => promotions.counts(),
    diagnoses: () => clusters.flatMap(({ name }) => diagnosesOf(control, name)),
    plan: () => planOf(control),
    async promote(name) {
      const known = backends.map((backend) => backend.name);
      if (!known.includes(name)) {
        throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known.join(', '));
      }
      const wish = { target: name, named: true, as: 'any', force: false } as const;
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
    rejoin(request) {
      const cluster = backends.find(({ name }) => name === request.backend)!.cluster;
      return rejoin(request, control.rejoinWorld(cluster));
    },
    lostTransactions: () => readLostRows(dbproxy.stateDir),
    async setMaintenance(cluster, on) {
      if (store.rememberedPrimary(cluster) === null) {
        throw refusal(
          'DBPROXY_ADMIN_BAD_VALUE',
          'CLUSTER',
          cluster,
          'it has no primary yet, so nothing is done there',
        );
      }
      await store.decide(cluster, { maintenance: on });
      control.consider(cluster);
    },
  };
}

function diagnosesOf(control: ControlPlane, cluster: string): DiagnosisReport[] {
  return control.governorOf(cluster).findings.map(({ name, gravity, detail, action }) => ({
    cluster,
    name,
    gravity,
    detail,
    action: action.kind.replace('_', ' '),
  }));
}

function planOf(control: ControlPlane): PlanReport | null {
  const { plan } = control.promotions;
  if (plan === null) return null;
  const { cluster, kind, target, now } = plan;
  const steps = [...plan.steps];
  if (now !== '') steps.push({ step: now, result: 'running', detail: plan.because, durationMs: 0 });
  for (const step of plan.left) steps.push({ step, result: 'planned', detail: '', durationMs: 0 });
  return { cluster, kind, target, steps };
}
