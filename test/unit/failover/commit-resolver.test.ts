/** What the resolver of lost COMMITs does to the server that it asks. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { CommitResolver } from '../../../src/failover/commit-resolver.ts';
import type { LostCommit } from '../../../src/ipc/messages.ts';
import { FIRST_RECORD } from '../../../src/monitor/detector.ts';
import { backendConfig, clusterConfig } from '../../support/configs.ts';
import { serverFacts } from '../../support/facts.ts';

/** How long the server keeps a connection before it closes it without a word. */
const KEPT_MS = 20;

test('many questions at once do not take the connections of the new primary away', async (context) => {
  let [open, most] = [0, 0];
  const server = createServer((socket) => {
    most = Math.max(most, ++open);
    const timer = systemClock.after(KEPT_MS, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      timer.cancel();
      open--;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const facts = serverFacts({ version: '9.7.0', history: '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5' });
  const resolver = new CommitResolver({
    config: {
      clusters: [clusterConfig({})],
      backends: [
        backendConfig('db1', {}),
        backendConfig('db2', { address: { kind: 'tcp', host: '127.0.0.1', port } }),
      ],
    },
    clock: systemClock,
    primaryOf: () => 'db2',
    recordOf: () => ({
      ...FIRST_RECORD,
      reach: 'up',
      reachReason: '',
      seenMs: systemClock.nowMs() + 60_000,
      facts,
    }),
    isGivenUp: () => false,
  });
  resolver.note('db1');
  resolver.note('db2');
  // A sample counts when it is a second older than the transaction.
  const nowMs = systemClock.wallMs() + 5_000;
  const question: LostCommit = {
    cluster: 'main',
    backend: 'db1',
    threadId: 1,
    user: 'app',
    database: '',
    beganAtMs: nowMs,
    sentAtMs: nowMs,
    lostAtMs: nowMs,
    autocommit: false,
    statements: [],
    writeCount: 1,
    mark: null,
  };
  const verdicts = await Promise.all(Array.from({ length: 200 }, () => resolver.resolve(question)));
  assert.ok(verdicts.every(({ outcome }) => outcome === 'unknown'));
  assert.ok(most >= 1 && most <= 2, `${most} connections at once`);
});
