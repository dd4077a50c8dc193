/**
 * What is between two dbproxies: a connection to the other's admin port, one question at a time. A question that is not
 * answered in time breaks the connection, and what was sent on it may still arrive, later than what was sent on the next;
 * one to a process that has died meanwhile is refused when its host is there, and answered by nobody when it is not.
 */
import type { PeerLink } from '../../src/peer/link.ts';
import { failure } from './calls.ts';
import type { ProcessClock, SimProcess } from './process.ts';
import type { SimProxy } from './proxy.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

/** What was given up arrives so much later, at most. */
const STRAGGLES_MS = 800;

export interface LinkEnds {
  readonly world: World;
  readonly random: Random;
  readonly from: SimProxy;
  readonly to: SimProxy;
  /** Of the one that asks. */
  readonly process: SimProcess;
  readonly clock: ProcessClock;
}

export function simulatedLink(ends: LinkEnds): PeerLink {
  const { to } = ends;
  /** The process at the other end of the connection that there is; null: there is none. */
  let there: SimProcess | null = null;
  return {
    address: to.host,
    async ask(message, timeoutMs) {
      const endMs = ends.clock.nowMs() + timeoutMs;
      try {
        if (there === null) {
          there = await exchange<SimProcess>(ends, timeoutMs, (process, answer) => answer(process));
          const connected = there;
          connected.onDeath(() => hearOfDeath(ends, () => (there = there === connected ? null : there)));
        }
        const connected = there;
        return await exchange<string>(ends, endMs - ends.clock.nowMs(), (process, answer, refuse) => {
          if (process !== connected) return refuse(failure('ECONNRESET', 'connection reset'));
          to.life!.peer!.receive(message).then(answer, refuse);
        });
      } catch (error) {
        there = null;
        throw error;
      }
    },
    close: () => (there = null),
  };
}

/** Who dies with its host has nobody who closes its connections. */
function hearOfDeath({ world, from, to, process }: LinkEnds, tell: () => void): void {
  if (to.isHostDown) return;
  world.network.send(peerOf(to.host), peerOf(from.host), () => process.enter(tell));
}

/** There and back; `work` is done by the process that is there. */
function exchange<T>(
  { world, random, from, to, process, clock }: LinkEnds,
  timeoutMs: number,
  work: (there: SimProcess, answer: (value: T) => void, refuse: (error: Error) => void) => void,
): Promise<T> {
  const { network, scheduler } = world;
  const boots = [from.boots, to.boots];
  const isLost = (): boolean => from.boots !== boots[0] || to.boots !== boots[1] || to.isHostDown;
  return new Promise<T>((resolve, reject) => {
    let isGivenUp = false;
    const timer = clock.after(Math.max(1, timeoutMs), () => {
      isGivenUp = true;
      reject(failure('PROTOCOL_SEQUENCE_TIMEOUT', `no answer within ${Math.round(timeoutMs)} ms`));
    });
    const back = (how: () => void): void =>
      network.send(peerOf(to.host), peerOf(from.host), () =>
        process.enter(() => {
          timer.cancel();
          how();
        }),
      );
    const arrive = (): void => {
      if (isLost()) return;
      const there = to.life?.process;
      if (there === undefined) return back(() => reject(failure('ECONNREFUSED', 'connection refused')));
      // A connection that breaks before the answer is told of by who dies.
      there.onDeath(() => {
        if (!to.isHostDown) back(() => reject(failure('ECONNRESET', 'connection reset')));
      });
      there.enter(() =>
        work(
          there,
          (value) => back(() => resolve(value)),
          (error) => back(() => reject(error)),
        ),
      );
    };
    network.send(peerOf(from.host), peerOf(to.host), () => {
      if (isGivenUp) scheduler.after(random.between(0, STRAGGLES_MS), arrive);
      else arrive();
    });
  });
}

/** The end of a line that carries nothing but what the two tell each other. */
export function peerOf(host: string): string {
  return `${host}/peer`;
}
