/**
 * What can go wrong, on purpose: each fault is done to one server, or to dbproxy, and taken back after a while.
 */
import { readdirSync, rmSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../sim/random.ts';
import type { ChaosCluster, Machine } from './cluster.ts';

export const SERVER_FAULTS = ['kill', 'freeze', 'restart', 'disk_full', 'cut', 'hide'] as const;
export const PROXY_FAULTS = ['proxy_kill', 'proxy_restart', 'switchover'] as const;
export type FaultKind = (typeof SERVER_FAULTS)[number] | (typeof PROXY_FAULTS)[number];

/** One fault of a round. */
export interface Fault {
  readonly kind: FaultKind;
  /** The server it is done to, by its part in the cluster; dbproxy's faults have none. */
  readonly on: 'primary' | 'replica' | null;
  readonly forMs: number;
  /** After the one before it has begun. */
  readonly afterMs: number;
}

const FILLER = 'filler';
const CHUNK = Buffer.alloc(1 << 20);
const LONGEST_MS = 6_000;

/** One fault, or two at once; the same seed gives the same. */
export function drawFaults(random: Random, only: readonly FaultKind[]): Fault[] {
  const draw = (kinds: readonly FaultKind[], afterMs: number): Fault => {
    const kind = random.pick(kinds);
    const on = isOfServer(kind) ? (random.chance(0.7) ? ('primary' as const) : ('replica' as const)) : null;
    return { kind, on, forMs: Math.round(random.between(200, LONGEST_MS)), afterMs };
  };
  const first = draw(only, 0);
  if (!random.chance(0.3)) return [first];
  // dbproxy can be killed only once at a time.
  const others = isOfServer(first.kind) ? only : only.filter(isOfServer);
  return others.length === 0 ? [first] : [first, draw(others, Math.round(random.between(0, 2_000)))];
}

function isOfServer(kind: FaultKind): boolean {
  return (SERVER_FAULTS as readonly string[]).includes(kind);
}

export function describeFault({ kind, on, forMs }: Fault, server: string): string {
  return `${kind}${on === null ? '' : ` ${on} ${server}`} ${(forMs / 1000).toFixed(1)}s`;
}

/** Does it; answers how it is taken back. */
export async function inflict(
  kind: FaultKind,
  cluster: ChaosCluster,
  machine: Machine,
): Promise<() => Promise<void>> {
  const { server, host, disk } = machine;
  const start = async (): Promise<void> => {
    // A second fault may end it while it starts; who is down in the end is started then.
    if (!server.running) await server.start().catch(() => undefined);
  };
  switch (kind) {
    case 'kill':
      await server.kill();
      return start;
    case 'restart':
      void server.stop();
      return async () => {
        await server.stop();
        await start();
      };
    case 'freeze':
      server.pause();
      return async () => server.resume();
    case 'cut':
      host.cut();
      return async () => host.mend();
    case 'hide':
      host.hide();
      return async () => host.show();
    case 'disk_full':
      await fill(disk);
      return async () => {
        rmSync(join(disk, FILLER), { force: true });
        await start();
      };
    case 'proxy_kill':
      cluster.proxy.signal('SIGKILL');
      await cluster.proxy.ended();
      return () => cluster.proxy.start();
    case 'proxy_restart':
      await cluster.proxy.stop();
      return () => cluster.proxy.start();
    case 'switchover':
      // It may be refused, or fail and be taken back: what counts is what becomes of the writes.
      await cluster.proxy.admin('SWITCHOVER').catch(() => undefined);
      return async () => undefined;
  }
}

/** A server that has ended by itself (a full disk can do that) is started again, as its service manager would. */
export async function startThoseThatEnded(cluster: ChaosCluster): Promise<void> {
  for (const { server, disk } of cluster.machines) {
    if (readdirSync(disk).includes(FILLER)) rmSync(join(disk, FILLER));
    if (!server.running) await server.start();
  }
}

async function fill(disk: string): Promise<void> {
  const file = await open(join(disk, FILLER), 'w');
  try {
    while (statfsSync(disk).bavail > 0) await file.write(CHUNK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    await file.close();
  }
}
