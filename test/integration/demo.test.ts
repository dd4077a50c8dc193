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
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
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

  /** Connects as the application, or at the admin port. */
  function connect(port: number): Promise<Connection> {
    const account =
      port === DEMO_PORTS.admin
        ? { user: 'admin', password: 'admin' }
        : { user: 'app', password: 'app', database: 'demo' };
    return createConnection({ host: '127.0.0.1', port, ...account });
  }

  /** Runs one statement on a connection of its own. */
  async function ask(port: number, sql: string): Promise<RowDataPacket[]> {
    const connection = await connect(port);
    try {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      return rows;
    } finally {
      connection.destroy();
    }
  }

  async function portBehind(port: number): Promise<unknown> {
    return (await ask(port, 'select @@port as port'))[0]!['port'];
  }

  async function diagnoses(): Promise<string> {
    const rows = await ask(DEMO_PORTS.admin, 'SHOW DIAGNOSES');
    return rows.map((row) => `${String(row['diagnosis'])}: ${String(row['detail'])}`).join('; ');
  }

  /** Writes row after row, as many clients at a time, until an answer is lost; answers what was acknowledged. */
  async function write(clients: number): Promise<number[]> {
    const told: number[] = [];
    let next = 0;
    let isOver = false;
    const one = async (): Promise<void> => {
      const connection = await connect(DEMO_PORTS.write);
      connection.on('error', () => undefined);
      try {
        while (!isOver) {
          const number = next++;
          await connection.query('insert into written values (?)', [number]);
          told.push(number);
        }
      } catch {
        isOver = true;
      }
      connection.destroy();
    };
    await Promise.all(Array.from({ length: clients }, one));
    return told;
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

  test('gives an old primary that was killed under writes back all that it has not any more', async () => {
    await eventually(async () => assert.match(await diagnoses(), /^AllHealthy/), 30_000);
    await ask(DEMO_PORTS.write, 'create table written (number int primary key)');
    const writing = write(12);
    await eventually(async () => {
      const [row] = await ask(DEMO_PORTS.write, 'select count(*) as count from written');
      assert.ok(Number(row!['count']) > 500);
    }, 30_000);
    process.kill(Number(serverPids()[0]), 'SIGKILL');
    await eventually(() => ask(DEMO_PORTS.admin, 'FAILOVER'));
    const told = await writing;
    await eventually(async () => assert.match(await diagnoses(), /^AllHealthy: db2 .* in sync: db1/), 40_000);
    await eventually(async () => {
      const [old, now] = await Promise.all(
        [DEMO_PORTS.db1, DEMO_PORTS.db2].map(async (port) =>
          (await ask(port, 'select number from written order by number')).map((row) => Number(row['number'])),
        ),
      );
      assert.deepEqual(old, now);
      const there = new Set(now);
      assert.deepEqual(
        told.filter((number) => !there.has(number)),
        [],
      );
    });
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

  test('comes up again with the roles of the last promotion, also after all of it was killed', async () => {
    await start();
    await eventually(async () => assert.match(await diagnoses(), /^AllHealthy: db2/));
    const admin = spawn(process.execPath, [CLI, 'admin', '--config', '.demo/proxy.conf', 'PROMOTE db1'], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    assert.deepEqual(await once(admin, 'exit'), [0, null]);
    // Nobody writes any more, dbproxy's heart neither: what a crash takes out of a log is what the test above is about.
    demo.kill('SIGSTOP');
    await eventually(async () => {
      const position = 'select @@gtid_current_pos as position';
      assert.deepEqual(await ask(DEMO_PORTS.db1, position), await ask(DEMO_PORTS.db2, position));
    });
    const left = serverPids();
    for (const pid of left) process.kill(Number(pid), 'SIGKILL');
    demo.kill('SIGKILL');
    await once(demo, 'exit');
    await eventually(() => assert.ok(left.every((pid) => !existsSync(`/proc/${pid}`))));
    await start();
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.write), DEMO_PORTS.db1));
    await eventually(async () => assert.equal(await portBehind(DEMO_PORTS.read), DEMO_PORTS.db2));
    await eventually(async () => assert.match(await diagnoses(), /^AllHealthy: db1/));
    assert.equal(await stop(), 0);
  });
});
