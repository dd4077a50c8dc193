/**
 * Clients that do not behave, against a running proxy: each gets a clear error or a closed connection,
 * leaves an event and a count, and no other session notices.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { parseError } from '../../src/protocol/packets.ts';
import { forEachFlavour } from '../lab/flavours.ts';
import { BIG_RESULT, startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';
import { eventually } from '../support/eventually.ts';

forEachFlavour((flavour) => {
  describe(`bad input, with ${flavour} behind`, () => {
    let lab: Lab;
    let proxy: ProxyProcess;
    let witness: Connection;
    let workers: string;

    before(async () => {
      lab = await startPair({ flavour });
      proxy = await lab.startProxy({
        workers: 1,
        config: { 'listener write': { handshake_timeout: '500ms', max_connections: 12 } },
      });
      witness = await proxy.connect('write');
      await witness.query('set @mine = 42');
      workers = await workerStarts();
    });
    after(() => lab?.stop());

    const workerStarts = (): Promise<string> =>
      Promise.resolve(String(proxy.log.filter(({ event }) => event.startsWith('worker.')).length));

    async function assertUnharmed(): Promise<void> {
      const [rows] = await witness.query<RowDataPacket[]>('select @mine as mine');
      assert.equal(rows[0]!.mine, 42);
      assert.equal(await workerStarts(), workers);
    }

    /** Connects, waits for the greeting, sends `bytes`, and collects what comes until the proxy closes. */
    async function talk(bytes: Buffer): Promise<Buffer> {
      const socket = net.connect(proxy.ports.write, '127.0.0.1');
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('error', () => undefined);
      await once(socket, 'data');
      socket.write(bytes);
      await once(socket, 'close');
      const [greeting, ...rest] = chunks;
      assert.equal(greeting![4], 10);
      return Buffer.concat(rest);
    }

    const packet = (sequence: number, payload: Buffer): Buffer =>
      Buffer.concat([
        Buffer.from([payload.length & 0xff, (payload.length >> 8) & 0xff, payload.length >> 16, sequence]),
        payload,
      ]);

    const attempts: [name: string, bytes: Buffer, errno: number | null][] = [
      ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 1153],
      ['a TLS hello', Buffer.from('16030100f5010000f10303', 'hex'), null],
      ['zeros', Buffer.alloc(64), null],
      ['noise', Buffer.from(Array.from({ length: 600 }, (_, i) => (i * 97 + 13) & 0xff)), null],
      ['a login that announces 16 MB', Buffer.from([0xfe, 0xff, 0xff, 1, 0x85, 0xa6]), 1153],
      ['a truncated login', packet(1, Buffer.from('85a60300', 'hex')), 1835],
      ['a login with a wrong number', packet(7, Buffer.alloc(40, 1)), 1156],
      ['a client of before 4.1', packet(1, Buffer.from('0500000000' + '61707000', 'hex')), 1251],
      [
        'a lying length inside',
        packet(
          1,
          Buffer.concat([
            Buffer.from('8da60300000000012d', 'hex'),
            Buffer.alloc(23),
            Buffer.from('app\0'),
            Buffer.from([250]),
            Buffer.from('short'),
          ]),
        ),
        1835,
      ],
    ];
    for (const [name, bytes, errno] of attempts) {
      it(`answers ${name} with an error or a close`, async () => {
        const answer = await talk(bytes);
        if (errno !== null) {
          assert.ok(answer.length > 9, 'an error was expected');
          assert.equal(parseError(answer.subarray(4)).errno, errno);
        }
        await assertUnharmed();
      });
    }

    it('closes the connection of a client that says nothing, after handshake_timeout', async () => {
      const answer = await talk(Buffer.alloc(0));
      assert.equal(parseError(answer.subarray(4)).errno, 1159);
      await proxy.waitForEvent('session.login_refused', ({ code }) => code === 'DBPROXY_HANDSHAKE_TIMEOUT');
    });

    it('answers an unknown user just as a wrong password, and counts both', async () => {
      const messages = [];
      for (const user of ['app', 'nobody']) {
        const error = await proxy.connect('write', { user, password: 'wrong' }).then(
          () => assert.fail('let in'),
          (failure: { errno: number; message: string }) => failure,
        );
        assert.equal(error.errno, 1045);
        messages.push(error.message.replace(user, 'X'));
      }
      assert.equal(messages[0], messages[1]);
      const { text } = await proxy.get('/metrics');
      assert.match(text, /dbproxy_query_errors_total\{code="1045"\} [2-9]/);
    });

    it('refuses a client above max_connections with 1040 and lets the next in when one has left', async () => {
      const connections: Connection[] = [];
      await assert.rejects(
        async () => {
          for (;;) connections.push(await proxy.connect('write'));
        },
        { errno: 1040 },
      );
      assert.ok(connections.length <= 11);
      await connections.pop()!.end();
      const next = await eventually(() => proxy.connect('write'));
      await next.query('select 1');
      for (const connection of [next, ...connections]) await connection.end();
      await assertUnharmed();
    });

    it('lets a slow reader wait without holding its result in memory', async () => {
      const connection = await proxy.connect('write');
      const stream = (connection as unknown as { connection: { stream: net.Socket } }).connection.stream;
      const before = await resident();
      connection.query(BIG_RESULT).catch(() => undefined);
      stream.pause();
      await eventually(async () => {
        const [row] = await proxy.admin(`SHOW SESSIONS WHERE id = ${connection.threadId}`);
        assert.equal(row!.state, 'active');
      });
      await assertUnharmed();
      assert.ok((await resident()) - before < 64 * 1024 * 1024);
      connection.destroy();
      await assertUnharmed();
    });

    async function resident(): Promise<number> {
      const { text } = await proxy.get('/metrics');
      const match = /^dbproxy_process_resident_bytes\{process="worker[^}]*\} (\S+)$/m.exec(text);
      assert.ok(match, 'no metric of the memory of workers');
      return Number(match[1]);
    }
  });
});
