import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import type { ArbiterAnswer } from '../../../src/monitor/arbiter-answer.ts';
import { Arbiters, askArbiter } from '../../../src/monitor/arbiter.ts';
import { clusterConfig } from '../../support/configs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A port that accepts connections until the test ends. */
function listening(t: TestContext): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  t.after(() => server.close());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

suite('tcp', () => {
  test('an arbiter that accepts a connection is reachable', async (t) => {
    const port = await listening(t);
    const answer = await askArbiter({ kind: 'tcp', host: '127.0.0.1', port }, systemClock, 1_000);
    assert.deepEqual(answer, { kind: 'reachable' });
  });

  test('one that refuses is not', async (t) => {
    const port = await listening(t);
    const refusing = port === 65_535 ? port - 1 : port + 1;
    const answer = await askArbiter({ kind: 'tcp', host: '127.0.0.1', port: refusing }, systemClock, 1_000);
    assert.equal(answer.kind, 'unreachable');
  });

  test('one that is silent is not, after the time it has', async () => {
    // A network that is reserved for documentation: nobody answers there, or there is no way to it.
    const answer = await askArbiter({ kind: 'tcp', host: '192.0.2.1', port: 9 }, systemClock, 100);
    assert.notEqual(answer.kind, 'reachable');
  });
});

suite('ping', () => {
  const PATH = process.env['PATH'];

  /** Puts a program in the place of ping. */
  async function withPing(t: TestContext, script: string | null): Promise<ArbiterAnswer> {
    const { mkdtempSync, rmSync, writeFileSync } = await import('node:fs');
    const { tmpdir } = await import('node:os');
    const directory = mkdtempSync(`${tmpdir()}/dbproxy-ping-`);
    t.after(() => {
      process.env['PATH'] = PATH;
      rmSync(directory, { recursive: true });
    });
    if (script !== null) writeFileSync(`${directory}/ping`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env['PATH'] = directory;
    return askArbiter({ kind: 'ping', host: '10.0.0.1' }, systemClock, 2_000);
  }

  test('an answer is an answer', async (t) => {
    assert.deepEqual(await withPing(t, '[ "$6" = 10.0.0.1 ] && exit 0'), { kind: 'reachable' });
  });

  test('none is none', async (t) => {
    assert.deepEqual(await withPing(t, 'exit 1'), { kind: 'unreachable', reason: 'no answer to ping' });
  });

  test('no way to it is none either, in its own words', async (t) => {
    const answer = await withPing(t, 'echo "ping: connect: Network is unreachable" >&2; exit 2');
    assert.deepEqual(answer, { kind: 'unreachable', reason: 'ping: connect: Network is unreachable' });
  });

  test('a program that may not send is our own fault', async (t) => {
    const answer = await withPing(t, 'echo "ping: socket: Operation not permitted" >&2; exit 2');
    assert.equal(answer.kind, 'broken');
  });

  test('so is one that is not there', async (t) => {
    const answer = await withPing(t, null);
    assert.equal(answer.kind, 'broken');
    assert.match(answer.kind === 'broken' ? answer.reason : '', /ping cannot be run .*ENOENT.*install it/);
  });
});

test('what is said of several: who does not answer, why, and how old that is', async () => {
  const clock = new FakeClock();
  const answers: Record<string, ArbiterAnswer> = {
    '10.0.0.1': { kind: 'reachable' },
    '10.0.0.2': { kind: 'unreachable', reason: 'no answer within 1000 ms' },
    '10.0.0.3': { kind: 'broken', reason: 'no ping' },
  };
  const arbiters = new Arbiters({
    cluster: clusterConfig({ arbiter: ['ping:10.0.0.1', 'tcp:10.0.0.2:80', 'ping:10.0.0.3'] }),
    clock,
    isWorried: () => false,
    ask: async ({ host }) => answers[host]!,
  });
  assert.equal(arbiters.sight.freshMs, null);
  assert.deepEqual(arbiters.sight.reasons[0], 'ping:10.0.0.1: not asked yet');
  await arbiters.start();
  assert.deepEqual(arbiters.sight, {
    configured: true,
    reachable: 1,
    total: 3,
    broken: 1,
    reasons: ['tcp:10.0.0.2:80: no answer within 1000 ms', 'ping:10.0.0.3: no ping'],
    freshMs: 1_000,
    vote: null,
  });
  arbiters.close();
  assert.equal(clock.pending, 0);
});
