/** Where what runs differs from the file: rows for SHOW CONFIG DIFF. */
import type { ProxyConfig } from '../config/config.ts';
import { differences } from '../config/diff.ts';
import type { ConfigDifference } from '../ipc/operations.ts';
import type { TopologyStore } from '../topology/store.ts';

/** What operators have set since is laid over the file; what they have switched comes after it. */
export function configDiff(file: ProxyConfig, store: TopologyStore): ConfigDifference[] {
  const running = { ...file, backends: store.membersAsSet() };
  const states = running.backends.flatMap(({ name }): ConfigDifference[] => {
    const { admin } = store.settingsOf(name);
    if (admin === 'online') return [];
    return [{ section: `[backend ${name}]`, key: 'state', running: admin, file: 'online' }];
  });
  const maintained = store.snapshot.clusters
    .filter(({ maintenance }) => maintenance !== 'off')
    .map(({ name, maintenance: running }) => ({
      section: `[cluster ${name}]`,
      key: 'maintenance',
      running,
      file: 'off',
    }));
  return [...differences(running, file), ...states, ...maintained];
}
