/**
 * Who is to be the next primary? Pure: from a survey to a winner, with the reason why each other one was not
 * taken, for the operator who reads it at night.
 */
import type { BackendConfig } from '../config/config.ts';
import { wasInSync } from '../monitor/detector.ts';
import { describeDivergence } from '../topology/divergence-words.ts';
import { describeHeld, hasAllOf, ownExtras, ownSince } from './history.ts';
import { isCutShort } from './memory.ts';
import { whyNobodyCouldFollow } from './place.ts';
import { semiSyncCovers } from './semi-sync.ts';
import { descendsFrom, followsServer, isSeen, type Member, type SeenMember, type Survey } from './survey.ts';

/** What is asked of the election beside the survey. */
export interface ElectionTerms {
  /** The operator's choice; null: the best one. */
  readonly only: string | null;
  /** The operator takes losses into account that he has been told of. */
  readonly force: boolean;
  /** The old primary is alive and will be waited for: nobody is ahead for good, and the weight decides. */
  readonly planned?: boolean;
}

/** How one server came off. */
export interface Candidacy {
  readonly backend: string;
  /** elected; passed over (eligible, but another is better); ineligible. */
  readonly outcome: 'elected' | 'passed_over' | 'ineligible';
  readonly reason: string;
}

export interface Election {
  readonly winner: BackendConfig | null;
  /** Why nobody was elected; empty when somebody was. */
  readonly reason: string;
  readonly candidacies: readonly Candidacy[];
  /** What the election of the winner may lose, in words; empty: nothing that was acknowledged. */
  readonly loss: string;
  /** Who has received more, which nobody can have been told of, and does not become the primary; in words, or empty. */
  readonly leaves: string;
}

/**
 * Elects the successor of `old`. Each rule that disqualifies, in this order:
 * 1. an operator has taken it out, or it does not answer;
 * 2. follow = on, or rw_weight = 0 (unless the operator names it);
 * 3. nobody could follow it: no binary log, neither global ids nor a place that stands in for them;
 * 4. it does not descend from the old primary (without global ids: directly), or has several sources;
 * 5. it could not apply what it has received, or can be written to;
 * 6. it was found to have what the primary has not, or has written since it could be compared, or its replication did not work when the old primary was last seen, or it lagged beyond max_lag then;
 * 7. it is older than the old primary's version;
 * 8. it has transactions of its own that the others have not.
 * Of the rest the most advanced wins, then the greater weight, then the name. A server that is ahead of all of
 * them but may not be elected stops the election, as what it has would be lost; unless it is forced, or what semi-sync
 * vouches for says that nobody can have been told of that.
 */
export function elect(survey: Survey, old: Member, terms: ElectionTerms): Election {
  const followers = survey.members.filter(
    (member): member is SeenMember => member !== old && mayBeAsked(survey, member, old),
  );
  const reasons = new Map<Member, string>();
  const eligible: SeenMember[] = [];
  for (const member of survey.members) {
    if (member === old) continue;
    const reason = whyIneligible(survey, member, old, terms);
    if (reason !== null) reasons.set(member, reason);
    else if (isSeen(member)) eligible.push(member);
  }
  const standing =
    terms.only === null ? eligible : eligible.filter(({ backend }) => backend.name === terms.only);
  const [best] = [...standing].sort(terms.planned === true ? byWeight : byMerit);
  const candidacies = (winner: Member | null): Candidacy[] =>
    survey.members
      .filter((member) => member !== old)
      .map((member) => candidacyOf(member, winner, reasons.get(member), terms));
  if (best === undefined) {
    const words = candidacies(null).map(({ backend, reason }) => `${backend}: ${reason}`);
    return nobody(words.length === 0 ? 'there is no other server' : words.join('; '), candidacies(null));
  }
  const ahead = followers.find(
    (member) => member !== best && !hasAllOf(best.record.facts, member.record.facts),
  );
  const isUntold =
    ahead !== undefined &&
    reasons.has(ahead) &&
    survey.cluster.semiSync === 'require' &&
    semiSyncCovers(survey, old, best.backend.name) === null;
  if (ahead !== undefined && !isUntold && !terms.force && terms.planned !== true) {
    const why = reasons.get(ahead) ?? 'it was not named';
    return nobody(
      `${ahead.backend.name} has received more than ${best.backend.name} (${describeHeld(ahead.record.facts)} against ${describeHeld(best.record.facts)}), but is not to be elected: ${why}`,
      candidacies(null),
    );
  }
  const left =
    ahead === undefined || terms.planned === true ? '' : `what only ${ahead.backend.name} has received`;
  const [loss, leaves] = isUntold ? ['', left] : [left, ''];
  return { winner: best.backend, reason: '', candidacies: candidacies(best), loss, leaves };
}

function nobody(reason: string, candidacies: readonly Candidacy[]): Election {
  return { winner: null, reason, candidacies, loss: '', leaves: '' };
}

/** Has something to say about how far the old primary had come. */
function mayBeAsked(survey: Survey, member: Member, old: Member): boolean {
  return isSeen(member) && descendsFrom(survey, member, old);
}

