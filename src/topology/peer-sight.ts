/** The other dbproxy of a pair, as who looked at it found it. */
export type PeerSight =
  | { readonly kind: 'silent'; readonly address: string; readonly reason: string }
  | {
      readonly kind: 'answers';
      readonly address: string;
      /** Null: it does not say. */
      readonly version: string | null;
      /** Parts of the configuration that are others there. */
      readonly differing: readonly string[];
      /** How far the clock of its host is before ours, at least; below 0: behind. Null: it does not say. */
      readonly clockAheadMs: number | null;
    };
