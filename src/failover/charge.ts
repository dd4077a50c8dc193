/**
 * Who of several dbproxies acts on the servers of a cluster: the one in charge. Pure, but for the guard, which is put
 * before each act on a server: it begins only while this one is in charge.
 */
import type { ClusterConfig } from '../config/config.ts';
import type { VoteSight } from '../monitor/vote.ts';
import { LET_LOOSE_WITHIN_MS, type OpenServer, type ServerControl } from './server-control.ts';

/** Whether this proxy is in charge of a cluster. */
export type Standing =
  | { readonly isOurs: true }
  /** `holder`: who is, as far as it is known; null: nobody. `why`: the same in words. */
  | { readonly isOurs: false; readonly holder: string | null; readonly why: string };

const OURS: Standing = { isOurs: true };

/** By what the arbiter that votes says; null: there is none, and one dbproxy alone. */
export function chargeOf(vote: VoteSight | null): Standing {
  if (vote === null || vote.vote === 'ours') return OURS;
  return { isOurs: false, holder: vote.holder, why: vote.why };
}

/** Why an operator's statement is not carried out here; null: it may be. */
export function whyNotHere(charge: Standing): string | null {
  if (charge.isOurs) return null;
  if (charge.holder === null) return `no dbproxy is in charge of the cluster: ${charge.why}`;
  return `another dbproxy is in charge of the cluster: ${charge.why}; say it there`;
}

export interface Guard {
  charge(cluster: string): Standing;
  /** Makes sure of it, and that it stays so for a while; always true where nobody votes. */
  confirm(cluster: string, forMs: number): Promise<boolean>;
}

/** Servers on which nothing is begun but by the one in charge; looking at them is free. */
export function serversInCharge(openServer: OpenServer, guard: Guard): OpenServer {
  return async (backend, cluster) => guarded(await openServer(backend, cluster), cluster, guard);
}

function guarded(server: ServerControl, { name: cluster }: ClusterConfig, guard: Guard): ServerControl {
  const act = async <T>(work: () => Promise<T>): Promise<T> => {
    const charge = guard.charge(cluster);
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
        if (!(await guard.confirm(cluster, LET_LOOSE_WITHIN_MS)))
          throw new Error(
            `${server.backend.name} is left read-only: this proxy may not be in charge any more`,
          );
        return server.makeWritable();
      }),
    beginNewLog: () => act(() => server.beginNewLog()),
    stopReceiver: () => act(() => server.stopReceiver()),
    startReplication: () => act(() => server.startReplication()),
    stopReplication: (...args) => act(() => server.stopReplication(...args)),
    forgetSource: () => act(() => server.forgetSource()),
    bringTo: (...args) => act(() => server.bringTo(...args)),
    follow: (...args) => act(() => server.follow(...args)),
    setSemiSync: (...args) => act(() => server.setSemiSync(...args)),
    noteEpoch: (...args) => act(() => server.noteEpoch(...args)),
    close: () => server.close(),
  };
}
