/**
 * A real HAProxy in front of two dbproxies, with contrib/haproxy/haproxy.cfg as it stands there but for its addresses: it
 * asks each whether it can route, leaves out the one that cannot, and says who the clients are. And the scripts of older
 * installations, with their own words, against the admin port.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { startPair, type Lab } from '../lab/pair.ts';
import { freePorts } from '../lab/ports.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

const CONFIG = join(import.meta.dirname, '../../contrib/haproxy/haproxy.cfg');
/** An address of this machine that stands for a client. */
const CLIENT = '127.0.0.2';

suite('two dbproxies behind HAProxy', () => {
  let lab: Lab;
  let hosts: [ProxyProcess, ProxyProcess];
  let balancer: ChildProcess;
  let ports: { write: number; read: number };
  let statusSocket: string;

  before(async () => {
    lab = await startPair();
    const trusted = { proxy_protocol_from: '127.0.0.1' };
    const config = { 'listener write': trusted, 'listener read': trusted };
    hosts = [
      await lab.startProxy({ workers: 1, config }),
      // What two that do not know of each other would do to the same servers is not what this is about.
      await lab.startProxy({ workers: 1, config }),
    ];
    const [write, read] = (await freePorts(2)) as [number, number];
    ports = { write, read };
    statusSocket = join(lab.directory, 'haproxy.sock');
    balancer = startBalancer();
    for (const place of ['mysql-write/host1', 'mysql-write/host2', 'mysql-read/host1', 'mysql-read/host2']) {
      await becomes(place, 'UP', 'L7OK');
    }
  });
  after(async () => {
    balancer?.kill();
    await lab?.stop();
  });

  function startBalancer(): ChildProcess {
    const [one, two] = hosts;
    let text = readFileSync(CONFIG, 'utf8')
      .replace(/maxconn \d+/, 'maxconn 100')
      .replace('bind *:3306', `bind 127.0.0.1:${ports.write}`)
      .replace('bind *:3307', `bind 127.0.0.1:${ports.read}`)
      .replace('\nglobal\n', `\nglobal\n  stats socket ${statusSocket}\n`);
    for (const [host, address] of [
      [one, '10.0.0.1'],
      [two, '10.0.0.2'],
    ] as const) {
      text = text
        .replace(
          `${address}:6446 check port 9104`,
          `127.0.0.1:${host.ports.write} check port ${host.ports.http}`,
        )
        .replace(
          `${address}:6447 check port 9104`,
          `127.0.0.1:${host.ports.read} check port ${host.ports.http}`,
        );
    }
    assert.doesNotMatch(text.replaceAll(/^#.*/gm, ''), /10\.0\.0\.|9104|\*:/);
    const path = join(lab.directory, 'haproxy.cfg');
    writeFileSync(path, text);
    return spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'haproxy', '-db', '-f', path], {
      stdio: 'inherit',
    });
  }

  /** `mysql-write/host1` → what HAProxy thinks of it (`UP`) and how its last check ended (`L7OK`). */
  async function standings(): Promise<Map<string, string>> {
    const socket = net.connect({ path: statusSocket });
    socket.end('show stat\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    const [head, ...rows] = text
      .trim()
      .replace(/^# /, '')
      .split('\n')
      .map((line) => line.split(','));
    const column = (name: string): number => head!.indexOf(name);
    return new Map(
      rows.map((row) => [
        `${row[column('pxname')]}/${row[column('svname')]}`,
        `${row[column('status')]} ${row[column('check_status')]}`,
      ]),
    );
  }

  function becomes(place: string, status: string, check: string): Promise<void> {
    return eventually(async () => assert.equal((await standings()).get(place), `${status} ${check}`));
  }

  /** Through HAProxy, from CLIENT. */
  function connectTo(endpoint: 'write' | 'read'): Promise<Connection> {
    const stream = (): net.Socket =>
      net.connect({ host: '127.0.0.1', port: ports[endpoint], localAddress: CLIENT });
    return hosts[0].connect(endpoint, { stream });
  }

  const clientsOf = async (host: ProxyProcess): Promise<unknown[]> =>
    (await host.admin("SHOW SESSIONS WHERE user = 'app'")).map(
      ({ client_address: address }) => String(address).split(':')[0],
    );

  test('writes go to the first, reads to both, and each knows where a client is', async () => {
    const writers = await Promise.all([connectTo('write'), connectTo('write')]);
    assert.deepEqual(await clientsOf(hosts[0]), [CLIENT, CLIENT]);
    assert.deepEqual(await clientsOf(hosts[1]), []);
    const readers = [await connectTo('read'), await connectTo('read')];
    assert.equal((await clientsOf(hosts[1])).length, 1);
    const ends = await Promise.all(
      [...writers, ...readers].map(async (connection) => {
        const [[row]] = await connection.query<RowDataPacket[]>('select @@port as port');
        return row!['port'] as unknown;
      }),
    );
    assert.deepEqual(ends, [lab.db1.port, lab.db1.port, lab.db2.port, lab.db2.port]);
    for (const connection of [...writers, ...readers]) connection.destroy();
  });

  test('one that cannot route a write goes out of the pool of writes alone, and comes back', async () => {
    const [one, two] = hosts;
    const connection = await connectTo('write');
    const ended = new Promise((resolve) => connection.once('error', resolve));
    const { port } = lab.db1;
    await one.admin(`SetBKOffline --backend=127.0.0.1:${port}`);
    await becomes('mysql-write/host1', 'DOWN', 'L7STS');
    assert.equal((await standings()).get('mysql-read/host1'), 'UP L7OK');
    await ended;
    await connectTo('write');
    assert.deepEqual(await clientsOf(two), [CLIENT]);
    await one.admin(`SetBKOnline --backend=127.0.0.1:${port}`);
    await becomes('mysql-write/host1', 'UP', 'L7OK');
  });

  test('one that is gone is left out, and taken again when it is back', async () => {
    const [one, two] = hosts;
    one.signal('SIGKILL');
    await one.ended();
    await becomes('mysql-write/host1', 'DOWN', 'L4CON');
    const stream = (): net.Socket =>
      net.connect({ host: '127.0.0.1', port: ports.write, localAddress: CLIENT });
    const connection = await two.connect('write', { stream });
    await connection.query('select 1');
    await one.start();
    await becomes('mysql-write/host1', 'UP', 'L7OK');
  });

  suite('a script in the words of the older dbproxy', () => {
    /** As such scripts call it: one statement a call, the columns by their place. */
    async function script(statement: string): Promise<string[][]> {
      const { admin } = hosts[0].ports;
      const where = ['-h127.0.0.1', `-P${admin}`, '-uadmin', '-padmin'];
      const child = spawn('mariadb', ['--no-defaults', ...where, '-N', '-B', '-e', statement], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      for await (const chunk of child.stdout) text += String(chunk);
      if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
      assert.equal(child.exitCode, 0, statement);
      return text.trim() === ''
        ? []
        : text
            .trim()
            .split('\n')
            .map((line) => line.split('\t'));
    }

    /** address → status, type, rw_weight, ro_weight. */
    const backends = async (): Promise<Record<string, string>> =>
      Object.fromEntries(
        (await script('ShowBackends')).map((row) => [row[1]!, [row[2], row[3], row[5], row[6]].join(' ')]),
      );

    test('looks, sets weights, takes a server out and in', async () => {
      const [one, two] = [lab.db1, lab.db2].map(({ port }) => `127.0.0.1:${port}`) as [string, string];
      assert.deepEqual(await backends(), { [one]: 'up rw 1 1', [two]: 'up ro 0 1' });
      await script(`SetBackendParam --backend=${two} --rw-weight=1 --ro-weight=5`);
      assert.equal((await backends())[two], 'up ro 1 5');
      await script(`SetBackendParam --backend=${two} --ro-weight=0;`);
      assert.equal((await backends())[two], 'up ro 1 0');
      await script(`SetBKOffline --backend=${two}`);
      await eventually(async () => assert.equal((await backends())[two], 'down ro 1 0'));
      await script(`SetBKOnline --backend=${two}`);
      await eventually(async () => assert.equal((await backends())[two], 'up ro 1 0'));
    });
  });
});
