/**
 * What diagnosis, election and the check of a promotion look at: one cluster at one moment, as plain data, and
 * the questions about it that they share. Nothing here decides.
 */
import type { BackendConfig, ClusterConfig } from '../config/config.ts';
import type { ArbiterSight } from '../monitor/arbiter.ts';
import { asSeenNow, isSeenWell, type HealthRecord } from '../monitor/detector.ts';
import { receiverWitness } from '../monitor/witness.ts';
import type { ReplicationFacts, ServerFacts } from '../monitor/observation.ts';
import type { Charge } from '../topology/charge.ts';
import type { Maintenance } from '../topology/snapshot.ts';
import type { AdminState, Divergence, Handover } from '../topology/state-file.ts';
import { withoutForeign } from './history.ts';
import type { Memory } from './traces.ts';
import type { StepName } from './plan.ts';

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

/** What a server is now; null: it does not answer. */
export interface Answer {
  readonly name: string;
  readonly facts: ServerFacts | null;
}

/** How far a promotion of the cluster has come that has not ended. */
export interface PromotionStand {
  readonly target: string;
  /** The step that had begun last; null: none had. */
  readonly step: StepName | null;
  /** Since when it is at that step, Unix time in milliseconds. */
  readonly sinceWallMs: number;
  /** Why it has been left unfinished, and still is; null: it runs. */
  readonly cutOffBy: string | null;
}

/** What has become of the attempts of dbproxy to promote somebody by itself, as long as something calls for it. */
export interface FailoverFailure {
  readonly failures: number;
  /** Of the last one, Unix time in milliseconds. */
  readonly lastWallMs: number;
  /** Who was to be promoted, and what kept that from being done. */
  readonly reason: string;
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
  /** Without global ids: where the log of the primary goes on from that of the one before it; null: not known. */
  readonly handover: Handover | null;
  /** Servers that have what the primary has not. */
  readonly diverged: readonly Divergence[];
  /** By the name of a replica: what it had written itself when it was last compared with the primary of this epoch, which had that. */
  readonly ownWrites: Readonly<Record<string, string>>;
  /** Replicas that were gone long before this primary, of this epoch, was last seen taking writes, as it was written down. */
  readonly longGone: readonly string[];
  /** What is remembered of the replicas from the looks before. */
  readonly memory: Memory;
  readonly arbiters: ArbiterSight;
  readonly maintenance: Maintenance;
  /** Why nothing can be written to state_dir; null: as far as is known it can be. */
  readonly stateTrouble: string | null;
  /** Null: none was tried, or the last one went well. */
  readonly failoverFailure: FailoverFailure | null;
  /** Null: none runs, and none was left unfinished. */
  readonly promotion: PromotionStand | null;
  /** Null or absent: it is in charge, or there is no other. */
  readonly charge?: Charge | null;
  /** False: the other of a pair may promote a replica meanwhile, so the primary is not let go on alone. */
  readonly mayGoAlone?: boolean;
  /** The write VIP of a pair is here, and the other dbproxy answers, which acts once it has the VIP. */
  readonly hasStandby?: boolean;
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

/**
 * What a member has, as far as it is the cluster's: one with a `channel` may have much from others. What the primary has
 * is everybody's.
 */
export function factsInCluster(survey: Survey, backend: BackendConfig, facts: ServerFacts): ServerFacts {
  const isOrdinary = ({ name, channel }: BackendConfig): boolean =>
    channel === undefined || name === survey.remembered;
  if (isOrdinary(backend)) return facts;
  const ordinary = survey.members.filter((member) => isOrdinary(member.backend));
  const known = ordinary.flatMap(({ record }) => record.facts ?? []);
  return known.length === 0 ? facts : withoutForeign(facts, known);
}

/** The survey with what each member has as far as it is the cluster's. */
export function inCluster(survey: Survey): Survey {
  return {
    ...survey,
    members: survey.members.map((member) => {
      const { facts } = member.record;
      if (facts === null) return member;
      return {
        ...member,
        record: { ...member.record, facts: factsInCluster(survey, member.backend, facts) },
      };
    }),
  };
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

/** It tells this source what it has received; who follows another replica tells that one. */
export function acknowledgesTo({ record: { facts } }: Member, source: Member): boolean {
  if (facts === null || facts.replication === null) return false;
  return isSource(source, facts.replication) && facts.semiSync.replica?.enabled === true;
}

/** Its source is down, by our checks and by its own word. */
export function isOrphaned({ cluster, nowMs }: Survey, member: Member, source: Member): boolean {
  if (source.record.reach !== 'down' || source.record.good > 0) return false;
  const witness = receiverWitness(member.record, cluster, nowMs);
  return witness === 'lost' || witness === 'silent';
}

/** The last look at `primary` began when that at this member had ended: it has had since then whatever it had sent. */
export function wasSeenBefore({ record }: Member, primary: Member): boolean {
  const { askedMs } = primary.record;
  return askedMs !== null && record.seenMs !== null && askedMs >= record.seenMs;
}

/** Takes writes of anybody, as far as is known: writable, reachable and nobody's replica. */
export function takesWrites(member: Member): boolean {
  const { reach, facts } = member.record;
  return reach !== 'down' && facts !== null && !facts.readOnly && facts.replication === null;
}

/** Its data was found to be another than the primary's. */
export function isDiverged({ diverged }: Survey, { backend }: Pick<Member, 'backend'>): boolean {
  return diverged.some((one) => one.backend === backend.name);
}

/** The survey with what servers are now: one may have been restarted, or have gone, since it was seen. */
export function withAnswers(survey: Survey, answers: readonly Answer[]): Survey {
  return {
    ...survey,
    members: survey.members.map((member) => {
      const answer = answers.find(({ name }) => name === member.backend.name);
      if (answer === undefined) return member;
      const { record } = member;
      return {
        ...member,
        record:
          answer.facts === null
            ? { ...record, reach: 'suspect', reachReason: 'it does not answer now' }
            : asSeenNow(record, answer.facts, survey.nowMs),
      };
    }),
  };
}

/** Their names, for people. */
export function namesOf(members: readonly Member[]): string {
  return members.map(({ backend }) => backend.name).join(', ');
}
