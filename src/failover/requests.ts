/**
 * What operators ask of the control plane beside PROMOTE: a switchover or a failover of a cluster, with or without a
 * target, only as a rehearsal or as a plan on paper. Each becomes a wish that `Promotions` knows.
 */
import { refusal } from '../base/errors.ts';
import { agree } from '../base/grammar.ts';
import { messageOf } from '../base/message-of.ts';
import type { PrimaryChange, PromoteStep } from '../ipc/operations.ts';
import { countLacking } from '../monitor/gtid.ts';
import { isWell, livesWords, type Decision, type Verdict, type Wish } from './check.ts';
import { elect, type Candidacy, type Election } from './election.ts';
import { hasLogOf, heldBy } from './history.ts';
import type { StepName } from './plan.ts';
import type { Promotions } from './promotion.ts';
import { semiSyncCovers } from './semi-sync.ts';
import { memberOf, type Survey } from './survey.ts';

/** Carries it out, or says what it would do. Rejects with DBPROXY_PROMOTE_REFUSED or _FAILED. */
export async function changePrimary(
  survey: Survey,
  request: PrimaryChange,
  promotions: Promotions,
  isRehearsal = false,
): Promise<PromoteStep[]> {
  const { kind, force, dryRun } = request;
  const say = (to: string | null): string =>
    `${isRehearsal ? 'REHEARSE ' : ''}${saidOf(survey, request, to)}`;
  // Of the primary itself there is nothing to elect.
  const election = isRemembered(survey, request.to) ? null : electFor(survey, request);
  const target = request.to ?? election?.winner?.name ?? null;
  if (target === null) {
    const reason =
      election?.reason ?? 'the cluster has no primary to take over from; PROMOTE names the first one';
    if (dryRun) return [...candidateRows(election?.candidacies ?? []), refusedRow(reason)];
    throw refusal('DBPROXY_PROMOTE_REFUSED', say(null), reason);
  }
  const wish: Wish = {
    target,
    named: request.to !== null,
    as: isRemembered(survey, target) ? 'any' : kind,
    force,
    said: say(target),
  };
  if (!dryRun) return promotions.promote(wish, `${kind.toUpperCase()} of an operator`, true);
  const { verdict, steps } = await promotions.dryRun({ ...wish, isOnPaper: true });
  return onPaper(survey, verdict, steps, election?.candidacies ?? [], promotions);
}

function isRemembered({ remembered }: Survey, backend: string | null): boolean {
  return backend !== null && backend === remembered;
}

/** The statement, as far as refusals have to name it; where it leaves the target open, with who was elected. */
function saidOf(survey: Survey, { kind, to, force }: PrimaryChange, target: string | null): string {
  const whom = to === null ? `CLUSTER ${survey.cluster.name}` : `TO ${to}`;
  const elected = to === null && target !== null ? ` (to ${target})` : '';
  return `${kind.toUpperCase()} ${whom}${force ? ' FORCE' : ''}${elected}`;
}

/**
 * There and back: the second half begins when the old primary follows. Answers both, with their pauses as the last
 * rows of each. When only the way back is refused or fails, the error says who is the primary now, and how the way
 * there went.
 */
export async function rehearse(
  survey: () => Survey,
  to: string | null,
  promotions: Promotions,
): Promise<PromoteStep[]> {
  const { cluster, remembered: from } = survey();
  const go = (target: string | null): Promise<PromoteStep[]> => {
    const request = { kind: 'switchover', to: target, force: false, dryRun: false } as const;
    return changePrimary(survey(), request, promotions, true);
  };
  const there = await go(to);
  const back = await go(from).catch((error: unknown) => {
    const said = `REHEARSE SWITCHOVER CLUSTER ${cluster.name}`;
    throw refusal(
      'DBPROXY_PROMOTE_FAILED',
      said,
      `back to ${from}`,
      reasonOf(error),
      whatStays(survey(), from, there),
    );
  });
  return [
    ...there.map((row) => ({ ...row, step: `there: ${row.step}` })),
    pauseRow('there', there),
    ...back.map((row) => ({ ...row, step: `back: ${row.step}` })),
    pauseRow('back', back),
  ];
}

/** Without the statement that it begins with. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  return message.slice(message.indexOf(': ') + 2);
}

/** Of a rehearsal that has gone there only. */
function whatStays(survey: Survey, from: string | null, there: readonly PromoteStep[]): string {
  const { remembered, epoch } = survey;
  const failed = there.filter(({ result }) => result === 'failed');
  const gaps = failed.map(({ step, detail }) => `, and ${step} failed: ${detail}`).join('');
  return `${remembered} is the primary now (epoch ${epoch}): on the way there statements waited up to ${pauseOf(there)} ms${gaps}; SWITCHOVER TO ${from} when that is mended`;
}

/** How long statements waited: from the hold to the publication. */
function pauseOf(steps: readonly PromoteStep[]): number {
  const from = steps.findIndex(({ step }) => step === 'hold');
  const to = steps.findIndex(({ step }) => step === 'publish');
  return steps.slice(Math.max(0, from), to + 1).reduce((sum, { durationMs }) => sum + durationMs, 0);
}

function pauseRow(way: string, steps: readonly PromoteStep[]): PromoteStep {
  const durationMs = pauseOf(steps);
  return {
    step: `${way}: pause`,
    result: 'done',
    detail: `statements waited up to ${durationMs} ms`,
    durationMs,
  };
}

function electFor(survey: Survey, { kind, to, force }: PrimaryChange): Election | null {
  const old = memberOf(survey, survey.remembered);
  return old === undefined ? null : elect(survey, old, { only: to, force, planned: kind === 'switchover' });
}

