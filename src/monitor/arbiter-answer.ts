/** Whether an arbiter answers, as it was asked last. */
export type ArbiterAnswer =
  | { readonly kind: 'reachable' }
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** We ourselves could not ask. */
  | { readonly kind: 'broken'; readonly reason: string };