function whyIneligible(survey: Survey, member: Member, old: Member, terms: ElectionTerms): string | null {
  if (member.admin !== 'online') return `it was set ${member.admin} by an operator`;
  if (!isSeen(member)) return `it does not answer well: ${member.record.reachReason}`;
  if (member.backend.follow) return 'it has follow = on, and takes no traffic';
  if (member.rwWeight === 0 && terms.only !== member.backend.name) return 'its rw_weight is 0';
  const { facts } = member.record;
  const unfit = whyNobodyCouldFollow(facts, old.record.facts);
  if (unfit !== null) return unfit;
  const { replication } = facts;
  if (replication === null || !descendsFrom(survey, member, old)) {
    return `it does not replicate from ${old.backend.name}`;
  }
  if (!facts.hasGtid && !followsServer(member, old)) {
    return `it does not replicate from ${old.backend.name} directly, and without global ids its place in the log of ${old.backend.name} is not known`;
  }
  if (replication.channels > 1) return `it replicates from ${replication.channels} sources`;
  if (replication.applier !== 'running' && !replication.drained) {
    const error = replication.applierError === '' ? '' : `: ${replication.applierError}`;
    return `it has received changes it cannot apply, as its applier is stopped${error}`;
  }
  if (!facts.readOnly) return 'it can be written to although it replicates (read_only is off)';
  const setAside = terms.force
    ? null
    : (whyDiverged(survey, member) ?? whyWrittenOn(survey, member, old) ?? whyBehind(survey, member, old));
  return setAside ?? whyUnfit(survey, member, old);
}

/** Found out while there was a primary to compare it with, by this process or one before it. */
export function whyDiverged({ diverged, remembered }: Survey, { backend }: Member): string | null {
  const known = diverged.find((one) => one.backend === backend.name);
  return known === undefined ? null : `it ${describeDivergence(known, remembered ?? 'the primary')}`;
}

/** The old primary, which this process has never seen, need not have what this one has written since they were compared. */
function whyWrittenOn({ ownWrites }: Survey, { backend, record }: SeenMember, old: Member): string | null {
  const before = ownWrites[backend.name];
  if (before === undefined || old.record.facts !== null) return null;
  const news = ownSince(record.facts, before);
  if (news === null) return null;
  const name = old.backend.name;
  return `somebody has written there since it was last compared with ${name}, which dbproxy has not seen since it was started: ${news}`;
}

/** It may lack what the old primary had long sent. */
function whyBehind(survey: Survey, member: SeenMember, old: Member): string | null {
  const { lastInSync } = member.record;
  const { seenMs } = old.record;
  if (seenMs === null || isCutShort(survey, old, member)) return null;
  if (!wasInSync(lastInSync, seenMs, survey.cluster)) {
    return `its replication did not work when ${old.backend.name} was last seen well`;
  }
  if (lastInSync !== null && lastInSync.lagMs > survey.cluster.maxLagMs) {
    return `it lagged ${Math.round(lastInSync.lagMs)} ms when ${old.backend.name} was last seen well, more than max_lag`;
  }
  return null;
}

function whyUnfit(survey: Survey, member: SeenMember, old: Member): string | null {
  const { facts } = member.record;
  const before = old.record.facts;
  if (before !== null && isOlder(facts.version, before.version)) {
    return `its version ${facts.version} is older than ${before.version} of ${old.backend.name}`;
  }
  return whyErrant(survey, member, old);
}

/** Transactions that a replica has written by itself would be everybody's after its promotion. */
export function whyErrant(survey: Survey, member: SeenMember, old: Member): string | null {
  let words: string | null = null;
  for (const other of survey.members) {
    if (other === member || other.record.facts === null) continue;
    if (other !== old && !descendsFrom(survey, other, old)) continue;
    words = ownExtras(member.record.facts, other.record.facts);
    if (words === null) return null;
  }
  return words === null ? null : `it has transactions of its own: ${words}`;
}

/** The first two numbers count: patches do not change what a server can read. */
function isOlder(version: string, than: string): boolean {
  const [major, minor] = numbersOf(version);
  const [thanMajor, thanMinor] = numbersOf(than);
  return major === thanMajor ? minor < thanMinor : major < thanMajor;
}

function numbersOf(version: string): [number, number] {
  const match = /^(\d+)\.(\d+)/.exec(version);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

/** The most advanced first, then the greater weight, then the name. */
function byMerit(one: SeenMember, other: SeenMember): number {
  const oneHasAll = hasAllOf(one.record.facts, other.record.facts);
  const otherHasAll = hasAllOf(other.record.facts, one.record.facts);
  if (oneHasAll !== otherHasAll) return oneHasAll ? -1 : 1;
  return byWeight(one, other);
}

function byWeight(one: SeenMember, other: SeenMember): number {
  if (one.rwWeight !== other.rwWeight) return other.rwWeight - one.rwWeight;
  return one.backend.name < other.backend.name ? -1 : 1;
}

function candidacyOf(
  { backend }: Member,
  winner: Member | null,
  reason: string | undefined,
  terms: ElectionTerms,
): Candidacy {
  const { name } = backend;
  if (reason !== undefined) return { backend: name, outcome: 'ineligible', reason };
  if (winner !== null && winner.backend.name === name)
    return { backend: name, outcome: 'elected', reason: '' };
  const words =
    winner === null
      ? 'nobody was elected'
      : terms.only === null
        ? `${winner.backend.name} has received more, has the greater weight, or comes first by name`
        : `the operator named ${terms.only}`;
  return { backend: name, outcome: 'passed_over', reason: words };
}
