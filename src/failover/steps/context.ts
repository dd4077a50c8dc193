/**
 * What all steps of one promotion share: the world around it, what was decided, the notes of what it has learnt, and
 * the connections to the servers.
 */
import type { BackendConfig, ClusterConfig } from '../../config/config.ts';
import type { ServerFacts } from '../../monitor/observation.ts';
import type { Divergence, Handover } from '../../topology/state-file.ts';
import type { Decision } from '../check.ts';
import { LOOK_TIMEOUT_MS, type ServerControl } from '../server-control.ts';
import { whoIsGivenUp, whyNotLetLoose, type LetLooseWorld } from '../let-loose.ts';
import { factsInCluster, memberOf } from '../survey.ts';
import type { Notes } from './notes.ts';
import type { PromotionWorld } from './world.ts';

/** One for each promotion. */
export class StepContext {
  readonly world: PromotionWorld;
  readonly cluster: ClusterConfig;
  readonly decision: Decision;
  readonly #servers = new Map<string, ServerControl>();
  #notes: Notes;

  constructor(world: PromotionWorld, cluster: ClusterConfig, decision: Decision, notes: Notes) {
    this.world = world;
    this.cluster = cluster;
    this.decision = decision;
    this.#notes = notes;
  }

  get notes(): Notes {
    return this.#notes;
  }

  /** Takes down what a step has learnt. */
  note(news: Partial<Notes>): void {
    this.#notes = { ...this.#notes, ...news };
  }

  /** Throws when there is none. */
  oldBackend(): BackendConfig {
    const { old } = this.decision;
    if (old === null) throw new Error('this promotion has no old primary');
    return old;
  }

  /** Who is promoted. */
  targetBackend(): BackendConfig {
    const { target } = this.#notes;
    const found = this.members().find(({ name }) => name === target);
    if (found === undefined) throw new Error(`${target} is not in the cluster`);
    return found;
  }

  /** The servers of the cluster as they are now. */
  members(): BackendConfig[] {
    return this.world.survey(this.cluster.name).members.map(({ backend }) => backend);
  }

  /** The connection to the server that is promoted. */
  target(): Promise<ServerControl> {
    return this.server(this.targetBackend());
  }

  /** The connection to a server: the one at hand, or a new one. */
  async server(backend: BackendConfig): Promise<ServerControl> {
    const kept = this.#servers.get(backend.name);
    if (kept !== undefined) return kept;
    const server = await this.world.openServer(backend, this.cluster);
    this.#servers.set(backend.name, server);
    return server;
  }

  /** What a server is now, as far as it is the cluster's. */
  async look(server: ServerControl): Promise<ServerFacts> {
    const facts = await server.look(LOOK_TIMEOUT_MS);
    return factsInCluster(this.world.survey(this.cluster.name), server.backend, facts);
  }

  /** Why a primary may not take writes again; null when it may. */
  async whyNotLetLoose(primary: ServerControl): Promise<string | null> {
    return whyNotLetLoose(primary.backend.name, await primary.look(LOOK_TIMEOUT_MS), this.#letLooseWorld());
  }

  /** Servers that have what a primary has not any more that is to take writes all the same. */
  async whoIsGivenUp(primary: ServerControl): Promise<Divergence[]> {
    return whoIsGivenUp(primary.backend.name, await primary.look(LOOK_TIMEOUT_MS), this.#letLooseWorld());
  }

  #letLooseWorld(): LetLooseWorld {
    const { cluster, world } = this;
    return {
      survey: () => world.survey(cluster.name),
      look: async (backend) => {
        const member = this.members().find((one) => one.name === backend);
        if (member === undefined) throw new Error(`${backend} is not in the cluster`);
        return (await this.server(member)).look(LOOK_TIMEOUT_MS);
      },
      checkNow: (backend) => world.checkNow(backend),
    };
  }

  /** There are no global ids, so how far servers are is told in places of binary logs. */
  get isByPlace(): boolean {
    const survey = this.world.survey(this.cluster.name);
    return memberOf(survey, this.#notes.target)?.record.facts?.hasGtid === false;
  }

  /** Where the new primary stands in both logs; null: not known, or there are global ids. */
  get handover(): Handover | null {
    return this.#notes.handover ?? null;
  }

  /** Asks until the answer is yes or the time is over; `ask` does its own waiting in between. */
  async waitUntil(timeoutMs: number, ask: () => Promise<boolean>): Promise<boolean> {
    const endMs = this.world.clock.nowMs() + timeoutMs;
    do {
      if (await ask()) return true;
    } while (this.world.clock.nowMs() < endMs);
    return false;
  }

  /** What has not been reached in time, in words. */
  tooSlow(what: string): string {
    return `${what} within catch_up_timeout (${this.cluster.catchUpTimeoutMs} ms)`;
  }

  /** Closes the connections to the servers. */
  close(): void {
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
  }
}
