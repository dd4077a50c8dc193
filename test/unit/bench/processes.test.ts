import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import {
  cpuMicros,
  peakMegabytes,
  processTree,
  residentMegabytes,
  resetPeak,
} from '../../../bench/processes.ts';

suite('what the kernel counts', () => {
  test('CPU time grows with work', () => {
    const before = cpuMicros([process.pid]);
    const startedAt = process.cpuUsage();
    while (process.cpuUsage(startedAt).user < 200_000) Math.sqrt(2);
    const used = cpuMicros([process.pid]) - before;
    assert.ok(used >= 150_000, `${used} µs counted for 200,000 µs of work`);
  });

  test('the peak of memory is seen after it has been given back, and forgotten at a reset', () => {
    const megabytes = 100;
    resetPeak(process.pid);
    const before = residentMegabytes(process.pid);
    touchAndDrop(megabytes);
    assert.ok(peakMegabytes(process.pid) - before >= megabytes * 0.9);
    resetPeak(process.pid);
    assert.ok(Math.abs(peakMegabytes(process.pid) - residentMegabytes(process.pid)) < megabytes / 4);
  });

  test('a tree holds the grandchildren, and no stranger', async () => {
    const child = spawn('sh', ['-c', 'sleep 60 & echo; wait'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      await once(child.stdout, 'data');
      const tree = processTree(child.pid!);
      assert.equal(tree.length, 2);
      assert.equal(tree[0], child.pid);
      assert.ok(processTree(process.pid).includes(tree[1]!));
      assert.ok(!tree.includes(process.pid));
    } finally {
      for (const pid of processTree(child.pid!).toReversed()) process.kill(pid, 'SIGKILL');
      await once(child, 'exit');
    }
  });

  test('a process that is gone is an error, not zero', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    assert.throws(() => cpuMicros([child.pid!]), /has ended/);
  });
});

/** Memory outside of the heap, written so that it is really there. */
function touchAndDrop(megabytes: number): void {
  Buffer.alloc(megabytes * 1_000_000, 1);
}
