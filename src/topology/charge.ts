/** What keeps this dbproxy of a pair from being in charge, or is the matter with the other one. */
export interface Charge {
  readonly diagnosis: 'PeerUnheard' | 'BothInCharge' | 'PeerUnreachable' | 'NotInCharge';
  readonly detail: string;
  /** Clients' writes are to go nowhere until that is over. */
  readonly stopsWrites: boolean;
}
