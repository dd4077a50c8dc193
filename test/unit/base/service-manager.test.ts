import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ServiceManager, serviceManagerOf } from '../../../src/base/service-manager.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A manager whose messages are kept; one is on its way until the test lets it arrive. */
function world(watchdogMs: number | null = 30_000) {
  const clock = new FakeClock();
  const sent: string[] = [];
  const troubles: string[] = [];
  let send = (): Promise<void> => Promise.resolve();
  const manager = new ServiceManager({
    clock,
    watchdogMs,
    send: (notice) => {
      sent.push([...notice].map(([name, value]) => `${name}=${value}`).join(' '));
      return send();
    },
    onTrouble: (reason) => troubles.push(reason),
  });
  return {
    clock,
    sent,
    troubles,
    manager,
    sendingIs: (next: () => Promise<void>) => (send = next),
    /** What was sent while so much time passed. */
    during: async (ms: number): Promise<string[]> => {
      sent.length = 0;
      await clock.pass(ms);
      return [...sent];
    },
  };
}

suite('systemd is told', () => {
  test('while it starts, that it wants more time, and no heartbeat', async () => {
    const { during } = world();
    assert.deepEqual(await during(10_000), ['EXTEND_TIMEOUT_USEC=30000000', 'EXTEND_TIMEOUT_USEC=30000000']);
  });

  test('once that it is ready, then a heartbeat as often as it takes for two to get lost', async () => {
    const { manager, during } = world();
    await during(0);
    manager.ready(() => 'writes go to db1');
    assert.deepEqual(await during(0), []);
    const beats = await during(15_000);
    assert.deepEqual(beats, ['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
  });

  test('a heartbeat within a third of a short watchdog', async () => {
    const { manager, during } = world(3_000);
    manager.ready(() => '');
    await during(0);
    assert.equal((await during(3_000)).length, 3);
  });

  test('nothing while nothing changes and no heartbeat is wanted; else how it is, in one line', async () => {
    const { manager, during } = world(null);
    let words = 'writes go to db1';
    manager.ready(() => words);
    await during(0);
    assert.deepEqual(await during(20_000), []);
    words = 'no writes:\ndb1 is down\nREADY=0';
    assert.deepEqual(await during(5_000), ['STATUS=no writes: db1 is down READY=0']);
  });

  test('that it stops, and while it does, that it wants more time', async () => {
    const { manager, during, sent } = world();
    manager.ready(() => 'well');
    await during(0);
    sent.length = 0;
    manager.stopping();
    manager.stopping();
    assert.deepEqual(sent, ['STOPPING=1 EXTEND_TIMEOUT_USEC=30000000 WATCHDOG=1 STATUS=stopping']);
    assert.deepEqual(await during(5_000), ['EXTEND_TIMEOUT_USEC=30000000 WATCHDOG=1']);
    manager.ready(() => 'well');
    manager.close();
    assert.deepEqual(await during(60_000), []);
  });

  test('not that it is ready when it is stopped before the message went out', async () => {
    const { manager, sent, sendingIs } = world();
    const way = Promise.withResolvers<undefined>();
    sendingIs(() => way.promise);
    manager.ready(() => 'well');
    manager.stopping();
    way.resolve(undefined);
    await way.promise;
    await new Promise(setImmediate);
    assert.doesNotMatch(sent.join('\n'), /READY/);
    assert.match(sent.at(-1)!, /STOPPING=1/);
  });

  test('one message at a time: what comes meanwhile goes out as one', async () => {
    const { manager, sent, during, sendingIs } = world();
    await during(0);
    const way = Promise.withResolvers<undefined>();
    sendingIs(() => way.promise);
    manager.ready(() => 'well');
    assert.equal(sent.length, 1);
    await during(60_000);
    assert.equal(sent.length, 0);
    sendingIs(() => Promise.resolve());
    way.resolve(undefined);
    assert.deepEqual(await during(0), ['WATCHDOG=1']);
  });

  test('and when that fails, the log is told why, once', async () => {
    const { manager, troubles, during, sendingIs } = world();
    sendingIs(() => Promise.reject(new Error('spawn systemd-notify ENOENT')));
    manager.ready(() => 'well');
    await during(30_000);
    assert.deepEqual(troubles, ['spawn systemd-notify ENOENT']);
  });
});

suite('whether there is a service manager', () => {
  const clock = new FakeClock();
  const open = (environment: NodeJS.ProcessEnv): boolean => {
    const manager = serviceManagerOf(environment, clock, () => undefined);
    manager?.close();
    return manager !== null;
  };

  test('is said by the environment, which nobody inherits', () => {
    assert.equal(open({ PATH: '/nowhere' }), false);
    assert.equal(open({ NOTIFY_SOCKET: '' }), false);
    const environment = { PATH: '/nowhere', NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '1', WATCHDOG_PID: '1' };
    assert.equal(open(environment), true);
    assert.deepEqual(environment, { PATH: '/nowhere' });
  });
});
