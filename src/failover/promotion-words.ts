/** What promotions say to people: what is in the way of one, and what one is about to do. */
import type { BackendConfig } from '../config/config.ts';
import type { Decision, Wish } from './check.ts';
import { memberOf, type Survey } from './survey.ts';
import type { WorkUnderWay } from './work-under-way.ts';

export const TAKEN_UP_FIRST = 'a promotion that was cut off is to be taken up first; try again in a moment';

export function underWayWords({ target }: { readonly target: string }): string {
  return `a promotion of ${target} is under way; wait for its end`;
}

export function waitWords({ title }: WorkUnderWay): string {
  return `${title} is under way; wait for its end`;
}

/** What a refusal has to know of who asks. */
export type Asked = Pick<Wish, 'target' | 'said'>;

/** What was asked for, as it was said. */
export function saidOf({ target, said }: Asked): string {
  return said ?? `PROMOTE ${target}`;
}

/** What is about to be done. */
export function describeDecision(decision: Decision, survey: Survey): string {
  const { kind, target, old, followers, dissolvesRing } = decision;
  const others =
    followers.length === 0 ? '' : `, followed by ${followers.map(({ name }) => name).join(', ')}`;
  switch (kind) {
    case 'switchover':
      return dissolvesRing === true
        ? `${target.name} stays the writer, and the ring with ${old!.name} is dissolved: ${target.name} follows nobody afterwards`
        : `${target.name} takes over from ${old!.name}, which is alive${others}`;
    case 'failover':
      return `${target.name} takes over from ${old!.name}, which ${isLost(survey, old!) ? 'is lost' : 'is given up'}${others}`;
    case 'adopt':
      return `${target.name} becomes the primary; there is none to take over from`;
  }
}

function isLost(survey: Survey, old: BackendConfig): boolean {
  return memberOf(survey, old.name)?.record.reach === 'down';
}
