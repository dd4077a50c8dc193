import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import type { BackendConfig, ClusterConfig } from '../../../src/config/config.ts';
import { PromotionActions, type PromotionWorld } from '../../../src/failover/actions.ts';
import type { Decision } from '../../../src/failover/check.ts';

/** A server that is not there: its socket has no file. */
function absent(name: string): BackendConfig {
  return { name, address: { kind: 'unix', path: `/nonexistent/${name}.sock` } } as BackendConfig;
}

const CLUSTER = { name: 'main', monitorUser: 'm', monitorPassword: 'm', holdTimeoutMs: 100 } as ClusterConfig;
const DECISION: Decision = { kind: 'switchover', old: absent('db1'), target: absent('db2'), followers: [] };

/** Actions in a world whose state file fails at the first write, and what was written there. */
function actionsWith(remembered: string | null): { actions: PromotionActions; written: string[] } {
  const written: string[] = [];
  const world = {
    clock: systemClock,
    rememberedPrimary: () => remembered,
    recordPromotion: async (_cluster: string, primary: string) => {
      written.push(primary);
      if (written.length === 1) throw new Error('the directory was not flushed');
      return written.length;
    },
  } as Partial<PromotionWorld> as PromotionWorld;
  return { actions: new PromotionActions(world, CLUSTER, DECISION), written };
}

suite('taking back a step that failed', () => {
  test('the record is written anew, even though memory still has the primary before', async () => {
    const { actions, written } = actionsWith('db1');
    await assert.rejects(actions.do('record'), /not flushed/);
    assert.match(await actions.undo('record'), /db1 is the primary of epoch 2/);
    assert.deepEqual(written, ['db2', 'db1']);
  });

  test('with nobody remembered before, the record goes back to the server that had the writes', async () => {
    const { actions, written } = actionsWith(null);
    await assert.rejects(actions.do('record'));
    await actions.undo('record');
    assert.deepEqual(written, ['db2', 'db1']);
  });

  test('a record that was never tried is left alone', async () => {
    const { actions, written } = actionsWith('db1');
    await actions.undo('record');
    assert.deepEqual(written, []);
  });

  test('a fence that never learnt whether the old primary was read-only makes nothing writable', async () => {
    const { actions } = actionsWith('db1');
    await assert.rejects(actions.do('fence'), /ENOENT/);
    assert.equal(await actions.undo('fence'), 'db1 had not been touched');
  });

  test('a new primary that could not even be asked is not called a second writer', async () => {
    const { actions } = actionsWith('db1');
    await assert.rejects(actions.do('make_writable'), /ENOENT/);
    assert.equal(await actions.undo('make_writable'), 'db2 had not been made writable');
  });
});
