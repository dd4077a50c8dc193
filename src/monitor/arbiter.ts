/**
 * Arbiters: third parties (a gateway, a switch, another machine) that tell whether it is we who are cut off.
 * Asked as servers are, on the same intervals; who answers is all that counts. One that we have no means to
 * ask is not one that is silent, and says so. An etcd also has a vote: who of several dbproxies acts (`vote.ts`).
 */
import { spawn } from 'node:child_process';
import net from 'node:net';
import type { ArbiterAnswer } from './arbiter-answer.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { parseArbiter, type ArbiterConfig } from '../config/arbiter.ts';
import type { ClusterConfig } from '../config/config.ts';
import { classifyError } from './observation.ts';
import type { LeaseVote, VoteSight } from './vote.ts';

/** What the arbiters of a cluster say. */
export interface ArbiterSight {
  readonly configured: boolean;
  /** How many answered when they were asked last, and how many there are. */
  readonly reachable: number;
  readonly total: number;
  /** How many could not be asked, through our own fault. */
  readonly broken: number;
  /** Why the others did not answer, each with its name. */
  readonly reasons: readonly string[];
  /** When the oldest of these answers was had; null before each was asked once, and when there are none. */
  readonly freshMs: number | null;
  /** What the one that votes says; null: none of them does. */
  readonly vote: VoteSight | null;
}

/** One that is only asked whether it answers. */
export type MuteArbiter = Exclude<ArbiterConfig, { kind: 'etcd' }>;

/** Asks one arbiter; never rejects, and ends within the time. */
export type AskArbiter = (arbiter: MuteArbiter, clock: Clock, timeoutMs: number) => Promise<ArbiterAnswer>;

export interface ArbitersOptions {
  readonly cluster: ClusterConfig;
  readonly clock: Clock;
  /** True while something about the cluster is in doubt: then they are asked at the fast interval. */
  readonly isWorried: () => boolean;
  readonly ask?: AskArbiter;
  /** Of the one that votes, when there is one. */
  readonly vote?: LeaseVote | null;
}

interface Arbiter {
  readonly name: string;
  readonly answer: ArbiterAnswer | null;
  readonly answeredMs: number;
}

/** One that is asked in rounds. */
interface Asked extends Arbiter {
  readonly config: MuteArbiter;
  answer: ArbiterAnswer | null;
  answeredMs: number;
}

/** The arbiters of one cluster. */
export class Arbiters {
  readonly #options: ArbitersOptions;
  readonly #ask: AskArbiter;
  readonly #arbiters: readonly Arbiter[];
  readonly #asked: readonly Asked[];
  readonly #vote: LeaseVote | null;
  #timer: Timer | null = null;
  #lastStartMs = -Infinity;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(options: ArbitersOptions) {
    this.#options = options;
    this.#ask = options.ask ?? askArbiter;
    this.#vote = options.vote ?? null;
    const asked: Asked[] = [];
    this.#asked = asked;
    this.#arbiters = options.cluster.arbiter.map((name) => {
      const config = parseArbiter(name);
      if ('problem' in config) throw new TypeError(config.problem);
      if (config.kind === 'etcd') return voting(name, this.#vote);
      const arbiter = { name, config, answer: null, answeredMs: -Infinity };
      asked.push(arbiter);
      return arbiter;
    });
  }

  /** Starts to ask; resolves when each has been asked once. */
  async start(): Promise<void> {
    await Promise.all([this.#vote?.start(), this.#asked.length === 0 ? null : this.#round()]);
  }

  /** What they say now. */
  get sight(): ArbiterSight {
    const all = this.#arbiters;
    const count = (kind: ArbiterAnswer['kind']): number =>
      all.filter(({ answer }) => answer?.kind === kind).length;
    const isComplete = all.length > 0 && all.every(({ answer }) => answer !== null);
    return {
      configured: all.length > 0,
      reachable: count('reachable'),
      total: all.length,
      broken: count('broken'),
      reasons: all.flatMap(({ name, answer }) => {
        if (answer === null) return [`${name}: not asked yet`];
        return answer.kind === 'reachable' ? [] : [`${name}: ${answer.reason}`];
      }),
      freshMs: isComplete ? Math.min(...all.map(({ answeredMs }) => answeredMs)) : null,
      vote: this.#vote?.sight ?? null,
    };
  }

  /** Something has come into doubt: they are asked as soon as the rate allows. */
  askSoon(): void {
    if (this.#closed) return;
    this.#vote?.askSoon();
    if (this.#asked.length > 0 && this.#running === null) this.#schedule();
  }

  /** The one that votes; null: there is none. */
  get vote(): LeaseVote | null {
    return this.#vote;
  }

  /** Stops asking. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#vote?.close();
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    const { cluster, clock, isWorried } = this.#options;
    const intervalMs = isWorried() ? cluster.checkFastIntervalMs : cluster.checkIntervalMs;
    const delayMs = Math.max(0, this.#lastStartMs + intervalMs - clock.nowMs());
    this.#timer = clock.after(delayMs, () => void this.#round());
  }

  /** All of them at once; never rejects. */
  #round(): Promise<void> {
    const { cluster, clock } = this.#options;
    this.#lastStartMs = clock.nowMs();
    this.#running = Promise.all(
      this.#asked.map(async (arbiter) => {
        const answer = await this.#ask(arbiter.config, clock, cluster.checkTimeoutMs);
        arbiter.answer = answer;
        arbiter.answeredMs = clock.nowMs();
      }),
    ).then(() => {
      this.#running = null;
      this.#schedule();
    });
    return this.#running;
  }
}

