/**
 * The two kinds of process: a worker that dies is replaced, workers do not outlive their supervisor, and a
 * stop lets statements end.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

function children(pid: number): number[] {
  try {
    const list = execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
    return list.trim().split('\n').map(Number);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('supervisor and workers', () => {
  let lab: Lab;
  let proxy: ProxyProcess;

  before(async () => {
    lab = await startPair();
    proxy = await lab.startProxy({ workers: 2 });
  });
  after(() => lab?.stop());

  it('replaces a worker that was killed, while the other goes on', async () => {
    const [first, second] = children(proxy.pid!);
    process.kill(first!, 'SIGKILL');
    await eventually(() => {
      const now = children(proxy.pid!);
      assert.equal(now.length, 2);
      assert.ok(now.includes(second!) && !now.includes(first!));
    });
    await eventually(async () => {
      const connection = await proxy.connect('write');
      await connection.query('select 1');
      await connection.end();
    });
  });

  it('frees the connections that a dead worker held', async () => {
    await proxy.admin('SET BACKEND db1 MAX_CONNECTIONS = 2');
    const connections = [await proxy.connect('write'), await proxy.connect('write')];
    for (const pid of children(proxy.pid!)) process.kill(pid, 'SIGKILL');
    await eventually(async () => {
      const again = [await proxy.connect('write'), await proxy.connect('write')];
      for (const connection of again) await connection.query('select 1');
      for (const connection of again) await connection.end();
    }, 20_000);
    for (const connection of connections) connection.destroy();
    await proxy.admin('SET BACKEND db1 MAX_CONNECTIONS = 200');
  });

  it('lets a running statement end when it is stopped, and refuses new clients', async () => {
    const connection = await proxy.connect('write');
    const answer = connection.query('select sleep(0.7) as slept');
    await eventually(async () => {
      const [row] = await proxy.admin(`SHOW SESSIONS WHERE id = ${connection.threadId}`);
      assert.equal(row!.state, 'active');
    });
    const workers = children(proxy.pid!);
    proxy.signal('SIGTERM');
    const [rows] = await answer;
    assert.deepEqual(rows, [{ slept: 0 }]);
    assert.equal(await proxy.ended(), 0);
    for (const pid of workers) assert.ok(!isAlive(pid));
    await proxy.start();
  });

  it('takes its workers with it when the supervisor is killed', async () => {
    const workers = children(proxy.pid!);
    assert.equal(workers.length, 2);
    proxy.signal('SIGKILL');
    await proxy.ended();
    await eventually(() => assert.ok(workers.every((pid) => !isAlive(pid))));
    await proxy.start();
    const connection = await proxy.connect('write');
    await connection.query('select 1');
  });

  it('is not started twice on the same addresses', async () => {
    const again = execFileSync(
      'sh',
      [
        '-c',
        `${process.execPath} ${new URL('../../src/cli.ts', import.meta.url).pathname} run --config ${proxy.configPath} >/dev/null 2>&1; echo $?`,
      ],
      { encoding: 'utf8' },
    );
    assert.equal(again.trim(), '75');
  });
});
