/**
 * Questions of an operator that only a worker can answer: what is said when the worker does not.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, suite, test } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import { startPair, type Lab } from '../lab/pair.ts';
import type { ProxyProcess } from '../lab/proxy.ts';

suite('a worker that does not answer', () => {
  let lab: Lab;
  let proxy: ProxyProcess;
  let worker: number;
  before(async () => {
    lab = await startPair();
    proxy = await lab.startProxy({ workers: 1 });
    worker = Number(execFileSync('pgrep', ['-P', String(proxy.pid)], { encoding: 'utf8' }).trim());
  });
  after(() => lab?.stop());

  /** The ids of client sessions have the worker in them. */
  async function sessionId(): Promise<number> {
    const connection = await proxy.connect('write');
    const [rows] = await connection.query<RowDataPacket[]>('select 1');
    assert.equal(rows.length, 1);
    const [session] = await proxy.admin('SHOW SESSIONS');
    return Number(session!['id']);
  }

  test('is named to who asked about one session or route, and left out of what is counted', async () => {
    const id = await sessionId();
    process.kill(worker, 'SIGSTOP');
    try {
      const answers = await Promise.allSettled([
        proxy.admin(`EXPLAIN SESSION ${id}`),
        proxy.admin(`EXPLAIN ROUTE FOR SESSION ${id} select 1`),
        proxy.admin('EXPLAIN ROUTE select 1'),
        proxy.admin('SHOW DIGESTS'),
      ]);
      for (const answer of answers.slice(0, 3)) {
        assert.ok(answer.status === 'rejected');
        assert.match(String(answer.reason), /worker 0 did not answer within 2000 ms/);
      }
      assert.deepEqual(answers[3], { status: 'fulfilled', value: [] });
    } finally {
      process.kill(worker, 'SIGCONT');
    }
  });

  test('is not asked for a session that no worker can have', async () => {
    const ofNoWorker = 0x40000000 | (5 << 24) | 1;
    for (const id of [7, ofNoWorker]) {
      await assert.rejects(proxy.admin(`EXPLAIN SESSION ${id}`), { errno: 1094 });
      await assert.rejects(proxy.admin(`EXPLAIN ROUTE FOR SESSION ${id} select 1`), { errno: 1094 });
    }
  });
});
