/**
 * Calls over the simulated network: a question goes there, is answered when the other process gets to it, and the
 * answer comes back; or time runs out, or the connection breaks. What has been asked may be done although nobody
 * waits for it any more.
 */
import type { SimProcess } from './process.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

/** Whoever calls: a process on a host. */
export interface Caller {
  readonly host: string;
  readonly process: SimProcess;
}

/** An error as the drivers give it. */
export function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** Asks a server; `work` runs there and answers by its functions. */
export function call<T>(
  world: World,
  caller: Caller,
  server: SimServer,
  timeoutMs: number,
  work: (answer: (value: T) => void, refuse: (error: Error) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const { network, scheduler } = world;
    let isSettled = false;
    const settle = (how: () => void): void => {
      caller.process.enter(() => {
        if (isSettled) return;
        isSettled = true;
        timer.cancelled = true;
        how();
      });
    };
    const timer = scheduler.after(timeoutMs, () =>
      settle(() =>
        reject(failure('PROTOCOL_SEQUENCE_TIMEOUT', `no answer within ${Math.round(timeoutMs)} ms`)),
      ),
    );
    const back = (how: () => void): void => network.send(server.host, caller.host, () => settle(how));
    network.send(caller.host, server.host, () => {
      if (server.hostDownSinceMs !== null) return;
      const { process } = server;
      if (!process.isAlive) return back(() => reject(failure('ECONNREFUSED', 'connection refused')));
      const end = (): void => {
        if (server.hostDownSinceMs === null) back(() => reject(failure('ECONNRESET', 'connection reset')));
      };
      server.openCalls.add(end);
      const answered = (how: () => void): void => {
        if (server.openCalls.delete(end)) back(how);
      };
      process.enter(() =>
        work(
          (value) => answered(() => resolve(value)),
          (error) => answered(() => reject(error)),
        ),
      );
    });
  });
}
