/**
 * What diagnosis, election and the check of a promotion look at: one cluster at one moment, as plain data, and
 * the questions about it that they share. Nothing here decides.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { ArbiterSight } from '../monitor/arbiter.ts';
import { isSeenWell, type HealthRecord } from '../monitor/detector.ts';
import type { ReplicationFacts, ServerFacts } from '../monitor/observation.ts';
import type { AdminState } from '../topology/state-file.ts';

/** A server of the cluster as it is known now. */
export interface Member {
  readonly backend: BackendConfig;
  readonly admin: AdminState;
  /** As it counts now, whoever set it. */
  readonly rwWeight: number;
  readonly record: HealthRecord;
}

/** A member whose facts are from a good check. */
export interface SeenMember extends Member {
  readonly record: HealthRecord & { readonly facts: ServerFacts };
}

export interface Survey {
  readonly cluster: ClusterConfig;
  readonly members: readonly Member[];
  /** The primary as it was decided last. */
  readonly remembered: string | null;
  /** Of the promotion that made it so; 0: there has been none. */
  readonly epoch: number;
  /**
   * The primary was let go on without a replica to wait for, by a decision that is written down: what it has
   * acknowledged since may be nowhere else.
   */
  readonly alone: boolean;
  /** Servers whose replication dbproxy has stopped and not been seen to start again. */
  readonly inHand: readonly string[];
  readonly arbiters: ArbiterSight;
  readonly nowMs: number;
}

/** The member with this name. */
export function memberOf(survey: Survey, name: string | null): Member | undefined {
  return survey.members.find(({ backend }) => backend.name === name);
}

/** Seen by its last check, without anything odd. */
export function isSeen(member: Member): member is SeenMember {
  return isSeenWell(member.record) && member.record.facts !== null;
}

/** Its server id tells best, as a server has many names; the address does when the id was not learnt. */
export function isSource(member: Member, replication: ReplicationFacts): boolean {
  const serverId = member.record.facts?.serverId ?? 0;
  if (serverId !== 0 && replication.sourceServerId !== 0) return serverId === replication.sourceServerId;
  const { address } = member.backend;
  return (
    address.kind === 'tcp' &&
    address.host === replication.sourceHost &&
    address.port === replication.sourcePort
  );
}

/** The member that this one has its replication from, as last seen; undefined when it has none, or from elsewhere. */
export function sourceOf(survey: Survey, member: Member): Member | undefined {
  const replication = member.record.facts?.replication ?? null;
  if (replication === null) return undefined;
  return survey.members.find((one) => one !== member && isSource(one, replication));
}

/** True when it has its replication from `source`, directly or through others. */
export function descendsFrom(survey: Survey, member: Member, source: Member): boolean {
  const passed = new Set<Member>();
  for (let at = sourceOf(survey, member); at !== undefined && !passed.has(at); at = sourceOf(survey, at)) {
    if (at === source) return true;
    passed.add(at);
  }
  return false;
}

/** Seen, and has its replication from `source` directly. */
export function followsServer(member: Member, source: Member): member is SeenMember {
  const replication = member.record.facts?.replication ?? null;
  return isSeen(member) && replication !== null && isSource(source, replication);
}

/** Takes writes of anybody, as far as is known: writable, reachable and nobody's replica. */
export function takesWrites(member: Member): boolean {
  const { reach, facts } = member.record;
  return reach !== 'down' && facts !== null && !facts.readOnly && facts.replication === null;
}
