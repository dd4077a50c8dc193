/**
 * Which server's commits should wait for replicas, and which should acknowledge. Pure: the cluster as it is goes in,
 * what each server should do comes out; whoever holds the connections changes what differs. Chores, bootstrap and
 * doctor all ask here.
 *
 * Two mistakes are expensive here. A primary that waits for replicas of which there are none stops every write.
 * And a replica that waits as a primary would makes its own applier wait for nobody, and cannot even be stopped.
 */

export type SemiSyncPolicy = 'require' | 'prefer' | 'off';

/** One server as it is now. */
export interface SemiSyncMember {
  readonly name: string;
  /** It receives from the primary now, so that it could acknowledge. Of no meaning for the primary itself. */
  readonly follows: boolean;
  /** Its commits are to wait for replicas, whatever that leads to. */
  readonly waits: boolean;
}

/** What one server should do. */
export interface SemiSyncWish {
  readonly name: string;
  /** Its commits wait for replicas. */
  readonly waits: boolean;
  /** It tells its source what it has received. */
  readonly acknowledges: boolean;
}

/**
 * 1. Where the policy is off, or nobody knows who the primary is, nothing is wanted: all stays.
 * 2. Every server but the primary acknowledges and does not wait, also one that follows nobody just now: it will.
 * 3. The primary does not acknowledge, and waits when a replica follows it.
 * 4. Without one it goes on waiting where that is required and it waited before: what is acknowledged must be on
 *    two servers, and only a decision that is written down may let it go on alone. It never begins to wait.
 */
export function semiSyncWanted(
  policy: SemiSyncPolicy,
  primary: string | null,
  members: readonly SemiSyncMember[],
): SemiSyncWish[] {
  if (policy === 'off' || primary === null) return [];
  const anyFollows = members.some(({ name, follows }) => name !== primary && follows);
  return members.map(({ name, waits }) =>
    name === primary
      ? { name, waits: anyFollows || (policy === 'require' && waits), acknowledges: false }
      : { name, waits: false, acknowledges: true },
  );
}