/** The plan, a row a step, with what it expects. */
function onPaper(
  survey: Survey,
  verdict: Verdict,
  steps: readonly StepName[],
  candidacies: readonly Candidacy[],
  promotions: Promotions,
): PromoteStep[] {
  const candidates = candidateRows(candidacies);
  if (verdict.kind === 'refused') return [...candidates, refusedRow(verdict.reason)];
  const { old } = verdict;
  const member =
    verdict.kind === 'failover' && !verdict.force ? memberOf(survey, old?.name ?? null) : undefined;
  return [
    ...candidates,
    ...(member !== undefined && isWell(member)
      ? [refusedRow(`now: ${livesWords(member, verdict.target.name)}`)]
      : []),
    ...steps.map((step) => plannedRow(step, describeStep(step, verdict, survey))),
    plannedRow('expected loss', expectedLoss(survey, verdict)),
    plannedRow('expected pause', expectedPause(survey, verdict, promotions)),
  ];
}

function candidateRows(candidacies: readonly Candidacy[]): PromoteStep[] {
  return candidacies.map(({ backend, outcome, reason }) =>
    plannedRow(`candidate ${backend}`, reason === '' ? outcome : `${outcome.replace('_', ' ')}: ${reason}`),
  );
}

function plannedRow(step: string, detail: string): PromoteStep {
  return { step, result: 'planned', detail, durationMs: 0 };
}

/** The statement without DRY RUN would not be begun. */
function refusedRow(reason: string): PromoteStep {
  return { step: 'check', result: 'refused', detail: reason, durationMs: 0 };
}

function describeStep(step: StepName, { kind, target, old, followers }: Decision, survey: Survey): string {
  const { cluster } = survey;
  const before = old?.name ?? 'nobody';
  switch (step) {
    case 'hold':
      return `statements that need the primary wait, at most hold_timeout (${cluster.holdTimeoutMs} ms)`;
    case 'end_sessions':
      return kind === 'failover'
        ? `connections to ${before} are cut; a transaction that was open there is lost, and its client is told`
        : `open transactions at ${before} may end within transaction_grace (${cluster.transactionGraceMs} ms); then what is left there is cut`;
    case 'stop_receivers':
      return `the replicas of ${before} receive nothing more, so that it can have nothing acknowledged any more`;
    case 'elect':
      return 'who has received most is elected, now that nothing moves';
    case 'fence':
      return kind === 'failover'
        ? `${before} is made read-only if it can be reached, else when it comes back`
        : `${before} is made read-only; sessions that are still there are ended`;
    case 'catch_up':
      return kind === 'failover'
        ? `${target.name} applies all it has received, within catch_up_timeout (${cluster.catchUpTimeoutMs} ms)`
        : `${target.name} applies all that ${before} has, by its global ids or the place in its log, within catch_up_timeout (${cluster.catchUpTimeoutMs} ms)`;
    case 'stop_replication':
      return `${target.name} stops replicating`;
    case 'record':
      return `epoch ${survey.epoch + 1} with ${target.name} as the primary is written to the state file`;
    case 'make_writable':
      return `${target.name} forgets its source, has epoch ${survey.epoch + 1} written in dbproxy.epoch, and becomes writable; there is no way back after this`;
    case 'weights':
      return `${target.name} takes over the rw_weight of ${before} if it has none of its own`;
    case 'repoint':
      return followWords(
        [...(kind === 'switchover' ? [before] : []), ...followers.map(({ name }) => name)],
        target.name,
      );
    case 'semi_sync':
      return cluster.semiSync === 'off'
        ? 'semi_sync = off: nothing'
        : `${target.name} waits for its replicas, as semi_sync = ${cluster.semiSync} says`;
    case 'publish':
      return `the statements that waited go to ${target.name}`;
  }
}

function followWords(followers: readonly string[], target: string): string {
  if (followers.length === 0) return `there is no other server that is to follow ${target}`;
  return `${followers.join(', ')} ${agree(followers, 'follows', 'follow')} ${target}`;
}

function expectedLoss(survey: Survey, decision: Decision): string {
  const { kind, target, old, force } = decision;
  if (kind !== 'failover' || old === null) return 'none';
  const before = memberOf(survey, old.name)?.record.facts ?? null;
  const now = memberOf(survey, target.name)?.record.facts ?? null;
  if (before === null || now === null) return `not known: ${old.name} has not been seen`;
  if (!now.hasGtid) {
    return hasLogOf(now, before)
      ? `nothing that ${old.name} had when it was last seen; what it wrote after that and did not send is lost`
      : `what ${old.name} had when it was last seen and ${target.name} had not received`;
  }
  const lacking = countLacking(heldBy(now), before.position);
  if (lacking === null) return 'not known';
  const isCovered =
    !force &&
    survey.cluster.semiSync === 'require' &&
    semiSyncCovers(survey, memberOf(survey, old.name)!, target.name) === null;
  const covered = isCovered
    ? '; none of that was acknowledged to a client (semi_sync = require): it was in flight, or has come since'
    : '';
  return lacking === 0n
    ? `nothing that ${old.name} had when it was last seen; what it wrote after that and did not send is lost${covered}`
    : `${lacking} transaction(s) that ${old.name} had when it was last seen, and ${target.name} had not${covered}`;
}

function expectedPause({ cluster }: Survey, { kind }: Decision, promotions: Promotions): string {
  const counted = kind === 'failover' ? 'failover' : 'switchover';
  const last = promotions.counts().find((count) => count.kind === counted && count.result === 'done');
  const known = last === undefined ? 'not measured yet' : `about ${last.lastDurationMs} ms, as the last one`;
  return `${known}; at most hold_timeout (${cluster.holdTimeoutMs} ms), then held statements are refused`;
}
