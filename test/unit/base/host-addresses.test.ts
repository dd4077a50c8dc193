import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { HostAddresses, mayMove } from '../../../src/base/host-addresses.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeHost } from '../../support/fake-host.ts';

/** One address that is watched on a host that has `addresses`. */
function watching(address: string, addresses: string[] = []) {
  const host = new FakeHost();
  for (const one of addresses) host.addresses.add(one);
  const clock = new FakeClock();
  const news: boolean[] = [];
  const hosts = new HostAddresses(clock, host);
  const watch = hosts.watch(address, (isHere) => news.push(isHere));
  return { host, clock, news, hosts, watch };
}

suite('the addresses of a host', () => {
  test('are told when they come and when they leave, each once', async () => {
    const { host, clock, news } = watching('10.0.0.9', ['10.0.0.1']);
    assert.deepEqual(news, [], 'never before watch has returned');
    await clock.pass(200);
    assert.deepEqual(news, [false]);
    host.addresses.add('10.0.0.9');
    await clock.pass(200);
    assert.deepEqual(news, [false, true]);
    host.addresses.delete('10.0.0.9');
    await clock.pass(200);
    assert.deepEqual(news, [false, true, false]);
  });

  test('are known at once when they are there from the start', async () => {
    const { clock, news } = watching('10.0.0.9', ['10.0.0.9']);
    await clock.pass(0);
    assert.deepEqual(news, [true]);
  });

  const spellings = [
    ['FD00:0:0::9', 'fd00::9'],
    ['fd00:0000::0009', 'fd00::9'],
    ['::ffff:10.0.0.9', '10.0.0.9'],
    ['fe80::9%eth0', 'fe80::9'],
  ];
  for (const [written, listed] of spellings) {
    test(`are the same in another spelling: ${written}`, async () => {
      const { clock, news } = watching(written!, [listed!]);
      await clock.pass(0);
      assert.deepEqual(news, [true]);
    });
  }

  test('are here while they can be bound, although no interface shows them: a cable was pulled', async () => {
    const { host, clock, news } = watching('10.0.0.9', ['10.0.0.9']);
    host.bindable.add('10.0.0.9');
    await clock.pass(100);
    host.addresses.delete('10.0.0.9');
    await clock.pass(200);
    assert.deepEqual(news, [true]);
    host.bindable.delete('10.0.0.9');
    await clock.pass(200);
    assert.deepEqual(news, [true, false]);
  });

  test('that come by a route only are seen, a little later', async () => {
    const { host, clock, news } = watching('10.0.0.9');
    await clock.pass(500);
    host.bindable.add('10.0.0.9');
    await clock.pass(1_000);
    assert.deepEqual(news, [false, true]);
  });

  test('that are not here are asked of the kernel once a second', async () => {
    const { host, clock } = watching('10.0.0.9');
    let questions = 0;
    host.canBind = () => Promise.resolve(++questions < 0);
    await clock.pass(3_000);
    assert.equal(questions, 4);
  });

  test('stay what they were while the kernel does not say', async () => {
    const { host, clock, news } = watching('10.0.0.9', ['10.0.0.9']);
    await clock.pass(100);
    host.isSilent = true;
    await clock.pass(500);
    assert.deepEqual(news, [true]);
  });

  test('that were asked for before they came have come', async () => {
    const { host, clock, news } = watching('10.0.0.9');
    const answers: ((isHere: boolean) => void)[] = [];
    host.canBind = () => new Promise((resolve) => answers.push(resolve));
    await clock.pass(100);
    assert.equal(answers.length, 1, 'one question at a time');
    host.addresses.add('10.0.0.9');
    await clock.pass(100);
    answers[0]!(false);
    await clock.pass(0);
    assert.deepEqual(news, [true]);
  });

  test('are looked at only while somebody wants to know', async () => {
    const { clock, news, hosts, watch } = watching('10.0.0.9', ['10.0.0.9']);
    const other = hosts.watch('10.0.0.8', () => undefined);
    await clock.pass(100);
    watch.stop();
    assert.equal(clock.pending, 1);
    other.stop();
    assert.equal(clock.pending, 0);
    assert.deepEqual(news, [true]);
  });

  test('of the machine that this runs on include loopback, as its kernel has it', async () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const clock = new FakeClock();
    const watch = new HostAddresses(clock).watch('127.0.0.1', resolve);
    assert.equal(await promise, true);
    watch.stop();
  });

  test('of the machine that this runs on do not include one that is kept for documentation', async () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const watch = new HostAddresses(new FakeClock()).watch('192.0.2.77', resolve);
    assert.equal(await promise, false);
    watch.stop();
  });
});

suite('an address may move between hosts', () => {
  for (const host of ['10.0.0.1', '192.0.2.1', 'fd00::1', 'fe80::1%eth0', '::ffff:10.0.0.1']) {
    test(host, () => assert.equal(mayMove(host), true));
  }
});

suite('an address is on every host', () => {
  const fixed = [
    '0.0.0.0',
    '::',
    '0:0:0:0:0:0:0:0',
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '::ffff:127.0.0.1',
    'localhost',
  ];
  for (const host of fixed) test(host, () => assert.equal(mayMove(host), false));
});
