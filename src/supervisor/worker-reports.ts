/**
 * What the workers report, each to whom it concerns: listeners to the readiness, slots to their ledger, lost COMMITs to
 * who finds out what became of them, and what one worker has learned to the others.
 */
import { formatEndpoint } from '../base/address.ts';
import type { Log } from '../base/log.ts';
import type { ListenerConfig } from '../config/config.ts';
import type { CommitResolver } from '../failover/commit-resolver.ts';
import type { EventRing } from '../ipc/event-ring.ts';
import type { Report, WorkerFleet } from '../ipc/fleet.ts';
import type { LostCommit, ToWorker } from '../ipc/messages.ts';
import type { Readiness } from '../ipc/readiness.ts';
import type { SlotCounter } from '../ipc/slot-counter.ts';
import type { WorkerQuestions } from '../ipc/worker-questions.ts';
import type { AccountImport } from '../monitor/accounts.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { ProvenLogin, ProvenLogins } from '../topology/proven-logins.ts';

export interface ReportsWorld {
  readonly listeners: readonly ListenerConfig[];
  readonly log: Log;
  readonly events: EventRing;
  readonly fleet: WorkerFleet;
  readonly questions: WorkerQuestions;
  readonly readiness: Readiness;
  readonly slots: SlotCounter;
  readonly accounts: AccountImport;
  readonly proven: ProvenLogins;
  readonly commits: CommitResolver;
  readonly monitor: Pick<Monitor, 'checkSoon'>;
  /** A line for the log and for SHOW EVENTS. */
  readonly tell: (level: 'info' | 'warn', event: string, subject: string, detail: string) => void;
}

export class WorkerReports {
  readonly #world: ReportsWorld;

  constructor(world: ReportsWorld) {
    this.#world = world;
  }

  receive(slot: number, report: Report): void {
    const { log, monitor, readiness, slots } = this.#world;
    switch (report.type) {
      case 'ready':
        return readiness.setReady(slot);
      case 'listening':
        return this.#noteListener(slot, report.listener, report.error);
      case 'listener-released':
      case 'listener-drained':
        return this.#noteDrain(slot, report);
      case 'session-wanted':
        return void this.#findSession(slot, report.requestId, report.sessionId, report.ends);
      case 'accounts-wanted':
        return void this.#checkAccounts(slot, report.requestId, report.cluster);
      case 'account-proven':
        return this.#learn(slot, report.login);
      case 'schema-changed':
        return this.#tellOthers(slot, report);
      case 'slots-wanted':
        return slots.want(slot, report.key, report.count);
      case 'slots-returned':
        return slots.giveBack(slot, report.key, report.count);
      case 'commit-lost':
        return void this.#resolveCommit(slot, report.requestId, report.question);
      case 'backend-failed':
        log.debug('backend.failed_on_data_path', { worker: slot, ...report });
        return monitor.checkSoon(report.backend);
    }
  }

  /** A worker has ended, which reports nothing any more. */
  noteDeath(slot: number, how: string): void {
    const { events, readiness, slots } = this.#world;
    events.add('worker.exited', `worker ${slot}`, how);
    readiness.forget(slot);
    slots.release(slot);
  }

  #noteListener(slot: number, listener: string, error: string | null): void {
    const { readiness, tell } = this.#world;
    readiness.setListening(slot, listener, error);
    const subject = `${listener} (worker ${slot})`;
    if (error === null) tell('info', 'listener.bound', subject, 'listens');
    // What has just left was told as that.
    else if (!readiness.isDraining(slot, listener)) tell('warn', 'listener.not_bound', subject, error);
  }

  #noteDrain(
    slot: number,
    report: Extract<Report, { type: 'listener-released' | 'listener-drained' }>,
  ): void {
    const { listeners, readiness, tell } = this.#world;
    const { name, address, drainTimeoutMs } = listeners.find((one) => one.name === report.listener)!;
    const [subject, where] = [`${name} (worker ${slot})`, formatEndpoint(address)];
    readiness.setDraining(slot, name, report.type === 'listener-released');
    if (report.type === 'listener-released') {
      const kept = `${report.kept} sessions are kept for drain_timeout (${drainTimeoutMs} ms)`;
      tell('warn', 'listener.released', subject, `${where} has left this host; ${kept}`);
    } else {
      const detail = `${where} was not back within drain_timeout (${drainTimeoutMs} ms); ${report.ended} sessions were ended`;
      tell('info', 'listener.drained', subject, detail);
    }
  }

  async #resolveCommit(slot: number, requestId: number, question: LostCommit): Promise<void> {
    const { commits, fleet, log } = this.#world;
    const { outcome, detail } = await commits.resolve(question);
    const { cluster, backend, user, threadId, mark } = question;
    const trace = { threadId, ...(mark === null ? {} : { mark: mark.name }) };
    log.info('commit.resolved', { cluster, backend, user, ...trace, outcome, detail });
    fleet.send(slot, { type: 'commit-resolved', requestId, outcome, detail });
  }

  /** What has changed is broadcast while this waits, so it is there before the answer. */
  async #checkAccounts(slot: number, requestId: number, cluster: string): Promise<void> {
    const { accounts, fleet } = this.#world;
    await accounts.refresh(cluster);
    fleet.send(slot, {
      type: 'accounts-checked',
      requestId,
      awaitsFirst: accounts.awaitsFirst(cluster),
    });
  }

  #learn(teacher: number, login: ProvenLogin): void {
    if (this.#world.proven.remember(login)) this.#tellOthers(teacher, { type: 'account-proven', login });
  }

  #tellOthers(teller: number, message: ToWorker): void {
    const { fleet } = this.#world;
    for (const slot of fleet.slots()) if (slot !== teller) fleet.send(slot, message);
  }

  async #findSession(asker: number, requestId: number, sessionId: number, ends: boolean): Promise<void> {
    const { fleet, questions } = this.#world;
    const place = await questions.findSession(sessionId, ends);
    fleet.send(asker, { type: 'session-found', requestId, place });
  }
}
