/**
 * Servers that join a cluster and leave it while dbproxy runs: ADD BACKEND and DROP BACKEND. What joins counts for
 * nothing until it has been seen to replicate from the cluster, so that neither a diagnosis nor a quorum is about a
 * server that has nothing. What leaves must be nobody's primary, source or last witness, and must not vouch for writes
 * that dbproxy could not ask it for afterwards.
 */
import { agree } from '../base/grammar.ts';
import { messageOf } from '../base/message-of.ts';
import { sleep, type Clock } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { BackendConfig, ClusterConfig, ProxyConfig } from '../config/config.ts';
import { objectionsToAdding } from '../topology/members.ts';
import type { WrittenKeys } from '../topology/state-file.ts';
import type { TopologyStore } from '../topology/store.ts';
import type { OpenServer, ServerControl } from './server-control.ts';
import {
  descendsFrom,
  followsServer,
  isSeen,
  memberOf,
  sourceOf,
  type Member,
  type Survey,
} from './survey.ts';
import type { WorkUnderWay } from './work-under-way.ts';

export interface MembershipWorld {
  readonly config: Pick<ProxyConfig, 'clusters' | 'listeners' | 'admin' | 'http'>;
  readonly clock: Clock;
  readonly store: TopologyStore;
  readonly openServer: OpenServer;
  /** The cluster with all of its servers. */
  survey(cluster: string): Survey;
  /** What else is being done to the servers of a cluster, in words; null: nothing. */
  inTheWay(cluster: string): string | null;
  /** Has chores do nothing more in a cluster, and waits for what they have begun. */
  overtakeChores(cluster: string): Promise<unknown>;
  /** Sessions that hold a connection to a backend now. */
  sessionsOn(backend: string): Promise<number>;
  /** A line for the log and for SHOW EVENTS. */
  tell(level: 'info' | 'warn' | 'error', event: string, subject: string, detail: string): void;
}

/** Why a backend that is about to be dropped gets no new sessions. */
const BEING_DROPPED = 'DROP BACKEND waits for its sessions';
/** How often it is asked whether the last session has left. */
const POLL_MS = 50;

export class Membership {
  readonly #world: MembershipWorld;
  /** By cluster, what joins or leaves just now. */
  readonly #underWay = new Map<string, string>();

  constructor(world: MembershipWorld) {
    this.#world = world;
  }

  /** What is being changed in a cluster at this moment, in words; null: nothing. */
  underWay(cluster: string): string | null {
    return this.#underWay.get(cluster) ?? null;
  }

  /** The same: it is short. */
  work(cluster: string): WorkUnderWay | null {
    const title = this.underWay(cluster);
    return title === null ? null : { title, isExclusive: true, end: null };
  }

