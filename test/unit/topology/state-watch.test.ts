import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { probeOf, StateWatch } from '../../../src/topology/state-watch.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const FULL = new Error('ENOSPC: no space left on device, write');

suite('the watch over state_dir', () => {
  test('says why nothing can be written, until it can be again', async () => {
    let failure: Error | null = null;
    const watch = new StateWatch(new FakeClock(), async () => {
      if (failure !== null) throw failure;
    });
    await watch.look();
    assert.equal(watch.trouble, null);
    failure = FULL;
    await watch.look();
    assert.equal(watch.trouble, FULL.message);
    failure = null;
    await watch.look();
    assert.equal(watch.trouble, null);
  });

  test('takes a write that does not end for trouble, and begins no other one meanwhile', async () => {
    const clock = new FakeClock();
    const { promise: written, resolve: end } = Promise.withResolvers<undefined>();
    let begun = 0;
    const watch = new StateWatch(clock, async () => {
      begun++;
      await written;
    });
    const look = watch.look();
    clock.advance(3_000);
    assert.equal(watch.trouble, null);
    clock.advance(1_000);
    assert.equal(watch.trouble, 'a write has not ended within 4000 ms');
    await watch.look();
    assert.equal(begun, 1);
    end(undefined);
    await look;
    assert.equal(watch.trouble, null);
  });

  test('looks every five seconds, until it is closed', () => {
    const clock = new FakeClock();
    let begun = 0;
    const watch = new StateWatch(clock, () => {
      begun++;
      return new Promise(() => undefined);
    });
    watch.start();
    assert.equal(begun, 1);
    watch.close();
    clock.advance(60_000);
    assert.equal(begun, 1);
  });
});

suite('a look at state_dir', () => {
  test('leaves nothing behind, and fails where nothing can be written', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'dbproxy-state-'));
    try {
      const probe = probeOf(directory);
      await probe();
      assert.deepEqual(await readdir(directory), []);
      // As root nearly everything can be written to; this cannot.
      await mkdir(join(directory, 'probe.tmp'));
      await assert.rejects(probe(), /EISDIR|directory/);
      await assert.rejects(probeOf(join(directory, 'gone'))(), /ENOENT/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
