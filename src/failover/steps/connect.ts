/**
 * The connections that the steps work with, made before anything is held. Those of the checks live on when monitor_user is
 * locked or has another password, each act logs in anew: that one would be refused must not be found out half-way.
 */
import { messageOf } from '../../base/message-of.ts';
import type { BackendConfig } from '../../config/config.ts';
import { isDenied } from '../../monitor/observation.ts';
import { isSeen, memberOf } from '../survey.ts';
import type { StepContext } from './context.ts';

/**
 * Connects, at once to all, to the servers that answer; answers why the promotion could not get through, null when it may.
 * A handover needs its two ends. Of others, and in a failover, only a login that is refused counts: it stays refused.
 */
export async function connectAhead(context: StepContext): Promise<string | null> {
  const { kind, target, old, followers } = context.decision;
  const survey = context.world.survey(context.cluster.name);
  const ends = kind === 'failover' || old === null ? [target] : [target, old];
  const others = followers.filter(({ name }) => {
    const member = memberOf(survey, name);
    return member !== undefined && isSeen(member);
  });
  const reasons = await Promise.all([
    ...ends.map((backend) => connect(context, backend, kind !== 'failover')),
    ...others.map((backend) => connect(context, backend, false)),
  ]);
  const found = reasons.filter((reason) => reason !== null);
  return found.length === 0 ? null : found.join('; ');
}

/** Why it counts that this one cannot be connected to; null: it could be, or does not count. */
async function connect(
  context: StepContext,
  backend: BackendConfig,
  isNeeded: boolean,
): Promise<string | null> {
  try {
    await context.server(backend);
    return null;
  } catch (error) {
    const { name } = backend;
    if (isDenied(error)) {
      return `${name} refuses monitor_user a new login (${messageOf(error)}), which each step there would need; give the account there what proxy.conf says`;
    }
    return isNeeded ? `a new connection to ${name} cannot be made: ${messageOf(error)}` : null;
  }
}
