/** Diagnoses of what dbproxy itself may do, and can. */
import { agree } from '../../base/grammar.ts';
import type { Found } from './finding.ts';
import type { Charge } from '../../topology/charge.ts';
import type { PromotionStand } from '../survey.ts';
import type { View } from './view.ts';

/** What is the matter with the pair of dbproxies, as its right says it (`peer/right.ts`). */
export function chargeFinder(diagnosis: Charge['diagnosis']): (view: View) => Found | null {
  return ({ survey: { charge } }) => {
    if (charge?.diagnosis !== diagnosis) return null;
    const { detail, stopsWrites } = charge;
    return stopsWrites ? { detail, action: { kind: 'stop_writes', backends: [] } } : { detail };
  };
}

/** The file by which the VIP is sent away otherwise is in state_dir itself. */
const HAVE_THE_OTHER_ACT =
  'Until then the other dbproxy can act in its place: systemctl stop keepalived on this host moves the write VIP to it, systemctl start keepalived when the directory is mended';

/** Said before it matters: a promotion is written down before it counts. */
export function findStateNotWritable({ survey }: View): Found | null {
  if (survey.stateTrouble === null) return null;
  const meanwhile = survey.hasStandby === true ? `. ${HAVE_THE_OTHER_ACT}` : '';
  return {
    detail: `nothing can be written to state_dir (${survey.stateTrouble}): no promotion can be written down, so none can be carried out, by itself or by hand, and no change of an operator; free space or mend the directory${meanwhile}`,
  };
}

/** Said before it matters: the checks go on over a connection that lives, but each act on a server logs in anew. */
export function findMonitorAccountRefused({ survey }: View): Found | null {
  const refusing = survey.members.flatMap(({ backend, admin, record }) =>
    admin === 'offline' || record.reach === 'down' || record.accountTrouble === null
      ? []
      : [{ name: backend.name, trouble: record.accountTrouble }],
  );
  if (refusing.length === 0) return null;
  const names = refusing.map(({ name }) => name);
  const words = refusing.map(({ name, trouble }) => `${name}: ${trouble}`).join('; ');
  return {
    detail: `${names.join(', ')} ${agree(names, 'refuses', 'refuse')} monitor_user (${words}): dbproxy can do nothing there, so no failover, switchover or repair, even while the checks go on over a connection that was made before; put the account right there (password, lock, expiry, grants), or monitor_user and monitor_password in the configuration`,
  };
}

/** What was cut off, by the end of dbproxy or by a new primary that went away, and could not be ended yet. */
export function findPromotionUnfinished({ survey }: View): Found | null {
  const { promotion } = survey;
  if (promotion === null || promotion.cutOffBy === null) return null;
  const { target, cutOffBy } = promotion;
  return {
    detail: `the promotion of ${target} was cut off, ${standWords(promotion)}, and has not been brought to its end: ${cutOffBy}. It is tried again, and nothing else is done in the cluster before; writes wait. Have ${target} answer, or give it up: FAILOVER TO the server that is to be the primary FORCE`,
    action: { kind: 'take_up' },
  };
}

export function findPromotionUnderWay({ survey }: View): Found | null {
  const { promotion } = survey;
  if (promotion === null || promotion.cutOffBy !== null) return null;
  return {
    detail: `${promotion.target} becomes the primary, ${standWords(promotion)}; SHOW PLAN has its steps`,
  };
}

function standWords({ step, sinceWallMs }: PromotionStand): string {
  return `${step === null ? 'before its first step' : `at ${step}`} since ${new Date(sinceWallMs).toISOString()}`;
}

/** Said before it matters: nobody would take over. */
export function findNobodyInCharge({ survey }: View): Found | null {
  const { vote } = survey.arbiters;
  if (vote === null || vote.vote !== 'none') return null;
  return {
    detail: `no dbproxy may act on the servers, as far as this one knows: ${vote.why}; sessions go on, and nothing is done by itself or by hand until etcd says who may`,
  };
}

/** By the right of a pair, or by the vote of an arbiter. */
export function findNotInCharge(view: View): Found | null {
  const found = chargeFinder('NotInCharge')(view);
  const { vote } = view.survey.arbiters;
  if (found !== null || vote === null || vote.vote !== 'theirs') return found;
  return {
    detail: `${vote.why}: that dbproxy acts on the servers of the cluster; this one follows what it decides, and takes its place when it is gone`,
  };
}

export function findInMaintenance({ survey }: View): Found | null {
  const nothing = 'changes nothing on the servers by itself, not even when the primary dies';
  const alone =
    'It holds for this dbproxy alone: the other one of a pair goes by its own haconf, or by MAINTENANCE ON, which both share';
  switch (survey.maintenance) {
    case 'off':
      return null;
    case 'on':
      return { detail: `an operator has said MAINTENANCE ON: dbproxy ${nothing}; MAINTENANCE OFF ends it` };
    case 'haconf':
      return {
        detail: `the haconf of this host says maintenance: this dbproxy ${nothing}. ${alone}. N in column 1 of the file ends it`,
      };
    case 'on, haconf':
      return {
        detail: `an operator has said MAINTENANCE ON, and the haconf of this host says maintenance as well: dbproxy ${nothing}; N in column 1 of the file and then MAINTENANCE OFF end it`,
      };
  }
}
