/**
 * What operators ask of the control plane beside PROMOTE: a switchover or a failover of a cluster, with or without a
 * target, only as a rehearsal or as a plan on paper. Each becomes a wish that `Promotions` knows.
 */
import { refusal } from '../base/errors.ts';
import type { PrimaryChange, PromoteStep } from '../ipc/operations.ts';
import { countLacking } from '../monitor/gtid.ts';
import type { Decision, Verdict, Wish } from './check.ts';
import { elect, type Candidacy, type Election } from './election.ts';
import { heldBy } from './history.ts';
import type { StepName } from './plan.ts';
import type { Promotions } from './promotion.ts';
import { memberOf, type Survey } from './survey.ts';

/** Carries it out, or says what it would do. Rejects with DBPROXY_PROMOTE_REFUSED or _FAILED. */
export async function changePrimary(
  survey: Survey,
  request: PrimaryChange,
  promotions: Promotions,
): Promise<PromoteStep[]> {
  const { kind, force, dryRun } = request;
  const election = electFor(survey, request);
  const target = request.to ?? election?.winner?.name ?? null;
  if (target === null) {
    const reason =
      election?.reason ?? 'the cluster has no primary to take over from; PROMOTE names the first one';
    throw refusal('DBPROXY_PROMOTE_REFUSED', request.to ?? survey.cluster.name, reason);
  }
  const isPrimary = target === survey.remembered;
  const wish: Wish = { target, named: request.to !== null, as: isPrimary ? 'any' : kind, force };
  if (!dryRun) return promotions.promote(wish, `${kind.toUpperCase()} of an operator`, true);
  const { verdict, steps } = await promotions.dryRun(wish);
  return onPaper(survey, verdict, steps, election?.candidacies ?? [], promotions);
}

/**
 * There and back: the second half begins when the old primary follows. Answers both, with their pauses as the last
 * rows of each.
 */
export async function rehearse(
  survey: () => Survey,
  to: string | null,
  promotions: Promotions,
): Promise<PromoteStep[]> {
  const from = survey().remembered;
  const there = await changePrimary(
    survey(),
    { kind: 'switchover', to, force: false, dryRun: false },
    promotions,
  );
  const back = await changePrimary(
    survey(),
    { kind: 'switchover', to: from, force: false, dryRun: false },
    promotions,
  );
  return [
    ...there.map((row) => ({ ...row, step: `there: ${row.step}` })),
    pauseRow('there', there),
    ...back.map((row) => ({ ...row, step: `back: ${row.step}` })),
    pauseRow('back', back),
  ];
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
  const row = (step: string, detail: string): PromoteStep => ({
    step,
    result: 'planned',
    detail,
    durationMs: 0,
  });
  const candidates = candidacies.map(({ backend, outcome, reason }) =>
    row(`candidate ${backend}`, reason === '' ? outcome : `${outcome.replace('_', ' ')}: ${reason}`),
  );
  if (verdict.kind === 'refused') return [...candidates, row('refused', verdict.reason)];
  return [
    ...candidates,
    ...steps.map((step) => row(step, describeStep(step, verdict, survey))),
    row('expected loss', expectedLoss(survey, verdict)),
    row('expected pause', expectedPause(survey, verdict, promotions)),
  ];
}

function describeStep(step: StepName, { kind, target, old, followers }: Decision, survey: Survey): string {
  const { cluster } = survey;
  const before = old?.name ?? 'nobody';
  const others = followers.map(({ name }) => name).join(', ') || 'no other server';
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
        : `${target.name} applies all that ${before} has, by its global ids, within catch_up_timeout (${cluster.catchUpTimeoutMs} ms)`;
    case 'stop_replication':
      return `${target.name} stops replicating`;
    case 'record':
      return `epoch ${survey.epoch + 1} with ${target.name} as the primary is written to the state file`;
    case 'make_writable':
      return `${target.name} forgets its source, has epoch ${survey.epoch + 1} written in dbproxy.epoch, and becomes writable; there is no way back after this`;
    case 'weights':
      return `${target.name} takes over the rw_weight of ${before} if it has none of its own`;
    case 'repoint':
      return `${kind === 'switchover' ? `${before}, ` : ''}${others} follow(s) ${target.name}`;
    case 'semi_sync':
      return cluster.semiSync === 'off'
        ? 'semi_sync = off: nothing'
        : `${target.name} waits for its replicas, as semi_sync = ${cluster.semiSync} says`;
    case 'publish':
      return `the statements that waited go to ${target.name}`;
  }
}

function expectedLoss(survey: Survey, { kind, target, old }: Decision): string {
  if (kind !== 'failover' || old === null) return 'none';
  const before = memberOf(survey, old.name)?.record.facts ?? null;
  const now = memberOf(survey, target.name)?.record.facts ?? null;
  if (before === null || now === null) return `not known: ${old.name} has not been seen`;
  const lacking = countLacking(heldBy(now), before.position);
  if (lacking === null) return 'not known';
  return lacking === 0n
    ? `nothing that ${old.name} had when it was last seen; what it wrote after that and did not send is lost`
    : `${lacking} transaction(s) that ${old.name} had when it was last seen`;
}

function expectedPause({ cluster }: Survey, { kind }: Decision, promotions: Promotions): string {
  const counted = kind === 'failover' ? 'failover' : 'switchover';
  const last = promotions.counts().find((count) => count.kind === counted && count.result === 'done');
  const known = last === undefined ? 'not measured yet' : `about ${last.lastDurationMs} ms, as the last one`;
  return `${known}; at most hold_timeout (${cluster.holdTimeoutMs} ms), then held statements are refused`;
}
