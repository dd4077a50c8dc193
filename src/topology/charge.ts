/** What an operator does when both hosts have the write VIP. */
export const BOTH_HOLD_CURE =
  'where keepalived does not run (systemctl is-active keepalived) it has left the VIP behind: systemctl start keepalived there takes it away. Where it runs on both hosts, VRRP (IP protocol 112) does not pass between them: mend that, or systemctl stop keepalived on one';

/** What keeps this dbproxy of a pair from being in charge, or is the matter with the other one. */
export interface Charge {
  readonly diagnosis: 'PeerUnheard' | 'BothInCharge' | 'PeerUnreachable' | 'NotInCharge';
  readonly detail: string;
  /** Clients' writes are to go nowhere until that is over. */
  readonly stopsWrites: boolean;
}

/** What the other dbproxy of a pair leaves to this one. */
export interface PairRight {
  /** It may begin to act, and write down what it decides. */
  readonly mayAct: boolean;
  /** It may where an arbiter's vote is for it: both have the VIP, so the two alone cannot tell. */
  readonly mayActByVote: boolean;
  /** An arbiter's vote is to be for this one: it has the VIP, and has heard of the other. */
  readonly claims: boolean;
  /** What has begun may go on to its end: the other waits for that, or can do nothing meanwhile. */
  readonly mayFinish: boolean;
  /** It may let the primary acknowledge writes that no replica has. */
  readonly mayGoAlone: boolean;
  /** The other, where it is the one that acts; null: nobody does, as far as is known. */
  readonly holder: string | null;
  /** Null: all is as it should be. */
  readonly charge: Charge | null;
}
