/**
 * Who of several dbproxies acts on the servers of a cluster: the one in charge. An arbiter that votes has a say in that,
 * and the other of a pair; where there are both, it takes both. Pure, but for the guard, which is put before each act on
 * a server: it begins only while this one is in charge.
 */
import { refusal } from '../base/errors.ts';
import type { ClusterConfig } from '../config/config.ts';
import type { VoteSight } from '../monitor/vote.ts';
import { BOTH_HOLD_CURE, type Charge, type PairRight } from '../topology/charge.ts';
import { LET_LOOSE_WITHIN_MS, type OpenServer, type ServerControl } from './server-control.ts';

/** Whether this proxy is in charge of a cluster. */
export type Standing =
  | { readonly isOurs: true }
  /** `holder`: who is, as far as it is known; null: nobody. `why`: the same in words. */
  | { readonly isOurs: false; readonly holder: string | null; readonly why: string };

const OURS: Standing = { isOurs: true };

/**
 * By what the arbiter that votes says, and the other of a pair; null: there is none. `isUnderWay`: something has begun
 * here, which is not cut off where the other waits for its end.
 */
export function chargeOf(vote: VoteSight | null, pair: PairRight | null, isUnderWay: boolean): Standing {
  const isLeft = pair === null || pair.mayAct || (isUnderWay && pair.mayFinish);
  if (!isLeft && !(pair.mayActByVote && vote !== null)) return notByPair(pair);
  if (vote === null || vote.vote === 'ours') return OURS;
  return { isOurs: false, holder: vote.holder, why: vote.why };
}

function notByPair({ holder, charge }: PairRight): Standing {
  const why =
    charge?.detail ?? 'the other dbproxy has not said yet that it leaves that to this one; try again';
  return { isOurs: false, holder, why };
}

/** Whether a primary may acknowledge writes that no replica has: nobody else promotes one of those meanwhile. */
export function mayGoAlone(vote: VoteSight | null, pair: PairRight | null): boolean {
  return pair === null || pair.mayGoAlone || (vote !== null && vote.vote === 'ours');
}

/**
 * What is the matter with the pair, as far as one cluster is concerned: with an arbiter that votes, who has its vote goes
 * on where the two alone could not tell, and who has it not takes no writes while the other may.
 */
export function matterOf(vote: VoteSight | null, pair: PairRight | null): Charge | null {
  const charge = pair?.charge ?? null;
  if (pair === null || charge === null || !pair.claims) return charge;
  const { diagnosis, detail } = charge;
  if (diagnosis === 'BothInCharge' && vote !== null && vote.vote !== 'none') {
    const who = vote.vote === 'ours' ? 'this one has the lease and acts' : `${vote.why} and acts`;
    return {
      diagnosis,
      detail: `the write VIP is on both hosts, and etcd decides: ${who}; ${BOTH_HOLD_CURE}`,
      stopsWrites: false,
    };
  }
  if (diagnosis !== 'PeerUnreachable') return charge;
  if (vote !== null && vote.vote !== 'ours') {
    const why = `this one, which holds the write VIP, has not the lease of etcd: ${vote.why}`;
    return {
      diagnosis,
      detail: `the other dbproxy does not answer, and ${why}; no writes are taken, as the other one may take them`,
      stopsWrites: true,
    };
  }
  return mayGoAlone(vote, pair) ? charge : { ...charge, detail: `${detail}. ${COMMITS_WAIT}` };
}

const COMMITS_WAIT =
  'Commits that wait for a replica (semi_sync = require) wait on while there is none: say SET PEER GONE here if the other host is dead';

/** Throws DBPROXY_NOT_IN_CHARGE for what an operator has said, unless this dbproxy is the one that does it. */
export function requireOurs(charge: Standing): void {
  const notHere = whyNotHere(charge);
  if (notHere !== null) throw refusal('DBPROXY_NOT_IN_CHARGE', notHere);
}

/** Why an operator's statement is not carried out here; null: it may be. */
export function whyNotHere(charge: Standing): string | null {
  if (charge.isOurs) return null;
  if (charge.holder === null) return `no dbproxy is in charge of the cluster: ${charge.why}`;
  return `another dbproxy is in charge of the cluster: ${charge.why}; say it there`;
}

/** Within less a server that is busy does not come to it. */
const LET_LOOSE_AT_LEAST_MS = 250;

export interface Guard {
  charge(cluster: string): Standing;
  /** The same for having a replica go on that this one has stopped: nobody else knows of that. */
  chargeToTidy(cluster: string): Standing;
  /** Makes sure of it; answers for how long it stays so, whatever others do. 0: it may not be so any more. */
  confirm(cluster: string): Promise<number>;
}

/** Servers on which nothing is begun but by the one in charge; looking at them is free. */
export function serversInCharge(openServer: OpenServer, guard: Guard): OpenServer {
  return async (backend, cluster) => guarded(await openServer(backend, cluster), cluster, guard);
}

function guarded(server: ServerControl, { name: cluster }: ClusterConfig, guard: Guard): ServerControl {
  const act = async <T>(work: () => Promise<T>, charge = guard.charge(cluster)): Promise<T> => {
    if (!charge.isOurs) throw new Error(`not done at ${server.backend.name}: ${charge.why}`);
    return work();
  };
  return {
    backend: server.backend,
    look: (...args) => server.look(...args),
    hasApplied: (...args) => server.hasApplied(...args),
    logAfter: (...args) => server.logAfter(...args),
    makeReadOnly: (...args) => act(() => server.makeReadOnly(...args)),
    makeWritable: () =>
      act(async () => {
        // The server may come to it that much later, and nobody else may have begun anything by then.
        const withinMs = Math.min(LET_LOOSE_WITHIN_MS, Math.floor(await guard.confirm(cluster)));
        if (withinMs < LET_LOOSE_AT_LEAST_MS)
          throw new Error(
            `${server.backend.name} is left read-only: this proxy may not be in charge any more`,
          );
        return server.makeWritable(withinMs);
      }),
    beginNewLog: () => act(() => server.beginNewLog()),
    stopReceiver: () => act(() => server.stopReceiver()),
    startReplication: () => act(() => server.startReplication(), guard.chargeToTidy(cluster)),
    stopReplication: (...args) => act(() => server.stopReplication(...args)),
    forgetSource: () => act(() => server.forgetSource()),
    bringTo: (...args) => act(() => server.bringTo(...args)),
    follow: (...args) => act(() => server.follow(...args)),
    setSemiSync: (...args) => act(() => server.setSemiSync(...args)),
    noteEpoch: (...args) => act(() => server.noteEpoch(...args)),
    close: () => server.close(),
  };
}
