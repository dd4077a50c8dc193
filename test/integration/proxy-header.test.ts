/**
 * Where a client really is, behind a load balancer in front of dbproxy (a real HAProxy) and for a server
 * behind it (MariaDB, which believes PROXY headers of the networks it is told).
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { startPair, type Lab } from '../lab/pair.ts';
import { freePorts, isFree } from '../lab/ports.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

/** Addresses of this machine that stand for a client and for a load balancer. */
const CLIENT = '127.0.0.2';
const STRANGER = '127.0.0.3';

describe('the address of a client, told by PROXY headers', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  let balancer: ChildProcess;
  let ports: { v1: number; v2: number };

  before(async () => {
    lab = await startPair({ serverOptions: ['--proxy-protocol-networks=127.0.0.1'] });
    await lab.db1.query(`create user there@'${CLIENT}' identified by 'there'`);
    await lab.db1.query(`grant all on demo.* to there@'${CLIENT}'`);
    proxy = await lab.startProxy({
      workers: 1,
      config: {
        'listener write': { proxy_protocol_from: '127.0.0.1', allow: `127.0.0.1, ${CLIENT}` },
        'backend db1': { proxy_protocol: 'v2' },
      },
    });
    const [v1, v2] = (await freePorts(2)) as [number, number];
    ports = { v1, v2 };
    balancer = await startBalancer();
  });
  after(async () => {
    balancer?.kill();
    await lab?.stop();
  });

  /** HAProxy in front of the write endpoint, one port a version of the header. */
  async function startBalancer(): Promise<ChildProcess> {
    const path = join(lab.directory, 'haproxy.cfg');
    const section = (version: 'v1' | 'v2', option: string): string => `
listen ${version}
  mode tcp
  bind 127.0.0.1:${ports[version]}
  server dbproxy 127.0.0.1:${proxy.ports.write} ${option}
`;
    const defaults = 'defaults\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n';
    writeFileSync(path, defaults + section('v1', 'send-proxy') + section('v2', 'send-proxy-v2'));
    const command = ['--pdeathsig', 'KILL', '--', 'haproxy', '-db', '-f', path];
    const child = spawn('setpriv', command, { stdio: 'inherit' });
    await eventually(async () => assert.equal(await isFree(ports.v2), false));
    return child;
  }

  function connectFrom(address: string, port: number): Promise<Connection> {
    const stream = (): net.Socket => net.connect({ host: '127.0.0.1', port, localAddress: address });
    return proxy.connect('write', { user: 'there', password: 'there', stream });
  }

  for (const version of ['v1', 'v2'] as const) {
    it(`is known to dbproxy and to the server behind it (${version})`, async () => {
      const connection = await connectFrom(CLIENT, ports[version]);
      const [rows] = await connection.query<RowDataPacket[]>('select user() as user');
      assert.equal(rows[0]!.user, `there@${CLIENT}`);
      const sessions = await proxy.admin("SHOW SESSIONS WHERE user = 'there'");
      assert.deepEqual(
        sessions.map(({ client_address: address }) => String(address).split(':')[0]),
        [CLIENT],
      );
      await connection.end();
    });

    it(`decides who may come, and as which account (${version})`, async () => {
      await assert.rejects(connectFrom(STRANGER, ports[version]), { errno: 1130 });
      await assert.rejects(connectFrom('127.0.0.1', ports[version]), { errno: 1045 });
    });
  }

  it('is that of the connection when the trusted peer sends no header', async () => {
    const connection = await proxy.connect('write');
    const [rows] = await connection.query<RowDataPacket[]>('select user() as user');
    assert.match(String(rows[0]!.user), /^app@(127\.0\.0\.1|localhost)$/);
  });

  it('is one that the pool keeps apart: no client gets the connection of another address', async () => {
    await lab.db1.query(`create user moving@'127.0.0.%' identified by 'moving'`);
    for (const address of [CLIENT, '127.0.0.1', CLIENT]) {
      const stream = (): net.Socket =>
        net.connect({ host: '127.0.0.1', port: ports.v2, localAddress: address });
      const connection = await proxy.connect('write', {
        user: 'moving',
        password: 'moving',
        database: undefined!,
        stream,
      });
      const [rows] = await connection.query<RowDataPacket[]>('select user() as user');
      assert.match(String(rows[0]!.user), new RegExp(`^moving@(${address}|localhost)$`));
      await connection.end();
    }
  });

  for (const [what, bytes] of [
    ['from a peer that is not trusted', 'PROXY TCP4 127.0.0.2 127.0.0.1 4000 3306\r\n'],
    ['that is malformed', 'PROXY TCP9 not an address\r\n'],
  ] as const) {
    it(`a header ${what} is refused in words`, async () => {
      const localAddress = what.startsWith('from') ? CLIENT : '127.0.0.1';
      const socket = net.connect({ host: '127.0.0.1', port: proxy.ports.write, localAddress });
      socket.write(bytes);
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      await once(socket, 'close');
      assert.match(text, what.startsWith('from') ? /not in proxy_protocol_from/ : /PROXY/);
    });
  }
});
