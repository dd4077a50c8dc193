/** What an operator is having done to the servers of a cluster (BOOTSTRAP, CLONE, ADD and DROP BACKEND), and how far it is in the way. */
export interface WorkUnderWay {
  /** In words. */
  readonly title: string;
  /** It may change any server of the cluster, so nothing else is done there; if not, it only fills one that counts for nothing. */
  readonly isExclusive: boolean;
  /** Ends it, for what cannot wait; resolves when it has ended, or after a bound. Null: it is short, and waited for. */
  readonly end: ((why: string) => Promise<void>) | null;
}
