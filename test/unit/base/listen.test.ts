import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Endpoint } from '../../../src/base/address.ts';
import { listenOn } from '../../../src/base/listen.ts';

function socketPath(t: TestContext): Endpoint & { kind: 'unix' } {
  const directory = mkdtempSync(join(tmpdir(), 'dbproxy-listen-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return { kind: 'unix', path: join(directory, 'x.sock') };
}

function serverOf(t: TestContext): net.Server {
  const server = net.createServer((socket) => socket.destroy());
  t.after(() => server.close());
  return server;
}

test('an address that is taken rejects', async (t) => {
  const first = serverOf(t);
  await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
  const { port } = first.address() as net.AddressInfo;
  await assert.rejects(listenOn(serverOf(t), { kind: 'tcp', host: '127.0.0.1', port }), {
    code: 'EADDRINUSE',
  });
});

test('a Unix socket that somebody answers on is left to them', async (t) => {
  const endpoint = socketPath(t);
  await listenOn(serverOf(t), endpoint);
  await assert.rejects(listenOn(serverOf(t), endpoint), { code: 'EADDRINUSE' });
});

test('a Unix socket that a killed process left behind is taken over', async (t) => {
  const endpoint = socketPath(t);
  const script = `require('net').createServer().listen(${JSON.stringify(endpoint.path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(existsSync(endpoint.path));
  const server = serverOf(t);
  await listenOn(server, endpoint);
  assert.ok(server.listening);
});
