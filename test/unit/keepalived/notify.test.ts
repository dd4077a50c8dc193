/**
 * What keepalived's scripts do: on a host that is made up, in any order; and, as root, on a real interface in a network of
 * its own.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { systemClock, type Timer } from '../../../src/base/clock.ts';
import type { ProxyConfig } from '../../../src/config/config.ts';
import { runNotifyCommand } from '../../../src/keepalived/host.ts';
import { chooseVips, notify, type NotifyWorld } from '../../../src/keepalived/notify.ts';
import { lastState, Turn } from '../../../src/keepalived/turns.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const CLI = join(import.meta.dirname, '../../../src/cli.ts');
const VIPS = ['10.0.0.100/24', 'fd00::1/64'];
const CONFIG = {
  keepalived: { vip: VIPS, interface: 'eth0' },
  listeners: [{ name: 'write', address: { kind: 'tcp', host: '10.0.0.100', port: 3306 }, mode: 'write' }],
} as unknown as ProxyConfig;

/** Nobody waits for it. */
class QuickClock extends FakeClock {
  override after(delayMs: number, callback: () => void): Timer {
    const timer = super.after(delayMs, callback);
    setImmediate(() => this.advance(delayMs));
    return timer;
  }
}

/** A host that does what it is told, and writes it down. */
function hostWith(
  here: string[],
  changes: Partial<NotifyWorld> = {},
): { world: NotifyWorld; here: string[]; done: string[] } {
  const done: string[] = [];
  const world: NotifyWorld = {
    clock: new QuickClock(),
    addresses: () => here,
    addAddress: (vip, device) => {
      done.push(`add ${vip} ${device}`);
      here.push(vip.split('/')[0]!);
      return Promise.resolve(null);
    },
    removeAddress: (vip, device) => {
      done.push(`remove ${vip} ${device}`);
      here.splice(here.indexOf(vip.split('/')[0]!), 1);
      return Promise.resolve(null);
    },
    ownerElsewhere: () => Promise.resolve(null),
    announce: (address) => {
      done.push(`announce ${address}`);
      return Promise.resolve();
    },
    proxySilence: () => Promise.resolve(null),
    startProxy: () => Promise.resolve('started'),
    isListening: () => Promise.resolve(true),
    overtakenBy: () => null,
    ...changes,
  };
  return { world, here, done };
}

describe('notify', () => {
  test('master adds what is missing and tells the neighbours; a second time it only tells them', async () => {
    const { world, here, done } = hostWith(['10.0.0.100']);
    assert.deepEqual(await notify('master', VIPS, CONFIG, world), {
      isWell: true,
      words: 'master: fd00::1/64 added to eth0; 10.0.0.100, fd00::1 here, dbproxy listens',
    });
    assert.deepEqual(done, ['announce 10.0.0.100', 'add fd00::1/64 eth0', 'announce fd00::1']);
    done.length = 0;
    assert.equal((await notify('master', VIPS, CONFIG, world)).isWell, true);
    assert.deepEqual(done, ['announce 10.0.0.100', 'announce fd00::1']);
    assert.deepEqual(here, ['10.0.0.100', 'fd00::1']);
  });

  test('master does not add an address that another host answers for', async () => {
    const { world, done } = hostWith([], { ownerElsewhere: () => Promise.resolve('0A:0B') });
    assert.deepEqual(await notify('master', VIPS, CONFIG, world), {
      isWell: false,
      words: 'master: 10.0.0.100 is not added: 0A:0B answers for it',
    });
    assert.deepEqual(done, []);
  });

  test('master has dbproxy started when it does not answer, and says that it is not well', async () => {
    const { world } = hostWith(['10.0.0.100', 'fd00::1'], {
      proxySilence: () => Promise.resolve('ECONNREFUSED'),
    });
    const { isWell, words } = await notify('master', VIPS, CONFIG, world);
    assert.equal(isWell, false);
    assert.equal(words, 'master: dbproxy does not answer: ECONNREFUSED; started');
  });

  for (const state of ['backup', 'fault'] as const) {
    test(`${state} takes away what is there, and a second time does nothing`, async () => {
      const { world, here, done } = hostWith(['10.0.0.1', '10.0.0.100']);
      assert.deepEqual(await notify(state, VIPS, CONFIG, world), {
        isWell: true,
        words: `${state}: 10.0.0.100/24 removed from eth0`,
      });
      assert.deepEqual(here, ['10.0.0.1']);
      done.length = 0;
      assert.equal(
        (await notify(state, VIPS, CONFIG, world)).words,
        `${state}: 10.0.0.100, fd00::1 not here`,
      );
      assert.deepEqual(done, []);
    });
  }

  test('an address that stays is not well', async () => {
    const { world } = hostWith(['10.0.0.100'], { removeAddress: () => Promise.resolve('not permitted') });
    assert.deepEqual(await notify('fault', VIPS, CONFIG, world), {
      isWell: false,
      words: 'fault: 10.0.0.100/24 could not be removed from eth0: not permitted',
    });
  });

  test('a slow master takes back what it has added after a fault came', async () => {
    let later: string | null = null;
    const { world, here } = hostWith([], {
      overtakenBy: () => later,
      announce: () => {
        later = 'fault';
        return Promise.resolve();
      },
    });
    const { words } = await notify('master', VIPS, CONFIG, world);
    assert.equal(words, 'master: overtaken by fault; 10.0.0.100/24 removed from eth0');
    assert.deepEqual(here, []);
  });

  for (const [state, here, other] of [
    ['backup', ['10.0.0.100', 'fd00::1'], 'master'],
    ['master', [], 'backup'],
  ] as const) {
    test(`a ${state} that finds what only a ${other} leaves waits for the call that tells of that`, async () => {
      const clock = new QuickClock();
      const startedMs = clock.nowMs();
      const overtakenBy = (): string | null => (clock.nowMs() - startedMs < 2_500 ? null : other);
      const { world, done } = hostWith([...here], { clock, overtakenBy });
      assert.equal(
        (await notify(state, VIPS, CONFIG, world)).words.split(';')[0],
        `${state}: overtaken by ${other}`,
      );
      assert.deepEqual(done, []);
    });
  }

  test('a slow fault leaves what a later master has', async () => {
    const { world, here, done } = hostWith(['10.0.0.100'], { overtakenBy: () => 'master' });
    assert.equal((await notify('fault', VIPS, CONFIG, world)).words, 'fault: overtaken by master');
    assert.deepEqual([here, done], [['10.0.0.100'], []]);
  });
});

