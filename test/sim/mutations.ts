/**
 * Deliberate breakages, to know that the simulator can fail: each must be found within some histories. They change
 * what the control plane is given, not its code.
 */
export interface Mutations {
  /** The control plane does not know that commits must wait for a replica. */
  readonly ignoresSemiSync: boolean;
  /** Our own checks are the only witness: replicas and arbiters say what we believe. */
  readonly oneWitness: boolean;
  /** A worker that is asked to hold writes says that it does and does not. */
  readonly ignoresHold: boolean;
  /** What was left unfinished is forgotten by a restart. */
  readonly forgetsJournal: boolean;
  /** Each of a pair acts, and takes what it writes down for shared, whatever the other says. */
  readonly ignoresPeer: boolean;
}

export const NO_MUTATIONS: Mutations = {
  ignoresSemiSync: false,
  oneWitness: false,
  ignoresHold: false,
  forgetsJournal: false,
  ignoresPeer: false,
};