  /** Adds a backend; rejects with DBPROXY_SETUP_REFUSED. `offlineBecause`: it takes no traffic until somebody says so. */
  async add(name: string, written: WrittenKeys, offlineBecause: string | null): Promise<void> {
    const { config, store } = this.#world;
    const title = `ADD BACKEND ${name}`;
    const objections = objectionsToAdding(name, written, store.members, config);
    if (objections.length > 0) throw refusal('DBPROXY_SETUP_REFUSED', title, objections.join('; '));
    const cluster = written['cluster']!;
    await this.#alone(title, cluster, () =>
      store.addBackend(name, written, {
        isNew: true,
        ...(offlineBecause !== null && { admin: 'offline' as const, adminReason: offlineBecause }),
      }),
    );
    this.#world.tell('info', 'backend.added', name, `${written['address']}, cluster ${cluster}`);
  }

  /** Forgets a backend; rejects with DBPROXY_SETUP_REFUSED, when it is as it was before. */
  async drop(name: string): Promise<void> {
    const { config, store } = this.#world;
    const title = `DROP BACKEND ${name}`;
    const backend = store.members.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (backend === undefined || cluster === undefined) {
      const known = store.members.map((one) => one.name).join(', ');
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known);
    }
    const check = (): void => {
      const objection = objectionToDropping(this.#world.survey(cluster.name), name);
      if (objection !== null) throw refusal('DBPROXY_SETUP_REFUSED', title, objection);
    };
    store.requireCharge();
    this.#refuseBesideOthers(title, cluster.name);
    check();
    const { admin } = store.settingsOf(name);
    try {
      if (admin !== 'offline') await this.#drain(title, name, cluster);
      await this.#alone(title, cluster.name, async () => {
        await this.#overtakeChores(title, cluster.name);
        check();
        await this.#stopAcknowledging(title, backend, cluster);
        await store.dropBackend(name);
      });
    } catch (error) {
      if (store.members.some((one) => one.name === name) && store.settingsOf(name).admin !== admin)
        await store.change({ [name]: { admin, adminReason: '' } });
      throw error;
    }
    this.#world.tell('info', 'backend.dropped', name, `it is no server of cluster ${cluster.name} any more`);
  }

  /** Takes back what the last process had begun and was cut off in: a backend that it was dropping takes sessions again. */
  async takeBack(): Promise<void> {
    const { store } = this.#world;
    for (const [name, { admin, adminReason }] of Object.entries(store.durable.backends)) {
      if (admin !== 'draining' || adminReason !== BEING_DROPPED) continue;
      await store.change({ [name]: { admin: 'online', adminReason: '' } });
      const detail =
        'dbproxy was stopped while DROP BACKEND waited for its sessions; it takes sessions again';
      this.#world.tell('warn', 'backend.not_dropped', name, detail);
    }
  }

  /** Something was seen of a cluster: who has been found to replicate from it is one of its servers from now on. */
  async note(cluster: string): Promise<void> {
    const { store } = this.#world;
    const isNew = ({ name, cluster: of }: BackendConfig): boolean =>
      of === cluster && store.settingsOf(name).isNew;
    if (!store.members.some(isNew)) return;
    const survey = this.#world.survey(cluster);
    const primary = memberOf(survey, survey.remembered);
    for (const member of survey.members.filter(({ backend }) => isNew(backend))) {
      const { name } = member.backend;
      const hasJoined =
        member === primary ||
        (primary !== undefined && isSeen(member) && descendsFrom(survey, member, primary));
      if (hasJoined) await store.change({ [name]: { isNew: false } }).catch(() => undefined); // with the next check
    }
  }

  #refuseBesideOthers(title: string, cluster: string): void {
    const inTheWay = this.underWay(cluster) ?? this.#world.inTheWay(cluster);
    if (inTheWay === null) return;
    throw refusal('DBPROXY_SETUP_REFUSED', title, `${inTheWay} is under way; wait for its end`);
  }

  async #alone(title: string, cluster: string, work: () => Promise<void>): Promise<void> {
    this.#refuseBesideOthers(title, cluster);
    this.#underWay.set(cluster, title);
    try {
      await work();
    } finally {
      this.#underWay.delete(cluster);
    }
  }

  /** One that was at this server would have it acknowledge again after it has been told not to. */
  async #overtakeChores(title: string, cluster: string): Promise<void> {
    try {
      await this.#world.overtakeChores(cluster);
    } catch (error) {
      throw refusal('DBPROXY_SETUP_REFUSED', title, messageOf(error));
    }
  }

  /** New sessions go elsewhere; those that are there have transaction_grace to leave. */
  async #drain(title: string, name: string, { transactionGraceMs }: ClusterConfig): Promise<void> {
    const { clock, store } = this.#world;
    if (store.settingsOf(name).admin !== 'draining')
      await store.change({ [name]: { admin: 'draining', adminReason: BEING_DROPPED } });
    const endMs = clock.nowMs() + transactionGraceMs;
    for (;;) {
      const sessions = await this.#world.sessionsOn(name);
      if (sessions === 0) return;
      if (clock.nowMs() >= endMs) {
        const why = `${sessions} session(s) are still on it after transaction_grace: SET BACKEND ${name} OFFLINE ends them`;
        throw refusal('DBPROXY_SETUP_REFUSED', title, why);
      }
      await sleep(clock, POLL_MS);
    }
  }

  /** A replica that nobody can ask must not be the one for which a write was acknowledged. */
  async #stopAcknowledging(title: string, backend: BackendConfig, cluster: ClusterConfig): Promise<void> {
    const member = memberOf(this.#world.survey(cluster.name), backend.name);
    if (cluster.semiSync === 'off' || member === undefined || !acknowledges(member)) return;
    try {
      const server = await this.#world.openServer(backend, cluster);
      try {
        await server.setSemiSync('replica', false);
        if (member.record.facts?.replication?.receiver !== 'stopped') await this.#reconnect(server, cluster);
      } finally {
        server.close();
      }
    } catch (error) {
      const reason = messageOf(error);
      const why = `it acknowledges writes, and could not be told not to any more: ${reason}`;
      throw refusal('DBPROXY_SETUP_REFUSED', title, why);
    }
  }

  /** A receiver goes on acknowledging for as long as it is connected as one that does. */
  async #reconnect(server: ServerControl, cluster: ClusterConfig): Promise<void> {
    await this.#world.store.takeInHand(cluster.name, [server.backend.name]);
    await server.stopReceiver();
    await server.startReplication();
  }
}

/**
 * Why a server may not be dropped, in words; null: it may. In this order:
 * 1. it is the primary, or the only server there is;
 * 2. the primary is in doubt: who may have acknowledged its last writes is still to be asked;
 * 3. another server replicates from it;
 * 4. it is the last one that acknowledges, or the others are too few, and writes must be acknowledged.
 */
export function objectionToDropping(survey: Survey, name: string): string | null {
  const { cluster, members, remembered } = survey;
  const member = memberOf(survey, name);
  if (member === undefined) return 'there is no such backend in the cluster';
  if (name === remembered) return `it is the primary of cluster ${cluster.name}: SWITCHOVER first`;
  if (members.length === 1) return `it is the only server of cluster ${cluster.name}`;
  const primary = memberOf(survey, remembered);
  if (primary !== undefined && !isSeen(primary)) {
    return `the primary ${remembered} does not answer, and ${name} may be asked what it has received; SET BACKEND ${name} OFFLINE says that it never comes back`;
  }
  const below = members.filter((one) => one !== member && isSeen(one) && sourceOf(survey, one) === member);
  if (below.length > 0) {
    const names = below.map(({ backend }) => backend.name).join(', ');
    return `${names} ${agree(below, 'replicates', 'replicate')} from it`;
  }
  if (cluster.semiSync !== 'require' || primary === undefined || survey.alone || !acknowledges(member)) {
    return null;
  }
  const others = members.filter((one) => one !== member && followsServer(one, primary) && acknowledges(one));
  const needed = primary.record.facts?.semiSync.primary?.waitForReplicas ?? 1;
  if (others.length >= needed) return null;
  const words =
    needed === 1
      ? 'it is the last replica that acknowledges'
      : `a write needs ${needed} acknowledgements and ${others.length} other replica(s) acknowledge`;
  return `semi_sync = require, and ${words}: writes would wait; add another one first`;
}

/** It answers its source, as far as is known. */
function acknowledges({ record }: Member): boolean {
  const { facts, reach } = record;
  return (
    reach !== 'down' && (facts?.replication ?? null) !== null && facts?.semiSync.replica?.enabled === true
  );
}
