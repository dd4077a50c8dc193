/**
 * Joins what an arbiter that votes says with the control plane: whose right it is to act on a cluster, and the state
 * of the cluster that all of its dbproxies have in common.
 */
import type { Clock } from '../base/clock.ts';
import { votingArbiter } from '../config/arbiter.ts';
import type { ClusterConfig } from '../config/config.ts';
import { connectEtcd } from '../monitor/etcd.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { LeaseVote, proxyName, type VoteSight } from '../monitor/vote.ts';
import type { SharedPlace } from '../topology/shared-state.ts';
import type { TopologyStore } from '../topology/store.ts';
import type { ControlPlane } from './control.ts';

export interface SharedChargeWorld {
  readonly clock: Clock;
  readonly stateDir: string;
  readonly store: TopologyStore;
  readonly control: () => Pick<ControlPlane, 'takeOver' | 'consider' | 'wantsVote'>;
  /** Of a pair: what an arbiter has is written down here by the one that has its vote, and told to the other. */
  readonly isPair: boolean;
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: (level: 'info' | 'warn', event: string, subject: string, detail: string) => void;
}

/** What asks the arbiter of this cluster that votes; null: none does. */
export function voteOn(
  cluster: ClusterConfig,
  isWorried: () => boolean,
  world: SharedChargeWorld,
): LeaseVote | null {
  const etcd = votingArbiter(cluster.arbiter);
  if (etcd === undefined) return null;
  const { clock, store, tell } = world;
  const { name, etcdUser: user, etcdPassword: password, etcdCa: caPath } = cluster;
  const account = user === undefined || password === undefined ? {} : { user, password };
  const ca = caPath === undefined ? {} : { caPath };
  const vote: LeaseVote = new LeaseVote({
    cluster: name,
    name: proxyName(world.stateDir),
    ttlMs: cluster.arbiterLeaseMs,
    clock,
    etcd: connectEtcd({ urls: etcd.urls, timeoutMs: cluster.checkTimeoutMs, clock, ...account, ...ca }),
    wants: () => world.control().wantsVote(name),
    // Of a pair the other one waits for what is given back, and nobody acts before it is taken.
    isWorried: () => isWorried() || (world.isPair && world.control().wantsVote(name) !== vote.leftMs > 0),
    worriedIntervalMs: cluster.checkFastIntervalMs,
    settle: async (isOurs, isHeld) => {
      if (world.isPair && !isHeld) return;
      const before = `${store.rememberedPrimary(name)} ${store.epochOf(name)}`;
      if (!(await store.settleWithShared(name, isOurs))) return;
      const [primary, epoch] = [store.rememberedPrimary(name), store.epochOf(name)];
      if (before !== `${primary} ${epoch}`) {
        const detail = `${primary} is the primary of epoch ${epoch}, as ${vote.record?.by} has written down in etcd`;
        tell('warn', 'cluster.epoch_adopted', name, detail);
      }
      world.control().takeOver(name);
    },
    onChange: (sight) => {
      tell(sight.vote === 'none' ? 'warn' : 'info', `charge.${sight.vote}`, name, wordsOf(sight));
      world.control().consider(name);
    },
  });
  return vote;
}

/** The place where the clusters of these votes are kept. */
export function sharedPlace(monitor: () => Monitor): SharedPlace {
  return {
    recordOf: (cluster) => monitor().voteOf(cluster)?.record ?? null,
    lastEpochOf: (cluster) => monitor().voteOf(cluster)?.lastEpoch ?? 0,
    publish: async (cluster, state, epoch) => monitor().voteOf(cluster)?.publish(state, epoch),
  };
}

function wordsOf({ vote, holder, why }: VoteSight): string {
  switch (vote) {
    case 'ours':
      return `this dbproxy (${holder}) has the lease, and acts on the servers from now on`;
    case 'theirs':
      return `${why}, and acts on the servers; this dbproxy follows what it decides`;
    case 'none':
      return `nothing is done on the servers: ${why}`;
  }
}
