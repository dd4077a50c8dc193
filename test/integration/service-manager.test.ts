/**
 * dbproxy under systemd, as systemd sees it: the datagrams that come to a real socket by the real `systemd-notify`, from the
 * start to the end, and what becomes of the heartbeat of a supervisor that stands still.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, suite, test } from 'node:test';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

/** Prints a line for each datagram, its own lines joined by a blank. */
const LISTENER = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listening', flush=True)
while True:
    print(s.recv(65536).decode().strip().replace('\\n', ' '), flush=True)
`;
const WATCHDOG_MS = 600;

suite('under systemd', () => {
  let lab: Lab;
  let listener: ChildProcess;
  let proxy: ProxyProcess;
  const messages: string[] = [];

  before(async () => {
    lab = await startPair();
    const socket = join(lab.directory, 'notify');
    const command = ['--pdeathsig', 'KILL', '--', 'python3', '-c', LISTENER, socket];
    listener = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: listener.stdout! });
    await once(lines, 'line');
    lines.on('line', (line) => messages.push(line));
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(WATCHDOG_MS * 1000) };
    proxy = await lab.startProxy({ workers: 1, env });
  });
  after(async () => {
    listener?.kill();
    await lab?.stop();
  });

  const told = (what: RegExp): Promise<void> =>
    eventually(() =>
      Promise.resolve(
        assert.ok(
          messages.some((message) => what.test(message)),
          messages.join('\n'),
        ),
      ),
    );

  test('it asks for time, is ready with words, and sends heartbeats', async () => {
    await told(/\bREADY=1\b/);
    assert.match(messages[0]!, /EXTEND_TIMEOUT_USEC=30000000.* STATUS=starting/);
    assert.ok(!messages[0]!.includes('READY'));
    await told(/STATUS=main: writes go to db1; main: reads go to db2; epoch \d+$/);
    await told(/^WATCHDOG=1$/);
    assert.equal(messages.filter((message) => message.includes('READY=1')).length, 1);
  });

  test('its words follow what happens', async () => {
    await proxy.admin('SET BACKEND db2 OFFLINE');
    await told(/STATUS=main: writes go to db1; main: reads go to db1.*/);
  });

  test('a supervisor that stands still sends no heartbeat, and goes on with them when it moves again', async () => {
    // Not answered, so it stands; a message that was on its way then has arrived when two more have not come.
    proxy.signal('SIGSTOP');
    await eventually(async () => {
      const seen = messages.length;
      await assert.rejects(
        fetch(`http://127.0.0.1:${proxy.ports.http}/health`, {
          signal: AbortSignal.timeout(2 * WATCHDOG_MS),
        }),
      );
      assert.equal(messages.length, seen);
    });
    const seen = messages.length;
    proxy.signal('SIGCONT');
    await eventually(() => Promise.resolve(assert.ok(messages.slice(seen).includes('WATCHDOG=1'))));
  });

  test('it says that it stops', async () => {
    assert.equal(await proxy.stop(), 0);
    await told(/^STOPPING=1 .*STATUS=stopping/);
    assert.ok(!messages.at(-1)!.includes('READY'));
  });
});

suite('the unit', () => {
  const unit = readFileSync(join(import.meta.dirname, '../../contrib/systemd/dbproxy.service'), 'utf8');
  const setting = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1] ?? '';
  /** As setpriv writes them. */
  const rights = (name: string): string =>
    [
      '-all',
      ...setting(name)
        .split(' ')
        .map((right) => right.replace('CAP_', '+').toLowerCase()),
    ].join(',');
  const skip = process.getuid?.() !== 0 && 'rights can be taken away by root only';

  test('leaves what ping needs, which asks arbiters', { skip }, () => {
    const ambient = rights('AmbientCapabilities');
    const taken = [
      '--bounding-set',
      rights('CapabilityBoundingSet'),
      '--inh-caps',
      ambient,
      '--ambient-caps',
      ambient,
    ];
    const user = ['--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups', '--no-new-privs'];
    const ping = ['ping', '-n', '-c', '1', '127.0.0.1'];
    const { status, stderr, stdout } = spawnSync('setpriv', [...user, ...taken, ...ping], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr + stdout);
  });

  test('knows how systemd-notify speaks to systemd, and which ends another start does not mend', () => {
    assert.equal(setting('Type'), 'notify');
    assert.equal(setting('NotifyAccess'), 'all');
    const codes = setting('RestartPreventExitStatus').split(' ');
    const cli = join(import.meta.dirname, '../../src/cli.ts');
    const wrong = [
      ['run', '--nonsense'],
      ['run', '--config', '/nowhere/proxy.conf'],
    ];
    for (const words of wrong) {
      const { status } = spawnSync(process.execPath, [cli, ...words]);
      assert.ok(codes.includes(String(status)), `${words.join(' ')} ends with ${status}`);
    }
  });
});
