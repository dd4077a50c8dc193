import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Membership, type MembershipWorld } from '../../../src/failover/membership.ts';
import { BackendOperations, type BackendsWorld } from '../../../src/operations/backends.ts';
import { EMPTY_STATE, type BackendOverride } from '../../../src/topology/state-file.ts';
import { TopologyStore } from '../../../src/topology/store.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';

test('what a process was cut off in is taken back, or said to be nobody’s work any more, by the next one', async () => {
  const cases: readonly [string, BackendOverride, BackendOverride, readonly string[]][] = [
    [
      'one that was being dropped takes sessions again',
      { admin: 'draining', adminReason: 'DROP BACKEND waits for its sessions' },
      { admin: 'online', adminReason: '' },
      ['backend.not_dropped db2'],
    ],
    [
      'one that was being filled says what to do',
      { admin: 'offline', adminReason: 'it is being filled' },
      {
        admin: 'offline',
        adminReason:
          'dbproxy was stopped while it was being filled; CLONE BACKEND db2 again, then SET BACKEND db2 ONLINE',
      },
      ['backend.not_filled db2'],
    ],
    ['an operator’s own word stands', { admin: 'draining' }, { admin: 'draining' }, []],
    ['and so does that it is to be offline', { admin: 'offline' }, { admin: 'offline' }, []],
  ];
  for (const [title, before, after, told] of cases) {
    const config = {
      clusters: [clusterConfig()],
      backends: ['db1', 'db2'].map((name) => backendConfig(name)),
    };
    const state = { ...EMPTY_STATE, backends: { db2: before } };
    const store = new TopologyStore(config, { load: () => state, save: async () => undefined });
    const events: string[] = [];
    const tell = (_level: string, event: string, subject: string): void =>
      void events.push(`${event} ${subject}`);
    await new Membership({ store, tell } as unknown as MembershipWorld).takeBack();
    await new BackendOperations({ store, tell } as unknown as BackendsWorld).noteCutOff();
    assert.deepEqual(store.durable.backends['db2'], after, title);
    assert.deepEqual(events, told, title);
  }
});
