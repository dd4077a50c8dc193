/** haconf, the file by which keepalived's scripts speak to dbproxy, joined with the control plane. */
import type { Clock } from '../base/clock.ts';
import type { ProxyConfig } from '../config/config.ts';
import type { ControlPlane } from '../failover/control.ts';
import { controlOperations } from '../failover/operations.ts';
import { HaconfWatch, readHaconf, type HaconfWorld } from '../keepalived/haconf-watch.ts';
import type { TopologyStore } from '../topology/store.ts';

export interface HaconfPlace extends Pick<HaconfWorld, 'tell'> {
  readonly config: ProxyConfig;
  readonly clock: Clock;
  readonly store: TopologyStore;
  readonly control: ControlPlane;
}

/** What watches the haconf of this configuration; null: it names none. */
export function watchHaconf({ config, clock, store, control, tell }: HaconfPlace): HaconfWatch | null {
  const { haconf, vip, instance } = config.keepalived;
  if (haconf === undefined) return null;
  const { changePrimary } = controlOperations(config, control, store);
  return new HaconfWatch({
    clock,
    read: () => readHaconf(haconf),
    instance: vip.length === 0 ? null : instance,
    rest: (on) => {
      store.rest(on);
      for (const { name } of config.clusters) control.consider(name);
    },
    backends: () => config.backends,
    primaryOf: (cluster) => store.rememberedPrimary(cluster),
    switchover: (cluster, to) =>
      changePrimary(cluster, { kind: 'switchover', to, force: false, dryRun: false }),
    tell,
  });
}
