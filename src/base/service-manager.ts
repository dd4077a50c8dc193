/**
 * What systemd is told of this process (sd_notify(3)): that it serves, that it stops, how it is in words, and, while its
 * loop turns, that it lives. It starts only where systemd asks for that ($NOTIFY_SOCKET).
 *
 * The messages are datagrams of a Unix socket, which Node.js does not have; `systemd-notify`, there wherever systemd is,
 * sends them. It waits until systemd has read a message, so none is lost because its sender is gone already. As it is a
 * process of its own the unit needs `NotifyAccess=all`.
 *
 * The heartbeat (WATCHDOG=1) comes from a timer of the supervisor's own loop: a loop that stands still sends none, and
 * systemd ends the process when there was none for WatchdogSec. While it starts and stops, whose times are bounded here, it
 * asks for more time instead, so that no promotion that is being finished is killed by a timeout of the unit.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Clock, Timer } from './clock.ts';
import { messageOf } from './message-of.ts';

/** Messages as systemd reads them, by variable: `READY` → `1`. */
export type Notice = ReadonlyMap<string, string>;

/** Sends one message; rejects when that failed. */
export type SendNotice = (notice: Notice) => Promise<void>;

export interface ServiceManagerOptions {
  readonly clock: Clock;
  readonly send: SendNotice;
  /** How long systemd waits for a heartbeat; null when it wants none. */
  readonly watchdogMs: number | null;
  /** Told once, of the first message that could not be sent. */
  readonly onTrouble: (reason: string) => void;
}

/** How often at least it looks whether there is something to say. */
const TICK_MS = 5_000;
/** Two heartbeats may be late or lost. */
const HEARTBEATS_A_WATCHDOG = 3;
/** What is asked for at each tick of a start or a stop. */
const MORE_TIME_MS = 30_000;
/** Of `systemd-notify`, which waits at most 5 s for systemd. */
const SEND_TIMEOUT_MS = 10_000;

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #timer: Timer;
  #phase: 'starting' | 'ready' | 'stopping' = 'starting';
  #words: () => string = () => 'starting';
  #toldWords = '';
  /** What is to be said next; what comes while a message is on its way is joined to one. */
  #next = new Map<string, string>();
  #isSending = false;
  #hadTrouble = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const { clock, watchdogMs } = options;
    const tickMs = Math.min(TICK_MS, watchdogMs === null ? TICK_MS : watchdogMs / HEARTBEATS_A_WATCHDOG);
    this.#timer = clock.every(tickMs, () => this.#tick());
    this.#tick();
  }

  /** It serves. `words`: how it is, in a line; asked again and again. */
  ready(words: () => string): void {
    if (this.#phase !== 'starting') return;
    this.#phase = 'ready';
    this.#words = words;
    this.#next.delete('EXTEND_TIMEOUT_USEC');
    this.#next.set('READY', '1');
    this.#tick();
  }

  /** It has begun to stop. */
  stopping(): void {
    if (this.#phase === 'stopping') return;
    this.#phase = 'stopping';
    this.#words = () => 'stopping';
    this.#next.delete('READY');
    this.#next.set('STOPPING', '1');
    this.#tick();
  }

  /** Says nothing more. */
  close(): void {
    this.#timer.cancel();
    this.#next.clear();
  }

  #tick(): void {
    if (this.#phase !== 'ready') this.#next.set('EXTEND_TIMEOUT_USEC', String(MORE_TIME_MS * 1000));
    if (this.#phase !== 'starting' && this.#options.watchdogMs !== null) this.#next.set('WATCHDOG', '1');
    const words = oneLine(this.#words());
    if (words !== this.#toldWords) this.#next.set('STATUS', words);
    this.#toldWords = words;
    if (this.#next.size > 0 && !this.#isSending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (this.#next.size > 0) {
      const notice = this.#next;
      this.#next = new Map();
      try {
        await this.#options.send(notice);
      } catch (error) {
        if (!this.#hadTrouble) this.#options.onTrouble(messageOf(error));
        this.#hadTrouble = true;
      }
    }
    this.#isSending = false;
  }
}

/**
 * The service manager that `environment` names, or null. Takes the names out of the environment, so that no process that
 * is started from here speaks to it in our name.
 */
export function serviceManagerOf(
  environment: NodeJS.ProcessEnv,
  clock: Clock,
  onTrouble: (reason: string) => void,
): ServiceManager | null {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  if (socket === undefined || socket === '') return null;
  const isWatched = watched === undefined || Number(watched) === process.pid;
  const watchdogMs = isWatched && Number(watchdog) > 0 ? Number(watchdog) / 1000 : null;
  const send = (notice: Notice): Promise<void> =>
    sendNotice({ ...environment, NOTIFY_SOCKET: socket }, notice);
  return new ServiceManager({ clock, send, watchdogMs, onTrouble });
}

async function sendNotice(env: NodeJS.ProcessEnv, notice: Notice): Promise<void> {
  const lines = [...notice].map(([name, value]) => `${name}=${value}`);
  await promisify(execFile)('systemd-notify', ['--', ...lines], { env, timeout: SEND_TIMEOUT_MS });
}

/** A message has a line for each variable. */
function oneLine(words: string): string {
  return words.replaceAll(/\p{Cc}+/gu, ' ');
}
