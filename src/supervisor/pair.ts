/**
 * This dbproxy as one of a pair: opens what speaks with the other one (`peer/peer.ts`), and carries the news between it
 * and the rest of the control plane. With no `[peer]` in the configuration there is no other.
 */
import { randomUUID } from 'node:crypto';
import { formatEndpoint } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ProxyConfig } from '../config/config.ts';
import { sharedPartOf } from '../config/shared-part.ts';
import { vipAddress, vipKind } from '../config/virtual-addresses.ts';
import type { ControlPlane } from '../failover/control.ts';
import type { Operations } from '../ipc/operations.ts';
import type { SlotCounter } from '../ipc/slot-counter.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { hostAddresses, openPeerLink } from '../peer/link.ts';
import { Peer, type PeerOptions } from '../peer/peer.ts';
import type { TopologyStore } from '../topology/store.ts';

export interface PairWorld {
  readonly config: ProxyConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TopologyStore;
  readonly control: () => ControlPlane;
  readonly monitor: Monitor;
  readonly slots: () => SlotCounter;
  /** The addresses of this host; by default those of the system. */
  readonly hostAddresses?: (() => ReadonlySet<string>) | undefined;
  readonly version: string;
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: (level: 'info' | 'warn' | 'error', event: string, subject: string, detail: string) => void;
}

/** The other dbproxy of this configuration; null: there is none. */
export function openPair(world: PairWorld): Peer | null {
  const { config, clock, store, tell } = world;
  if (config.peer === undefined) return null;
  const addresses = world.hostAddresses ?? hostAddresses;
  const vip = vipOfCharge(config);
  const peer = joinPair({
    ...world,
    monitor: () => world.monitor,
    process: randomUUID(),
    clusters: config.clusters.map(({ name }) => name),
    link: openPeerLink(config.peer, config.admin, clock),
    timeoutMs: config.peer.peerTimeoutMs,
    holdsVip: () => addresses().has(vip),
    config: sharedPartOf(config),
    onSettings: () => {
      for (const { name } of store.members)
        world.slots().limitBackend(name, store.settingsOf(name).maxConnections);
    },
    tell: (level, event, detail) => tell(level, event, 'peer', detail),
  });
  store.shareWith(peer);
  return peer;
}

/** What `joinPair` joins; the rest is what the peer itself wants. */
export interface PairParts
  extends
    Pick<
      PeerOptions,
      'process' | 'clock' | 'link' | 'timeoutMs' | 'holdsVip' | 'config' | 'version' | 'tell'
    >,
    Pick<PairWorld, 'control' | 'store'> {
  readonly monitor: () => Monitor;
  readonly clusters: readonly string[];
  /** Weights and limits may be others. */
  readonly onSettings: () => void;
}

/** The other dbproxy, joined with the rest of the control plane; the simulator has one of its own kind. */
export function joinPair({ clusters, control, monitor, store, onSettings, ...options }: PairParts): Peer {
  return new Peer({
    ...options,
    store,
    busy: () => clusters.filter((name) => control().isPromoting(name)),
    isActing: () => clusters.some((name) => control().isActing(name)),
    hasVotes: () => {
      const votes = clusters.flatMap((name) => monitor().arbiterSight(name).vote ?? []);
      return votes.length === 0 ? null : votes.every(({ vote }) => vote === 'ours');
    },
    onAdopted: async () => {
      onSettings();
      for (const name of clusters) monitor().rejudge(name);
      await control().promotions.leaveToOther();
    },
    onRight: () => {
      for (const name of clusters) monitor().voteOf(name)?.askSoon();
      control().pairRightChanged();
    },
  });
}

/** What the two say to each other, and an operator of the other one. */
export function pairOperations(
  peer: Peer | null,
  { admin, clusters }: Pick<ProxyConfig, 'admin' | 'clusters'>,
  control: ControlPlane,
): Pick<Operations, 'peer' | 'setPeerGone' | 'peers'> {
  const required = (): Peer => {
    if (peer !== null) return peer;
    throw refusal('DBPROXY_ADMIN_BAD_VALUE', 'PEER', 'GONE', 'there is no other dbproxy ([peer] address)');
  };
  return {
    peer: async (message) => required().receive(message),
    setPeerGone: async () => required().setGone(),
    peers: () => {
      if (peer === null) return [];
      const inCharge = clusters.every(({ name }) => control.charge(name).isOurs);
      return peer.report(formatEndpoint(admin.address), inCharge);
    },
  };
}

/** The address whose holder is in charge: the first VIP for writes, or else the first. */
function vipOfCharge({ keepalived, listeners }: ProxyConfig): string {
  const forWrites = keepalived.vip.find((vip) => vipKind(vip, listeners) === 'write');
  return vipAddress(forWrites ?? keepalived.vip[0]!);
}
