/** Remembers the first primary of each cluster once it is clear which one it is. */
import { messageOf } from '../base/message-of.ts';
import type { TopologyStore } from '../topology/store.ts';

export interface FirstPrimariesWorld {
  readonly store: Pick<TopologyStore, 'rememberedPrimary' | 'adoptFirstPrimary'>;
  /** This proxy is the one that decides it; another one tells it otherwise. */
  isInCharge(cluster: string): boolean;
  /** The primary has changed: judge the rest of the cluster by the new one. */
  rejudge(cluster: string): void;
  /** A line for the log and for SHOW EVENTS. */
  tell(level: 'info' | 'error', event: string, subject: string, detail: string): void;
}

export class FirstPrimaries {
  readonly #world: FirstPrimariesWorld;
  /** Clusters whose first primary is being written down, and the last reason why that failed. */
  readonly #adopting = new Map<string, Promise<void>>();
  readonly #errors = new Map<string, string>();

  constructor(world: FirstPrimariesWorld) {
    this.#world = world;
  }

  /** A server of the cluster has been looked at. */
  note(cluster: string): void {
    if (this.#world.store.rememberedPrimary(cluster) !== null || this.#adopting.has(cluster)) return;
    if (!this.#world.isInCharge(cluster)) return;
    this.#adopting.set(
      cluster,
      this.#adopt(cluster).finally(() => this.#adopting.delete(cluster)),
    );
  }

  /** Resolves when nothing is being written down any more of what is now. */
  async settled(): Promise<void> {
    await Promise.all(this.#adopting.values());
  }

  async #adopt(cluster: string): Promise<void> {
    const world = this.#world;
    try {
      const primary = await world.store.adoptFirstPrimary(cluster);
      if (primary === null) return;
      this.#errors.delete(cluster);
      world.tell('info', 'cluster.first_primary', cluster, `${primary} is remembered as the primary`);
      world.rejudge(cluster);
    } catch (error) {
      const reason = messageOf(error);
      // Tried again with every check; said once.
      if (this.#errors.get(cluster) === reason) return;
      this.#errors.set(cluster, reason);
      world.tell('error', 'cluster.primary_not_recorded', cluster, reason);
    }
  }
}
