/**
 * Looks each second at haconf, and does what it says: maintenance of all clusters while column 1 is Y, and a switchover
 * when column 5 comes to name another server. What it says when dbproxy starts is no change: the primary is the one that is
 * remembered. A file that is missing or wrong is told once, and changes nothing.
 */
import { open } from 'node:fs/promises';
import type { Clock, Timer } from '../base/clock.ts';
import { formatEndpoint } from '../base/address.ts';
import { messageOf } from '../base/message-of.ts';
import type { BackendConfig } from '../config/config.ts';
import { backendsAt, masterWords, MAX_HACONF_BYTES, parseHaconf, type Haconf } from './haconf.ts';

const EVERY_MS = 1_000;
/** A file system that hangs must not keep dbproxy from starting. */
const FIRST_LOOK_TIMEOUT_MS = 2_000;

export interface HaconfWorld {
  readonly clock: Clock;
  /** The text of the file; rejects when there is none. */
  readonly read: () => Promise<string>;
  /** The VRRP instance that the file is to name; null: any will do. */
  readonly instance: string | null;
  /** What operators would say by MAINTENANCE, of all clusters. */
  readonly rest: (on: boolean) => void;
  readonly backends: () => readonly BackendConfig[];
  /** The primary that is remembered. */
  readonly primaryOf: (cluster: string) => string | null;
  /** Rejects with what an operator would be told. */
  readonly switchover: (cluster: string, to: string) => Promise<unknown>;
  readonly tell: (level: 'info' | 'warn' | 'error', event: string, subject: string, detail: string) => void;
}

const SUBJECT = 'haconf';

export class HaconfWatch {
  readonly #world: HaconfWorld;
  #last: Haconf | null = null;
  #trouble: string | null = null;
  #isLooking = false;
  #ticker: Timer | null = null;

  constructor(world: HaconfWorld) {
    this.#world = world;
  }

  /** Resolves when the file has been read once, or does not answer. */
  start(): Promise<void> {
    const { clock } = this.#world;
    this.#ticker = clock.every(EVERY_MS, () => void this.look());
    return new Promise((resolve) => {
      const patience = clock.after(FIRST_LOOK_TIMEOUT_MS, () => {
        this.#complain(`cannot be read: no answer within ${FIRST_LOOK_TIMEOUT_MS} ms`);
        resolve();
      });
      void this.look().then(() => {
        patience.cancel();
        resolve();
      });
    });
  }

  close(): void {
    this.#ticker?.cancel();
  }

  /** Looks once, unless that is being done; never rejects. What it begins goes on after it. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      const reading = parseHaconf(await this.#world.read(), this.#world.instance);
      if ('problem' in reading) return this.#complain(reading.problem);
      this.#trouble = null;
      this.#take(reading.haconf);
    } catch (error) {
      this.#complain(`cannot be read: ${messageOf(error)}`);
    } finally {
      this.#isLooking = false;
    }
  }

  #complain(problem: string): void {
    if (problem === this.#trouble) return;
    this.#trouble = problem;
    this.#world.tell('error', 'haconf.bad', SUBJECT, `${problem}; what it said before goes on`);
  }

  #take(now: Haconf): void {
    const { tell, rest } = this.#world;
    const before = this.#last;
    this.#last = now;
    if (now.maintenance !== (before?.maintenance ?? false)) {
      rest(now.maintenance);
      tell(
        'info',
        'haconf.maintenance',
        SUBJECT,
        now.maintenance ? 'column 1 is Y: no automatic failover by this dbproxy' : 'column 1 is N again',
      );
    }
    if (now.errorMode !== (before?.errorMode ?? false)) {
      const words = now.errorMode
        ? 'column 7 is Y: the virtual addresses go to the other host'
        : 'column 7 is N again';
      tell('info', 'haconf.error_mode', SUBJECT, words);
    }
    if (before === null || now.master === null) return;
    if (before.master !== null && masterWords(before.master) === masterWords(now.master)) return;
    this.#switchTo(now.master);
  }

  /** In each cluster that has a server there. */
  #switchTo(master: NonNullable<Haconf['master']>): void {
    const { backends, primaryOf, switchover, tell } = this.#world;
    const words = `column 5 is ${masterWords(master)}`;
    const all = backends();
    const there = backendsAt(master, all);
    if (there.length === 0) {
      const known = all.map(({ name, address }) => `${name} ${formatEndpoint(address)}`).join(', ');
      return tell('error', 'haconf.refused', SUBJECT, `${words}: no backend is there; there are ${known}`);
    }
    for (const cluster of new Set(there.map((backend) => backend.cluster))) {
      const names = there.filter((backend) => backend.cluster === cluster).map(({ name }) => name);
      const [name] = names as [string];
      if (names.length > 1) {
        tell('error', 'haconf.refused', cluster, `${words}: ${names.join(' and ')} are there; write IP:PORT`);
      } else if (primaryOf(cluster) === name) {
        tell('info', 'haconf.switchover', cluster, `${words}: ${name} is the primary already`);
      } else {
        tell('info', 'haconf.switchover', cluster, `${words}: SWITCHOVER TO ${name}`);
        switchover(cluster, name).then(
          () => tell('info', 'haconf.switched', cluster, `${words}: ${name} is the primary`),
          (error: unknown) => tell('error', 'haconf.refused', cluster, `${words}: ${messageOf(error)}`),
        );
      }
    }
  }
}

/** Reads the file, as far as it may be one. */
export async function readHaconf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAX_HACONF_BYTES), 0, MAX_HACONF_BYTES, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