/** It asks by itself. */
function voting(name: string, vote: LeaseVote | null): Arbiter {
  if (vote === null) throw new TypeError(`${name} votes, and nobody asks it`);
  return {
    name,
    get answer() {
      return vote.answer;
    },
    get answeredMs() {
      return vote.answeredMs;
    },
  };
}

/** Asks over the network. */
export async function askArbiter(
  arbiter: MuteArbiter,
  clock: Clock,
  timeoutMs: number,
): Promise<ArbiterAnswer> {
  switch (arbiter.kind) {
    case 'tcp':
      return askByTcp(arbiter, clock, timeoutMs);
    case 'ping':
      return askByPing(arbiter.host, clock, timeoutMs);
  }
}

/** It has to accept a connection: a refusal may come from a firewall of our own. */
function askByTcp(
  { host, port }: { readonly host: string; readonly port: number },
  clock: Clock,
  timeoutMs: number,
): Promise<ArbiterAnswer> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const end = (answer: ArbiterAnswer): void => {
      timer.cancel();
      socket.destroy();
      resolve(answer);
    };
    const timer = clock.after(timeoutMs, () => end(silent(timeoutMs)));
    socket.once('connect', () => end({ kind: 'reachable' }));
    socket.once('error', (error) => {
      const { kind, message } = classifyError(error);
      // A refusal does not count: a firewall on the way, or on this very host, answers so for anybody.
      end({ kind: kind === 'checker_broken' ? 'broken' : 'unreachable', reason: message });
    });
  });
}

/** The system's own program, which has the right to send ICMP: 0 is an answer, 1 is none, 2 that it could not ask. */
function askByPing(host: string, clock: Clock, timeoutMs: number): Promise<ArbiterAnswer> {
  return new Promise((resolve) => {
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
    const ping = spawn('ping', ['-n', '-c', '1', '-W', String(seconds), host], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    let told = '';
    const end = (answer: ArbiterAnswer): void => {
      timer.cancel();
      resolve(answer);
    };
    const timer = clock.after(timeoutMs, () => {
      ping.kill('SIGKILL');
      end(silent(timeoutMs));
    });
    ping.stderr.on('data', (chunk: Buffer) => (told = (told + chunk.toString('utf8')).slice(0, 500)));
    ping.once('error', (error) => {
      end({
        kind: 'broken',
        reason: `the program ping cannot be run (${error.message}); install it, or use tcp:IP:PORT`,
      });
    });
    ping.once('close', (code) => {
      if (code === 0) return end({ kind: 'reachable' });
      const words = told.trim().replaceAll('\n', '; ');
      if (/permi/i.test(words)) return end({ kind: 'broken', reason: `ping may not send (${words})` });
      end({ kind: 'unreachable', reason: words === '' ? 'no answer to ping' : words });
    });
  });
}

function silent(timeoutMs: number): ArbiterAnswer {
  return { kind: 'unreachable', reason: `no answer within ${timeoutMs} ms` };
}
