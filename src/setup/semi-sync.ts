/**
 * Which switches of semi-synchronous replication should be on where. Pure: the cluster as it is goes in, the
 * switches each server should have come out; whoever holds the connections sets what differs.
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
  /** Its commits wait for replicas: the switch is on, whatever that leads to. */
  readonly waits: boolean;
}

/** The switches that one server should have. */
export interface SemiSyncWish {
  readonly name: string;
  /** Commits wait for replicas. */
  readonly primarySwitch: boolean;
  /** It tells its source what it has received. */
  readonly replicaSwitch: boolean;
}

/**
 * 1. Where the policy is off, or nobody knows who the primary is, nothing is wanted: the switches stay.
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
      ? { name, primarySwitch: anyFollows || (policy === 'require' && waits), replicaSwitch: false }
      : { name, primarySwitch: false, replicaSwitch: true },
  );
}
