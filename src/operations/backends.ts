/**
 * What operators do to backends while dbproxy runs: change their weights and limits, take them out and in again, add
 * one and have it filled.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { refusal } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { messageOf } from '../base/message-of.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { BackendChange, SetupReport } from '../ipc/operations.ts';
import type { SlotCounter } from '../ipc/slot-counter.ts';
import type { WorkerQuestions } from '../ipc/worker-questions.ts';
import type { BackendOverride, WrittenKeys } from '../topology/state-file.ts';
import type { TopologyStore } from '../topology/store.ts';

export interface BackendsWorld {
  readonly config: Pick<ProxyConfig, 'clusters' | 'backends'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: TopologyStore;
  readonly slots: SlotCounter;
  readonly workers: WorkerQuestions;
  /** Makes a server a backend; `offlineBecause`: it takes no traffic until somebody says so. */
  join(name: string, keys: WrittenKeys, offlineBecause: string | null): Promise<void>;
  /** Fills a backend from another one (null: the primary), and has it follow. */
  fill(name: string, from: string | null): Promise<SetupReport[]>;
  /** A line for the log and for SHOW EVENTS. */
  tell(level: 'info' | 'error', event: string, subject: string, detail: string): void;
}

/** Why a backend that was added with CLONE takes no traffic yet. */
const BEING_FILLED = 'it is being filled';

export class BackendOperations {
  readonly #world: BackendsWorld;
  readonly #drainTimers = new Map<string, Timer>();

  constructor(world: BackendsWorld) {
    this.#world = world;
  }

  /** Adds a backend; with `clone` it is offline until it has been filled, and stays so when that fails. */
  async add(
    name: string,
    keys: WrittenKeys,
    clone: { readonly from: string | null } | null,
  ): Promise<SetupReport[]> {
    const world = this.#world;
    await world.join(name, keys, clone === null ? null : BEING_FILLED);
    if (clone === null) return [];
    try {
      const reports = await world.fill(name, clone.from);
      await this.set(name, { admin: 'online' });
      return reports;
    } catch (error) {
      const reason = messageOf(error);
      world.tell('error', 'backend.not_filled', name, reason);
      await world.store.change({ [name]: { adminReason: reason } });
      throw error;
    }
  }

  /** Says of what the last process was filling when it was cut off that nobody does any more. */
  async noteCutOff(): Promise<void> {
    const { store } = this.#world;
    for (const [name, { admin, adminReason }] of Object.entries(store.durable.backends)) {
      if (admin !== 'offline' || adminReason !== BEING_FILLED) continue;
      const reason = `dbproxy was stopped while it was being filled; CLONE BACKEND ${name} again, then SET BACKEND ${name} ONLINE`;
      await store.change({ [name]: { adminReason: reason } });
      this.#world.tell('error', 'backend.not_filled', name, reason);
    }
  }

  /** Changes a backend; in the state file when it resolves. */
  async set(name: string, change: BackendChange): Promise<void> {
    const { store, log, slots } = this.#world;
    this.#requireBackend(name);
    requireCount('RW_WEIGHT', change.rwWeight, 0);
    requireCount('RO_WEIGHT', change.roWeight, 0);
    requireCount('MAX_CONNECTIONS', change.maxConnections, 1);
    const { drainTimeoutMs, ...override } = change;
    const reason = change.admin === undefined ? {} : { adminReason: '' };
    await store.change({ [name]: { ...override, ...reason } satisfies BackendOverride });
    log.info('backend.set', { backend: name, ...change });
    if (change.maxConnections !== undefined) slots.limitBackend(name, change.maxConnections);
    if (change.admin !== undefined) this.#applyAdminState(name, change.admin, drainTimeoutMs);
  }

  /** A backend is gone. */
  forget(name: string): void {
    this.#drainTimers.get(name)?.cancel();
    this.#drainTimers.delete(name);
  }

  /** No drain ends any more. */
  close(): void {
    for (const timer of this.#drainTimers.values()) timer.cancel();
  }

  #applyAdminState(name: string, admin: NonNullable<BackendChange['admin']>, drainTimeoutMs?: number): void {
    this.forget(name);
    switch (admin) {
      case 'online':
        return;
      case 'draining':
        if (drainTimeoutMs === undefined) return;
        this.#drainTimers.set(
          name,
          this.#world.clock.after(
            drainTimeoutMs,
            () => void this.#dismiss(name, `backend ${name} is being drained`),
          ),
        );
        return;
      case 'offline':
        void this.#dismiss(name, `backend ${name} was set offline by an operator`);
    }
  }

  /** Ends the sessions of a backend that an operator takes out. */
  async #dismiss(name: string, reason: string): Promise<void> {
    const { config, workers } = this.#world;
    const backend = config.backends.find((one) => one.name === name);
    const cluster = config.clusters.find((one) => one.name === backend?.cluster);
    if (cluster === undefined) throw new TypeError(`no such backend: ${name}`);
    const ended = await workers.endSessions(name, cluster.transactionGraceMs, reason);
    this.#world.tell('info', 'backend.sessions_ended', name, `${ended} session(s): ${reason}`);
  }

  #requireBackend(name: string): void {
    const known = this.#world.config.backends.map((backend) => backend.name);
    if (!known.includes(name))
      throw refusal('DBPROXY_ADMIN_UNKNOWN_OBJECT', 'backend', name, known.join(', '));
  }
}

function requireCount(key: string, value: number | undefined, minimum: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= minimum)) return;
  throw refusal('DBPROXY_ADMIN_BAD_VALUE', key, value, `it must be a whole number, at least ${minimum}`);
}
