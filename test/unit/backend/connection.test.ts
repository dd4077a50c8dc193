/**
 * What a server, or somebody in its place, may say at the wrong time.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { BackendConnection } from '../../../src/backend/connection.ts';
import { Identity } from '../../../src/backend/wish.ts';
import { writeGreeting } from '../../../src/protocol/handshake.ts';
import { writeOk } from '../../../src/protocol/packets.ts';
import { tlsClient } from '../../../src/transport/tls-stream.ts';

test('an OK in clear text behind the greeting is no login where TLS is to begin', async () => {
  const greeting = writeGreeting({
    serverVersion: '9.7.0',
    connectionId: 1,
    scramble: Buffer.alloc(20, 1),
    capabilities: 0xdfffffff,
    extendedCapabilities: 0,
    collation: 45,
    status: 2,
    plugin: 'mysql_native_password',
  });
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(Buffer.concat([greeting, writeOk(2)]));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const opened = BackendConnection.open(
    'db1',
    {
      endpoint: { kind: 'tcp', host: '127.0.0.1', port },
      tls: 'required',
      tlsClient: tlsClient({ verify: true, ca: null, own: null }),
      compression: 'off',
      sendsProxyHeader: false,
    },
    {
      identity: new Identity({
        user: 'app',
        account: '',
        capabilities: 0,
        extendedCapabilities: 0,
        client: { address: '127.0.0.1', port: 1 },
      }),
      secret: { password: 'app' },
      keepsPassword: true,
      preparation: {
        database: '',
        collation: 45,
        readOnly: false,
        attributes: Buffer.alloc(0),
        settingFlags: 0,
      },
    },
    () => undefined,
  );
  try {
    await assert.rejects(opened, /clear text where TLS was to begin/);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});
