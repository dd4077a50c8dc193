/**
 * The demo as a newcomer meets it: it says how to connect, that works, and Ctrl-C leaves nothing behind.
 * Its ports are fixed, so it is left out while something else (a demo, most likely) has them.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, suite, test } from 'node:test';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { DEMO_PORTS } from '../../src/demo/demo.ts';
import { isFree } from '../lab/ports.ts';
import { eventually } from '../support/eventually.ts';

const CLI = join(import.meta.dirname, '../../src/cli.ts');

const free = await Promise.all(Object.values(DEMO_PORTS).map(isFree));
const skip = free.includes(false) ? 'the ports of the demo are in use on this machine' : false;

suite('the demo', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-demo-'));
  let demo: ChildProcess;
  after(async () => {
    if (demo?.exitCode === null) await stop();
    rmSync(directory, { recursive: true });
  });

  /** Starts it; resolves with its lines when the banner is complete. */
  async function start(): Promise<string[]> {
    const command = ['--pdeathsig', 'TERM', '--', process.execPath, CLI, 'demo'];
    demo = spawn('setpriv', command, { cwd: directory, stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    for await (const line of createInterface({ input: demo.stdout! })) {
      lines.push(line);
      if (/^ {2}servers /.test(line)) break;
    }
    demo.stdout!.resume();
    return lines;
  }

  async function stop(): Promise<number | null> {
    const ended = once(demo, 'exit');
    demo.kill('SIGINT');
    const [code] = (await ended) as [number | null];
    return code;
  }

  function serverPids(): string[] {
    return ['db1', 'db2'].map((name) => readFileSync(join(directory, '.demo', name, 'pid'), 'utf8').trim());
  }

  async function portBehind(port: number): Promise<unknown> {
    const connection = await createConnection({
      host: '127.0.0.1',
      port,
      user: 'app',
      password: 'app',
      database: 'demo',
    });
    const [rows] = await connection.query<RowDataPacket[]>('select @@port as port');
    await connection.end();
    return rows[0]!['port'];
  }

  test('says how to connect, and every endpoint leads where it should', async () => {
    const lines = await start();
    for (const port of [DEMO_PORTS.write, DEMO_PORTS.read, DEMO_PORTS.split, DEMO_PORTS.admin]) {
      assert.ok(
        lines.some((line) => line.includes(`mariadb -h127.0.0.1 -P${port} `)),
        `port ${port} is told`,
      );
    }
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.write), DEMO_PORTS.db1));
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.read), DEMO_PORTS.db2));
    // What a server says of itself is not the same on every server, so the primary answers it.
    assert.equal(await portBehind(DEMO_PORTS.split), DEMO_PORTS.db1);
  });

  test('moves the reads to the primary when the replica ends, and back when it is up again', async () => {
    const replica = Number(serverPids()[1]);
    process.kill(replica, 'SIGKILL');
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.read), DEMO_PORTS.db1));
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.read), DEMO_PORTS.db2), 30_000);
  });

  test('refuses a second one beside it, with exit code 75', async () => {
    const second = spawn(process.execPath, [CLI, 'demo'], { cwd: directory, stdio: 'ignore' });
    assert.deepEqual(await once(second, 'exit'), [75, null]);
  });

  test('refuses to start elsewhere while its ports are taken', async () => {
    const other = mkdtempSync(join(tmpdir(), 'dbproxy-demo-'));
    const second = spawn(process.execPath, [CLI, 'demo'], {
      cwd: other,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let complaint = '';
    second.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    const [code] = (await once(second, 'close')) as [number | null];
    rmSync(other, { recursive: true });
    assert.equal(code, 75);
    assert.match(complaint, /^dbproxy: Port \d+ on 127\.0\.0\.1 is taken.*\n$/);
  });

  test('stops all that it started', async () => {
    const pids = serverPids();
    assert.equal(await stop(), 0);
    for (const pid of pids) assert.ok(!existsSync(`/proc/${pid}`), `server process ${pid} is gone`);
  });

  test('comes up again with the roles of the last promotion, also after it was killed', async () => {
    await start();
    const admin = spawn(process.execPath, [CLI, 'admin', '--config', '.demo/proxy.conf', 'PROMOTE db2'], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    assert.deepEqual(await once(admin, 'exit'), [0, null]);
    const left = serverPids();
    demo.kill('SIGKILL');
    await once(demo, 'exit');
    await eventually(() => assert.ok(left.every((pid) => !existsSync(`/proc/${pid}`))));
    await start();
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.write), DEMO_PORTS.db2));
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.read), DEMO_PORTS.db1));
    assert.equal(await stop(), 0);
  });
});
