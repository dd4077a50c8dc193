import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { killLateChildren } from '../../../scripts/late-children.ts';

suite('children that are late', () => {
  test('end with all that they have started, though they ignore SIGTERM; younger ones go on', async () => {
    // The second shell keeps the output open when the first one is dead.
    const script = "trap '' TERM; sh -c 'trap \"\" TERM; echo ready; sleep 600; true' & wait; true";
    const late = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(late.stdout, 'data');
    assert.deepEqual(killLateChildren(60_000), []);
    late.kill('SIGTERM');
    const closed = once(late, 'close');
    const killed = killLateChildren(-1_000);
    assert.deepEqual(await closed, [null, 'SIGKILL']);
    assert.equal(killed[0], late.pid);
    assert.equal(killed.length, 3);
  });
});