test('only addresses of the configuration are touched', () => {
  assert.deepEqual(chooseVips(['10.0.0.100', 'FD00:0::1/128'], VIPS), { vips: VIPS });
  assert.deepEqual(chooseVips(['10.0.0.1'], VIPS), {
    problem: '10.0.0.1 is not in [keepalived] vip: 10.0.0.100/24, fd00::1/64',
  });
});

test('turns are in the order of the starts, also when files are made in another one', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dbproxy-turns-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const turn = (start: string, state: string): Turn => new Turn(folder, '10.0.0.100,fd00::1', start, state);
  turn('boot0.9999.0001', 'master');
  assert.equal(turn('boot1.0001.0001', 'backup').before, null, 'another boot does not count');
  const fault = turn('boot1.0003.0001', 'fault');
  assert.equal(fault.before, 'backup');
  const slow = turn('boot1.0002.0001', 'master');
  assert.equal(slow.overtakenBy, 'fault');
  assert.equal(fault.overtakenBy, null);
  assert.equal(lastState(folder, '10.0.0.100,fd00::1'), 'fault');
  assert.equal(lastState(folder, '10.0.0.101'), null);
});

describe('notify_command', () => {
  const change = { state: 'master', vips: ['10.0.0.100'], words: "master: it's 10.0.0.100" };

  test('has the change in its environment', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'dbproxy-notify-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'told');
    const command = `echo "$DBPROXY_STATE $DBPROXY_VIP $DBPROXY_MESSAGE" > ${file}`;
    assert.equal(await runNotifyCommand(command, change, systemClock, 10_000), null);
    assert.equal(readFileSync(file, 'utf8'), "master 10.0.0.100 master: it's 10.0.0.100\n");
  });

  test('that fails or does not end is told', async () => {
    assert.match((await runNotifyCommand('exit 3', change, systemClock, 10_000))!, /ended with exit code 3/);
    assert.match((await runNotifyCommand('sleep 60', change, systemClock, 50))!, /took longer than 50 ms/);
  });
});

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'only root may have a network interface of its own';

test('a real interface gets its address once, and loses it', { skip }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dbproxy-notify-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'proxy.conf');
  const cluster = 'monitor_user = m\nmonitor_password = m\nreplication_user = r\nreplication_password = r';
  writeFileSync(
    path,
    `[dbproxy]\nstate_dir = state\n[admin]\nuser = a\npassword = a\n[cluster main]\n${cluster}
[backend db1]\ncluster = main\naddress = 10.255.7.2:3306\nrw_weight = 1
[listener write]\ncluster = main\naddress = 10.255.7.1:3306
[keepalived]\nvip = 10.255.7.1/24\ninterface = eth0\nnotify_command = echo $DBPROXY_STATE >> ${folder}/told\n`,
  );
  const standIn = `require('net').createServer().listen(3306, '0.0.0.0');
    require('http').createServer((q, a) => a.end('stand-in')).listen(9104, '127.0.0.1', () => console.log('up'))`;
  const call = (state: string): string =>
    `${process.execPath} ${CLI} keepalived notify --config ${path} --state=${state} --vip=10.255.7.1; echo "exit $?"`;
  const script = [
    'set -e',
    'ip link set lo up; ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up',
    `mkfifo ${folder}/up; setpriv --pdeathsig KILL -- ${process.execPath} -e "${standIn}" > ${folder}/up & server=$!`,
    `read -r _ < ${folder}/up`,
    ...['fault', 'master', 'master', 'status', 'backup', 'backup'].map(call),
    'kill $server',
  ].join('\n');
  const { stdout, stderr } = spawnSync('unshare', ['--net', 'bash', '-c', script], { encoding: 'utf8' });
  assert.equal(stderr, '');
  assert.deepEqual(stdout.trim().split('\n'), [
    'fault: 10.255.7.1 not here',
    'exit 0',
    'master: 10.255.7.1/24 added to eth0; 10.255.7.1 here, dbproxy listens',
    'exit 0',
    'master: 10.255.7.1 here, dbproxy listens',
    'exit 0',
    '10.255.7.1 here; keepalived told master; check: well: stand-in',
    'exit 0',
    'backup: 10.255.7.1/24 removed from eth0',
    'exit 0',
    'backup: 10.255.7.1 not here',
    'exit 0',
  ]);
  assert.equal(readFileSync(join(folder, 'told'), 'utf8'), 'fault\nmaster\nbackup\n');
});
