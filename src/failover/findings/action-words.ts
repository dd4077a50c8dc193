/**
 * What an operator reads of an action: what dbproxy does, or, where it is not to do that by itself, what it waits for
 * and why. Pure.
 */
import type { ClusterConfig } from '../../config/config.ts';
import type { Standing } from '../charge.ts';
import type { Action } from './finding.ts';

/** What may keep dbproxy from acting by itself. */
export interface Leave {
  readonly cluster: Pick<ClusterConfig, 'name' | 'failover' | 'enforceReadOnly'>;
  readonly maintenance: boolean;
  /** The last failover by itself is less than failover_cooldown ago. */
  readonly isCoolingDown: boolean;
  readonly charge: Standing;
}

/** The action column of SHOW DIAGNOSES. */
export function actionWords(action: Action, leave: Leave): string {
  const { charge } = leave;
  if (charge.isOurs || !ON_SERVERS.has(action.kind)) return wordsInCharge(action, leave);
  const kind = action.kind.replace('_', ' ');
  return charge.holder === null ? `${kind} waits (${charge.why})` : `${kind} is up to ${charge.holder}`;
}

/** What only the dbproxy in charge does. */
const ON_SERVERS: ReadonlySet<Action['kind']> = new Set(['failover', 'finish', 'unlock', 'fence', 'take_up']);

function wordsInCharge(action: Action, leave: Leave): string {
  switch (action.kind) {
    case 'failover':
      return unless(whyNoFailover(leave), `FAILOVER CLUSTER ${leave.cluster.name}`, 'failover');
    case 'finish':
      return unless(whyNoPromotion(leave), `PROMOTE ${action.backend}`, 'finish');
    case 'unlock':
      return unless(whyNoLock(leave), `PROMOTE ${action.backend}`, 'unlock');
    case 'fence':
      return unless(whyNoLock(leave), `SET GLOBAL read_only = 1 on ${action.backends.join(', ')}`, 'fence');
    case 'none':
    case 'watch':
    case 'take_up':
    case 'adopt_epoch':
    case 'stop_writes':
      return action.kind.replace('_', ' ');
  }
}

function unless(why: string | null, operatorSays: string, action: string): string {
  return why === null ? action : `waits for ${operatorSays} (${why})`;
}

function whyNoFailover(leave: Leave): string | null {
  return whyNoPromotion(leave) ?? (leave.isCoolingDown ? 'failover_cooldown' : null);
}

function whyNoPromotion({ cluster, maintenance }: Leave): string | null {
  if (maintenance) return 'maintenance';
  return cluster.failover === 'auto' ? null : `failover = ${cluster.failover}`;
}

function whyNoLock({ cluster, maintenance }: Leave): string | null {
  if (maintenance) return 'maintenance';
  return cluster.enforceReadOnly ? null : 'enforce_read_only = off';
}
