/** The survey as the diagnoses look at it: who is the primary, who its replicas are, and what they say of it. */
import { receiverWitness, whyItCannotTell } from '../../monitor/witness.ts';
import { elect } from '../election.ts';
import { semiSyncCovers } from '../semi-sync.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  memberOf,
  type Member,
  type SeenMember,
  type Survey,
} from '../survey.ts';

/** The survey with what most rows ask. */
export interface View {
  readonly survey: Survey;
  readonly primary: Member | undefined;
  readonly others: readonly Member[];
  readonly replicas: readonly SeenMember[];
  readonly witnesses: Witnesses;
}

interface Witnesses {
  readonly lost: readonly string[];
  readonly receiving: readonly string[];
  /** Of whom it cannot be told, and why. */
  readonly unknown: readonly { readonly name: string; readonly why: string }[];
}

/** What the rows look at. */
export function viewOf(survey: Survey): View {
  const primary = memberOf(survey, survey.remembered);
  const others = survey.members.filter((member) => member !== primary && member.admin !== 'offline');
  const replicas =
    primary === undefined
      ? []
      : others.filter(
          (member): member is SeenMember => isSeen(member) && descendsFrom(survey, member, primary),
        );
  return { survey, primary, others, replicas, witnesses: hearWitnesses(survey, primary) };
}

/** What those say that have their replication directly from the primary. */
function hearWitnesses(survey: Survey, primary: Member | undefined): Witnesses {
  const witnesses = {
    lost: [] as string[],
    receiving: [] as string[],
    unknown: [] as { name: string; why: string }[],
  };
  if (primary === undefined) return witnesses;
  for (const member of survey.members) {
    if (!followsServer(member, primary)) continue;
    const { name } = member.backend;
    switch (receiverWitness(member.record, survey.cluster, survey.nowMs)) {
      case 'lost':
      case 'silent':
        witnesses.lost.push(name);
        break;
      // Who was answered, if only by a refusal, bears witness of its life as well.
      case 'receives':
      case 'answered':
        witnesses.receiving.push(name);
        break;
      case 'unknown':
        witnesses.unknown.push({ name, why: whyItCannotTell(member.record, survey.cluster, survey.nowMs) });
    }
  }
  return witnesses;
}

/** Its checks say that it is down. */
export function isDown(member: Member): boolean {
  // One that has just answered again is on its way back, whatever else is said of it.
  return member.record.reach === 'down' && member.record.good === 0 && member.admin === 'online';
}

/** It is not we who are cut off. */
export function hasQuorum({ arbiters }: Survey): boolean {
  return arbiters.total === 0 || arbiters.reachable > 0;
}

/** Why nobody may be promoted by itself; null when somebody may. */
export function whyNoFailover({ survey, primary }: View): string | null {
  const election = elect(survey, primary!, { only: null, force: false });
  if (election.winner === null) return election.reason;
  return semiSyncCovers(survey, primary!, election.winner.name);
}
