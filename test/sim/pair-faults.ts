/** The faults of a pair: of its hosts, of keepalived, and of what the two dbproxies tell each other. */
import { vrrpOf } from './keepalived.ts';
import { peerOf } from './peer-link.ts';
import type { PairDeed } from './scenario.ts';
import type { SimServer } from './server.ts';
import type { World } from './world.ts';

type Lines = readonly (readonly [from: string, to: string])[];

/** Begins it, and answers how it ends; null: there is nothing to end. */
export function beginInPair(
  world: World,
  deed: PairDeed,
  cut: (lines: Lines, bothWays: boolean) => () => void,
): (() => void) | null {
  const { proxies } = world;
  const { keepaliveds } = world.pair!;
  switch (deed.kind) {
    case 'freeze_host':
      return freezeHost(world, deed.proxy);
    case 'stop_proxy':
      return stopInOrder(world, deed);
    case 'kill_keepalived': {
      const keepalived = keepaliveds[deed.proxy]!;
      keepalived.kill(deed.leavesVip);
      return () => {
        if (!proxies[deed.proxy]!.isHostDown) keepalived.start();
      };
    }
    case 'deafen': {
      const end = deed.what === 'vrrp' ? vrrpOf : peerOf;
      const from = proxies[deed.proxy]!.host;
      const to = proxies[1 - deed.proxy]!.host;
      return cut([[end(from), end(to)]], deed.bothWays);
    }
    case 'move_vip':
      for (const keepalived of keepaliveds) keepalived.giveUp();
      return null;
    case 'peer_gone': {
      const { life } = proxies[deed.proxy]!;
      // An operator who says so of one that lives is another matter.
      if (proxies[1 - deed.proxy]!.isHostDown) {
        life?.process.enter(() => void life.peer!.setGone().catch(() => undefined));
      }
      return null;
    }
  }
}

function freezeHost({ proxies, pair, servers }: World, index: number): () => void {
  const { host, life } = proxies[index]!;
  const server = servers.find((one) => one.host === host)!;
  const workers = life?.workers.map((worker) => worker?.process) ?? [];
  const frozen = [life?.process, ...workers, server, pair!.keepaliveds[index]];
  for (const one of frozen) one?.pause();
  return () => {
    for (const one of frozen) one?.goOn();
  };
}

function stopInOrder(
  world: World,
  { proxy: index, withHost }: Extract<PairDeed, { kind: 'stop_proxy' }>,
): (() => void) | null {
  const proxy = world.proxies[index]!;
  const server = world.servers.find(({ host }) => host === proxy.host)!;
  if (!proxy.isUp || proxy.isHostDown) return null;
  let isOver = false;
  let end = (): void => undefined;
  proxy.stop(() => {
    if (withHost && !isOver && !proxy.isHostDown) end = hostDown(world, server);
  });
  return () => {
    isOver = true;
    // It may be at it still.
    proxy.kill();
    end();
    if (!proxy.isHostDown) proxy.start();
  };
}

/** The machine dies with all that runs there; answers how it comes back. */
export function hostDown({ proxies, pair }: World, server: SimServer): () => void {
  const index = pair === null ? -1 : proxies.findIndex(({ host }) => host === server.host);
  const keepalived = pair?.keepaliveds[index];
  server.hostDown();
  proxies[index]?.crash();
  keepalived?.kill(false);
  return () => {
    server.hostUp();
    keepalived?.start();
    proxies[index]?.start();
  };
}

/** What connects two hosts; between those of a pair there are lines for one purpose alone, which are cut with the rest. */
export function linesBetween({ pair }: World, from: string, to: string): Lines {
  if (pair === null) return [[from, to]];
  return [[from, to], ...[vrrpOf, peerOf].map((end) => [end(from), end(to)] as const)];
}
