/**
 * Who of a pair may act: begin promotions, change servers, write the shared state down. And who may take clients' writes
 * at all. Pure: from what is known of the other to the right, with the words for SHOW DIAGNOSES.
 *
 * 1. Who has heard nothing of the other since it started does neither: the other may have promoted a server meanwhile.
 * 2. Who does not hold the write VIP does not act. It routes writes only while it has what the other has.
 * 3. While both hold it, neither acts nor takes writes.
 * 4. While the other is in the middle of a promotion nobody else acts, and writes wait for its end. While it has acts
 *    under way on servers, nobody else acts.
 * 5. The holder acts when the other has said, after this one got the VIP, that it does not hold it; or when the other is
 *    gone, and a new term has been begun without it.
 *    What has begun goes on to its end while the other waits for that: always with the VIP, and without it only while the
 *    other answers, for who gets the VIP goes on alone when it takes this one for gone.
 *    An arbiter that votes (etcd) follows the VIP: who has it asks for the vote, and where both have it the vote decides. What
 *    the vote adds to the right of the pair is in `failover/charge.ts`.
 * 6. Who stood still (the process was stopped, or its host) does neither until the other has answered, or is gone: the other may
 *    have taken this one for gone, and gone on.
 * 7. That the primary may acknowledge writes without a replica is not decided without the other, who may be alive behind
 *    a cut cable with that replica, unless an operator has said that it is gone, or it has said itself that it is being stopped.
 */
import { BOTH_HOLD_CURE, type Charge, type PairRight } from '../topology/charge.ts';

/** What is known of the other dbproxy. */
export type Sight =
  /** Never heard of since this process started; `trouble`: what it answered instead, or what kept it from being asked. */
  | { readonly kind: 'unheard'; readonly trouble: string }
  | {
      readonly kind: 'connected';
      readonly holds: boolean;
      /** Clusters in which it is in the middle of a promotion. */
      readonly busy: readonly string[];
      /** It has begun something at servers that has not ended yet. */
      readonly isActing: boolean;
      /** It has said so in answer to what was asked after the VIP came here. */
      readonly knowsWeHold: boolean;
    }
  /**
   * It was heard a moment ago and does not answer; it is not known to be gone. `stoodStill`: it is not heard since we did.
   * `denial`: it answers that it does not let this one in.
   */
  | { readonly kind: 'silent'; readonly stoodStill: boolean; readonly denial?: string }
  /**
   * It has not answered for peer_timeout, or its port is closed; `byWord`: an operator says so. `hasLeft`: its last word was
   * that it is being stopped and does nothing more, and who starts there again does nothing before it has heard this one.
   */
  | {
      readonly kind: 'gone';
      readonly byWord: boolean;
      readonly hasLeft: boolean;
      readonly hasTerm: boolean;
      readonly denial?: string;
    };

/** The right of the one that holds the write VIP, or does not; `other`: its address. */
export function rightOf(sight: Sight, holds: boolean, other: string): PairRight {
  switch (sight.kind) {
    case 'unheard':
      return nothing(
        'PeerUnheard',
        true,
        `nothing has been heard of the other dbproxy (${other}) since this one started${sight.trouble === '' ? '' : ` (${sight.trouble})`}: it may have promoted another server meanwhile, so no writes are taken and nothing is done to the servers until it answers. If it is gone for sure, with its host, say SET PEER GONE here`,
      );
    case 'connected':
      return connected(sight, holds, other);
    case 'silent':
    case 'gone':
      if (holds && sight.kind === 'silent' && sight.stoodStill)
        return nothing(
          'PeerUnreachable',
          true,
          `this dbproxy stood still for a while, and the other one (${other}) may have gone on without it: no writes are taken and nothing is done to the servers until it answers, or has not answered for peer_timeout`,
        );
      if (holds) return aloneHolder(sight, other);
      return nothing(
        'PeerUnreachable',
        true,
        `the other dbproxy (${other}) ${silenceWords(sight)}, and this one does not hold the write VIP: what the other decides is not known here, so no writes are taken and nothing is done to the servers until it answers or the VIP comes here`,
      );
  }
}

function connected(sight: Extract<Sight, { kind: 'connected' }>, holds: boolean, other: string): PairRight {
  const { busy, isActing } = sight;
  const isBusy = busy.length > 0;
  // What it said before the VIP came here may be of the moment before that left it.
  if (holds && sight.holds && sight.knowsWeHold) {
    const right = nothing(
      'BothInCharge',
      true,
      `the write VIP is on this host and on that of the other dbproxy (${other}): no writes are taken by either until one of them has it no more; ${BOTH_HOLD_CURE}`,
    );
    return { ...right, mayActByVote: !isBusy && !isActing, claims: true, mayFinish: !isBusy };
  }
  if (isBusy) {
    const right = nothing(
      'NotInCharge',
      true,
      `the other dbproxy (${other}) is in the middle of a promotion (${busy.join(', ')}): writes wait for its end`,
    );
    return { ...right, claims: holds, mayFinish: holds, holder: other };
  }
  if (!holds) {
    const who = sight.holds ? `the other dbproxy (${other}) holds it and` : 'nobody does, so nobody';
    const right = nothing(
      'NotInCharge',
      false,
      `this dbproxy does not hold the write VIP: ${who} acts on the servers; this one knows what it knows and takes over with the VIP`,
    );
    return { ...right, mayFinish: true, holder: sight.holds ? other : null };
  }
  const mayAct = sight.knowsWeHold && !isActing;
  return {
    mayAct,
    mayActByVote: false,
    claims: true,
    mayFinish: true,
    mayGoAlone: true,
    holder: null,
    charge: null,
  };
}

function aloneHolder(sight: Extract<Sight, { kind: 'silent' | 'gone' }>, other: string): PairRight {
  const isGone = sight.kind === 'gone';
  const byWord = isGone && sight.byWord;
  const hasLeft = isGone && sight.hasLeft;
  // Its disk may take nothing now.
  const goesOn =
    isGone && !sight.hasTerm
      ? 'does nothing to the servers before it has written down in state_dir that it goes on without it'
      : 'goes on without it';
  const detail = !isGone
    ? `the other dbproxy (${other}) ${silenceWords(sight)}; if that lasts for peer_timeout this one goes on without it`
    : `the other dbproxy (${other}) ${goneWords(sight)}: this one, which holds the write VIP, ${goesOn}. What it decides is handed over when the other is back`;
  return {
    mayAct: isGone && sight.hasTerm,
    mayActByVote: false,
    claims: true,
    mayFinish: true,
    mayGoAlone: byWord || hasLeft,
    holder: null,
    charge: { diagnosis: 'PeerUnreachable', detail, stopsWrites: false },
  };
}

function silenceWords({ denial = '' }: Pick<Extract<Sight, { kind: 'silent' }>, 'denial'>): string {
  return denial === '' ? 'does not answer' : `does not let this one in (${denial})`;
}

function goneWords({ byWord, hasLeft, denial = '' }: Extract<Sight, { kind: 'gone' }>): string {
  if (byWord) return 'is gone, by the word of an operator';
  if (denial !== '') return silenceWords({ denial });
  return hasLeft ? 'was stopped' : 'is gone';
}

function nothing(diagnosis: Charge['diagnosis'], stopsWrites: boolean, detail: string): PairRight {
  const charge = { diagnosis, detail, stopsWrites };
  return {
    mayAct: false,
    mayActByVote: false,
    claims: false,
    mayFinish: false,
    mayGoAlone: false,
    holder: null,
    charge,
  };
}
